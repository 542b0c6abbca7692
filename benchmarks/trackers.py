"""What trackers cost a training: time per log_metric, and the whole, beside the same without any.

    python benchmarks/trackers.py [--steps 4000] [--rounds 5]

Each round trains once without a tracker and once with each of the others, in changing order. Shown
are medians over the rounds: seconds of the experiment function, their ratio to "none" in the same
round, what the run took beyond its function, and the time of a ``log_metric``.
"""

from __future__ import annotations

import argparse
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


def train(steps: int, tracker: type[Counts] | None) -> tuple[float, float, float]:
    """Return seconds of the function, seconds beyond it, and microseconds of a ``log_metric``."""
    logging = spent = 0.0

    def work(ctx: Any) -> None:
        nonlocal logging, spent
        started = time.perf_counter()
        for step in range(steps):
            loss = sum(i * i for i in range(10_000)) / (step + 1)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in TRACKERS}
    names = list(TRACKERS)
    for number in range(options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seen[name].append(train(options.steps, TRACKERS[name]))
    print(f"{'tracker':10}{'function, s':>13}{'to none':>9}{'beyond, s':>11}{'log_metric, us':>16}")
    for name, figures in seen.items():
        ratio = statistics.median(a[0] / b[0] for a, b in zip(figures, seen["none"], strict=True))
        spent, beyond, micros = map(statistics.median, zip(*figures, strict=True))
        print(f"{name:10}{spent:13.2f}{ratio:9.3f}{beyond:11.3f}{micros:16.1f}")


if __name__ == "__main__":
    main()
