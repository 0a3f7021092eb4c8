"""Saved groups, as records that nobody runs; and what removes a result."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from celery.result import result_from_tuple
from kombu.utils import json

from stratix_kombu.celery.results import Results
from stratix_kombu.errors import InvalidJobState, JobNotFound
from stratix_kombu.lifecycle.add import add
from stratix_kombu.lifecycle.one_job import remove
from stratix_kombu.lifecycle.outcomes import complete
from stratix_kombu.model.names import group_id as group_record, task_job_id
from stratix_kombu.model.record import ANY_CLAIM, GROUP, Completion
from stratix_kombu.model.state import State


class Groups(Results):
    """What backends keep of groups."""

    def _forget(self, task_id: str) -> None:
        self._remove(task_id)
        if (older := self.bridge.mirror.older) is not None:
            older.forget(task_id)

    def _remove(self, task_id: str) -> None:
        with suppress(JobNotFound, InvalidJobState):
            remove(self.bridge.engine, task_job_id(task_id))

    def _save_group(self, group_id: str, result: Any) -> Any:
        self._remove(group_record(group_id))
        engine, job_id = self.bridge.engine, task_job_id(group_record(group_id))
        add(engine, [self.bridge.publisher.place(job_id, "celery.group", kind=GROUP)])
        complete(engine, [Completion(job_id, ANY_CLAIM, str(json.dumps(result.as_tuple())))])
        if self.bridge.mirror.everything and self.bridge.mirror.older_groups is not None:
            self.bridge.previous_backend.save_group(group_id, result)
        return result

    def _restore_group(self, group_id: str) -> dict[str, Any] | None:
        # The first release called it differently.
        found = self.bridge.engine.store.queries.get(
            [task_job_id(group_record(group_id)), task_job_id(f"{group_id}.group")]
        )
        record = found[0] or found[1]
        if record is None and (older := self.bridge.mirror.older_groups) is not None:
            saved = older.restore_group(group_id)  # from before the bridge was installed
            return saved and {"result": saved}
        if record is None or record.state is not State.COMPLETED:
            return None
        return {"result": result_from_tuple(json.loads(record.result or "null"), self.app)}

    def _delete_group(self, group_id: str) -> None:
        self._remove(group_record(group_id))
        if (older := self.bridge.mirror.older_groups) is not None:
            older.delete_group(group_id)
