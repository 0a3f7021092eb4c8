"""Django's tasks: ``django.tasks`` since Django 6, the package ``django-tasks`` before that. The names are the same."""

from __future__ import annotations

from django import VERSION
from django.core.exceptions import ImproperlyConfigured

if VERSION >= (6, 0):
    from django.tasks import TaskContext, TaskResult, TaskResultStatus, signals, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import Task, TaskError
    from django.tasks.exceptions import TaskResultDoesNotExist
    from django.utils.json import normalize_json
else:
    try:
        from django_tasks import TaskContext, TaskResult, TaskResultStatus, signals, task_backends
    except ImportError as problem:
        raise ImproperlyConfigured("tasks need Django 6, or the package 'django-tasks' before that") from problem
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task, TaskError
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.utils import normalize_json

__all__ = [
    "BaseTaskBackend",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "normalize_json",
    "signals",
    "task_backends",
]
