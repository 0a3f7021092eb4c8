"""Tripwires: what we rely on in Kombu and is not documented."""
