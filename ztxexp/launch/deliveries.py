"""What the trackers of a launch lack: counted while it goes on, and sent before it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from ztxexp.progress.progress import Progress
from ztxexp.provenance.masking import mask_command
from ztxexp.replay import context_of, deliver_run
from ztxexp.results.to_type import where_option
from ztxexp.text.format import plural, short_path
from ztxexp_core.contracts import Tracker
from ztxexp_core.delivery.limits import await_hanging
from ztxexp_core.delivery.state import TrackerTarget, target_for_instance
from ztxexp_core.delivery.thread import MAX_FAILURES
from ztxexp_core.errors import StoreError, without_secrets
from ztxexp_core.records import RunOutcome, TrackerSpec
from ztxexp_core.run.launch import Launch
from ztxexp_core.run.trackers import remote_targets
from ztxexp_core.store.files import RunFiles, known_record

_log = logging.getLogger("ztxexp")

_SILENT_SEC = 1.0
_FIRST_PAUSE_SEC, _LONGEST_PAUSE_SEC = 60.0, 3600.0


class HungTrackers:
    """Trackers that took too long; each is tried again for one run after pauses that grow.

    Example:
        >>> hung = HungTrackers()
        >>> hung.ended("run1", ["mlflow"])
        >>> hung.excluded("run2")
        ('mlflow',)
    """

    def __init__(self) -> None:
        self._pauses: dict[str, float] = {}
        self._due: dict[str, float] = {}  # monotonic seconds
        self._trying: dict[str, str] = {}  # the run for which a tracker is tried again

    def excluded(self, run_id: str) -> tuple[str, ...]:
        """Return the labels of the trackers that are not called for a run about to start."""
        now = time.monotonic()
        for label, due in self._due.items():
            if now >= due and label not in self._trying:
                self._trying[label] = run_id
        return tuple(label for label in self._pauses if self._trying.get(label) != run_id)

    def ended(self, run_id: str, hung: Collection[str]) -> None:
        """Note which trackers have hung in a run."""
        tried = [label for label, run in self._trying.items() if run == run_id]
        for label in dict.fromkeys((*tried, *hung)):
            if label in tried:
                del self._trying[label]
                if label not in hung:
                    del self._pauses[label], self._due[label]
                    continue
            elif label in self._pauses:  # a run that began before it was known
                continue
            pause = min(2 * self._pauses.get(label, _FIRST_PAUSE_SEC / 2), _LONGEST_PAUSE_SEC)
            self._pauses[label], self._due[label] = pause, time.monotonic() + pause


class Deliveries:
    """The runs that each tracker of a launch lacks, and the launcher's part in sending them.

    Tracker instances of the user that stay in this process, while the runs are in others, are told
    each run when it has ended, by a thread.

    Args:
        root: the results root.
        launch: its trackers.
        here: labels and instances that are told in this process.
        progress: shows what trackers lack, and what is being sent.
    """

    def __init__(
        self,
        root: Path,
        launch: Launch,
        here: Sequence[tuple[str, Tracker]],
        progress: Progress,
    ) -> None:
        self._root = root
        self._launch = launch
        self._progress = progress
        timeout = launch.tracker_timeout
        self._here = [target_for_instance(label, tracker, timeout) for label, tracker in here]
        remote = list(remote_targets(launch))
        self._targets = [*remote, *self._here]
        for target in remote:
            progress.lacking(target.label, 0)
        self._lacking: dict[str, dict[Path, float]] = {}
        self._dead: dict[Path, None] = {}
        self._hung = HungTrackers()
        self._logged: set[str] = set()
        self._in_haste = False
        self._lock = threading.Lock()
        self._ended: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._tell, name="ztxexp-deliveries", daemon=True)
        if self._here:
            with contextlib.suppress(RuntimeError):  # no thread: told at the end
                self._thread.start()

    # ---- while the launch goes on ----------------------------------------------------------------

    def ended(self, run_dir: Path, outcome: RunOutcome) -> None:
        """Note what trackers lack of a run that has ended."""
        for label, seconds in outcome.lacking:
            if label:
                self._set(label, run_dir, seconds)
            else:  # read from the disk, which does not say what trackers have
                self.died(run_dir)
        for target in self._here:
            self._set(target.label, run_dir, 0.0)
        if self._here:
            self._ended.put(run_dir)

    def died(self, run_dir: Path) -> None:
        """Note that the process of a run died: no tracker has its end."""
        self._dead[run_dir] = None
        for target in self._targets:
            self._set(target.label, run_dir, 0.0)

    def started_again(self, run_dir: Path) -> None:
        """Note that a run whose process died goes on."""
        self._dead.pop(run_dir, None)
        for target in self._targets:
            self._set(target.label, run_dir, None)

    def _set(self, label: str, run_dir: Path, seconds: float | None) -> None:
        """Note that a tracker lacks something, with the seconds for the rest; ``None``: nothing."""
        with self._lock:
            runs = self._lacking.setdefault(label, {})
            if seconds is None:
                runs.pop(run_dir, None)
            else:
                runs[run_dir] = seconds
        if label not in {target.label for target in self._here}:  # these are a moment behind
            self._progress.lacking(label, len(runs))

    def _tell(self) -> None:
        while (run_dir := self._ended.get()) is not None:
            for target in self._here:
                run_id = run_dir.name
                if target.label not in self._hung.excluded(run_id):
                    hung = not self._deliver(target, run_dir)
                    self._hung.ended(run_id, [target.label] if hung else [])

    def _deliver(
        self, target: TrackerTarget, run_dir: Path, until: float | None = None
    ) -> bool | None:
        """Send a run; returns whether the tracker answers, ``None`` if it refused the run."""
        try:
            run = known_record(RunFiles(run_dir).run) or {}
            report = deliver_run(context_of(run_dir), run, target, until, self._log_once)
        except (OSError, StoreError) as exc:  # the files of the run
            _log.warning("run %s was not sent to %r: %s", run_dir.name, target.label, exc)
            return True
        if report.complete:
            self._set(target.label, run_dir, None)
        if report.hung:
            return False
        return True if report.started else None

    def _log_once(self, name: str, call: str, exc: BaseException) -> None:
        """Log a failure, unless a run has had the same, or the haste at the end is its cause."""
        if self._in_haste and isinstance(exc, TimeoutError):
            return
        problem = without_secrets(f"{type(exc).__name__}: {exc}")
        text = f"tracker {name!r} failed in {call}: {problem}"
        if self.is_news(text):
            _log.warning("%s", text)

    def is_news(self, notice: str) -> bool:
        """Return whether nothing like a notice of a run was logged before."""
        topic = _topic(notice)
        with self._lock:
            news = topic not in self._logged
            self._logged.add(topic)
        return news

    # ---- at its end ------------------------------------------------------------------------------

    def send(self, seconds: float) -> None:
        """Send what is lacking, for so many seconds at most."""
        until = time.monotonic() + seconds
        if self._thread.is_alive():
            self._ended.put(None)
            self._thread.join(min(seconds, _SILENT_SEC))
            if self._thread.is_alive():
                self._show(self._here, seconds)
            while self._thread.is_alive() and time.monotonic() < until:
                self._thread.join(0.1)
        for target in self._targets:
            limit = target.timeout  # what would take longer was too slow before
            runs = [run for run, rest in self._runs(target) if rest <= limit]
            if runs:
                self._show([target], max(0.0, until - time.monotonic()))
                if await_hanging(target, until):
                    self._send_all(target, runs, until)
        self._progress.waiting_for(None)

    def send_dead(self, seconds: float) -> None:
        """Send the ends of runs whose process died, for so many seconds at most."""
        until = time.monotonic() + seconds
        self._in_haste = seconds < min((target.timeout for target in self._targets), default=0.0)
        if self._here:
            self._ended.put(None)
        for target in self._targets:
            quick = dataclasses.replace(target, timeout=min(target.timeout, seconds))
            self._send_all(quick, list(self._dead), until)

    def _send_all(self, target: TrackerTarget, runs: Sequence[Path], until: float) -> None:
        failures = 0  # in a row
        for done, run_dir in enumerate(runs):
            if time.monotonic() >= until or failures >= MAX_FAILURES:
                return
            if done:
                self._show([target], max(0.0, until - time.monotonic()))
            answers = self._deliver(target, run_dir, until)
            if answers is False:
                return
            failures = 0 if answers else failures + 1

    def _runs(self, target: TrackerTarget) -> list[tuple[Path, float]]:
        with self._lock:
            return list(self._lacking.get(target.label, {}).items())

    def _show(self, targets: Sequence[TrackerTarget], seconds: float) -> None:
        counts = {target.label: len(self._runs(target)) for target in targets}
        missing = [f"{plural(n, 'run')} to {label}" for label, n in counts.items() if n]
        if missing:
            self._progress.sending(f"sending {', '.join(missing)}, for {seconds:.0f} s at most")

    def counts(self) -> dict[str, int]:
        """Return how many runs each tracker lacks; only those that lack any."""
        with self._lock:
            return {label: len(runs) for label, runs in self._lacking.items() if runs}

    def commands(self) -> dict[str, str]:
        """Return the line that sends them, for each tracker that lacks any."""
        specs = {spec.label or spec.name: spec for spec in self._launch.trackers}
        return {
            label: _command(self._root, specs[label])
            if label in specs
            else f"ztxexp.sync({short_path(self._root)!r}, tracker)  # the instance of {label}"
            for label in self.counts()
        }


def _command(root: Path, spec: TrackerSpec) -> str:
    options = []
    for key, value in spec.kwargs.items():
        text = value if isinstance(value, (str, os.PathLike)) else json.dumps(value, default=str)
        options.append(f"{key}={os.fspath(text)}")
    line = mask_command(["ztxexp", "sync", spec.name, *options])
    return line.replace("ztxexp sync", f"ztxexp sync{where_option(root)}", 1)


def _topic(notice: str) -> str:
    """Return a text that is equal for notices of which one is enough.

    They are failures of one tracker in one call with one class of error, whatever the message; and
    threads that were left, whatever their numbers.
    """
    if notice.startswith("tracker "):
        return ": ".join(notice.split(": ", 2)[:2])
    return re.sub(r"Thread-\d+", "Thread", notice)
