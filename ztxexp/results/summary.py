"""What became of one launch, in few lines: :class:`RunSummary`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ztxexp.results.failure_groups import FailureGroup
from ztxexp.results.requests import was_asked
from ztxexp.text import html
from ztxexp.text.format import cut, duration, plural, sanitize_for_terminal
from ztxexp.text.logs import last_lines, read_end
from ztxexp.text.terminal import in_notebook
from ztxexp_core.records import JOB_ENDED
from ztxexp_core.store.files import RunFiles

_KINDS_SHOWN = 5
_TAILS_SHOWN = 2  # of the most frequent kinds
_TAIL_LINES = 5
_ENDLESS = 10_000
_WIDTH = 120  # characters of a message or a line of a log; paths are never cut


class _ShownOnce:
    """Knows what its text leaves out; no field, so ``asdict`` has none.

    That is problems that have been shown, and other code that the user allows. Also what to type
    next, where the launch came from a shell.
    """

    __slots__ = ("_any_code", "_next_steps", "_shown_in")
    _any_code: bool
    _next_steps: list[tuple[str, str]]
    _shown_in: object

    def _leave_out_other_code(self, any_code: bool) -> None:
        self._any_code = any_code

    def _was_shown_in(self, place: object) -> None:
        self._shown_in = place

    def go_on_in_shell(self, steps: list[tuple[str, str]]) -> None:
        """Set the lines that somebody may type next, each with what it is for."""
        self._next_steps = steps

    def _next_lines(self) -> Iterator[str]:
        steps = getattr(self, "_next_steps", [])
        width = max((len(step) for step, _ in steps), default=0)
        room = _columns_of_terminal() - width - 9
        for number, (step, what) in enumerate(steps):
            shown = f"{step:<{width}}   {what}" if len(what) <= room else step
            yield f"{'      ' if number else 'next: '}{shown}"


@dataclass(slots=True)
class RunSummary(_ShownOnce):
    """What became of one launch; ``total == succeeded + failed + skipped``.

    ``print`` shows it with its failures by kind, and so does a notebook. Where the launch has just
    shown them in the same place, they are counted only; :meth:`problems` has them in any case.

    Attributes:
        total: configurations that were started and have ended.
        succeeded: how many succeeded.
        failed: how many failed.
        skipped: how many ended with ``SkipRun``.
        duration_sec: seconds from start to end of the launch.
        failed_run_ids: ids of the failed runs, each a folder below the results root.
        reused: configurations that were left out because an earlier launch, or another one at the
            same time, has carried them out (since 2.0).
        not_started: configurations that this launch did not come to (since 2.0).
        stopped_because: why it ended early, ``None`` where it did not (since 2.0).
        failures: the failed runs by kind, most frequent first (since 2.0).
        failed_elsewhere: how many of ``reused`` have failed, in another launch at the same time
            (since 2.0).
        lacking: by tracker, how many runs of this launch it lacks, in whole or in part (since 2.0).
        sync_commands: by tracker, the line that sends them (since 2.0).
        reused_of_other_code: how many of ``reused`` another version of the function has made, as
            far as is known (since 2.0).
        still_running: ids of runs whose records say ``running``, since their processes are still at
            work or their end could not be written; the next launch closes them (since 2.0).
        jobs: of a launch with ``detach``, the jobs that carry out its ``not_started`` runs without
            it, ``slurm:4711_3`` (since 2.0).

    Example:
        >>> RunSummary(4, 3, 1, 0, 2.35, ["20260301_101500_5f0c"]).failed
        1
    """

    total: int
    succeeded: int
    failed: int
    skipped: int
    duration_sec: float
    failed_run_ids: list[str]
    reused: int = 0
    not_started: int = 0
    stopped_because: str | None = None
    failures: list[FailureGroup] = field(default_factory=list)
    failed_elsewhere: int = 0
    lacking: dict[str, int] = field(default_factory=dict)
    sync_commands: dict[str, str] = field(default_factory=dict)
    reused_of_other_code: int = 0
    still_running: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return a few lines for people: the counts, and what failed."""
        lines = [self._counts()]
        if self._is_shown_above():
            return "\n".join([*lines, *self._in_short(self._of_shell)])
        lines += self._why_it_ended()
        # The last lines of the logs were shown once, when the launch ended; the count is above.
        lines += failures_text(self.failures, self.total, tails=0).splitlines()[1:]
        lines += lacking_lines(self.lacking, self.sync_commands)
        return "\n".join([*lines, *self._next_lines()])

    def _repr_html_(self) -> str:
        title = html.title(self._counts())
        if self._is_shown_above():
            return html.block(title, *map(html.note, self._in_short(self._of_shell)))
        rows = [
            [
                len(group.run_ids),
                f"{group.error_type}: {group.error_message.strip()}".removesuffix(": "),
                group.place or "",
                group.conditions() or f"{group.first_short} {group.first_config}".strip(),
            ]
            for group in self.failures
        ]
        header = ["runs", "failed with", "at", "only when, or the first run"]
        return html.block(
            title,
            *self._why_it_ended(),
            html.table(header, rows, most=_KINDS_SHOWN, noun="kind") if rows else "",
            *lacking_lines(self.lacking, self.sync_commands),
            html.lines("\n".join(self._next_lines())),
        )

    @property
    def _of_shell(self) -> bool:
        return hasattr(self, "_next_steps")

    def _is_shown_above(self) -> bool:
        """Return whether the launch has just said in the same place what went wrong."""
        shown_in = getattr(self, "_shown_in", None)
        here = sys.stderr if self._of_shell else sys.stdout  # which `ztxexp run` leaves to results
        return shown_in is not None and shown_in == place_of(here)

    def _why_it_ended(self) -> list[str]:
        lines = []
        if self.stopped_because:
            how = "stopped as asked," if was_asked(self.stopped_because) else "stopped:"
            lines.append(f"{how} {_first_line(self.stopped_because)}")
        if self.still_running:
            lines.append(f"still running: {_first_line(', '.join(self.still_running))}")
        return lines

    def _counts(self) -> str:
        """Return how many runs there were, and what became of them, in one line."""
        if self.jobs:
            reused = f"; {self.reused} reused" if self.reused else ""
            return f"{plural(self.not_started, 'run')} in {jobs_text(self.jobs)}{reused}"
        ran = "no runs"
        if self.total:
            ran = f"{plural(self.total, 'run')} in {duration(self.duration_sec)}"
        counts = {"succeeded": self.succeeded, "failed": self.failed, "skipped": self.skipped}
        quiet = getattr(self, "_any_code", False)
        others = {
            "reused": self.reused - self.failed_elsewhere,
            "of these made by other code": 0 if quiet else self.reused_of_other_code,
            "failed in another launch": self.failed_elsewhere,
            "still running": len(self.still_running),
            "not started": self.not_started,
        }
        line = ": ".join(filter(None, [ran, _counted(counts)]))
        return "; ".join(filter(None, [line, _counted(others)]))

    def _in_short(self, of_shell: bool) -> Iterator[str]:
        kinds: dict[str, int] = {}
        for group in self.failures:
            kind = cut(sanitize_for_terminal(group.error_type), _WIDTH)
            kinds[kind] = kinds.get(kind, 0) + len(group.run_ids)
        parts = [f"{count} {kind}" for kind, count in list(kinds.items())[:_KINDS_SHOWN]]
        parts += [f"{name} lacks {plural(n, 'run')}" for name, n in self.lacking.items()]
        text = f" ({sanitize_for_terminal(', '.join(parts))})" if parts else ""
        again = "" if of_shell else "; to see it again: print(summary.problems())"
        if parts or not was_asked(self.stopped_because):
            yield f"what went wrong stands above{text}{again}"

    def tell_problems(self, log: logging.Logger) -> None:
        """Log :meth:`problems` as a warning, if there are any; ``print`` need not repeat them."""
        problems = self.problems()
        if problems:
            log.warning(problems)  # not as an argument: its lines stay
            shown = list(map(place_of, _streams(log)))
            for here in map(place_of, (sys.stdout, sys.stderr)):
                if here is not None and here in shown:
                    self._was_shown_in(here)
                    return

    def _cut_short(self) -> int:
        """Return how many runs have ended because their job has."""
        return sum(len(one.run_ids) for one in self.failures if one.error_type == JOB_ENDED)

    def problems(self) -> str:
        """Return what a launch logs at its end: what went wrong, and what to type next.

        Returns:
            Some lines; an empty text where nothing failed, no tracker lacks anything and the launch
            was not stopped.
        """
        lines = [failures_text(self.failures, self.total)] if self.failures else []
        if self.stopped_because:
            why, short = _first_line(self.stopped_because), self._cut_short()
            counts = [(short, "cut short"), (self.not_started, "not started")]
            left = ", ".join(f"{plural(n, 'run')} {word}" for n, word in counts if n)
            how = "stopped as asked," if was_asked(self.stopped_because) else "stopped:"
            lines.insert(0, f"{how} {why}; {left}" if left else f"{how} {why}")
        if hasattr(self, "_next_steps"):
            lines += self._next_lines() if lines else ()
        elif self.stopped_because:
            lines.append("to go on, with the failed ones too: pipeline.resume().run(exp_fn)")
        elif self.failures:
            lines.append("to run only these again: pipeline.retry_failed().run(exp_fn)")
        lines += lacking_lines(self.lacking, self.sync_commands)
        return "\n".join(lines)


def jobs_text(jobs: Sequence[str]) -> str:
    """Return how many jobs of which engine there are, and their ids.

    Example:
        >>> jobs_text(["slurm:4711_0", "slurm:4711_1", "slurm:4711_2"])
        '3 jobs of slurm: 4711_0 to 4711_2'
    """
    engine = jobs[0].partition(":")[0]
    ranges: list[list[str]] = []
    for job in (name.partition(":")[2] for name in jobs):
        if ranges and _follows(ranges[-1][-1], job):
            ranges[-1].append(job)
        else:
            ranges.append([job])
    parts = [f"{each[0]} to {each[-1]}" if len(each) > 1 else each[0] for each in ranges]
    return sanitize_for_terminal(f"{plural(len(jobs), 'job')} of {engine}: {', '.join(parts)}")


def _follows(job: str, other: str) -> bool:
    """Return whether one job of an array comes right after another."""
    (array, _, number), (same, _, after) = job.rpartition("_"), other.rpartition("_")
    numbers = number.isdecimal() and after.isdecimal() and bool(array)
    return numbers and array == same and int(after) == int(number) + 1


def note_other_code(summary: RunSummary, count: int, any_code: bool) -> RunSummary:
    """Set how many of the reused results other code has made, and return the summary.

    Args:
        summary: of a launch.
        count: how many.
        any_code: its text does not name them.
    """
    summary.reused_of_other_code = count
    summary._leave_out_other_code(any_code)
    return summary


def _columns_of_terminal() -> int:
    """Return how wide the terminal is on which a launch says how it has ended."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _ENDLESS
    except (AttributeError, OSError, ValueError):  # none, a file, a pipe
        return _ENDLESS


def place_of(stream: Any) -> object:
    """Return a value that is equal for streams that a person reads in one place.

    That is a terminal, a file, a pipe, or a cell of a notebook; ``None`` where it is not known.
    """
    if in_notebook():
        ours = stream in (sys.stdout, sys.stderr)
        return ("cell", sys.modules["IPython"].get_ipython().execution_count) if ours else None
    try:
        status = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):  # none; closed; no file of the system
        return None
    return os.getpid(), status.st_dev, status.st_ino


def _streams(log: logging.Logger) -> Iterator[Any]:
    """Yield the streams to which a logger writes its warnings."""
    if not log.isEnabledFor(logging.WARNING):
        return
    handlers: list[logging.Handler | None] = []
    logger: logging.Logger | None = log
    while logger is not None:
        handlers += logger.handlers
        logger = logger.parent if logger.propagate else None
    for handler in handlers or [logging.lastResort]:
        if handler is not None and handler.level <= logging.WARNING:
            yield getattr(handler, "stream", None)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def lacking_lines(lacking: Mapping[str, int], commands: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each tracker that lacks runs, with what to type."""
    for name, count in lacking.items():
        line = f"{name} lacks {plural(count, 'run')}; to send them: {commands.get(name, '')}"
        yield sanitize_for_terminal(line)


def failures_text(groups: Sequence[FailureGroup], total: int, tails: int = _TAILS_SHOWN) -> str:
    """Say what failed: each kind once, with what it has in common and what its log says last.

    The logs are read when this is called.

    Args:
        groups: the kinds, most frequent first; the first few are shown.
        total: how many runs there were.
        tails: of how many kinds the last lines of the log are shown.

    Returns:
        Some lines, aligned; an empty text where nothing failed.

    Example:
        >>> print(failures_text(summary.failures, summary.total))
        2 of 24 runs failed
          2  ValueError: loss is nan at train.py:41 in step
             only when lr >= 0.5
             last lines of /data/results/20260301_101500_5f0c/error.log
               ValueError: loss is nan
    """
    if not groups:
        return ""
    counts = [len(group.run_ids) for group in groups]
    width = len(str(counts[0]))
    lines = [f"{sum(counts)} of {plural(total, 'run')} failed"]
    for rank, group in enumerate(groups[:_KINDS_SHOWN]):
        first, *rest = _lines_of(group, with_tail=rank < tails)
        lines.append(f"  {counts[rank]:>{width}}  {first}")
        lines += [f"  {'':{width}}  {line}" for line in rest]
    others = counts[_KINDS_SHOWN:]
    if others:
        lines.append(f"  and {plural(len(others), 'other kind')} ({plural(sum(others), 'run')})")
    return "\n".join(lines)


def _lines_of(group: FailureGroup, with_tail: bool) -> Iterator[str]:
    cause = _first_line(f"{group.error_type}: {group.error_message.strip()}").removesuffix(":")
    yield f"{cause} at {sanitize_for_terminal(group.place)}" if group.place else cause
    conditions = group.conditions()
    if conditions:
        yield f"only when {conditions}"
    elif group.first_config:
        name = "  ".join(filter(None, [group.first_short, group.first_config]))
        yield f"{'run' if len(group.run_ids) == 1 else 'the first is'} {name}"
    path, tail = _last_words(group.log)
    if tail and with_tail:
        yield f"last lines of {path}"
        yield from (f"  {line}" for line in tail)
    elif path:
        yield path


def _last_words(error_log: str) -> tuple[str, list[str]]:
    """Return the log that says most about a run, and its last lines; else the run's folder."""
    if not error_log:
        return "", []
    folder = os.path.dirname(error_log)
    for path in (error_log, RunFiles(folder).log):
        lines = last_lines(path, _TAIL_LINES)
        if lines or read_end(path, 1)[0] > 0:  # one line may be longer than is read
            return sanitize_for_terminal(path), [cut(line, _WIDTH) for line in lines]
    return sanitize_for_terminal(folder), []


def _first_line(text: str) -> str:
    """Return the first line of a string, fit to be shown."""
    return cut(sanitize_for_terminal(text.strip().partition("\n")[0].rstrip()), _WIDTH)
