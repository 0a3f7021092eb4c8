"""Transports: each carries small messages that name jobs."""
