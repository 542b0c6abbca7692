"""Runs that another version of the code has made: listed, or moved to where readers do not look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp.provenance.code_version import version_of
from ztxexp.results.code_versions import code_names
from ztxexp.results.functions import function_of, is_same_function
from ztxexp.results.selection import Selection, read_runs
from ztxexp.upkeep.repairing import Quarantine
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import RUN_STATUS_RUNNING

if TYPE_CHECKING:
    import pandas as pd


def stale(
    root: Path, function: Any, set_aside: bool, experiment_name: str | None = None
) -> pd.DataFrame:
    """Return the runs that another version of a function has made, see ``ResultAnalyzer.stale``.

    Raises:
        ConfigError: the version of the function is not known.
    """
    import pandas as pd

    now = version_of(function)
    if now.hash is None or now.function is None:
        raise ConfigError(f"which version of the code {now.name} is cannot be told")
    selection = Selection(root, metrics_filename="", experiment_name=experiment_name)
    runs = read_runs(selection)
    columns: dict[str, Any] = {"run_id": runs.ids(), "code": code_names(runs)}
    columns |= {name: runs.run.column(name) for name in ("status", "started_at", "code_hash")}
    frame = pd.DataFrame({**columns, "run_dir": runs.folders()})
    frame = frame[frame["code_hash"].notna() & (frame["code_hash"] != now.hash)]
    makers = frame["run_dir"].map(lambda run_dir: function_of(Path(run_dir)) or "")
    frame = frame[makers.map(lambda maker: is_same_function(maker, now.function)).astype(bool)]
    quarantine = Quarantine(Path(runs.root))
    for run_dir, status in zip(frame["run_dir"], frame["status"], strict=True):
        if set_aside and status != RUN_STATUS_RUNNING:
            quarantine.take(Path(run_dir), f"made by another version of {now.name}")
    shown: pd.DataFrame = frame.drop(columns="code_hash").reset_index(drop=True)
    return shown
