"""Orders."""

from django.db import models


class Order(models.Model):
    """What somebody has ordered."""

    item = models.CharField(max_length=100)
    confirmed = models.BooleanField(default=False)
    shipped = models.BooleanField(default=False)
