"""The bridge to existing Celery projects: their tasks become tracked jobs, their workers run the queues' jobs.

>>> from stratix_kombu.celery import install  # doctest: +SKIP
>>> stratix = install(celery_app)  # doctest: +SKIP
>>> stratix.queue.get_queue("celery").get_job(result.id).state  # doctest: +SKIP
'completed'
"""

from __future__ import annotations

from stratix_kombu.celery.install import StratixCelery, install, install_in_workers

__all__ = ["StratixCelery", "install", "install_in_workers"]
