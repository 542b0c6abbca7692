"""What other processes ask of a launch: to stop, or to stop one of its runs.

A request is a file beside the launch's record, ``<id>.ask-<token>.json``, made by whoever asks. The
launch looks for them about once a second, adds its answer to its record, and removes the file. So
every file has one writer, and a shared folder is all that is needed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results.launches import LaunchRecord
from ztxexp_core.store.files import known_record, write_new
from ztxexp_core.store.lines import read_jsonl
from ztxexp_core.store.liveness import this_process
from ztxexp_core.values.codec import encode

STOP, FINISH, STOP_RUN = "stop", "finish", "stop run"
_ASK = ".ask-"


@dataclass(frozen=True, slots=True)
class Request:
    """What a launch is asked for.

    Attributes:
        token: tells it from the others.
        what: :data:`STOP` as Ctrl-C does, :data:`FINISH` (start nothing more), :data:`STOP_RUN`.
        sender: the process that asks, ``box:4711``.
        run_id: the run to be stopped; empty for a launch.
        path: of its file.
    """

    token: str
    what: str
    sender: str
    run_id: str = ""
    path: str = ""

    @property
    def reason(self) -> str:
        """Who has stopped a launch, or a run."""
        option = " --after-runs" if self.what == FINISH else ""
        return f"by `ztxexp stop{option}` from {self.sender}"


def was_asked(stopped_because: str | None) -> bool:
    """Return whether a launch was stopped because somebody has asked for it."""
    return (stopped_because or "").startswith("by `ztxexp stop")


def ask(launch: LaunchRecord, what: str, run_id: str = "", folder: Path | None = None) -> Request:
    """Ask something of a launch; it answers in its record.

    Args:
        launch: the launch, or a pilot of one.
        what: :data:`STOP`, :data:`FINISH` or :data:`STOP_RUN`.
        run_id: the run to be stopped.
        folder: where it looks for requests, if not beside its record.

    Raises:
        OSError: the root cannot be written.
    """
    me = this_process()
    token, sender = os.urandom(8).hex(), f"{me['host']}:{me['pid']}"
    path = f"{folder or launch.path.parent}/{launch.id}{_ASK}{token}.json"
    request = Request(token, what, sender, run_id, path)
    write_new(path, encode({"what": what, "sender": sender, "run_id": run_id}) + b"\n")
    return request


def requests_for(folder: str, launch_id: str) -> list[Request]:
    """Return what is asked of a launch; one look into its folder where nothing is.

    Raises:
        OSError: the folder cannot be read.
    """
    start = f"{launch_id}{_ASK}"
    names = [name for name in os.listdir(folder) if name.startswith(start)]
    return [request for name in sorted(names) if (request := _read(f"{folder}/{name}", start))]


def _read(path: str, start: str) -> Request | None:
    """Read a request; ``None`` where it is not whole yet, or damaged."""
    row = None if os.path.islink(path) else known_record(path)
    token = os.path.basename(path).removeprefix(start).removesuffix(".json")
    fields = [(row or {}).get(name) for name in ("what", "sender", "run_id")]
    texts = [value for value in fields if isinstance(value, str)]
    if len(texts) < len(fields):
        return None
    what, sender, run_id = texts
    return Request(token, what, sender, run_id, path)


def take_away(request: Request) -> None:
    """Remove a request; never raises."""
    with contextlib.suppress(OSError):
        os.unlink(request.path)


def answer_to(request: Request, launch: LaunchRecord) -> Mapping[str, Any] | None:
    """Return the launch's last answer to a request, ``{"text": ..., "done": ...}``."""
    rows = [row for row in read_jsonl(launch.path) if row.get("answer") == request.token]
    return rows[-1] if rows else None
