"""What has failed below a results root, by kind, for its status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp.progress.unfinished import launch_at
from ztxexp.results.failure_groups import failure_kind
from ztxexp.results.launches import DIED, LaunchRecord
from ztxexp.results.names import NamedRuns
from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp_core.records import RUN_STATUS_FAILED, RunOutcome
from ztxexp_core.store.run_folder import LOST, effective_record

_MESSAGE = 100  # characters


@dataclass(frozen=True)
class FailureKind:
    """Failures of one kind.

    Attributes:
        count: how many runs.
        text: what went wrong, in a line.
        run_id: the first of them.
        short: its short id.
        name: what it is called: the keys that vary.
    """

    count: int
    text: str
    run_id: str
    short: str
    name: str


def failures_of(
    runs: NamedRuns, records: Sequence[LaunchRecord]
) -> tuple[list[FailureKind], list[object]]:
    """Return the failures that were not run again, by kind, and when these runs began."""
    failed = [at for at, status in enumerate(runs.statuses) if status == RUN_STATUS_FAILED]
    if not failed:
        return [], []
    newest = {places[0] for places in runs.latest.values()}
    kinds: dict[object, list[int]] = {}
    texts: dict[object, str] = {}
    began: list[object] = []
    for at in failed:
        if at not in newest:
            continue
        record = effective_record(dict(runs.record(at)), f"{runs.root}/{runs.folders[at]}")
        began.append(record.get("started_at"))
        outcome = _outcome(runs.folders[at], record, records)
        kind = failure_kind(outcome)
        kinds.setdefault(kind, []).append(at)
        if kind not in texts:
            first = next(iter((outcome.error_message or "").splitlines()), "")
            text = f"{outcome.error_type or 'Failure'}: {first}".removesuffix(": ")
            texts[kind] = cut(sanitize_for_terminal(text), _MESSAGE)
    found = sorted(kinds.items(), key=lambda item: len(item[1]), reverse=True)
    kinds_shown = [
        FailureKind(
            len(places),
            texts[kind],
            runs.folders[places[0]],
            sanitize_for_terminal(runs.short[places[0]]),
            runs.label(places[0]),
        )
        for kind, places in found
    ]
    return kinds_shown, began


def _outcome(name: str, record: Mapping[str, Any], records: Sequence[LaunchRecord]) -> RunOutcome:
    """Return how a run has failed, as its record says it, or the death of its launch."""
    if record.get("reason") == LOST:
        launch = launch_at(records, record.get("started_at"))
        if launch is not None and launch.state == DIED:
            died, place = "the launch died", launch.place
            return RunOutcome(
                name, RUN_STATUS_FAILED, error_type=died, error_message=place, place=place
            )
    signum, code = record.get("signal"), record.get("exit_code")
    return RunOutcome(
        name,
        RUN_STATUS_FAILED,
        error_type=text_or_none(record.get("error_type")),
        error_message=text_or_none(record.get("error_message")),
        reason=text_or_none(record.get("reason")),
        place=text_or_none(record.get("error_place")),
        signal=signum if isinstance(signum, int) else None,
        exit_code=code if isinstance(code, int) else None,
    )


def text_or_none(value: object) -> str | None:
    """Return a text as it is, and ``None`` for anything else."""
    return value if isinstance(value, str) else None
