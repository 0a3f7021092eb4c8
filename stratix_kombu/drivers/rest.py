"""The rest of a long chain, handed on as text.

With each task of a chain go the signatures of all those behind it, and each task hands on all but one. To read and
write them takes longer than the rest of a step, and the longer the chain is the longer it takes. So in a message of
ours they stand on lines of their own, which JSON allows and which no other part of the message has: the next one is
found, and the others are handed on, without being read. For all others it is a message like any other.

Who looks at the chain of a request finds a list, which is read then."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from kombu.serialization import dumps, loads
from kombu.utils import json

LONG = 16
"""The rest of a chain with fewer tasks is written as Kombu writes it."""
JSON = ("application/json", "utf-8")
"""Content type and encoding of what can be handed on."""
_BEGIN, _END = '"chain": [', "]"
"""What stands around the lines."""
_NONE = '"chain": null'
"""What they take the place of."""
_NEXT = ",\n"
_LINE = re.compile(r'\{"task": "([^"\\]*)", "options": \{"task_id": "([^"\\]*)"')
"""How each line begins. It is looked for everywhere, which is quicker than at each beginning of a line."""
_QUOTE = "\x7f"
"""In place of ``"``, where a text stands within another: without a sign before each that would have to be read."""
_TYPE = "stratix_chain"


class Rest(list[Any]):
    """A list that is kept as text until somebody looks at it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text: str | None = text

    def _read(self) -> None:
        if self._text is not None:
            found = json.loads(f"[{self._text}]")
            self._text = None
            list.extend(self, found)

    def __len__(self) -> int:
        return list.__len__(self) if self._text is None else self._text.count("\n") + 1

    def __bool__(self) -> bool:
        return self._text is not None or list.__len__(self) > 0

    def __reduce_ex__(self, _: Any) -> Any:
        return list, (list(self),)

    def __radd__(self, other: list[Any]) -> list[Any]:
        return other + list(self)


def _reading(method: Any) -> Any:
    def call(self: Rest, *args: Any, **kwargs: Any) -> Any:
        self._read()
        return method(self, *args, **kwargs)

    return call


for _name in vars(list).keys() - vars(Rest).keys() - {"__new__", "__getattribute__", "__sizeof__", "__class_getitem__"}:
    if callable(getattr(list, _name)):
        setattr(Rest, _name, _reading(getattr(list, _name)))


def text_of(chain: Any) -> str | None:
    """The lines of a rest; None if somebody has looked at it, and may have changed it, or for any other list."""
    return chain._text if isinstance(chain, Rest) else None


def next_of(chain: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """The task that comes next, which is the last one, and the others."""
    text = text_of(chain)
    if text is None:
        return chain[-1], list(chain[:-1])
    before, mark, last = text.rpartition(_NEXT)
    return json.loads(last), Rest(before) if mark else []


def named_in(chain: Sequence[Any]) -> list[tuple[str, str]] | None:
    """Names and ids of the tasks in a text, in its order; None if it has to be read."""
    text = text_of(chain)
    if text is None:
        return None
    found = _LINE.findall(text)
    return found if len(found) == len(chain) else None  # all the text's, and nothing else that looks alike


def written(body: Any, serializer: str) -> tuple[str, str, Any]:
    """A body as ``kombu.serialization.dumps`` writes it; the rest of a long chain on lines, and for other serializers
    as the list that it stands for."""
    chain = body[2].get("chain") if _is_of_protocol_2(body) else None
    if chain and (isinstance(chain, Rest) or len(chain) >= LONG):
        args, kwargs, embed = body
        lines = _lines_of(chain, serializer) if serializer == "json" else ""
        parts = [dumps(one, serializer) for one in (args, kwargs, {**embed, "chain": None})] if lines else []
        texts = [part for *kind, part in parts if _is_one_line(kind, part)]
        if len(texts) == 3 and texts[2].count(_NONE) == 1:
            texts[2] = texts[2].replace(_NONE, f"{_BEGIN}\n{lines}\n{_END}")
            return *JSON, f"[{', '.join(texts)}]"
        body = args, kwargs, {**embed, "chain": list(chain)}
    plain: tuple[str, str, Any] = dumps(body, serializer)
    return plain


def _is_of_protocol_2(body: Any) -> bool:
    return isinstance(body, (tuple, list)) and len(body) == 3 and isinstance(body[2], Mapping)


def _is_one_line(kind: list[str], text: Any) -> bool:
    return (*kind,) == JSON and isinstance(text, str) and "\n" not in text


def _lines_of(chain: Sequence[Any], serializer: str) -> str:
    """The lines of a chain that has nothing but tasks; '' for another one, or if they cannot be told apart."""
    if (kept := text_of(chain)) is not None:
        return kept
    lines = []
    for step in chain:
        options = step.get("options") if isinstance(step, Mapping) else None
        if not options or "task_id" not in options or options.get("chain") or step.get("subtask_type") is not None:
            return ""
        line = {"task": step.get("task"), "options": {"task_id": options["task_id"], **options}}
        *kind, text = dumps({**line, **{key: step[key] for key in step if key not in line}}, serializer)
        if not _is_one_line(kind, text) or not _LINE.match(text):
            return ""
        lines.append(text)
    return _NEXT.join(lines)


def parted(body: Any) -> tuple[str, str, str] | None:
    """A body, by what stands before the rest of a chain, that rest, and behind it; None if there is no such rest."""
    if isinstance(body, bytes):
        try:
            body = body.decode() if b"\n" in body else ""
        except UnicodeDecodeError:
            return None
    elif not isinstance(body, str):
        return None
    first, last = body.find("\n"), body.rfind("\n")
    if first + 1 >= last or not body.startswith(_BEGIN, first - len(_BEGIN)) or body[last + 1 : last + 2] != _END:
        return None
    return body[: first - 1], body[first + 1 : last], body[last + 2 :]


def with_rest(body: Any) -> Any:
    """A body whose rest of a chain Kombu reads as ``Rest``, in whatever process; the body itself if it has none."""
    parts = parted(body)
    if parts is None or _QUOTE in parts[1] or not _is_read():
        return body
    text = parts[1].replace("\\", "\\\\").replace("\n", "\\n").replace('"', _QUOTE)
    return f'{parts[0]}{{"__type__": "{_TYPE}", "__value__": "{text}"}}{parts[2]}'


@cache
def _is_read() -> bool:
    """Whether values of types are read as Kombu reads them: a project may have a serializer ``json`` of its own."""
    found = loads(f'{{"__type__": "{_TYPE}", "__value__": "{{}}"}}', *JSON, accept=[JSON[0]])
    return isinstance(found, Rest)


json.register_type(Rest, _TYPE, list, lambda text: Rest(str(text).replace(_QUOTE, '"')))
