"""Kombu's transport ``filesystem``, whose messages appear when they are complete."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps


class Channel(filesystem.Channel):
    """Kombu's own writes under the name that is looked for: who reads early gets nothing, and the message is gone."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}"
        folder = Path(self.data_folder_out)
        part = folder / f"{name}.part"
        part.write_text(dumps(payload), encoding="utf-8")
        os.replace(part, folder / f"{name}.{queue}.msg")


class Transport(filesystem.Transport):
    Channel = Channel
