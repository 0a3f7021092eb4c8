"""What a program finds at its start, as JSON; then it ends as its arguments say."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
import time

if __name__ == "__main__":
    found = {
        "arguments": sys.argv[1:],
        "all arguments": sys.orig_argv,
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "module": [__name__, __spec__.name, sys.modules["__main__"].__dict__ is globals()],
        "path": sys.path[0] or os.getcwd(),
        "folder": os.getcwd(),
        "is the first of its session": os.getsid(0) == os.getpid(),
        "input": sys.stdin.read(),
        "open": sorted(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "signals": {one.name: str(signal.getsignal(one)) for one in signal.valid_signals() if hasattr(one, "name")},
        "timezone": time.tzname,
    }
    print(json.dumps(found), flush=True)
    atexit.register(print, "at exit")
    match sys.argv[1]:
        case "exits":
            sys.exit(int(sys.argv[2]))
        case "raises":
            raise KeyError(sys.argv[2])
        case "waits":
            threading.Thread(target=time.sleep, args=[0.1]).start()
        case "is killed":
            os.kill(os.getpid(), int(sys.argv[2]))
            time.sleep(60)
