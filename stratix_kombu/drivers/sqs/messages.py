"""Messages as SQS holds them: Kombu's envelope in base64; and calls of ten at a time."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from stratix_kombu.drivers.contract import Delivery
from stratix_kombu.model.message import GROUP, message_envelope, read_envelope
from stratix_kombu.model.record import Ready

PER_CALL = 10
MAX_BYTES = 1024 * 1024
"""Of a message, and of all messages of one call."""

Entry = dict[str, Any]


def entry_of(job: Ready, broker_queue: str, fifo: bool) -> Entry:
    """One entry of a batch to send.

    A FIFO queue keeps the order within a group, and drops what has the same deduplication id within five minutes. That
    must not happen to a permit that is sent again because it was lost, so every sending has an id of its own.
    """
    tag = str(uuid.uuid4())
    message = json.loads(job.message) if job.message else message_envelope(job.id or tag, job.name, broker_queue)
    message["properties"]["delivery_tag"] = tag
    entry = {"MessageBody": base64.b64encode(json.dumps(message).encode()).decode()}
    group = job.group or message["properties"].get(GROUP)
    if fifo:
        entry |= {"MessageGroupId": group or job.id or tag, "MessageDeduplicationId": tag}
    elif group:
        entry["MessageGroupId"] = group
    return entry


def delivery_of(message: Mapping[str, Any], level: int, tasks: bool = False) -> Delivery:
    """A received message; its handle is the level of its queue and the receipt handle."""
    handle, body = (level, message["ReceiptHandle"]), message.get("Body") or ""
    text: str | bytes
    try:
        text = base64.b64decode(body, validate=True)
    except ValueError:
        text = body
    read = read_envelope(text, tasks)
    return Delivery(read.job_id, handle, read.problem, read.other)


def in_batches(call: Callable[..., Any], entries: Sequence[Entry]) -> list[Entry]:
    """Call with ten entries at a time; those that the service says have failed."""
    failed: list[Entry] = []
    for batch in _batches(entries):
        answer = call(Entries=[{**entry, "Id": str(number)} for number, entry in enumerate(batch)])
        failed += [batch[int(one["Id"])] for one in answer.get("Failed") or []]
    return failed


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        length = len(entry.get("MessageBody", ""))
        if batch and (len(batch) == PER_CALL or size + length > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += length
    if batch:
        yield batch
