"""The frames of a permit, as AMQP 0-9-1 has them: https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 4.2.

py-amqp makes a message of any kind, in four times the time that is needed for one whose headers are a few texts.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from stratix_kombu.model.message import BODY, CONTENT_ENCODING, CONTENT_TYPE, TASK, message_headers
from stratix_kombu.model.names import is_job_id

_HEAD = Struct(">BHI")
_FRAME = _HEAD.pack
_LONG = Struct(">I").pack
_TAG = Struct(">Q").unpack_from
_METHOD, _HEADER, _BODY = 1, 2, 3
_END = b"\xce"
_PUBLISH = b"\x00\x3c\x00\x28\x00\x00"
"""Class 60, method 40, and a short that is reserved."""
_DELIVER = b"\x00\x3c\x00\x3c"
"""Class 60, method 60."""
_MANDATORY = b"\x01"
_DEFAULT_EXCHANGE = b"\x00"
_PERSISTENT = b"\x02"


def _short(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw


def _text(size: int) -> bytes:
    """What precedes a text in a table."""
    return b"S" + _LONG(size)


_CONTENT = BODY.encode()
_PROPERTIES = (
    Struct(">HHQH").pack(60, 0, len(_CONTENT), 0b1111 << 12)  # type, encoding, headers and delivery mode follow
    + _short(CONTENT_TYPE)
    + _short(CONTENT_ENCODING)
)


def permit_frames(permit: str, channel: int, broker_queue: str, name: str) -> bytes:
    """The permit for one job, published to a queue over a channel: mandatory and persistent."""
    raw = permit.encode()
    return b"%b%b%b" % (_before(len(raw), channel, broker_queue, name), raw, _after(channel))


@lru_cache(maxsize=1024)
def _before(size: int, channel: int, broker_queue: str, name: str) -> bytes:
    """Up to the id, which is the last header."""
    headers = message_headers("", name)
    del headers["id"]
    texts = {key: value.encode() for key, value in headers.items() if value is not None}
    table = b"".join(b"%b%b%b" % (_short(key), _text(len(raw)), raw) for key, raw in texts.items())
    table += _short("id") + _text(size)
    method = b"%b%b%b%b" % (_PUBLISH, _DEFAULT_EXCHANGE, _short(broker_queue), _MANDATORY)
    header = b"%b%b%b" % (_PROPERTIES, _LONG(len(table) + size), table)
    return b"".join(
        (
            *(_FRAME(_METHOD, channel, len(method)), method, _END),
            *(_FRAME(_HEADER, channel, len(header) + size + len(_PERSISTENT)), header),
        )
    )


@lru_cache(maxsize=16)
def _after(channel: int) -> bytes:
    return b"".join((_PERSISTENT, _END, _FRAME(_BODY, channel, len(_CONTENT)), _CONTENT, _END))


_IS_PERMIT = _short("task") + _text(len(TASK)) + TASK.encode()
_ID = _short("id") + b"S"


def read_permits(buffer: bytes, channel: int) -> tuple[list[tuple[int, str]], int]:
    """The permits at the beginning of what a channel was sent: their delivery tags and ids; and how many bytes they
    are. It ends before whatever is not as ``permit_frames`` has made it, or is not there yet."""
    permits, begin, size = list[tuple[int, str]](), 0, len(buffer)
    after = _after(channel)
    while begin + 20 < size:
        kind, number, length = _HEAD.unpack_from(buffer, begin)
        start = begin + 7 + length + 1 + 7  # of the header's payload
        if (kind, number) != (_METHOD, channel) or start > size or buffer[begin + 7 : begin + 11] != _DELIVER:
            break
        _, _, length = _HEAD.unpack_from(buffer, start - 7)
        end = start + length - 1  # where the delivery mode is, which is followed by the body
        if end + len(after) > size or not buffer.startswith(_PROPERTIES, start) or not buffer.startswith(after, end):
            break
        at = buffer.rfind(_ID, start, end)
        permit = buffer[at + len(_ID) + 4 : end]
        if at < 0 or _LONG(len(permit)) != buffer[at + len(_ID) : at + len(_ID) + 4]:
            break
        job_id = permit.decode(errors="replace")
        if buffer.find(_IS_PERMIT, start, at) < 0 or not is_job_id(job_id):
            break
        permits.append((_TAG(buffer, begin + 12 + buffer[begin + 11])[0], job_id))
        begin = end + len(after)
    return permits, begin
