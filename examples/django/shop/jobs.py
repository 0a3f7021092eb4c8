"""Handlers: found because they are in ``jobs.py`` of an installed app."""

from asgiref.sync import sync_to_async

from shop.models import Order
from stratix_kombu.integrations.django import app

orders = app.queue.get_queue("orders")


@orders.process("confirm")
def confirm(job):
    order = Order.objects.get(pk=job.data["order"])
    order.confirmed = True
    order.save()
    return order.item


@orders.process("ship")
async def ship(job):
    await Order.objects.filter(pk=job.data["order"]).aupdate(shipped=True)
    return await sync_to_async(Order.objects.filter(shipped=True).count)()


def invoice(job):
    """Runs in a process of its own, which readies Django for itself."""
    return f"{Order.objects.filter(pk__lte=job.data).count()} orders"


app.queue.create_queue("invoices", processor={"sandboxed": True}).process(invoice)
