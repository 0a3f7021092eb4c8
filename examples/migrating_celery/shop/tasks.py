"""What the shop does in the background. ``ledger`` stands for a database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Task, chord

from shop.app import app

PRICES = {"apple": 3, "pear": 4, "melon": 9}


def ledger() -> Path:
    return Path(os.environ["SHOP_LEDGER"])


def write(line: str) -> None:
    with ledger().open("a") as file:
        file.write(f"{line}\n")


@app.task(bind=True, max_retries=3)
def fetch_price(self: Task, product: str) -> int:
    """Ask the supplier, who is away the first time he is asked for melons."""
    if product == "melon" and self.request.retries == 0:
        raise self.retry(countdown=0.2)
    return PRICES[product]


@app.task
def bill(prices: list[int], order: str) -> str:
    write(f"bill {order} {sum(prices)}")
    return f"{order}: {sum(prices)}"


@app.task
def cancel(request: Any, error: Any, traceback: Any, order: str) -> None:
    write(f"cancel {order}")


def place(order: str, products: list[str]) -> Any:
    """Prices of all products at once, then the bill; an unknown product cancels the order."""
    finish = bill.s(order).on_error(cancel.s(order=order))
    return chord((fetch_price.s(product) for product in products), finish).delay()


@app.task(autoretry_for=(ConnectionError,), default_retry_delay=0.1, max_retries=2)
def ship(order: str) -> str:
    write(f"try {order}")
    if sum(line == f"try {order}" for line in ledger().read_text().splitlines()) < 2:
        raise ConnectionError("the carrier does not answer")
    return f"{order} shipped"


@app.task
def remind(order: str) -> None:
    write(f"remind {order}")


@app.task
def count_stock() -> None:
    write("stock")


@app.task
def report() -> None:
    write("report")
