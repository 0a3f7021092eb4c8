"""A process that only keeps the time: its clock fires what others have scheduled. Ends at SIGTERM."""

from __future__ import annotations

import json
import sys

from stratix_kombu import create_app

if __name__ == "__main__":
    app = create_app(json.loads(sys.argv[1]))
    app.hook("after_start", lambda: print("ready", flush=True))
    app.run()
