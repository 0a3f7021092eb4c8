"""``python -m stratix_kombu``."""

from stratix_kombu.cli import main

main(prog_name="python -m stratix_kombu")
