"""A small shop whose orders are worked on by Celery."""
