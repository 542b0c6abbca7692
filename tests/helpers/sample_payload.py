"""Payloads for tests of the report's page: made up, the same each time."""

from __future__ import annotations

import math
import random
from typing import Any

HOSTILE = "</script><script>alert(1)</script><img src=x onerror='window.pwned=1'>\"`${x}&amp;\u202e"
_STARTED = 1_790_000_000.0


def sample_payload(
    runs: int = 60, curves: int = 20, points: int = 40, extra_metrics: int = 0, live: bool = False
) -> dict[str, Any]:
    """Return a payload: learning rate x hidden size x optimizer x seed, some failed, one running.

    Args:
        runs: how many runs.
        curves: how many of them have a curve, of ``loss`` and ``valid/accuracy`` each.
        points: of a curve.
        extra_metrics: further metrics of each run.
        live: whether it says that it comes from ``ztxexp ui``.
    """
    rng = random.Random(7)
    settings = _settings(runs)
    status = ["failed" if at % 17 == 13 else "succeeded" for at in range(runs)]
    if runs > 20:
        status[runs - 1] = "running"
    accuracy: list[float | None] = []
    loss: list[float | None] = []
    for at, (lr, hidden, opt, seed) in enumerate(settings):
        good = 0.97 - 0.03 * abs(math.log10(lr) + 1.5) + 0.012 * math.log2(hidden / 16)
        good -= 0.02 if opt == "sgd" and lr < 0.01 else 0.0
        noise = random.Random(seed * 31 + hidden).gauss(0, 0.003) + rng.gauss(0, 0.002)
        done = status[at] == "succeeded"
        accuracy.append(round(min(0.999, good + noise), 6) if done else None)
        loss.append(round(0.9 * (1.02 - good) + abs(noise), 6) if done else None)
    columns = [
        _column("lr", "config", [row[0] for row in settings]),
        _column("model.hidden", "config", [row[1] for row in settings]),
        _column("opt", "config", [row[2] for row in settings]),
        _column("seed", "config", [row[3] for row in settings], seed=True),
        _column("epochs", "config", [points] * runs),
        _column("batch_size", "config", [64] * runs),
        _column("data.path", "config", ["data/digits.npz"] * runs),
        _column("accuracy", "metrics", accuracy, mode="max"),
        _column("loss", "metrics", loss, mode="min"),
    ]
    for extra in range(extra_metrics):
        values = [None if cell is None else rng.random() for cell in accuracy]
        columns.append(_column(f"extra_{extra}", "metrics", values))
    failed = [at for at in range(runs) if status[at] == "failed"]
    return {
        "version": 1,
        "ztxexp": "2.0.0",
        "made": _STARTED + 90_000,
        "title": "results_digits",
        "root": "results_digits",
        "live": live,
        "state": 1,
        "anonymous": None,
        "runs": {
            "id": [_digits(at)[: 4 if runs < 500 else 6] for at in range(runs)],
            "name": [f"20260921-{at:06d}-{_digits(at)}" for at in range(runs)],
            "status": status,
            "started": [_STARTED + at * 7.5 for at in range(runs)],
            "seconds": [
                None if one == "running" else round(20 + 30 * rng.random(), 3) for one in status
            ],
            "attempt": [1 + (at % 29 == 0) for at in range(runs)],
            "code": ["v1"] * runs,
            "function": ["digits.py:train"] * runs,
            "group": [None] * runs,
            "tags": [["baseline"] if at % 23 == 0 else [] for at in range(runs)],
            "error": [
                "ValueError: loss is not finite (nan) at step 12" if one == "failed" else None
                for one in status
            ],
            "columns": columns,
        },
        "curves": _curves(settings, status, min(curves, runs), points),
        "effects": _effects(settings, accuracy),
        "best": _best(settings, accuracy),
        "failures": [_failure(failed)] if failed else [],
        "provenance": [
            ("code", "digits.py, commit 4ec3ed5, no uncommitted changes"),
            ("python", "3.11.9 on Linux 6.1, x86_64"),
            ("packages", "numpy 2.4.1, scikit-learn 1.9.0"),
            ("machines", "box (2 cores)"),
        ],
        "launches": [
            {
                "id": "l1", "started": _STARTED, "ended": None if live else _STARTED + runs * 8,
                "alive": live, "function": "digits.py:train", "total": runs,
                "command": "ztxexp run digits.py:train lr=1e-3,1e-2,1e-1 seed=0..4 -w 2",
            }
        ],
        "notes": ["2 configurations lack seeds: lr=0.1 model.hidden=64 opt=sgd has 4 of 5."],
        "default_metric": "accuracy",
    }  # fmt: skip


def hostile_payload() -> dict[str, Any]:
    """Return a payload whose every text, keys included, tries to be HTML and script."""
    payload: dict[str, Any] = _poisoned(sample_payload(24, 12, 12))
    payload["version"], payload["live"] = 1, False
    runs = payload["runs"]
    runs["name"] = [f"{HOSTILE}{at}" for at in range(24)]
    for at, column in enumerate(runs["columns"]):
        column["key"] = f"{at}{HOSTILE}"
    metric = runs["columns"][7]["key"]
    for part in ("effects", "best"):
        for one in payload[part]:
            one["metric"] = metric
    payload["anonymous"] = [HOSTILE]
    payload["notes"] = [HOSTILE]
    payload["default_metric"] = metric
    return payload


_KEPT = frozenset({"part", "type", "mode", "status"})


def _digits(at: int) -> str:
    return f"{(at * 2654435761) % 2**32:08x}"


def _poisoned(value: Any, key: str = "") -> Any:
    if key in _KEPT:
        return value
    if isinstance(value, dict):
        return {name: _poisoned(inner, name) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_poisoned(inner) for inner in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


def _settings(runs: int) -> list[tuple[float, int, str, int]]:
    rates, sizes, opts = [0.001, 0.01, 0.1], [16, 64], ["adam", "sgd"]
    grid = [(lr, hidden, opt) for lr in rates for hidden in sizes for opt in opts]
    more = (runs + 4) // 5 - len(grid)
    rng = random.Random(3)
    for _ in range(max(0, more)):
        lr = float(f"{10 ** rng.uniform(-4, 0):.3g}")
        grid.append((lr, rng.choice([16, 32, 64, 128, 256]), rng.choice(opts)))
    return [(*grid[at // 5], at % 5) for at in range(runs)]


def _column(
    key: str, part: str, values: list[Any], seed: bool = False, mode: str | None = None
) -> dict[str, Any]:
    is_number = all(isinstance(value, (int, float)) for value in values if value is not None)
    return {
        "key": key,
        "part": part,
        "type": "number" if is_number else "text",
        "varies": len(set(values)) > 1,
        "seed": seed,
        "mode": mode,
        "source": "inferred from the name" if mode else None,
        "values": values,
    }


def _curves(
    settings: list[tuple[float, int, str, int]], status: list[str], many: int, points: int
) -> dict[str, Any]:
    series = []
    for run in range(many):
        lr, hidden, _, _ = settings[run]
        rng = random.Random(run)
        length = points if status[run] == "succeeded" else points // 3
        steps = list(range(1, length + 1))
        speed = 4 / points * (1 + math.log10(lr * 1000 + 1))
        loss = [
            round(2.3 * math.exp(-speed * x) + 0.08 + 8 / hidden / 10 + rng.gauss(0, 0.03), 5)
            for x in steps
        ]
        good = [round(0.97 - 0.6 * math.exp(-speed * x) + rng.gauss(0, 0.008), 5) for x in steps]
        for metric, values in (("loss", loss), ("valid/accuracy", good)):
            series.append({"run": run, "metric": metric, "x": steps, "y": values, "of": length})
    return {"series": series, "most": 1000, "thinned": 0, "left_out": 0}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _std(values: list[float]) -> float | None:
    if len(values) < 2:
        return None
    mean = _mean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _effects(settings: list[Any], accuracy: list[float | None]) -> list[dict[str, Any]]:
    effects = []
    for place, key in enumerate(["lr", "model.hidden", "opt"]):
        by_value: dict[Any, list[float]] = {}
        for row, value in zip(settings, accuracy, strict=True):
            if value is not None:
                by_value.setdefault(row[place], []).append(value)
        levels = []
        for level, values in sorted(by_value.items())[:20]:
            half = 1.96 * (_std(values) or 0) / math.sqrt(len(values))
            mean = _mean(values)
            levels.append(
                {"value": level, "mean": mean, "low": mean - half, "high": mean + half,
                 "n": len(values) // 5}
            )  # fmt: skip
        means = [level["mean"] for level in levels]
        effects.append(
            {"metric": "accuracy", "key": key, "levels": levels, "range": max(means) - min(means),
             "interacts": ["opt: with sgd small rates lose 0.02"] if key == "lr" else []}
        )  # fmt: skip
    return effects


def _best(settings: list[Any], accuracy: list[float | None]) -> list[dict[str, Any]]:
    groups: dict[Any, list[int]] = {}
    for at, value in enumerate(accuracy):
        if value is not None:
            groups.setdefault(settings[at][:3], []).append(at)
    rows: list[dict[str, Any]] = []
    for (lr, hidden, opt), members in groups.items():
        values = [value for at in members if (value := accuracy[at]) is not None]
        rows.append(
            {"metric": "accuracy", "values": {"lr": lr, "model.hidden": hidden, "opt": opt},
             "mean": _mean(values), "std": _std(values), "n": len(values),
             "seeds": [settings[at][3] for at in members], "runs": members}
        )  # fmt: skip
    return sorted(rows, key=lambda row: -row["mean"])[:10]


def _failure(failed: list[int]) -> dict[str, Any]:
    return {
        "type": "ValueError",
        "place": "digits.py:41 in train",
        "message": "loss is not finite (nan) at step 12",
        "reason": "exception",
        "only_when": "opt=sgd",
        "runs": failed,
        "log": 'Traceback (most recent call last):\n  File "digits.py", line 41, in train\n'
        "    raise ValueError(...)\nValueError: loss is not finite (nan) at step 12",
    }
