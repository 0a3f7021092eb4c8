"""The commands and snippets a user meets, run as a user runs them."""
