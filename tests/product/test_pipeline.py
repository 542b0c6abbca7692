"""The pipeline: a sweep described and run in one chain."""

from __future__ import annotations

from pathlib import Path

import experiments
import pytest
from reading import strict

from ztxexp import ExperimentPipeline, ExpManager, JsonlTracker
from ztxexp_core import ConfigError, OptionError, PluginContractError, UnknownPluginError


def test_a_whole_sweep_in_one_chain(root):
    summary = (
        ExperimentPipeline(root.path, base_config={"seed": 42})
        .grid({"lr": [1e-3, 1e-2]})
        .variants([{"model": "tiny"}, {"model": "base"}])
        .modify(lambda c: c.update(half=c["lr"] / 2))
        .where(lambda c: c["model"] == "tiny" or c["lr"] < 5e-3)
        .name("demo")
        .group("g")
        .tags(["a", "b"])
        .lineage("parent")
        .retry(2, retry_on=("OSError",))
        .track("jsonl", events_filename="mine.jsonl")
        .run(experiments.score)
    )
    assert (summary.total, summary.succeeded) == (3, 3)
    for record in root.runs():
        assert record["config"]["half"] == record["config"]["lr"] / 2
        meta = strict(record["dir"] / "meta.json")
        assert meta["experiment_name"] == "demo"
        assert meta["group"] == "g"
        assert meta["tags"] == ["a", "b"]
        assert meta["parent_run_id"] == "parent"
        assert meta["seed"] == 42
        assert (record["dir"] / "mine.jsonl").exists()


def test_any_expander_is_reached_by_name(root):
    by_name = ExperimentPipeline(root.path).expand("grid", param_grid={"a": [1, 2]})
    assert by_name.build() == ExperimentPipeline(root.path).grid({"a": [1, 2]}).build()
    with pytest.raises(UnknownPluginError, match="grid"):
        by_name.expand("gird", param_grid={})


def test_zip_chain_and_random_search_are_there(root):
    pipeline = ExperimentPipeline(root.path).chain(
        ExpManager({"kind": "pairs"}).zip({"a": [1, 2], "b": [3, 4]}),
        ExpManager({"kind": "drawn"}).random_search({"a": [5, 6, 7]}, n_trials=2, seed=1),
    )
    kinds = [config["kind"] for config in pipeline.build()]
    assert kinds == ["pairs", "pairs", "drawn", "drawn"]


def test_a_second_launch_runs_exactly_what_is_not_done(root):
    def pipeline(n):
        return (
            ExperimentPipeline(root.path).variants([{"i": i} for i in range(n)]).exclude_completed()
        )

    first = pipeline(6).run(experiments.mixed)
    assert (first.succeeded, first.failed, first.skipped) == (2, 2, 2)
    again = pipeline(7).run(experiments.score)
    assert again.total == 5  # what failed, what was skipped, and the new one
    assert pipeline(7).build() == []


def test_exclude_completed_can_ignore_keys(root):
    ExperimentPipeline(root.path, {"lr": 1, "note": "a"}).run(experiments.score)
    pipeline = ExperimentPipeline(root.path, {"lr": 1, "note": "b"})
    assert len(pipeline.exclude_completed().build()) == 1
    pipeline = ExperimentPipeline(root.path, {"lr": 1, "note": "b"})
    assert pipeline.exclude_completed(ignore_keys=["note"]).build() == []


def test_the_same_configuration_runs_once_and_it_is_said(root, capsys):
    def pipeline():
        return ExperimentPipeline(root.path).variants([{"i": 1}, {"i": 1.0}, {"i": True}])

    assert pipeline().run(experiments.score).total == 2  # True is not 1
    assert "2 to run" in (said := capsys.readouterr().err)
    assert "1 duplicate" in said
    assert pipeline().run(experiments.score, allow_duplicates=True).total == 3


def test_a_launch_that_runs_nothing_says_why_once_and_is_silent_where_all_is_done(
    root, caplog, capsys
):
    def warnings(pipeline):
        caplog.clear()
        assert pipeline.run(experiments.mixed).total == 0
        assert "to run" not in capsys.readouterr().err
        return caplog.text

    base = ExperimentPipeline(root.path).grid({"i": [0, 1, 2]})
    told = warnings(base.copy().where(lambda c: c["i"] > 5, "large"))
    assert "0 of 3 configurations to run" in told and "by 'large' (3)" in told
    base.run(experiments.mixed)
    capsys.readouterr()
    told = warnings(base.copy().retry_failed("OutOfMemoryError"))
    assert "left out      before: 1 exception" in told
    caplog.clear()
    done = base.copy().where(lambda c: c["i"] == 0).exclude_completed()
    assert done.run(experiments.mixed).total == 0
    assert not caplog.records


def test_track_refuses_at_its_own_line(root):
    pipeline = ExperimentPipeline(root.path)
    with pytest.raises(UnknownPluginError, match=r"wanbd.*wandb"):
        pipeline.track("wanbd")
    with pytest.raises(OptionError, match="filename"):
        pipeline.track("jsonl", filename="x")
    with pytest.raises(OptionError, match="exists already"):
        pipeline.track(JsonlTracker(), events_filename="x")
    with pytest.raises(PluginContractError, match="on_run_start"):
        pipeline.track(object())


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("jsonl", {"events_filename": "metrics.jsonl"}, "events_filename"),
        ("jsonl", {"events_filename": "extras.jsonl"}, "events_filename"),
        ("tensorboard", {"log_dir": "s3://bucket/x"}, "log_dir"),
        ("tensorboard", {"log_dir": __file__}, "log_dir.*is a file"),
        ("mlflow", {"tracking_uri": "http://"}, "tracking_uri"),
        ("wandb", {"mode": "ofline"}, "mode"),
    ],
)
def test_track_refuses_options_that_cannot_work(root, name, options, text):
    pytest.importorskip("tensorboard" if name == "jsonl" else name)
    with pytest.raises(ConfigError, match=text):
        ExperimentPipeline(root.path).track(name, **options)


def test_track_refuses_an_instance_whose_options_cannot_work(root):
    wandb = pytest.importorskip("ztxexp_trackers.wandb")
    mlflow = pytest.importorskip("ztxexp_trackers.mlflow")
    pipeline = ExperimentPipeline(root.path)
    for tracker, text in (
        (wandb.WandbTracker(mode="ofline"), "mode"),
        (wandb.WandbTracker("a/b"), "project"),
        (mlflow.MlflowTracker("http://"), "tracking_uri"),
        (_Picky(0), "refuses its options: small"),
    ):
        with pytest.raises(ValueError, match=text):
            pipeline.track(tracker)
    keeps_nothing = _Picky(1)
    del keeps_nothing.size
    pipeline.track(_Picky(1)).track(keeps_nothing)


class _Picky(JsonlTracker):
    def __init__(self, size):
        super().__init__()
        self.size = size

    @staticmethod
    def check_options(size):
        if size < 1:
            raise ValueError("small")


def test_tracker_names_are_case_insensitive_as_in_1_0_3(root):
    assert ExperimentPipeline(root.path).track("JSONL").run(experiments.score).succeeded == 1


def test_retry_below_one_counts_as_one_and_nonsense_is_refused(root):
    assert ExperimentPipeline(root.path).retry(0).run(experiments.score).succeeded == 1
    with pytest.raises(ValueError, match="often"):
        ExperimentPipeline(root.path).retry("often")
    with pytest.raises(TypeError, match="retry_on"):
        ExperimentPipeline(root.path).retry(2, retry_on=(3,))


def test_build_does_not_touch_the_disk(tmp_path):
    ExperimentPipeline(tmp_path / "none").grid({"a": [1]}).exclude_completed().build()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["./other", Path("other")])
def test_a_root_given_to_exclude_completed_is_refused_not_taken_for_a_key(root, path):
    with pytest.raises(TypeError, match="its own results root"):
        ExperimentPipeline(root.path).exclude_completed(path)
