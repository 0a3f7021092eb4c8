"""What those who use or extend stratix_kombu test with: conformance suites and pytest fixtures."""
