"""The Celery application of the shop, configured by the environment as on any host it runs on.

The three lines at the end are the whole migration. Without ``SHOP_STRATIX`` the project is what it was before.
"""

from __future__ import annotations

import json
import os

from celery import Celery
from celery.schedules import crontab

app = Celery("shop", broker=os.environ["SHOP_BROKER"], backend=os.environ["SHOP_RESULTS"], include=["shop.tasks"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options=json.loads(os.environ.get("SHOP_TRANSPORT_OPTIONS", "{}")),
    task_default_queue=os.environ.get("SHOP_QUEUE", "shop"),
    beat_schedule={
        "count-stock": {"task": "shop.tasks.count_stock", "schedule": 0.5},
        "nightly-report": {"task": "shop.tasks.report", "schedule": crontab(hour=3, minute=30)},
    },
)

if os.environ.get("SHOP_STRATIX"):
    from stratix_kombu.celery import install

    stratix = install(app, namespace=app.conf.task_default_queue)
