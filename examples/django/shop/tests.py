"""Tests of the shop: jobs run within the call that adds them, in the transaction of the test."""

from django.test import TestCase

from shop.models import Order
from shop.services import place_order
from shop.tasks import fragile, remind
from stratix_kombu.integrations.django import app


class Orders(TestCase):
    def test_an_order_is_confirmed_when_it_is_committed(self):
        with self.captureOnCommitCallbacks(execute=True):
            order = place_order("a lamp")
            order.refresh_from_db()
            self.assertFalse(order.confirmed)
        order.refresh_from_db()
        self.assertTrue(order.confirmed)

    def test_async_handlers_see_the_rows_of_the_test(self):
        order = Order.objects.create(item="a chair")
        job = app.queue.get_queue("orders").add("ship", {"order": order.pk})
        self.assertEqual(job.wait_until_finished(timeout=5), 1)

    async def test_jobs_that_coroutines_add_see_the_rows_of_the_test(self):
        order = await Order.objects.acreate(item="a shelf")
        for name, result in (("confirm", "a shelf"), ("ship", 1)):
            job = await app.queue.get_queue("orders").aio.add(name, {"order": order.pk})
            self.assertEqual(await job.aio.wait_until_finished(timeout=5), result)
        jobs = await app.queue.get_queue("orders").aio.add_bulk([{"name": "ship", "data": {"order": order.pk}}])
        self.assertEqual(await jobs[0].aio.wait_until_finished(timeout=5), 1)

    def test_tasks_run_at_once(self):
        order = Order.objects.create(item="a table")
        result = remind.enqueue(order.pk)
        result.refresh()
        self.assertEqual(result.return_value, "your a table is waiting")

    def test_a_failed_task(self):
        result = fragile.enqueue(9)
        result.refresh()
        self.assertEqual(result.status, "READY")  # its second attempt is not due yet
        self.assertEqual([error.exception_class for error in result.errors], [ConnectionError])
