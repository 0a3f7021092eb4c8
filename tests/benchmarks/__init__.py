"""Speed of the main paths as ratios against plain Celery on the same Redis in the same run."""
