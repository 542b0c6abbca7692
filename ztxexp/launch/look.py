"""The look before the first run: whether a worker elsewhere can carry out what it will be given."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ztxexp_core.errors import ExecutorError
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.records import RunOutcome, RunSpec
from ztxexp_core.run.distant import Look, difference, this_side
from ztxexp_core.run.run import RunOne

_log = logging.getLogger("ztxexp")


def look_first(executor: Plugin, run_one: RunOne, root: Path, options: Mapping[str, Any]) -> None:
    """Ask one worker of a distant executor whether it could carry out the runs.

    Raises:
        ExecutorError: it could not; one sentence says where and why.
    """
    look = Look(run_one.distant(), str(root), run_one.place.folder)
    spec = RunSpec("look", root / "look", {}, "")
    try:
        made = executor.call(specs=iter([spec]), run_one=look, workers=1, options=options)
        with closing(made):
            outcome = next(made, None)
    except ExecutorError:
        raise
    except Exception as exc:
        raise _refusal(executor, f"{type(exc).__name__}: {exc}") from exc
    answer = _answer(outcome)
    if answer is None:
        message = outcome.error_message if isinstance(outcome, RunOutcome) else "nothing came back"
        raise _refusal(executor, f"the look at a worker failed: {message}")
    problem = answer["problem"] or difference(this_side(), answer)
    if problem:
        raise _refusal(executor, f"on worker {answer['host']}: {problem}")
    versions = f"Python {answer['python']}, ztxexp {answer['ztxexp']}"
    _log.debug("a worker of %s on %s has %s", executor.ref.name, answer["host"], versions)
    if answer["lacks_folder"]:
        _log.warning(
            "worker %s has no folder %s; runs there begin in %s",
            answer["host"],
            run_one.place.folder,
            answer["folder"],
        )


def _answer(outcome: Any) -> dict[str, Any] | None:
    """Return what the look has seen; ``None`` if the outcome does not come from it."""
    if not isinstance(outcome, RunOutcome) or outcome.status != "succeeded" or not outcome.notices:
        return None
    answer: dict[str, Any] = json.loads(outcome.notices[0])
    return answer


def _refusal(executor: Plugin, why: str) -> ExecutorError:
    name = f"executor {executor.ref.name!r} ({executor.ref.distribution} {executor.ref.version})"
    return ExecutorError(f"{name} can carry out no run, so none was started: {why}")
