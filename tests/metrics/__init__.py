"""Metrics, the page for Prometheus, and health."""
