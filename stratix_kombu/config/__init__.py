"""Settings and options: read, checked and given their defaults before anything is written."""
