"""Transports: each carries small messages that say that a queue has work."""
