"""Run folders written by hand, as any version, tool or accident may have left them."""

from __future__ import annotations

import json
from pathlib import Path


def write_run(root, name, status="succeeded", config=None, metrics=None, curve=None, **run) -> Path:
    """Write one run; ``curve`` is a list of rows (texts are written as they are)."""
    folder = Path(root) / name
    (folder / "artifacts").mkdir(parents=True)
    record = {"schema_version": 2, "run_id": name, "status": status, **run}
    put(folder / "run.json", record)
    put(folder / "config.json", {"lr": 0.1} if config is None else config)
    if metrics is not None:
        put(folder / "metrics.json", metrics)
    if curve is not None:
        rows = [row if isinstance(row, str) else json.dumps(row) for row in curve]
        (folder / "metrics.jsonl").write_text("".join(f"{row}\n" for row in rows))
    return folder


def put(path: Path, value) -> None:
    """Write JSON; a text is written as it is, so that it may be damaged."""
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def event(step, timestamp="2026-03-01T10:00:00+00:00", split="train", phase="fit", **metrics):
    """One row of metrics.jsonl."""
    return {
        "step": step,
        "timestamp": timestamp,
        "metrics": metrics,
        "split": split,
        "phase": phase,
    }
