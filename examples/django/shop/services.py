"""What views would call."""

from django.db import transaction

from shop.models import Order
from stratix_kombu.integrations.django import add_on_commit


@transaction.atomic
def place_order(item):
    order = Order.objects.create(item=item)
    add_on_commit("orders", "confirm", {"order": order.pk}, attempts=3)
    return order
