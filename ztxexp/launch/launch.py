"""From a plan to a summary: :func:`launch` checks what was asked for, runs the plan, sums up.

Ctrl-C and SIGTERM end a launch: nothing more is started, what is under way is closed first.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from ztxexp.launch.deliveries import Deliveries
from ztxexp.launch.flushing import Flusher
from ztxexp.launch.loop import Sweep
from ztxexp.launch.options import (
    LaunchOptions,
    StopRule,
    checked_function,
    metadata,
    resolved_trackers,
    timeouts,
)
from ztxexp.launch.plan import Action, Plan, PlannedRun
from ztxexp.launch.queue import RunQueue
from ztxexp.progress.progress import Progress
from ztxexp.provenance.code_version import states_of, version_of
from ztxexp.results.claims import Claims
from ztxexp.results.history import Snapshot
from ztxexp.results.launches import LaunchWriter
from ztxexp.results.summary import RunSummary, lacking_lines, note_other_code
from ztxexp.targets import check_configs
from ztxexp.text.labels import differing_keys, label
from ztxexp_core.pickling import refuse_while_loading
from ztxexp_core.plugins import registry
from ztxexp_core.records import RunSpec
from ztxexp_core.run.launch import ExperimentFn, Launch
from ztxexp_core.run.run import RunOne
from ztxexp_core.run.settings import captured_settings
from ztxexp_core.run.trackers import INTERRUPTED_SEC
from ztxexp_core.store.liveness import beating, remove_old
from ztxexp_core.store.run_folder import (
    close_dead_run,
    new_run_id,
    prepare_root,
    remove_old_staging,
)

_log = logging.getLogger("ztxexp")
_Runs = Sequence[tuple[RunSpec, PlannedRun]]
_SENDING_SHARE = 6  # times tracker_timeout, for what trackers lack at the end of a launch


def launch(
    plan: Plan, results_root: Path, function: ExperimentFn | None, options: LaunchOptions
) -> RunSummary:
    """Carry out a plan.

    Args:
        plan: what is to be run.
        results_root: folder that holds a folder for every run.
        function: ``exp_fn(ctx) -> dict | None``.
        options: the settings of the launch.

    Raises:
        ValueError, TypeError, ZtxexpError: as :meth:`ExpRunner.run`.
    """
    refuse_while_loading()
    function = checked_function(function)
    executor = registry.executors().load(options.mode)
    options.check(executor)
    slots = options.gpu_slots()
    workers = options.worker_count(slots)
    settings = options.executor_settings(executor)
    live, here, tracker_specs = resolved_trackers(executor, options)
    root, to_run, counts = prepare_root(results_root), plan.to_run, plan.counts
    own_process = "in_process" not in executor.supports
    code = plan.code or version_of(function)
    shared = Launch(
        function,
        metadata(options, function, root if to_run else None, code),
        options.retry_rule(),
        tracker_specs,
        live,
        own_process=own_process,
        tracker_timeout=float(options.tracker_timeout),
        settings=captured_settings() if own_process else {},
        initializer=options.initializer,
        workdir=options.workdir,
        code_files=states_of(code.files),
    )
    check_configs(function, [item.config for item in to_run])
    limits = timeouts(to_run, options)
    run_one = RunOne(shared)
    if shared.own_process and to_run:
        run_one.packed()  # refused now rather than in every worker
    reused, started = counts.get(Action.REUSE, 0), time.monotonic()
    of_other_code = plan.reused_of_other_code
    with (
        Interrupts() as interrupts,
        closing(slots) if slots is not None else nullcontext(),
        Progress(
            len(to_run),
            mode=executor.ref.name,
            workers=workers,
            reused=reused,
            in_process=not shared.own_process,
            shown=options.progress,
        ) as progress,
    ):
        filtered = Action.FILTERED in counts and Action.REUSE not in counts
        if not to_run and (filtered or Action.LEFT_OUT in counts):  # not all has succeeded before
            _log.warning("%s", plan)
        elif plan.root is not None:
            progress.say(plan.one_line(code=False))  # a warning names these
        if plan.code_warning:
            _log.warning("%s", plan.code_warning)
        snapshot = plan.snapshot or Snapshot(root, make_index=False)
        tidy_root(root, snapshot)  # also where nothing is run
        if not to_run:
            summary = RunSummary(0, 0, 0, 0, 0.0, [], reused=reused)
            return note_other_code(summary, of_other_code, plan.other_code.any_code)
        fresh = options.new_processes
        varying = differing_keys(planned.config for planned in plan.items)
        runs = [
            (_spec(root, planned, limit, fresh, varying), planned)
            for planned, limit in zip(to_run, limits, strict=True)
        ]
        specs, keys = [spec for spec, _ in runs], _claim_keys(runs)
        if plan.snapshot is None:
            sharing: AbstractContextManager[Claims | None] = beating(root)
        else:
            sharing = _claims(root, snapshot, runs, keys)
        record = LaunchWriter(
            root,
            keep=plan.snapshot is not None,
            function=shared.metadata.function,
            mode=executor.ref.name,
            workers=workers,
            total=len(to_run),
            reused=reused,
            command=shared.metadata.command,
            cwd=os.getcwd(),
            sweep=options.sweep,
        )
        with closing(record), sharing as claims:
            queue = RunQueue(specs, progress, claims, keys, slots, _busy(runs))
            stop_rule = StopRule(options.max_failures, options.max_failures_in_a_row)
            deliveries = Deliveries(root, shared, here, progress)
            flusher = Flusher(root, options.flush_sec)
            sweep = Sweep(queue, run_one, shared.retry, stop_rule, progress, deliveries, flusher)
            try:
                interrupts.stop = queue.stop
                if not own_process:
                    run_one.prepare()
                sweep.run(executor, min(workers, len(specs)), settings)
                interrupts.raise_if_received()
                deliveries.send(_SENDING_SHARE * shared.tracker_timeout)
                flusher.close()
                record.end(sweep.counts(), sweep.stopped_because)
            except BaseException as exc:
                interrupted = isinstance(exc, KeyboardInterrupt)
                problem = "interrupted" if interrupted else f"{type(exc).__name__}: {exc}"
                record.end(sweep.counts(), problem)
                flusher.close(INTERRUPTED_SEC if interrupted else None)
                if interrupted:
                    progress.close()  # the sentence is the last to be read
                    message = sweep.interrupted_message(plan.snapshot is not None)
                    _log.warning("%s", message)
                patience = shared.tracker_timeout
                deliveries.send_dead(min(patience, INTERRUPTED_SEC) if interrupted else patience)
                for line in lacking_lines(deliveries.counts(), deliveries.commands()):
                    _log.warning("%s", line)
                if type(exc) is KeyboardInterrupt:  # nothing of the script's
                    raise LaunchInterrupted.of(message) from None
                raise
    summary = sweep.summary(time.monotonic() - started, reused)
    note_other_code(summary, of_other_code, plan.other_code.any_code)
    summary.tell_problems(_log)
    return summary


def tidy_root(root: Path, snapshot: Snapshot) -> list[Path]:
    """Close the runs that a snapshot shows as dead; remove what dead processes have left.

    Returns:
        The folders of the runs that were closed.
    """
    remove_old_staging(root, snapshot.staged, snapshot.taken_at)
    remove_old(root)
    return [folder for folder in snapshot.dead_runs() if close_dead_run(folder)]


# ---- what is handed to the executor ------------------------------------------------------------


def _spec(
    root: Path, planned: PlannedRun, timeout: float | None, fresh: bool, varying: Sequence[str]
) -> RunSpec:
    folder = planned.folder
    run_id = new_run_id() if folder is None else folder.name
    return RunSpec(
        run_id,
        root / run_id,
        planned.config,
        planned.identity,
        planned.attempt,
        timeout=timeout,
        fresh_process=fresh,
        name=label(planned.config, varying) if varying else "",
    )


def _busy(runs: _Runs) -> dict[str, Path]:
    """Return the folders of runs that were under way at the snapshot, by this launch's run id."""
    busy = [(spec, item.past) for spec, item in runs if item.action is Action.BUSY]
    return {spec.run_id: past.folder for spec, past in busy if past is not None}


def _claim_keys(runs: _Runs) -> dict[str, str]:
    """Return the claim key of each run by its id; the same configuration twice has two."""
    keys: dict[str, str] = {}
    times: dict[str, int] = {}
    for spec, item in runs:
        if item.claim_key is not None:
            nth = times[item.claim_key] = times.get(item.claim_key, 0) + 1
            keys[spec.run_id] = item.claim_key if nth == 1 else f"{item.claim_key}-{nth}"
    return keys


def _claims(root: Path, snapshot: Snapshot, runs: _Runs, keys: Mapping[str, str]) -> Claims:
    """Open the claims, which know what had ended before the snapshot of this launch."""
    ended = {
        keys[spec.run_id]: item.past.run_id
        for spec, item in runs
        if spec.run_id in keys and item.past is not None and item.action is not Action.BUSY
    }
    return Claims(root, ended, snapshot.taken_at, [spec.run_id for spec, _ in runs])


# ---- Ctrl-C and SIGTERM ------------------------------------------------------------------------


class LaunchInterrupted(KeyboardInterrupt):
    """The user's Ctrl-C, after a launch has closed its runs and said what is done.

    A script that does not catch it ends with exit code 130 and without a traceback, which would
    show nothing but where the launch was waiting. A notebook shows one line.
    """

    @staticmethod
    def of(message: str) -> LaunchInterrupted:
        """Return the exception for this process: where people type, nothing must end it."""
        return (LaunchInterrupted if hasattr(sys, "ps1") else _EndsScript)(message)

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows instead of a traceback."""
        return ["KeyboardInterrupt (what was done stands above)"]


class _EndsScript(LaunchInterrupted, SystemExit):
    """Python itself ends with this code, without a traceback, where nothing catches it."""

    def __init__(self, *args: object):
        super().__init__(*args)
        self.code = 128 + signal.SIGINT


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C before the first run and after the last one end as it does between them."""
    try:
        yield
    except KeyboardInterrupt as exc:
        if type(exc) is not KeyboardInterrupt:
            raise
        message = "interrupted while no run was under way"
        if not isinstance(exc.__context__, KeyboardInterrupt):  # told before the second Ctrl-C
            _log.warning("%s", message)
        raise LaunchInterrupted.of(message) from None


_open: list[Interrupts] = []
_OURS = {signal.SIGINT, signal.SIGTERM}
_PROGRAMS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXCPU")
    if hasattr(signal, name)
]
_masks: list[set[Any]] = []  # of the threads that are forking, as they were before


class Interrupts:
    """While it is open, SIGINT and SIGTERM raise ``KeyboardInterrupt``, and are remembered.

    A run that catches whatever is raised (a bare ``except:``) holds the first one back; so the
    launch asks here. When it closes after SIGTERM, the process ends by it; a second SIGTERM ends
    the process at once.

    Handlers of the program's own, such as one that calls ``sys.exit``, stay in use. What one of
    them raises ends the launch, and leaves it as it was raised.

    Does nothing outside the main thread, where Python delivers no signals.

    Attributes:
        received: whether one has come.
        stop: called when one comes, before anything is raised.

    Example:
        >>> with Interrupts() as interrupts:
        ...     interrupts.stop = queue.stop
        ...     sweep.run(executor, workers, options)
        ...     interrupts.raise_if_received()
    """

    def __init__(self) -> None:
        self.received = False
        self.stop: Callable[[], object] = lambda: None
        self._by_term = False
        self._before: dict[int, Any] = {}
        self._own: dict[int, Any] = {}  # our handlers in their places
        self._raised: BaseException | None = None  # by a handler of the program's

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            _watch_forks()
            usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
            for signum, handler in usual.items():
                if signal.getsignal(signum) is handler:
                    self._replace(signum, self._interrupt)
            for signum in _PROGRAMS:
                handler = signal.getsignal(signum)
                usual_one = handler is signal.default_int_handler or signum in self._before
                if callable(handler) and not usual_one:
                    self._replace(signum, self._passed_on)
            _open.append(self)
        return self

    def _replace(self, signum: int, handler: Callable[[int, FrameType | None], None]) -> None:
        self._before[signum] = signal.getsignal(signum)
        self._own[signum] = handler
        signal.signal(signum, handler)

    def raise_if_received(self) -> None:
        """Raise the ``KeyboardInterrupt`` that somebody has swallowed.

        Raises:
            KeyboardInterrupt: one had come.
        """
        if self.received:
            raise KeyboardInterrupt

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGTERM:
            signal.signal(signum, signal.SIG_DFL)
            self._by_term = True
        self.received = True
        self.stop()
        raise KeyboardInterrupt

    def _passed_on(self, signum: int, frame: FrameType | None) -> None:
        try:
            self._before[signum](signum, frame)
        except BaseException as exc:
            self.received, self._raised = True, exc
            self.stop()
            exc.ends_launch = True  # type: ignore[attr-defined]  # no run is tried again after it
            raise

    def restore(self) -> None:
        """Restore the previous handlers; what a run has set meanwhile stays."""
        for signum, handler in self._before.items():
            if signal.getsignal(signum) == self._own[signum]:
                signal.signal(signum, handler)
        self._before.clear()

    def __exit__(self, *exc: object) -> None:
        if self in _open:
            _open.remove(self)
        self.restore()
        if self._by_term:  # whoever sent it sees the process end by it
            os.kill(os.getpid(), signal.SIGTERM)
        if self._raised is not None and isinstance(exc[1], KeyboardInterrupt):
            raise self._raised from None


@functools.cache
def _watch_forks() -> None:
    """A forked child uses its own handlers: only the launcher closes anything.

    Python's handler would not even run in a child that is busy in C, or waits for a lock, and
    ``terminate()`` of a pool would wait for it for ever. Until the child has its own handlers the
    signals wait: Python forgets what comes in between.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_in_child)


def _hold() -> None:
    if _open:
        _masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, _OURS))


def _let_go() -> None:
    if _masks:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.pop())


def _in_child() -> None:
    while _open:
        _open.pop().restore()
    _let_go()
