"""Results roots for the benchmarks, written with plain calls, as ztxexp 1.0.3 would have."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def config_of(number: int) -> dict[str, Any]:
    """Return a configuration of the size that people have."""
    return {
        "seed": number,
        "model": f"model-{number % 7}",
        "lr": 10.0 ** -(1 + number % 4),
        "batch_size": 32 * (1 + number % 3),
        "augment": number % 2 == 0,
        "optimizer": {"name": "adamw", "betas": [0.9, 0.999], "weight_decay": 0.01},
        "layers": [64, 128, 256],
    }


def make_runs(root: Path, count: int) -> None:
    """Write finished runs, each with its three records."""
    for number in range(count):
        write_run(root, f"20260101_000000_{number:08x}", config_of(number))


def write_run(root: Path, run_id: str, config: dict[str, Any]) -> None:
    """Write one finished run."""
    folder = root / run_id
    folder.mkdir(parents=True)
    record = {
        "schema_version": 2,
        "run_id": run_id,
        "status": "succeeded",
        "started_at": "2026-01-01T00:00:00+00:00",
        "finished_at": "2026-01-01T00:00:01+00:00",
        "duration_sec": 1.0,
        "error_type": None,
        "error_message": None,
        "experiment_name": "bench",
        "group": "g",
        "tags": {},
        "parent_run_id": None,
        "attempt": 1,
        "retry_count": 0,
    }
    metrics = {"score": 1.0 / (1 + config["seed"]), "loss": 0.5}
    for name, content in (("config", config), ("run", record), ("metrics", metrics)):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2))


def make_curves(root: Path, runs: int, steps: int) -> None:
    """Write finished runs with a curve each, in rows as ``log_metric`` writes them."""
    make_runs(root, runs)
    for folder in sorted(root.iterdir()):
        with open(folder / "metrics.jsonl", "w") as file:
            for step in range(steps):
                row = {
                    "step": step,
                    "timestamp": f"2026-01-01T00:{step // 60 % 60:02}:{step % 60:02}.000000+00:00",
                    "metrics": {"loss": 1.0 / (step + 1), "acc": step % 1000 / 1000},
                    "split": "train",
                    "phase": "fit",
                }
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    kind, place, *numbers = sys.argv[1:]
    os.makedirs(place)
    {"runs": make_runs, "curves": make_curves}[kind](Path(place), *map(int, numbers))
