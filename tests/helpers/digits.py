"""The sweep over the digits, whose figures are the same wherever its runs are carried out."""

from __future__ import annotations

import sys
from pathlib import Path

from reading import Root, strict

from ztxexp import ExperimentPipeline

EXAMPLES = Path(__file__).parents[2] / "examples"


def figures(root: Root, mode: str, **arguments) -> dict[tuple[float, int, int], dict[str, float]]:
    """Run the sweep of 24; returns what each run has returned, by its configuration."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    from digits_sweep import train

    pipeline = ExperimentPipeline(root.path, base_config={"epochs": 15})
    pipeline.grid({"lr": [0.01, 0.1, 0.5, 1.0], "hidden": [16, 64], "seed": [0, 1, 2]})
    summary = pipeline.run(train, mode=mode, workers=2, **arguments)
    assert (summary.total, summary.succeeded) == (24, 24)
    return {
        (run["config"]["lr"], run["config"]["hidden"], run["config"]["seed"]): strict(
            run["dir"] / "metrics.json"
        )
        for run in root.runs()
    }
