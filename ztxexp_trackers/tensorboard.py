"""The ``tensorboard`` tracker: every run of a sweep becomes a run in TensorBoard.

Event files are written here, at once and in the tracker's own thread; of the tensorboard package
only the messages in them are used, so neither TensorFlow nor torch is needed or imported.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp_core import (
    ConfigError,
    MetricEvent,
    Received,
    RunContext,
    RunMetadata,
    encode_json,
    flat,
    plain,
    read_jsonl,
)
from ztxexp_trackers._common import is_number, named_metrics, run_record, seconds
from ztxexp_trackers._tensorboard_files import EventFolder, messages

FINAL = "final/"
"""What the names of the final figures begin with."""

_UNKNOWN, _SUCCESS, _FAILURE, _RUNNING = range(4)  # states of TensorBoard's hparams plugin
_STATES = {"succeeded": _SUCCESS, "failed": _FAILURE, "skipped": _UNKNOWN}
_RECENT = 1000  # events; as many as a call brings, and may be told once more after it


class TensorboardTracker:
    """Writes runs as event files of TensorBoard: scalars, hyperparameters, how the run ended.

    Each metric is a scalar with the step and time of its event, named ``<split>/<metric>`` for
    splits other than ``train``, in single precision as TensorBoard keeps it. The tab HPARAMS shows
    the configuration, nested keys with dots, and the final figures, named ``final/<name>``. A run
    that is resumed or replayed goes on in a further file; what is there already is not written
    again. A TensorBoard that is open all the while shows corrected hyperparameters, and how a
    resumed run has ended, when it is started anew.

    Args:
        log_dir: where a folder for each run is made, named by its id. ``None`` writes into the
            folder ``tensorboard`` of the run, which ``tensorboard --logdir results`` finds.

    Raises:
        ConfigError: ``log_dir`` is no path of a folder on this machine (a ``ValueError``).

    Example:
        >>> pipeline.track("tensorboard", log_dir="runs")
    """

    requires = ("tensorboard",)

    def __init__(self, log_dir: str | Path | None = None):
        self.log_dir = log_dir
        self._root = None if log_dir is None else _checked(log_dir)
        self._runs: dict[Path, _Run] = {}

    @staticmethod
    def check_options(log_dir: str | Path | None = None) -> None:
        """Refuse a ``log_dir`` that cannot be a folder."""
        path = None if log_dir is None else _checked(log_dir)
        for part in () if path is None else (path, *path.parents):
            if os.path.lexists(part) and not os.path.isdir(part):
                raise ConfigError(
                    f"TensorboardTracker: log_dir {str(log_dir)!r} cannot be a folder, because "
                    f"{part} is a file; choose another log_dir"
                )

    @property
    def destination(self) -> str:
        """The folder ``log_dir``, or a text for the runs' own folders."""
        return "run folder" if self._root is None else str(self._root)

    def on_run_start(self, ctx: RunContext, meta: RunMetadata) -> None:
        """Read what the run's event files hold, and take up the configuration.

        Raises:
            ImportError: tensorboard is not installed.
            OSError: the folder cannot be made or read.
        """
        files = self._folder(ctx)
        if self._root is None and os.path.islink(files.path):
            raise ConfigError(
                f"TensorboardTracker: {files.path} is a link out of the run's folder; remove it or "
                "give log_dir"
            )
        files.path.mkdir(parents=True, exist_ok=True)
        run = _Run(files, ctx)
        run.put(ctx.config)
        before = self._runs.get(ctx.run_dir)
        if before is not None:  # it did not end
            before.files.close()
        self._runs[ctx.run_dir] = run

    def on_metric(self, ctx: RunContext, event: MetricEvent) -> None:
        """Write one event; nothing where the run did not start."""
        self.on_metrics(ctx, [event])

    def on_metrics(self, ctx: RunContext, events: Sequence[MetricEvent]) -> None:
        """Write events with their own steps and times, all of them or none."""
        run = self._runs.get(ctx.run_dir)
        if run is not None:
            run.log(events)

    def on_params(self, ctx: RunContext, params: Mapping[str, Any]) -> None:
        """Add to the hyperparameters; written with the next metric, or at the end."""
        run = self._runs.get(ctx.run_dir)
        if run is not None:
            run.put(params)

    def on_run_end(self, ctx: RunContext, summary: dict[str, object]) -> None:
        """Write the final figures and how the run has ended."""
        run = self._runs.pop(ctx.run_dir, None)
        if run is not None:
            try:
                run.end(str(summary.get("status")), summary.get("metrics"))
            finally:
                run.files.close()

    def received(self, ctx: RunContext) -> Received:
        """Return those events of ``metrics.jsonl`` that the event files hold, by step and time.

        The files alone are not enough: single precision, and no phase.
        """
        run = _Run(self._folder(ctx), ctx)
        rows = read_jsonl(ctx.run_dir / "metrics.jsonl")
        events = [event for event in map(MetricEvent.from_dict, rows) if event is not None]
        return Received(
            events=[event for event in events if not run.lacking(event)],
            ended=run.shows_end(),
            started=run.has_start,
        )

    def _folder(self, ctx: RunContext) -> EventFolder:
        return EventFolder(
            ctx.run_dir / "tensorboard" if self._root is None else self._root / ctx.run_id
        )


class _Run:
    """One run: what its event files hold, and what is left to write.

    Attributes:
        files: its event files.
        has_start: whether they say how it began.
    """

    def __init__(self, files: EventFolder, ctx: RunContext):
        self.files, self._ctx = files, ctx
        contents = files.read()
        self._points, self._latest = contents.points, contents.latest
        steps = (step for tag, step, _ in contents.points if not tag.startswith(FINAL))
        self._last_step = max(steps, default=0)
        self._begun = self._time("started_at") or time.time()
        self.has_start, self._end = contents.start is not None, contents.end
        self._start = contents.start or messages().session_start(
            group_name=ctx.run_id, start_time_secs=self._begun
        )
        self._unwritten = not self.has_start
        self._recent: dict[int, None] = {}  # positions of the last events, in order
        if self._end is not None and ctx.attempt > 1 and not ctx.replayed:
            self._set_end(_RUNNING, 0.0)

    # ---- what a run has once: the first file ---------------------------------------------------

    def put(self, params: Mapping[str, Any]) -> None:
        """Take up hyperparameters, in addition to those there are."""
        before = messages().session_start()
        before.CopyFrom(self._start)
        for name, value in flat(plain(params)):
            _set(self._start.hparams[name], value)
        self._unwritten = self._unwritten or before != self._start
        if self.has_start:  # nothing may come after it: a run that is sent again may have its end
            self._write_first()

    def _set_end(self, state: int, when: float) -> None:
        info = messages().session_end(status=state, end_time_secs=when)
        self._unwritten = self._unwritten or info != self._end
        self._end = info

    def _write_first(self) -> None:
        # Not before there is something to draw: parameters that a run adds come early, and a
        # TensorBoard that is open takes the first hyperparameters that it sees.
        if self._unwritten:
            events = [_session(self._begun, session_start_info=self._start)]
            if self._end is not None:
                events.append(_session(self._begun, session_end_info=self._end))
            self.files.replace_first(events)
            self._unwritten = False

    # ---- what is appended ----------------------------------------------------------------------

    def log(self, events: Sequence[MetricEvent]) -> None:
        """Write those values of some events that are not there yet."""
        self._write_first()
        made = []
        new = [event for event in events if event.position not in self._recent]
        for event in new:
            self._last_step = max(self._last_step, event.step)
            values = self.lacking(event)
            if values:
                made.append(_scalars(event.step, self._when(event), values))
        self.files.append(made)
        self._recent.update((e.position, None) for e in new if e.position is not None)
        for position in list(self._recent)[:-_RECENT]:
            del self._recent[position]

    def lacking(self, event: MetricEvent) -> dict[str, float]:
        """Return the values of an event that are not in the files, by their tags."""
        values, when = named_metrics(event), self._when(event)
        if not self._points:
            return values
        return {t: v for t, v in values.items() if (t, event.step, when) not in self._points}

    def end(self, status: str, figures: object) -> None:
        """Write final figures and state, where they are not there yet."""
        when = self._time("finished_at") or time.time()
        values = {
            tag: value
            for tag, value in _figures(figures)
            if repr(self._latest.get(tag)) != repr((self._last_step, _single(tag, value)))
        }
        made = [_scalars(self._last_step, when, values)] if values else []
        state = _STATES.get(status, _UNKNOWN)
        if self._end is None:  # behind the rest, where a TensorBoard that is open finds it
            info = messages().session_end(status=state, end_time_secs=when)
            made.append(_session(when, session_end_info=info))
        else:
            self._set_end(state, when)
        self._write_first()
        self.files.append(made)

    def shows_end(self) -> bool:
        """Return whether the files say how the last attempt has ended."""
        record = run_record(self._ctx)
        return self._end is not None and (self._end.status, self._end.end_time_secs) == (
            _STATES.get(str(record.get("status"))),
            self._time("finished_at"),
        )

    # ---- times ---------------------------------------------------------------------------------

    def _when(self, event: MetricEvent) -> float:
        # An event made by hand may have no time; it gets the same one each time that it comes.
        return seconds(event.timestamp) or self._begun

    def _time(self, name: str) -> float | None:
        return seconds(run_record(self._ctx).get(name))


def _checked(log_dir: object) -> Path:
    try:
        text = os.fspath(log_dir)  # type: ignore[call-overload]
    except TypeError:
        text = None
    if not isinstance(text, str) or not text or "://" in text:
        raise ConfigError(
            f"TensorboardTracker: log_dir must be a folder on this machine, got {log_dir!r}; write "
            'for example log_dir="runs", or leave it out for a folder inside each run'
        )
    return Path(text).expanduser().absolute()  # the experiment may change the working folder


def _scalars(step: int, when: float, values: Mapping[str, float]) -> Any:
    made = messages()
    scalars = [made.summary.Value(tag=tag, simple_value=v) for tag, v in values.items()]
    return made.event(step=step, wall_time=when, summary=made.summary(value=scalars))


def _single(tag: str, value: float) -> float:
    return float(messages().summary.Value(tag=tag, simple_value=value).simple_value)


def _session(when: float, **info: Any) -> Any:
    """Return an event for the hparams plugin."""
    made, (name,) = messages(), info
    event = made.event(wall_time=when)
    value = event.summary.value.add(tag=f"_hparams_/{name}")
    value.metadata.plugin_data.plugin_name = "hparams"
    value.metadata.plugin_data.content = made.hparams(**info).SerializeToString()
    value.tensor.dtype = 1  # an empty tensor of floats: all is in the metadata
    value.tensor.tensor_shape.dim.add(size=0)
    return event


def _set(field: Any, value: object) -> None:
    """Fill a value of the hparams plugin: a bool, a number or a text."""
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, (int, float)) and abs(value) < 1e308 and math.isfinite(value):
        field.number_value = value
    elif isinstance(value, (list, dict)):
        field.string_value = encode_json(value).decode()
    else:
        field.string_value = str(value)


def _figures(figures: object) -> Iterator[tuple[str, float]]:
    """Yield the final figures that are numbers, under the names of their scalars."""
    for name, value in flat(plain(figures or {})):
        if is_number(value):
            yield FINAL + name, float(value)
