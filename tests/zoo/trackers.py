"""Bad trackers: those that cannot be made, or hang; others are in ``sample_trackers``."""

from __future__ import annotations

from zoo.animal import Animal

ARRIVES = ("test_a_run_arrives_whole",)


def tracker(
    said: str,
    made: str = "pass",
    start: str = "def on_run_start(self, ctx, meta): ...",
    metric: str = "def on_metric(self, ctx, event): ...",
    end: str = "def on_run_end(self, ctx, summary): ...",
) -> Animal:
    """Return a module with a class of these methods."""
    lines = ["import time", "class Tracker:", "    def __init__(self):", f"        {made}"]
    lines += [f"    {line}" for line in (start, metric, end)]
    return Animal("\n".join(lines) + "\n", ARRIVES, said, attribute="Tracker")


TRACKERS = {
    "raises_when_made": tracker("no such server", made="raise ConnectionError('no such server')"),
    "raises_at_the_start": tracker("refused", start="def on_run_start(self, ctx, meta): refused"),
    "hangs": tracker("TimeoutError", metric="def on_metric(self, ctx, event): time.sleep(30)"),
    "too_few_arguments": tracker(
        "on_metric(self, ctx), which cannot be called with two arguments",
        metric="def on_metric(self, ctx): ...",
    ),
    "lacks_a_method": tracker("lacks a method: define on_run_end", end="other = 3"),
    "keeps_nothing": tracker("is not there"),
    "import_fails": Animal("import nowhere_at_all\n", ARRIVES, "No module named", "Tracker"),
    "exits_when_imported": Animal("raise SystemExit(3)\n", ARRIVES, "SystemExit: 3", "Tracker"),
    "a_module": Animal("pass\n", ARRIVES, "must be a class or a factory"),
}
