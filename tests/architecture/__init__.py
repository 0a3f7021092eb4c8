"""What the shape of the project must be."""
