"""The failed runs of a results root by kind, and as a frame."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp.results.failure_groups import FailureGroup, failure_groups
from ztxexp.results.history import reason_of
from ztxexp.results.index import no_garbage_collection
from ztxexp.results.selection import RunSet, Selection, read_runs
from ztxexp.text.format import encodable
from ztxexp.text.logs import read_end
from ztxexp_core.records import RUN_STATUS_FAILED, RUN_STATUS_SUCCEEDED, RunOutcome, RunSpec
from ztxexp_core.run.launch import place_in
from ztxexp_core.store.files import RunFiles

if TYPE_CHECKING:
    import pandas as pd

_TRACE_BYTES = 65_536
_COLUMNS = (
    "error_type", "place", "n_runs", "message", "reason", "only_when", "run_ids", "log"
)  # fmt: skip


@no_garbage_collection()
def failures(selection: Selection) -> pd.DataFrame:
    """Return the kinds of failures, see ``ResultAnalyzer.failures``; of runs of every status."""
    import pandas as pd

    rows = []
    for group, reason in failure_kinds(read_runs(selection)):
        shown = (group.error_type, group.place, len(group.run_ids), group.error_message)
        rest = (reason, group.conditions() or None)
        rows.append([*map(encodable, shown + rest), group.run_ids, group.log])
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(_COLUMNS))
    return frame


def failure_kinds(runs: RunSet) -> list[tuple[FailureGroup, str | None]]:
    """Return the kinds of failures among some runs, most frequent first, each with its reason.

    Runs that succeeded count, too: they say which keys tell the failed ones from them.

    Args:
        runs: of every status.
    """
    outcomes: dict[str, RunOutcome] = {}
    specs: dict[str, RunSpec] = {}
    statuses = runs.run.column("status")
    wanted = (RUN_STATUS_FAILED, RUN_STATUS_SUCCEEDED) if RUN_STATUS_FAILED in statuses else ()
    run_at, config_at, root = runs.run.getter(), runs.config.getter(), Path(runs.root)
    for at, (run_id, name) in enumerate(zip(runs.ids(), runs.names, strict=True)):
        if statuses[at] in wanted:
            folder, outcomes[run_id] = root, RunOutcome(run_id, RUN_STATUS_SUCCEEDED)
            if statuses[at] == RUN_STATUS_FAILED:
                folder = root / name
                outcomes[run_id] = _failure(run_id, folder, run_at(at) or {})
            specs[run_id] = RunSpec(run_id, folder, config_at(at) or {}, "")
    groups = failure_groups(outcomes.values(), specs)
    return [(group, outcomes[group.run_ids[0]].reason) for group in groups]


def _failure(run_id: str, folder: Path, run: Mapping[str, Any]) -> RunOutcome:
    """Return how a run failed, from its record; whatever may stand in it."""
    texts = {name: None if run.get(name) is None else str(run[name]) for name in _TEXTS}
    error_type, place = texts["error_type"], texts["error_place"]
    reason = reason_of(texts["reason"], error_type)
    if place is None and reason == "exception":
        log = RunFiles(folder).error
        place = place_in(read_end(log, _TRACE_BYTES)[1].decode(errors="replace"))
    exit_code, signal = run.get("exit_code"), run.get("signal")
    return RunOutcome(
        run_id,
        RUN_STATUS_FAILED,
        error_type=error_type,
        error_message=texts["error_message"],
        reason=reason,
        exit_code=exit_code if type(exit_code) is int else None,
        signal=signal if type(signal) is int else None,
        place=place,
    )


_TEXTS = ("error_type", "error_message", "error_place", "reason")
