"""What became of one launch, and its failures in few lines: :class:`RunSummary`.

The kinds of failures and the words for them are here; how failures are sorted by kind, and told
from successes, stands in :mod:`ztxexp.results.failure_groups`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ztxexp.text.format import cut, duration, plural, sanitize_for_terminal
from ztxexp.text.logs import last_lines, read_end
from ztxexp_core.records import RunOutcome
from ztxexp_core.store.files import RunFiles

_KINDS_SHOWN = 5
_TAILS_SHOWN = 2  # of the most frequent kinds
_TAIL_LINES = 5
_WIDTH = 120  # characters of a message or a line of a log; paths are never cut
_NUMBERS = re.compile(r"0[xX][0-9a-fA-F]+|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_MESSAGE_COMPARED = 300  # characters


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one kind: the same exception at the same place.

    Attributes:
        error_type: name of the exception's class, ``WorkerDied`` or ``Timeout``.
        error_message: message of the first of them.
        place: where in the user's code it was raised, ``train.py:12 in step``; ``None`` where
            there is no such place, as for a worker that was killed.
        run_ids: the runs, in the order in which they ended.
        log: path of the ``error.log`` of the first one.
        separated_by: configuration keys, dotted for nested ones, each of which alone tells these
            runs from those that succeeded, with a text for the values that fail, such as
            ``{"lr": ">= 0.5"}`` or ``{"optimizer": "in ('lion', 'adam')"}``.
    """

    error_type: str
    error_message: str
    place: str | None
    run_ids: tuple[str, ...]
    log: str
    separated_by: dict[str, str] = field(default_factory=dict)


def failure_kind(outcome: RunOutcome) -> object:
    """Return what two failures have in common if they are of one kind, to be compared.

    The same exception, raised at the same place, for the same reason. Where no place is known (a
    worker that died), those are of one kind whose messages differ in numbers only.
    """
    where = outcome.place
    if where is None:
        text = (outcome.error_message or "").replace(outcome.run_id, "")[:_MESSAGE_COMPARED]
        where = _NUMBERS.sub("0", text)
    # Signal and exit code by themselves: they are what differs between two deaths.
    told = outcome.error_type, outcome.place is None, where, outcome.reason
    return *told, outcome.signal, outcome.exit_code


@dataclass(slots=True)
class RunSummary:
    """What became of one launch; ``total == succeeded + failed + skipped``.

    ``print`` shows it with its failures by kind, and so does a notebook.

    Attributes:
        total: configurations that were started.
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

    def __str__(self) -> str:
        """Return a few lines for people: the counts, and what failed."""
        counts = ", ".join(self._counts())
        head = self._what_ran() + (f": {counts}" if counts else "")
        if others := self._others():
            head += f"; {', '.join(others)}"
        lines = [head]
        if self.stopped_because:
            lines.append(f"stopped: {_line(self.stopped_because)}")
        if self.failures:
            # The last lines of their logs were shown once, when the launch ended.
            lines.append(failures_text(self.failures, self.total, tails=0))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the same, in the notebook's own colours."""
        counts = "".join(f"<li>{text}</li>" for text in self._counts() + self._others())
        parts = [f"<p><strong>{_escaped(self._what_ran())}</strong></p>"]
        if counts:
            parts.append(f"<ul>{counts}</ul>")
        if self.stopped_because:
            parts.append(f"<p>stopped: {_escaped(_line(self.stopped_because))}</p>")
        if self.failures:
            parts.append(_failures_html(self.failures, self.total))
        return f"<div>{''.join(parts)}</div>"

    def _what_ran(self) -> str:
        if not self.total:
            return "no runs"
        return f"{plural(self.total, 'run')} in {duration(self.duration_sec)}"

    def _counts(self) -> list[str]:
        told = [(self.succeeded, "succeeded"), (self.failed, "failed"), (self.skipped, "skipped")]
        return [f"{count} {word}" for count, word in told if count]

    def _others(self) -> list[str]:
        told = [
            (self.reused - self.failed_elsewhere, "reused"),
            (self.failed_elsewhere, "failed in another launch"),
            (self.not_started, "not started"),
        ]
        return [f"{count} {word}" for count, word in told if count]


# ---- failures in words -----------------------------------------------------------------------


def failures_text(groups: Sequence[FailureGroup], total: int, tails: int = _TAILS_SHOWN) -> str:
    """Say what failed: each kind once, with what it has in common and what its log says last.

    The logs are read when this is called.

    Args:
        groups: the kinds, most frequent first; the first few are told.
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
    shown = groups[:_KINDS_SHOWN]
    width = max(len(str(len(group.run_ids))) for group in shown)
    lines = [_how_many_failed(groups, total)]
    for rank, group in enumerate(shown):
        head, *rest = _lines_of(group, with_tail=rank < tails)
        lines.append(f"  {len(group.run_ids):>{width}}  {head}")
        lines += [f"  {'':{width}}  {line}" for line in rest]
    if others := _other_kinds(groups):
        lines.append(f"  {others}")
    return "\n".join(lines)


def _lines_of(group: FailureGroup, with_tail: bool) -> Iterator[str]:
    yield _cause(group)
    if group.separated_by:
        yield f"only when {conditions(group)}"
    path, tail = _tail(group)
    if with_tail and tail:
        yield f"last lines of {path}"
        yield from (f"  {line}" for line in tail)
    elif path:
        yield path


def _failures_html(groups: Sequence[FailureGroup], total: int) -> str:
    rows = "".join([_row(group) for group in groups[:_KINDS_SHOWN]])
    head = "".join(f"<th {_CELL}>{name}</th>" for name in ("runs", "failure", "only when"))
    others = _other_kinds(groups)
    return (
        f"<p>{_how_many_failed(groups, total)}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        + (f"<p>{others}</p>" if others else "")
    )


# No colours: a notebook has its own, light or dark.
_CELL = 'style="text-align: left; vertical-align: top"'
_LOG = 'style="color: inherit; background: none; white-space: pre-wrap; overflow-wrap: anywhere"'


def _row(group: FailureGroup) -> str:
    path, tail = _tail(group)
    what = _escaped(_cause(group))
    if tail:
        log = _escaped("\n".join(tail))
        summary = f"<summary>last lines of <code>{_escaped(path)}</code></summary>"
        what += f"<details>{summary}<pre {_LOG}>{log}</pre></details>"
    elif path:
        what += f"<br><code>{_escaped(path)}</code>"
    cells = (str(len(group.run_ids)), what, _escaped(conditions(group)))
    return f"<tr>{''.join(f'<td {_CELL}>{cell}</td>' for cell in cells)}</tr>"


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)


def _how_many_failed(groups: Sequence[FailureGroup], total: int) -> str:
    return f"{sum(len(group.run_ids) for group in groups)} of {plural(total, 'run')} failed"


def _other_kinds(groups: Sequence[FailureGroup]) -> str:
    left = groups[_KINDS_SHOWN:]
    if not left:
        return ""
    failed = plural(sum(len(group.run_ids) for group in left), "run")
    return f"and {plural(len(left), 'other kind')} ({failed})"


def _cause(group: FailureGroup) -> str:
    said = _line(f"{group.error_type}: {group.error_message.strip()}").removesuffix(":")
    return f"{said} at {sanitize_for_terminal(group.place)}" if group.place else said


def conditions(group: FailureGroup) -> str:
    """Say what tells these failures from the runs that succeeded; empty where nothing does."""
    first, *rest = [
        sanitize_for_terminal(f"{key} {text}") for key, text in group.separated_by.items()
    ] or [""]
    return f"{first} (equally: {', '.join(rest)})" if rest else first


def _tail(group: FailureGroup) -> tuple[str, list[str]]:
    """Return the log that says most about the first run, and its last lines; else its folder."""
    if not group.log:
        return "", []
    folder = os.path.dirname(group.log)
    for path in (group.log, RunFiles(folder).log):
        lines = last_lines(path, _TAIL_LINES)
        if lines or read_end(path, 1)[0] > 0:  # one line may be longer than is read
            return sanitize_for_terminal(path), [cut(line, _WIDTH) for line in lines]
    return sanitize_for_terminal(folder), []


def _line(text: str) -> str:
    """Return the first line of a text, fit to be shown."""
    return cut(sanitize_for_terminal(text.strip().partition("\n")[0].rstrip()), _WIDTH)
