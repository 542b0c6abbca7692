"""The failed runs of a results root by kind, as a frame; ``digest`` does the sorting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp.results.failure_groups import failure_groups
from ztxexp.results.runset import RunSet
from ztxexp.results.summary import FailureGroup, conditions
from ztxexp.text.format import encodable
from ztxexp.text.logs import read_end
from ztxexp_core.records import RUN_STATUS_FAILED, RUN_STATUS_SUCCEEDED
from ztxexp_core.run.outcome import place_in
from ztxexp_core.specs import RunOutcome, RunSpec
from ztxexp_core.store.run_folder import RunFiles

if TYPE_CHECKING:
    import pandas as pd

_TRACE_BYTES = 65_536


def failures_frame(found: RunSet, ids: Sequence[str]) -> pd.DataFrame:
    """Return the kinds of failures, as ``ResultAnalyzer.failures`` describes them.

    Args:
        found: runs of any status; those that succeeded are what failures are told from.
        ids: their ids.
    """
    import pandas as pd

    statuses = list(map(str, found.run.column("status")))
    wanted = {RUN_STATUS_FAILED, RUN_STATUS_SUCCEEDED} if RUN_STATUS_FAILED in statuses else ()
    places = [place for place, status in enumerate(statuses) if status in wanted]
    root, outcomes, specs = Path(found.root), [], {}
    run_at = found.run.getter()
    for place, config in zip(places, found.config.at(places), strict=True):
        run_id, folder = ids[place], root
        outcome = RunOutcome(run_id, RUN_STATUS_SUCCEEDED)
        if statuses[place] == RUN_STATUS_FAILED:
            folder = root / found.names[place]
            outcome = _failure(run_id, folder, run_at(place) or {})
        outcomes.append(outcome)
        specs[run_id] = RunSpec(run_id, folder, config or {}, "")
    reasons = {outcome.run_id: outcome.reason for outcome in outcomes}
    groups = failure_groups(outcomes, specs)
    rows = [_row(group, reasons[group.run_ids[0]]) for group in groups]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(_row(_NO_FAILURE, None)))
    return frame


_NO_FAILURE = FailureGroup("", "", None, (), "")


def _row(group: FailureGroup, reason: str | None) -> dict[str, Any]:
    return {
        "error_type": encodable(group.error_type),
        "place": encodable(group.place),
        "n_runs": len(group.run_ids),
        "message": encodable(group.error_message),
        "reason": encodable(reason),
        "only_when": conditions(group) or None,
        "run_ids": group.run_ids,
        "log": group.log,
    }


def _failure(run_id: str, folder: Path, run: Mapping[str, Any]) -> RunOutcome:
    """Return how a run failed, from its record; whatever may stand in it."""
    error_type, reason, place = (_text(run, key) for key in ("error_type", "reason", "error_place"))
    if not reason:  # 1.0.3 wrote none
        reason = "interrupted" if error_type == "KeyboardInterrupt" else "exception"
    if place is None and reason == "exception":
        log = RunFiles(folder).error
        place = place_in(read_end(log, _TRACE_BYTES)[1].decode(errors="replace"))
    return RunOutcome(
        run_id,
        RUN_STATUS_FAILED,
        error_type=error_type,
        error_message=_text(run, "error_message"),
        reason=reason,
        exit_code=_whole(run.get("exit_code")),
        signal=_whole(run.get("signal")),
        place=place,
    )


def _text(run: Mapping[str, Any], key: str) -> str | None:
    value = run.get(key)
    return None if value is None else str(value)


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None
