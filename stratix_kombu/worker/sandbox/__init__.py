"""Handlers in processes of their own: a job that crashes, hangs or uses too much memory affects only its own child."""
