"""What the extra ``dashboard`` brings."""

from stratix_kombu.errors import MissingExtra

try:
    from jinja2 import Environment as Environment, PackageLoader as PackageLoader, StrictUndefined as StrictUndefined
    from markupsafe import Markup as Markup
except ImportError as problem:
    raise MissingExtra("dashboard", "jinja2", "the dashboard") from problem
