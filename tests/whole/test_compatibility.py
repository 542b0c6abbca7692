"""1.0.3 from the package registry, in an environment of its own, and 2.0 read each other's runs."""

from __future__ import annotations

import json
import sys

import pytest
from environments import make_environment, run_quietly

pytestmark = pytest.mark.slow

SWEEP = """
import sys
from ztxexp import ExperimentPipeline, SkipRun

def train(ctx):
    ctx.log_metric(step=1, metrics={"loss": 0.5})
    ctx.log_metric(step=2, metrics={"loss": 0.25}, split="valid", phase="eval")
    if ctx.config["i"] == 1:
        raise ValueError("bad")
    if ctx.config["i"] == 2:
        raise SkipRun("no use")
    return {"score": ctx.config["i"] / 2}

pipeline = (
    ExperimentPipeline(sys.argv[1], {"size": (2, 3), "model": {"lr": 0.1}})
    .variants([{"i": i} for i in range(4)])
    .name("n").group("g").tags({"a": "b"}).retry(2)
)
s = pipeline.run(train)
print(s.total, s.succeeded, s.failed, s.skipped)
"""

READ = """
import json, sys
from ztxexp import ExperimentPipeline, ResultAnalyzer

analyzer = ResultAnalyzer(sys.argv[1])
records = analyzer.to_records(statuses=None, experiment_name="n", group="g", tags={"a": "b"})
left = (
    ExperimentPipeline(sys.argv[1], {"size": (2, 3), "model": {"lr": 0.1}})
    .variants([{"i": i} for i in range(4)]).exclude_completed().build()
)
curve = analyzer.to_curve_dataframe(metric_key="loss")
events = analyzer.to_metric_events(statuses=None)
print(json.dumps({
    "statuses": sorted((r["i"], r["status"], r.get("score")) for r in records),
    "attempts": sorted((r["i"], r["attempt"], r["retry_count"]) for r in records),
    "left": [c["i"] for c in left],
    "frame": len(analyzer.to_dataframe()),
    "curve": sorted(zip(curve["step"], curve["loss"], curve["split"], curve["phase"])),
    "events": sorted((e.step, e.metrics["loss"], e.split, e.phase) for e in events),
    "clean": len(analyzer.clean_results()),
}))
"""

WANTED = {
    "statuses": [[0, "succeeded", 0.0], [1, "failed", None], [2, "skipped", None],
                 [3, "succeeded", 1.5]],
    "attempts": [[0, 1, 0], [1, 2, 1], [2, 1, 0], [3, 1, 0]],
    "left": [1, 2],
    "frame": 2,
    "curve": 2 * [[1, 0.5, "train", "fit"]] + 2 * [[2, 0.25, "valid", "eval"]],
    "events": 5 * [[1, 0.5, "train", "fit"]] + 5 * [[2, 0.25, "valid", "eval"]],
    "clean": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """An interpreter with 1.0.3."""
    return make_environment(tmp_path_factory.mktemp("old") / "venv", "ztxexp==1.0.3")


def ask(python, code, root):
    """Run a piece of code in a neutral folder; returns its output."""
    return run_quietly([python, "-c", code, root], root.parent)


def read(python, root):
    # 1.0.3 prints what it would clean as well.
    return json.loads(next(x for x in ask(python, READ, root).splitlines() if x[0] == "{"))


def test_what_2_0_wrote_1_0_3_reads(old, tmp_path):
    root = tmp_path / "r"
    assert ask(sys.executable, SWEEP, root).strip() == "4 2 1 1"
    assert read(old, root) == WANTED


def test_what_1_0_3_wrote_2_0_reads(old, tmp_path):
    root = tmp_path / "r"
    assert ask(old, SWEEP, root).strip().splitlines()[-1] == "4 2 1 1"
    assert read(sys.executable, root) == WANTED
