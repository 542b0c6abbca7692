"""Measure what trackers cost a training loop: time per log_metric, and time of the whole run.

    python benchmarks/trackers.py [--steps 4000] [--rounds 5] [--only hangs] [--work 10000]

Each round trains once without a tracker and once with each tracker, in changing order. The table
shows medians over the rounds: seconds of the experiment function, their ratio to "none" in the same
round with the 95 % interval of that median (order statistics), the time of the run beyond its
function, and the time of one ``log_metric``. With ``--work 0`` nothing is computed between two
metrics, as in ``make bench``.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from typing import Any

from ztxexp import ExpRunner


class Counts:
    """Takes everything at once."""

    def on_run_start(self, ctx: Any, meta: Any) -> None:
        self.count = 0

    def on_metric(self, ctx: Any, event: Any) -> None:
        self.count += 1

    def on_run_end(self, ctx: Any, summary: Any) -> None:
        pass


class Slow(Counts):
    """Needs 5 milliseconds for each event, as a server does."""

    def on_metric(self, ctx: Any, event: Any) -> None:
        time.sleep(0.005)


class Hangs(Counts):
    """Never comes back from the first event."""

    def on_metric(self, ctx: Any, event: Any) -> None:
        time.sleep(86400)


class Fails(Counts):
    """Refuses every event."""

    def on_metric(self, ctx: Any, event: Any) -> None:
        raise ConnectionError("no answer")


TRACKERS = {"none": None, "counts": Counts, "slow": Slow, "hangs": Hangs, "fails": Fails}


def train(steps: int, work_size: int, tracker: type[Counts] | None) -> tuple[float, float, float]:
    """Return seconds of the function, seconds beyond it, and microseconds of a ``log_metric``."""
    logging = spent = 0.0

    def work(ctx: Any) -> None:
        nonlocal logging, spent
        started = time.perf_counter()
        for step in range(steps):
            loss = sum(i * i for i in range(work_size)) / (step + 1)
            began = time.perf_counter()
            ctx.log_metric(step, {"loss": loss})
            logging += time.perf_counter() - began
        spent = time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        live = [] if tracker is None else [tracker()]
        summary = ExpRunner([{}], folder, work).run(
            trackers=live, tracker_timeout=1.0, progress=False
        )
    return spent, summary.duration_sec - spent, logging / steps * 1e6


def interval_of_median(ordered: list[float]) -> tuple[float, float]:
    """Return order statistics that enclose the median with at least 95 %, from the binomial law."""
    n, outside, rank = len(ordered), 0.0, 0
    while (outside := outside + math.comb(n, rank) / 2**n) <= 0.025:
        rank += 1
    return ordered[max(rank - 1, 0)], ordered[-max(rank, 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", choices=list(TRACKERS), default=list(TRACKERS))
    options = parser.parse_args()
    names = list(dict.fromkeys(["none", *options.only]))
    seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    for number in range(options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seen[name].append(train(options.steps, options.work, TRACKERS[name]))
    titles = ("tracker", "function, s", "to none", "95 %", "beyond, s", "log_metric, us")
    print("{:10}{:>13}{:>9}{:>15}{:>11}{:>16}".format(*titles))
    for name, figures in seen.items():
        ratios = sorted(a[0] / b[0] for a, b in zip(figures, seen["none"], strict=True))
        ratio, low, high = statistics.median(ratios), *interval_of_median(ratios)
        spent, beyond, micros = map(statistics.median, zip(*figures, strict=True))
        sure = f"{low:.3f}-{high:.3f}"
        print(f"{name:10}{spent:13.2f}{ratio:9.3f}{sure:>15}{beyond:11.3f}{micros:16.1f}")


if __name__ == "__main__":
    main()
