"""The command line: each command in this process, the ones that run for long as processes, and in a real terminal."""
