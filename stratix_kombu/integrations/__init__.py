"""Integrations: each module is for one other package, and imports that when it is imported itself."""
