"""The ``jsonl`` tracker: the life of a run as lines of a plain file in the run's own folder.

Three kinds of lines: ``run_start``, ``metric`` and ``run_end``. The runner writes its own events
into ``events.jsonl`` too; readers tell the families apart by the field ``event``.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from ztxexp_core import (
    ConfigError,
    JsonlWriter,
    MetricEvent,
    Received,
    RunContext,
    RunMetadata,
    encode_json,
    read_jsonl,
    utc_now,
)

# The run's own records: lines of ours in one of them would damage what says how the run ended.
_TAKEN = {"config.json", "run.json", "meta.json", "metrics.json"}
_TAKEN |= {"metrics.jsonl", "extras.jsonl", "run.log", "error.log"}
_TAKEN |= {"artifacts", "checkpoints", "trackers"}


class JsonlTracker:
    """Writes the life of a run, and every metric event, as JSON lines in the run's folder.

    One instance may follow several runs, one after the other or at once. The file of a run is kept
    open from ``on_run_start`` to ``on_run_end``; a call outside of these two opens it for one line.

    Args:
        events_filename: name of the file, or its path within the run's folder
            (``"logs/events.jsonl"``).

    Raises:
        ConfigError: ``events_filename`` leads out of the run's folder or names one of the run's own
            records (a ``ValueError``).

    Example:
        >>> pipeline.track(JsonlTracker(events_filename="logs/events.jsonl"))
    """

    local = True  # writes into the run's folder only

    def __init__(self, events_filename: str = "events.jsonl"):
        self.events_filename = _checked(events_filename)
        self._open: dict[Path, tuple[JsonlWriter, bytes]] = {}

    @staticmethod
    def check_options(events_filename: str = "events.jsonl") -> None:
        """Refuse a name that cannot be used, as the constructor does."""
        _checked(events_filename)

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Open the file and write ``{"event": "run_start", "run_id", "timestamp", "meta"}``."""
        if ctx.run_dir in self._open:
            self._open.pop(ctx.run_dir)[0].close()
        path = self._path(ctx)
        head = b'{"event":"metric","run_id":' + encode_json(ctx.run_id) + b',"payload":'
        writer = JsonlWriter(path)
        self._open[ctx.run_dir] = (writer, head)
        start = {"event": "run_start", "run_id": ctx.run_id, "timestamp": utc_now()}
        writer.append({**start, "meta": meta.to_dict()})

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Write ``{"event": "metric", "run_id", "payload"}``."""
        opened = self._open.get(ctx.run_dir)
        if opened is not None:
            # The beginning of the line is the same for a whole run, the event is encoded already.
            writer, head = opened
            writer.append_bytes(head + event.to_json() + b"}\n")
            return
        with JsonlWriter(self._path(ctx)) as writer:
            row = {"event": "metric", "run_id": ctx.run_id, "payload": event.to_dict()}
            writer.append(row)

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Write ``{"event": "run_end", "run_id", "timestamp", "summary"}`` and close the file."""
        opened = self._open.pop(ctx.run_dir, None)
        with JsonlWriter(self._path(ctx)) if opened is None else opened[0] as writer:
            end = {"event": "run_end", "run_id": ctx.run_id, "timestamp": utc_now()}
            writer.append({**end, "summary": summary})

    def received(self, ctx: RunContext) -> Received:
        """Return what the run's file holds."""
        events: list[MetricEvent] = []
        started = ended = False
        for row in read_jsonl(self._path(ctx)):
            if row.get("event") == "metric" and isinstance(row.get("payload"), dict):
                event = MetricEvent.from_dict(row["payload"])
                events += [] if event is None else [event]
            elif row.get("event") == "run_start":
                started, ended = True, False
            elif row.get("event") == "run_end":
                ended = True
        return Received(events, ended, started)

    def _path(self, ctx: RunContext) -> str:
        folder = str(ctx.run_dir)
        path = f"{folder}/{self.events_filename}"
        parent = os.path.dirname(path)
        if parent != folder or os.path.islink(path):
            _refuse_link_out(path, ctx.run_dir)
            os.makedirs(parent, exist_ok=True)
        return path


def _checked(name: str) -> str:
    """Return the name if it stays within a folder on any system."""
    try:
        text = os.fspath(name)
    except TypeError:
        text = None
    if not isinstance(text, str) or not PurePosixPath(text).parts or "\0" in text:
        raise ConfigError(
            f"JsonlTracker: events_filename must be a file name, got {name!r}; "
            'write for example events_filename="events.jsonl"'
        )
    return _inside(text)


@functools.cache  # a tracker is made for every run
def _inside(text: str) -> str:
    # A results folder may be written on one system and read on another: backslashes count always.
    windows = PureWindowsPath(text)
    if text.startswith("/") or windows.drive or windows.root or ".." in windows.parts:
        raise ConfigError(
            f"JsonlTracker: events_filename {text!r} leads out of the run's folder; "
            'give a name or a path within it, such as "logs/events.jsonl"'
        )
    if str(PurePosixPath(text)).casefold() in _TAKEN:
        raise ConfigError(
            f"JsonlTracker: events_filename {text!r} is one of the run's own records; "
            "choose another name"
        )
    return text


def _refuse_link_out(path: str, run_dir: Path) -> None:
    inside = Path(os.path.realpath(run_dir))
    if inside not in Path(os.path.realpath(path)).parents:
        raise ConfigError(
            f"JsonlTracker: {path} is, or lies behind, a link that leads out of the run's folder; "
            "remove the link or choose another events_filename"
        )
