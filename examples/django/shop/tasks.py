"""Tasks as Django has them: ``remind.enqueue(order.pk)``."""

try:
    from django.tasks import task
except ImportError:  # before Django 6
    from django_tasks import task

from shop.models import Order


@task(queue_name="mail", priority=10)
def remind(order):
    return f"your {Order.objects.get(pk=order).item} is waiting"


@task(takes_context=True)
def fragile(context, most):
    if context.attempt <= most:
        raise ConnectionError(f"attempt {context.attempt} failed")
    return context.attempt
