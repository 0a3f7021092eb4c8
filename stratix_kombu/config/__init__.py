"""Settings and options: read, checked and given their defaults before anything is written."""

CONFIGURATION = "stratix.toml"
"""The file of a program that names none."""
