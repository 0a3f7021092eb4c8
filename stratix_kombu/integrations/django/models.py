"""What the admin lists: the queues. They are no table; the model has the permissions and the place in the index."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Queues(models.Model):
    """The dashboard, as the admin knows it."""

    class Meta:
        managed = False
        default_permissions: ClassVar[tuple[str, ...]] = ("view", "change")
        verbose_name = verbose_name_plural = "queues and jobs"
