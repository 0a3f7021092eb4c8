"""Metrics for Prometheus: a collector that reads the store when it is asked, as a page of a WSGI server or of its own.

>>> from stratix_kombu.metrics import StratixCollector, metrics_app, serve  # doctest: +SKIP
>>> REGISTRY.register(StratixCollector(app))  # beside the metrics of your own  # doctest: +SKIP
>>> application = metrics_app(app)  # for gunicorn, or to be mounted  # doctest: +SKIP
>>> with serve(app, 9100): ...  # a thread of this process  # doctest: +SKIP
"""

from stratix_kombu.errors import MissingExtra

try:
    import prometheus_client as _prometheus_client  # noqa: F401
except ImportError as problem:  # pragma: no cover - tested in a process of its own
    raise MissingExtra("prometheus", "prometheus_client", "the page of metrics") from problem

from stratix_kombu.metrics.collector import StratixCollector
from stratix_kombu.metrics.prometheus import MetricsServer, metrics_app, metrics_text, serve

__all__ = ["MetricsServer", "StratixCollector", "metrics_app", "metrics_text", "serve"]
