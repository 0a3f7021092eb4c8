"""No migration is needed for an example."""
