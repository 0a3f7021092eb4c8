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
    """Kombu's own transport writes directly under the final name: a reader that comes early reads an empty message,
    which is then lost."""

    def _put(self, queue: str, payload: Any, **kwargs: Any) -> None:
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}"
        folder = Path(self.data_folder_out)
        part = folder / f"{name}.part"
        part.write_text(dumps(payload), encoding="utf-8")
        os.replace(part, folder / f"{name}.{queue}.msg")


class Transport(filesystem.Transport):
    Channel = Channel
