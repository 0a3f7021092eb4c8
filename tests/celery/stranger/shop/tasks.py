"""Tasks of the shop."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

from celery import Task, current_app, group, shared_task
from celery.result import allow_join_result

logger = logging.getLogger(__name__)


@shared_task
def add(x: Any, y: Any) -> Any:
    return x + y


@shared_task
def total(numbers: list[Any]) -> Any:
    return sum(numbers)


@shared_task
def price(net: Decimal, rate: Decimal = Decimal("0.2")) -> dict[str, Any]:
    return {"gross": net * (1 + rate), "kind": type(net).__name__}


@shared_task(bind=True)
def mail(self: Task, to: str) -> Any:
    request = self.request
    return [to, request.delivery_info["routing_key"].rpartition(".")[2], request.delivery_info["priority"]]


@shared_task(bind=True)
def asked(self: Task, *args: Any, **kwargs: Any) -> Any:
    request = self.request
    return {
        "name": self.name,
        "args": list(request.args),
        "kwargs": request.kwargs,
        "headers": request.headers,
        "root": request.root_id == request.id,
        "limits": request.timelimit,
        "annotated": [self.max_retries, self.rate_limit],
        "as_execution_options": sorted(request.as_execution_options()),
    }


@shared_task(bind=True)
def annotated(self: Task) -> Any:
    return [self.max_retries, self.rate_limit, self.priority]


@shared_task(bind=True, default_retry_delay=0.01)
def unlucky(self: Task) -> int:
    try:
        raise ConnectionError("no answer")
    except ConnectionError as error:
        raise self.retry(exc=error) from error


@shared_task(bind=True)
def again(self: Task, number: int) -> Any:
    """Sends itself, as a task of its own."""
    if number == 0:
        return "last"
    signature = self.subtask_from_request(args=(number - 1,), task_id=f"{self.request.id}-{number}")
    return signature.apply_async().id


@shared_task
def tree(depth: int) -> int:
    if depth:
        group(tree.s(depth - 1), tree.s(depth - 1)).apply_async()
    return depth


@shared_task
def waits_for(number: int) -> Any:
    with allow_join_result():
        return add.delay(number, 1).get(timeout=30)


@shared_task
def sends_by_name(name: str, args: list[Any]) -> Any:
    return current_app.send_task(name, args).id


class Order(Task):
    """A task that is a class."""

    name = "shop.order"

    def __init__(self) -> None:
        self.seen = "made"

    def run(self, item: str, *, times: int = 1) -> str:
        logger.warning("ordered %s", item)
        return f"{item} x {times}, {self.seen}"


current_app.register_task(Order())
