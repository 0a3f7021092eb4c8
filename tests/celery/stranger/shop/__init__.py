"""An application of the project, with tasks."""
