"""extras: parameters, artifacts and final figures are on disk first."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pytest
from reading import strict

from ztxexp.runner import ExpRunner
from ztxexp_core.context import RunContext
from ztxexp_core.errors import MetricError, RunEndedError
from ztxexp_core.store import sink
from ztxexp_core.store.lines import read_jsonl


def rows(folder: Path) -> list[dict]:
    return [
        {name: value for name, value in row.items() if name != "timestamp"}
        for row in read_jsonl(folder / "extras.jsonl")
    ]


def test_what_a_run_says_of_itself_is_written_down_with_its_attempt(root) -> None:
    def train(ctx):
        ctx.log_params({"n": np.int64(3)}, device="cpu")
        ctx.set_summary(best=0.5)
        ctx.set_summary({"best": 0.75, "worst": math.nan})

    ExpRunner([{}], root.path, train).run()
    (run,) = root.runs()
    assert rows(run["dir"]) == [
        {"event": "params", "attempt": 1, "params": {"n": 3, "device": "cpu"}},
        {"event": "summary", "attempt": 1, "summary": {"best": 0.5}},
        {"event": "summary", "attempt": 1, "summary": {"best": 0.75, "worst": "NaN"}},
    ]
    assert strict(run["dir"] / "metrics.json") == {"best": 0.75, "worst": "NaN"}


def test_a_run_that_says_nothing_has_no_such_file(root) -> None:
    ExpRunner([{}], root.path, lambda ctx: None).run()
    (run,) = root.runs()
    assert not (run["dir"] / "extras.jsonl").exists()
    assert not (run["dir"] / "metrics.json").exists()


def test_what_the_function_returns_comes_after_the_summary_and_a_failed_run_keeps_it(root) -> None:
    def train(ctx):
        ctx.set_summary(best=0.5, epochs=3)
        if ctx.config["i"]:
            raise ValueError("late")
        return {"best": 0.9}

    ExpRunner([{"i": 0}, {"i": 1}], root.path, train).run()
    found = {run["config"]["i"]: strict(run["dir"] / "metrics.json") for run in root.runs()}
    assert found == {0: {"best": 0.9, "epochs": 3}, 1: {"best": 0.5, "epochs": 3}}
    assert [run["status"] for run in root.runs()] == ["succeeded", "failed"]


def test_each_attempt_has_a_summary_of_its_own(root) -> None:
    def train(ctx):
        ctx.set_summary({f"attempt{ctx.attempt}": 1})
        if ctx.attempt == 1:
            raise ValueError("once more")

    ExpRunner([{}], root.path, train).run(max_attempts=2)
    (run,) = root.runs()
    assert strict(run["dir"] / "metrics.json") == {"attempt2": 1}


def test_a_value_that_cannot_be_written_down_costs_itself_and_is_told(root, caplog) -> None:
    def train(ctx):
        ctx.log_params(model=lambda: None, n=3)
        ctx.set_summary(model=lambda: None, n=3)

    assert ExpRunner([{}], root.path, train).run().succeeded == 1
    (run,) = root.runs()
    assert [row.get("params") or row.get("summary") for row in rows(run["dir"])] == [{"n": 3}] * 2
    assert "parameter 'model' was not recorded: a function" in caplog.text
    assert "summary value 'model' was not recorded" in (run["dir"] / "run.log").read_text()


def test_how_many_steps_there_will_be_is_written_down(root) -> None:
    def train(ctx):
        assert ctx.total_steps is None
        for total in (np.int64(20), 0, None):
            ctx.total_steps = total
        assert ctx.total_steps is None
        for wrong in (True, 2.5, "20"):
            with pytest.raises(MetricError, match="total_steps must be a whole number"):
                ctx.total_steps = wrong

    assert ExpRunner([{}], root.path, train).run().succeeded == 1
    (run,) = root.runs()
    totals = [{"event": "total_steps", "attempt": 1, "total": total} for total in (20, 0, 0)]
    assert rows(run["dir"]) == totals


@pytest.mark.parametrize("call", ["log_params", "set_summary"])
def test_what_is_no_mapping_is_refused(tmp_path, call) -> None:
    with pytest.raises(TypeError, match="names and values"):
        getattr(context(tmp_path), call)([1])


def test_after_the_end_everything_is_refused(root) -> None:
    kept = []
    ExpRunner([{}], root.path, kept.append).run()
    (ctx,) = kept
    calls = (
        lambda: ctx.log_params(a=1),
        lambda: ctx.set_summary(a=1),
        lambda: setattr(ctx, "total_steps", 3),
    )
    for call in calls:
        with pytest.raises(RunEndedError):
            call()
    with pytest.raises(RunEndedError):
        ctx.log_artifact(__file__)
    assert list(ctx.artifacts_dir.iterdir()) == []


# ---- artifacts -----------------------------------------------------------------------------------


def context(folder: Path) -> RunContext:
    run_dir = folder / "run"
    (run_dir / "artifacts").mkdir(parents=True)
    return RunContext(
        "run", run_dir, {}, logging.getLogger("t"), _metrics_jsonl_path=run_dir / "metrics.jsonl"
    )


@pytest.mark.parametrize(
    ("name", "kept"), [(None, "a.txt"), ("b.txt", "b.txt"), ("figures/c.txt", "figures/c.txt")]
)
def test_a_file_is_copied_under_its_name(tmp_path, name, kept) -> None:
    ctx = context(tmp_path)
    (tmp_path / "a.txt").write_text("one")
    assert ctx.log_artifact(str(tmp_path / "a.txt"), name) == ctx.artifacts_dir / kept
    assert (ctx.artifacts_dir / kept).read_text() == "one"
    assert (tmp_path / "a.txt").exists()
    assert [row["name"] for row in rows(ctx.run_dir)] == [kept]


def test_what_lies_among_the_artifacts_already_stays_where_it_is(tmp_path) -> None:
    ctx = context(tmp_path)
    (ctx.artifacts_dir / "figures").mkdir()
    path = ctx.artifacts_dir / "figures" / "a.txt"
    path.write_text("one")
    assert ctx.log_artifact(path) == path
    assert [row["name"] for row in rows(ctx.run_dir)] == ["figures/a.txt"]
    assert [p.name for p in ctx.artifacts_dir.rglob("*")] == ["figures", "a.txt"]


def test_a_folder_is_kept_whole_and_replaces_the_one_before(tmp_path) -> None:
    ctx = context(tmp_path)
    model = tmp_path / "model"
    (model / "parts").mkdir(parents=True)
    (model / "parts" / "a").write_text("one")
    ctx.log_artifact(model)
    (model / "parts" / "a").rename(model / "parts" / "b")
    ctx.log_artifact(model)
    assert [p.name for p in (ctx.artifacts_dir / "model").rglob("*")] == ["parts", "b"]
    assert [p.name for p in ctx.artifacts_dir.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "", "..\\a"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name) -> None:
    ctx = context(tmp_path)
    with pytest.raises(ValueError, match="leads out of"):
        ctx.log_artifact(__file__, name)
    assert rows(ctx.run_dir) == []


def test_a_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such artifact.*nowhere"):
        context(tmp_path).log_artifact("nowhere")


def test_a_file_that_changes_while_it_is_copied_is_told(tmp_path, monkeypatch) -> None:
    ctx = context(tmp_path)
    model = tmp_path / "model.pt"
    model.write_text("one")
    copies = []

    def copy(source, target):
        copies.append(target)
        target.write_text(source.read_text())
        source.write_text(source.read_text() + "+")

    monkeypatch.setattr(sink, "_copy", copy)
    ctx.log_artifact(model)
    assert len(copies) > 1
    (warning,) = ctx._sink.warnings
    assert "model.pt" in warning
    assert "artifacts_dir" in warning


def test_a_copy_that_is_good_at_the_second_try_says_nothing(tmp_path, monkeypatch) -> None:
    ctx = context(tmp_path)
    model = tmp_path / "model.pt"
    model.write_text("one")

    def copy(source, target):
        target.write_text(source.read_text())
        if source.read_text() == "one":
            source.write_text("two")

    monkeypatch.setattr(sink, "_copy", copy)
    assert ctx.log_artifact(model).read_text() == "two"
    assert not ctx._sink.warnings


def test_an_artifact_is_not_kept_behind_a_link(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "run" / "artifacts").mkdir(parents=True)
    (tmp_path / "run" / "artifacts" / "figures").symlink_to(tmp_path / "outside")
    (tmp_path / "loss.png").write_text("x")
    files = sink.FileSink(tmp_path / "run", 1, logging.getLogger("test"))
    with pytest.raises(ValueError, match=r"figures/loss\.png.*leads through a link"):
        files.log_artifact(tmp_path / "loss.png", "figures/loss.png")
    assert not any((tmp_path / "outside").iterdir())
