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


BUILDERS = """
import argparse, json, pathlib, sys
import ztxexp
from ztxexp import ExperimentPipeline, ExpManager, ExpRunner, RunMetadata

old_names = (
    ExpManager({"s": 1}).add_grid_search({"a": [1, 2]}).add_variants({"b": [1, 2]})
    .add_modifier(lambda c: {**c, "t": 1}).add_filter(lambda c: c["a"] == 1)
)
pipeline = ExperimentPipeline(sys.argv[1], base_config={"seed": 42, "data_version": 3})

def train(ctx):
    ctx.log_metric(step=0, metrics={"loss": 1})
    return {"score": ctx.config["lr"]}

runner = ExpRunner(configs=pipeline.grid({"lr": [0.1]}).build(), results_root=sys.argv[1])
summary = runner.run(
    train, execution_mode="sequential", num_workers=1, tracker_specs=[{"type": "jsonl"}],
    metadata=RunMetadata(tags=["x"]),
)
folder = next(p for p in pathlib.Path(sys.argv[1]).iterdir() if p.is_dir())
meta = json.loads((folder / "meta.json").read_text())
print(json.dumps([
    old_names.get_configs(),
    ExpManager(argparse.Namespace(a=1)).variants([{"m": 1}, {"m": 2, "n": 3}]).build(),
    ExpManager().random_search({"a": list(range(100))}, n_trials=5, seed=3).build(),
    ExpManager({"x": 1}).modify(lambda c: {**c, "y": 2}).where(lambda c: c["y"] == 2).build(),
    pipeline.exclude_completed().build(),
    ExpManager({"seed": 1}).grid({"lr": [0.1, 0.2]})
    .filter_completed(sys.argv[1], ignore_keys={"seed", "data_version"}).build(),
    [summary.total, summary.succeeded, summary.failed_run_ids],
    [meta["seed"], meta["dataset_version"], meta["tags"], meta["attempt"]],
    sorted(ztxexp.constants.VALID_RUN_STATUSES),
]))
"""

UTILS = """
import argparse, json, os, pathlib, sys
from ztxexp import utils as u

folder = pathlib.Path(sys.argv[1])
u.create_dir(folder / "a")
values = {"a": (1, 2), "p": pathlib.Path("x"), "s": {2, 1}, "n": float("inf")}
u.save_json(values, folder / "a.json")
u.save_json_atomic({"a": "é"}, folder / "new" / "b.json", indent=4)
u.append_jsonl(folder / "c.jsonl", {"a": argparse.Namespace(x=1)})
u.write_text_atomic(folder / "d.txt", "text")
texts = {p.name: p.read_text("utf-8") for p in sorted(folder.rglob("*")) if p.is_file()}

def error(call):
    try:
        return call()
    except Exception as exc:
        return type(exc).__name__

config = {"model": {"name": "a b", "lr": 1e-3}, "seed": 1, "tags": ["x"]}
print(json.dumps([
    texts, u.load_json(folder / "none"), u.load_jsonl(folder / "c.jsonl"),
    [p.name for p in sorted(u.get_subdirectories(folder))],
    [u.config_to_hash(config, n) for n in (4, 64)], u.flatten_dict(config, sep="/"),
    u.unflatten_dict(u.flatten_dict(config)), error(lambda: u.unflatten_dict({"a": 1, "a.b": 2})),
    u.deep_merge_dicts(config, {"model": {"lr": None}, "tags": []}),
    u.dict_diff(config, {"model": {"lr": 2}, "new": 1}), u.as_plain_dict(argparse.Namespace(a=1)),
    error(lambda: u.as_plain_dict(3)), u.build_run_name(config), u.build_run_name(config, ["seed"]),
    u.build_run_name(config, prefix="a/b", max_length=30, hash_length=5),
    [u.sanitize_filename(t) for t in ("a:b", "..", "x" * 200, "é/ ", "a__b")],
    u.split_batches([1, 2, 3], 2), error(lambda: u.split_batches([1], 0)),
    [u.format_time_delta(t) for t in (0, 61.5, 90000)], error(lambda: u.retry_call(lambda: 1 / 0)),
]))
"""


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


@pytest.mark.parametrize("script", [BUILDERS, UTILS], ids=["builders", "utils"])
def test_a_script_does_the_same_in_both(old, tmp_path, script):
    by_old, by_new = (
        json.loads(ask(python, script, tmp_path / name).strip().splitlines()[-1])
        for python, name in ((old, "old"), (sys.executable, "new"))
    )
    assert by_new == by_old
