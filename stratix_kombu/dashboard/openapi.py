"""What programs can ask, as an OpenAPI document: made of the routes and of the dataclasses that they answer with."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from typing import Any

from stratix_kombu.dashboard.routes import API, ROUTES, Route
from stratix_kombu.dashboard.site import Done

PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
TEXT, COUNT, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
DURATION = {"type": ["string", "number"], "description": "A text such as `2 h`, or milliseconds"}
FIELDS: Mapping[str, dict[str, Any]] = {
    **dict.fromkeys(("id", "key", "name", "job_name", "from", "state", "reason", "group", "worker", "cursor"), TEXT),
    **dict.fromkeys(("since", "until", "cron", "timezone"), TEXT),
    **dict.fromkeys(("priority", "limit", "max", "begun", "done", "refused"), COUNT),
    **dict.fromkeys(("delay", "grace", "duration", "every"), DURATION),
    **dict.fromkeys(("delayed", "dependents", "force"), FLAG),
    "most": {"type": ["integer", "null"]},
    "data": {"description": "Any JSON"},
    "options": {"type": "object", "description": "Those of `queue.add`"},
}
"""The fields of bodies: each has one type, wherever it is."""


def document(prefix: str) -> dict[str, Any]:
    """The document, for a dashboard that is mounted below a prefix."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        for action, path in () if route.people_only else _paths(route):
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, action, path, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "stratix_kombu dashboard", "version": version("stratix-kombu")},
        "servers": [{"url": f"{prefix}{API}"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _paths(route: Route) -> list[tuple[str, str]]:
    """Each of its actions has a path of its own, since each has other fields."""
    return [(action, route.path.replace("{action}", action)) for action in route.bodies or ("",)]


def _operation(route: Route, action: str, path: str, schemas: dict[str, Any]) -> dict[str, Any]:
    text = " ".join(inspect.cleandoc(route.page.__doc__ or "").split())
    answer = _schema(route.answer or Done, schemas)
    operation: dict[str, Any] = {
        "operationId": "_".join(filter(None, (route.method.lower(), route.page.__name__, action))),
        "summary": text.partition(". ")[0].partition(": ")[0].rstrip(".") + (f" ({action})" if action else ""),
        "description": text,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", path)
        ]
        + [{"name": name, "in": "query", "schema": {"type": "string"}} for name in route.query.split()],
        "responses": {
            "200": {"description": "Done", "content": {"application/json": {"schema": answer}}},
            "default": {
                "description": "Refused, with the reason in `error`",
                "content": {
                    "application/json": {
                        "schema": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
                    }
                },
            },
        },
    }
    if route.method == "POST":
        said = {name: FIELDS[name] for name in route.bodies[action]}
        body = {"type": "object", "properties": said, "additionalProperties": False}
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a type, with those of dataclasses beside it."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if one is type(None) else _schema(one, schemas) for one in inner]}
    if origin in (list, tuple):
        return {"type": "array", "items": _schema(inner[0], schemas)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema(inner[1], schemas)}
    if is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in schemas:
            schemas[kind.__name__] = {}  # it may be within itself
            hints = typing.get_type_hints(kind)
            properties = {field.name: _schema(hints[field.name], schemas) for field in fields(kind)}
            schemas[kind.__name__] = {"type": "object", "properties": properties, "required": list(properties)}
        return {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {}
