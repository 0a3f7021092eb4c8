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


def document(prefix: str) -> dict[str, Any]:
    """The document, for a dashboard that is mounted below a prefix."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        if not route.people_only:
            path = "/" if route.path == "/" else route.path
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "stratix_kombu dashboard", "version": version("stratix-kombu")},
        "servers": [{"url": f"{prefix}{API}"}],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    text = " ".join(inspect.cleandoc(route.page.__doc__ or "").split())
    answer = _schema(route.answer or Done, schemas)
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}_{route.page.__name__}",
        "summary": text.partition(". ")[0].partition(": ")[0].rstrip("."),
        "description": text,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", route.path)
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
        operation["requestBody"] = {"content": {"application/json": {"schema": {"type": "object"}}}}
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
