"""What trackers cost a training: time per log_metric, and the whole, beside the same without any.

    python benchmarks/trackers.py [--steps 4000] [--rounds 5]

Each round trains once without a tracker and once with each of the others, in changing order; what
is shown is the median over the rounds of the ratio to "none" in the same round.
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


def train(steps: int, tracker: type[Counts] | None) -> tuple[float, float]:
    """Return the seconds of a run, and the microseconds of a ``log_metric`` within it."""
    logging = 0.0

    def work(ctx: Any) -> None:
        nonlocal logging
        for step in range(steps):
            loss = sum(i * i for i in range(10_000)) / (step + 1)
            began = time.perf_counter()
            ctx.log_metric(step, {"loss": loss})
            logging += time.perf_counter() - began

    with tempfile.TemporaryDirectory() as folder:
        live = [] if tracker is None else [tracker()]
        summary = ExpRunner([{}], folder, work).run(
            trackers=live, tracker_timeout=1.0, progress=False
        )
    return summary.duration_sec, logging / steps * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in TRACKERS}
    names = list(TRACKERS)
    for number in range(options.rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seen[name].append(train(options.steps, TRACKERS[name]))
    print(f"{'tracker':10} {'run, s':>8} {'to none':>8} {'log_metric, us':>15}")
    for name, figures in seen.items():
        ratios = [one[0] / none[0] for one, none in zip(figures, seen["none"], strict=True)]
        seconds = statistics.median(one[0] for one in figures)
        micros = statistics.median(one[1] for one in figures)
        print(f"{name:10} {seconds:8.2f} {statistics.median(ratios):8.3f} {micros:15.1f}")


if __name__ == "__main__":
    main()
