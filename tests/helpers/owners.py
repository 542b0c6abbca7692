"""Owner records of real processes: one that has ended, one that is at work."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import psutil

from ztxexp_core.store.liveness import this_process


def dead_owner() -> dict:
    """The owner record of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(child.pid).create_time()
    child.wait()
    return {**this_process(), "pid": child.pid, "process_started": started}


@contextlib.contextmanager
def at_work():
    """Yield the owner record of a process that is at work."""
    code = (
        "import json; from ztxexp_core.store.liveness import this_process;"
        "print(json.dumps(this_process()), flush=True); input()"
    )
    pipe = subprocess.PIPE
    child = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe)
    try:
        yield json.loads(child.stdout.readline())
    finally:
        child.communicate(b"\n")
