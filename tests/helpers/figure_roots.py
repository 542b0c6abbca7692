"""Results roots that figures are drawn from."""

from __future__ import annotations

import numpy as np
from handmade import event, write_run


def with_curves(root, lrs=(0.1, 0.01), seeds=3, steps=10, shorter=(), values=None, **more):
    """Runs by lr and seed that log ``accuracy`` and ``loss``; some of them are shorter.

    Args:
        root: where they go.
        lrs: values of lr.
        seeds: how many.
        steps: how many points each has.
        shorter: pairs of lr and seed with half of the points.
        values: by lr and seed and step, a value instead of the usual one.
        **more: further keys of all configurations.
    """
    chance = np.random.default_rng(3)
    for number, (lr, seed) in enumerate((lr, seed) for lr in lrs for seed in range(seeds)):
        count = steps // 2 if (lr, seed) in shorter else steps
        rows = []
        for step in range(count):
            usual = 1 - np.exp(-(step + 1) * 0.2) + float(chance.normal(0, 0.02))
            value = (values or {}).get((lr, seed, step), usual)
            rows.append(event(step, accuracy=value, loss=2 - usual))
        config = {"lr": lr, "seed": seed, "batch": 32, **more}
        last = {"accuracy": rows[-1]["metrics"]["accuracy"], "loss": rows[-1]["metrics"]["loss"]}
        write_run(root, f"r{number:03}", config=config, metrics=last, curve=rows)
    return root


def with_scores(root, rows, metric="accuracy"):
    """Runs of given configurations and values; ``None``: without a metric."""
    for number, (config, value) in enumerate(rows):
        metrics = None if value is None else {metric: value}
        write_run(root, f"r{number:03}", config=config, metrics=metrics)
    return root


HOSTILE = [
    "$x^2$ & _a%",
    "</script><img onerror>",
    "a|b",
    "_hidden",
    "=cmd()",
    "x\x1b[31m",
    "学習",
    "$",
]
