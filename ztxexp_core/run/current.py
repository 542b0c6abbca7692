"""The runs under way in this process, and :func:`log`, which finds the one that it is called in."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, SupportsFloat

from ztxexp_core.context import RunContext
from ztxexp_core.records import RunMetadata
from ztxexp_core.store.files import RunFiles, open_to_write
from ztxexp_core.values.codec import encode, plain

RUN_DIR, RUN_ID, ATTEMPT = "ZTXEXP_RUN_DIR", "ZTXEXP_RUN_ID", "ZTXEXP_ATTEMPT"
"""Variables by which a process that a run starts knows the run."""
CONFIG, METRICS = "ZTXEXP_CONFIG", "ZTXEXP_METRICS"
"""Further ones of a command: the configuration, and the file that it appends metrics to."""

_log = logging.getLogger("ztxexp")
_here: ContextVar[RunContext | None] = ContextVar("ztxexp_run", default=None)
_under_way: list[tuple[int, RunContext]] = []  # of this process, with the thread of each
_counts: dict[tuple[Any, ...], Iterator[int]] = {}  # of steps, where none is given
_of_environment: dict[tuple[str, str], RunContext] = {}


@contextlib.contextmanager
def current(ctx: RunContext) -> Iterator[None]:
    """Make a run the one that :func:`log` writes to, meanwhile."""
    entry = threading.get_ident(), ctx
    token = _here.set(ctx)
    _under_way.append(entry)
    in_main = threading.current_thread() is threading.main_thread()  # others share the environment
    before = {name: os.environ.get(name) for name in _VARIABLES} if in_main else {}
    if in_main:
        os.environ.update(_variables(ctx))
        os.environ.pop(METRICS, None)  # of a command that this process is
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not None:
                os.environ[name] = value
            elif name in os.environ:
                del os.environ[name]
        _under_way.remove(entry)
        _here.reset(token)
        for key in [key for key in _counts if key[:2] == (ctx.run_id, ctx.attempt)]:
            del _counts[key]


_VARIABLES = (RUN_DIR, RUN_ID, ATTEMPT, METRICS)


def _variables(ctx: RunContext) -> dict[str, str]:
    return {RUN_DIR: str(ctx.run_dir), RUN_ID: ctx.run_id, ATTEMPT: str(ctx.attempt)}


def log(
    first: int | Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
    /,
    *,
    step: int | None = None,
    split: str = "train",
    phase: str = "fit",
    **metrics: SupportsFloat,
) -> None:
    """Log one step of a curve from anywhere inside a run.

    In the run's function, in threads and processes that it starts, and in a Python program that is
    run as a command. Outside of a run the values go to the log ``ztxexp`` at level INFO, so that
    the function can be called by hand.

    Args:
        first: the step, an integer; or the metrics as a mapping.
        values: metrics as a mapping, for names that are no words of Python, or are called ``step``,
            ``split`` or ``phase``.
        step: the step by keyword. Without one, steps count up from 0, for each split.
        split: part of the data.
        phase: what the program is doing.
        **metrics: name to number.

    Raises:
        TypeError: the step is given twice, or an argument is of another kind.
        MetricError: the step is not an integer.

    Example:
        >>> ztxexp.log(epoch, loss=0.3, accuracy=0.91)
        >>> ztxexp.log({"top-1": 0.8}, step=epoch, split="valid")
    """
    named = dict(metrics)
    if isinstance(first, Mapping):
        if values is not None:
            raise TypeError("log takes one mapping of metrics: log(step, {...}) or log({...})")
        named = {**first, **named}
    elif first is not None:
        if step is not None:
            raise TypeError(f"log got the step twice: {first!r} and step={step!r}")
        step = first
    if values is not None:
        if not isinstance(values, Mapping):
            raise TypeError(f"log takes metrics as a mapping, got {type(values).__name__}")
        named = {**values, **named}
    ctx = _run_here()
    if ctx is not None:
        log_step(ctx, step, named, split, phase)
    elif path := os.environ.get(METRICS):
        _append(path, step, named, split, phase)
    else:
        place = "" if step is None else f"step {step} "
        pairs = " ".join(f"{name}={value}" for name, value in named.items())
        _log.info("%s%s%s", place, "" if split == "train" else f"{split} ", pairs)


def log_step(
    ctx: RunContext,
    step: int | None,
    metrics: Mapping[str, Any],
    split: str = "train",
    phase: str = "fit",
) -> None:
    """Log a step to a run; without a number it is the one after the last without a number."""
    if step is None:
        step = next(_counts.setdefault((ctx.run_id, ctx.attempt, split), itertools.count()))
    ctx.log_metric(step, metrics, split, phase)


def _run_here() -> RunContext | None:
    """Return the run that this is called in; ``None`` where there is none, or nobody knows which.

    A thread that a run has started does not know its run, unless it is the only one.
    """
    ctx = _here.get()
    if ctx is not None:
        return ctx
    if _under_way:
        if len({thread for thread, _ in _under_way}) == 1:  # several are one in another
            return _under_way[-1][1]
        _warn_once(
            "log() in a thread of its own, while several runs are under way in this process: which "
            "one it belongs to is not known; use ctx.log_metric there"
        )
        return None
    folder = os.environ.get(RUN_DIR)
    if folder is None or METRICS in os.environ or not os.path.isdir(folder):
        return None
    return _run_of_environment(folder, os.environ.get(ATTEMPT, "1"))


@functools.cache
def _warn_once(message: str) -> None:
    _log.warning("%s", message)


def _run_of_environment(folder: str, attempt: str) -> RunContext:
    """Return the run whose function has started this process."""
    key = folder, attempt
    if key not in _of_environment:
        from ztxexp_core.run.output import RunLogger

        path, files = Path(folder), RunFiles(folder)
        meta = RunMetadata(attempt=int(attempt) if attempt.isdigit() else 1)
        logger = RunLogger(path.name, files.log)
        _of_environment[key] = RunContext(path.name, path, {}, logger, meta, Path(files.curve))
    return _of_environment[key]


def _append(
    path: str, step: int | None, metrics: Mapping[str, Any], split: str, phase: str
) -> None:
    """Append a line to the file from which the run of a command takes metrics."""
    row: dict[str, Any] = {**plain(metrics), "split": split, "phase": phase}
    if step is not None:
        row["step"] = step
    fd = open_to_write(path)
    try:
        os.write(fd, encode(row) + b"\n")
    finally:
        os.close(fd)
