"""What objects show in a notebook: values of runs are escaped, in every class that shows HTML."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
from fragments import text_of_fragment
from handmade import event, write_run

import ztxexp
from ztxexp import ExperimentPipeline, ResultAnalyzer
from ztxexp.analysis.overview import Overview
from ztxexp.replay import SyncReport
from ztxexp_core.values.identity import config_identity

EVIL = (
    "</td></table></script><script>alert(1)</script><img src=x onerror='a()'>\"&\x1b[31m\x00\u202e"
)
KEY = "k<b onclick=x>"
METRIC = "acc<script>alert(2)</script>"
NAME = "20260301_10000{}_<img src=x onerror=a()>"
ABSTRACT = {"Printable", "Report", "WritableTable"}  # what others are made of


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root in which whatever can be hostile is."""
    folder = tmp_path_factory.mktemp("<b>root")
    for at, (value, seed) in enumerate([(EVIL, 0), (EVIL, 1), ("plain", 0), ("plain", 1)]):
        config = {KEY: value, "lr": 0.1, "seed": seed}
        more = {"identity": config_identity(config), "group": EVIL, "tags": {EVIL: EVIL}}
        curve = [event(step, **{METRIC: step / 3}) for step in range(3)]
        write_run(
            folder,
            NAME.format(at),
            "succeeded",
            config,
            {METRIC: at / 7, EVIL: EVIL},
            curve,
            **more,
        )
    failed = {KEY: EVIL, "lr": 0.2, "seed": 0}
    more = {"error_type": EVIL, "error_message": EVIL, "reason": "exception", "error_place": EVIL}
    write_run(folder, NAME.format(5), "failed", failed, identity=config_identity(failed), **more)
    (folder / "<img src=x onerror=a()>").write_text(EVIL)
    (folder / NAME.format(6)).mkdir()
    (folder / NAME.format(6) / "run.json").write_text("[1]")
    return folder


def fails(ctx):
    raise ValueError(EVIL)


def plan(root):
    return ExperimentPipeline(root).grid({KEY: [EVIL, "plain"], "lr": [0.1, 0.3]}).plan()


def summary(root):
    pipeline = ExperimentPipeline(root.parent / "<i>launched").grid({KEY: [EVIL, "x"]})
    return pipeline.run(fails, progress=False)


def sync_report(root):
    return SyncReport(EVIL, 3, sent=[EVIL], failed={EVIL: EVIL}, not_tried=1)


MADE = {
    "Plan": plan,
    "RunSummary": summary,
    "SyncReport": sync_report,
    "StoreReport": lambda root: ResultAnalyzer(root).check(),
    "RepairReport": lambda root: ResultAnalyzer(root).repair(dry_run=True),
    "GcReport": lambda root: ResultAnalyzer(root).gc(statuses=["failed"], dry_run=True),
    "Reproduction": lambda root: ResultAnalyzer(root).reproduce(NAME.format(0)),
    "Missing": lambda root: ResultAnalyzer(root).missing(values=range(3)),
    "FurtherSeeds": lambda root: ResultAnalyzer(root).further_seeds(
        f"sem(`{METRIC}`) < 0.001", mode="max"
    ),
    "Overview": Overview.of,
    "ResultAnalyzer": ResultAnalyzer,
    "Table": lambda root: ResultAnalyzer(root).table(rows=KEY, metric=METRIC, where="lr == 0.1"),
    "Plot": lambda root: ResultAnalyzer(root).curves(METRIC, by=[KEY]),
    "Report": lambda root: ResultAnalyzer(root).report(),
}


def shown_classes():
    """Return the classes of the product that show HTML in a notebook, by name."""
    classes = {}
    for module in pkgutil.walk_packages(ztxexp.__path__, "ztxexp."):
        if module.name.endswith("__main__"):
            continue
        for name, one in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if hasattr(one, "_repr_html_") and one.__module__.startswith("ztxexp"):
                classes[f"{one.__module__}.{name}"] = one
    return classes


def test_every_class_that_shows_html_is_fed_with_hostile_values():
    names = {one.__name__ for one in shown_classes().values()} - ABSTRACT
    assert names <= set(MADE), "add how to make one to MADE"


@pytest.mark.parametrize("name", MADE)
def test_values_of_runs_are_escaped(name, root):
    fragment = MADE[name](root)._repr_html_()
    text = text_of_fragment(fragment)
    assert text.strip() or "<img" in fragment


def test_values_are_shown_as_they_are(root):
    for name in ("Plan", "RunSummary", "SyncReport", "Missing", "FurtherSeeds", "Overview"):
        assert "</td></table>" in text_of_fragment(MADE[name](root)._repr_html_())


def test_an_analyzer_says_what_there_is_and_what_to_type(tmp_path):
    def train(ctx):
        if ctx.config["lr"] > 1:
            raise ValueError("too large")
        return {"accuracy": ctx.config["lr"] + ctx.config["seed"], "note": "x"}

    pipeline = ExperimentPipeline(tmp_path, {"batch": 32})
    pipeline.grid({"lr": [0.1, 0.2, 3], "seed": [0, 1]}).run(train, progress=False)
    text = text_of_fragment(ResultAnalyzer(tmp_path)._repr_html_())
    assert f"{tmp_path}: 6 runs (4 succeeded, 2 failed)" in text
    for part in ("0.1, 0.2, 3", "accuracy", "largest", "1.2", "analyzer.table(", "failures()"):
        assert part in text
    assert "batch" not in text and "note" not in text
    assert repr(ResultAnalyzer(tmp_path)) == f"ResultAnalyzer({str(tmp_path)!r})"


def test_an_analyzer_of_an_empty_root_says_how_to_begin(tmp_path):
    text = text_of_fragment(ResultAnalyzer(tmp_path)._repr_html_())
    assert "0 runs" in text and "ExperimentPipeline" in text


CELLS = """
from ztxexp import ExperimentPipeline, ResultAnalyzer
pipeline = ExperimentPipeline("results").grid({"lr": [0.1, 0.2], "seed": [0, 1, 2]})
plan = pipeline.plan()
plan
---
plan
---
pipeline.run(train, progress=False)
---
ResultAnalyzer("results")
---
ResultAnalyzer("results").further_seeds("ci95(accuracy) < 0.01")
"""
TRAIN = """
import random
def train(ctx):
    return {"accuracy": random.Random(str(ctx.config)).random()}
"""


@pytest.mark.slow
def test_a_kernel_shows_them_and_a_plan_once(tmp_path):
    pytest.importorskip("ipykernel")
    start_new_kernel = pytest.importorskip("jupyter_client.manager").start_new_kernel
    manager, client = start_new_kernel(cwd=str(tmp_path))
    shown = []
    try:
        for code in [TRAIN, *CELLS.split("---")]:
            messages = []
            reply = client.execute_interactive(code, output_hook=messages.append, timeout=60)
            assert reply["content"]["status"] == "ok", reply["content"]
            data = [m["content"]["data"] for m in messages if "data" in m["content"]]
            shown.append([one for one in data if "text/html" in one or "text/plain" in one])
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    _, first, again, summary, analyzer, seeds = shown
    displayed, returned = first
    assert "6 of 6 configurations to run" in text_of_fragment(displayed["text/html"])
    assert displayed["text/plain"].startswith("Plan for results: 6 of 6")
    assert returned == {"text/plain": "<Plan: 6 to run>"}  # it stands above
    assert displayed["text/html"] == again[0]["text/html"]
    assert "6 succeeded" in text_of_fragment(summary[0]["text/html"])
    assert "6 runs (6 succeeded)" in text_of_fragment(analyzer[0]["text/html"])
    assert "of 2 cells need" in text_of_fragment(seeds[0]["text/html"])
