"""The dashboard in the admin, for those of the staff who have the permission."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import path

from stratix_kombu.integrations.django.dashboard import show
from stratix_kombu.integrations.django.models import Queues


@admin.register(Queues)
class QueuesAdmin(admin.ModelAdmin):
    """Its pages are those of the dashboard."""

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(show)
        return [path("", view, name="stratix_queues_changelist"), path("<path:page>", view)]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
