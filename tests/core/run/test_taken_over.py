"""A process that was taken for dead comes back: what another one has made of the run stays."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from ztxexp_core import RunEndedError, RunMetadata, RunSpec, SkipRun
from ztxexp_core.run.launch import Launch, RetryRule
from ztxexp_core.run.run import RunOne
from ztxexp_core.run.trackers import RunSink
from ztxexp_core.values.identity import config_identity


def take_over(run_dir: Path, status: str = "succeeded") -> dict[str, bytes]:
    """Do what another host does that goes on with a run and ends it; return its files."""
    run = json.loads((run_dir / "run.json").read_text())
    run["owner"].update(host="node17", pid=4711, beat="node17-4711-cafe")
    run.update(attempt=2, status=status)
    (run_dir / "run.json").write_text(json.dumps(run))
    (run_dir / "metrics.json").write_text('{"score": 1.0}')
    return contents(run_dir)


def contents(run_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run_dir.iterdir() if path.is_file()}


def returns(ctx):
    return {"score": 2.0}


def raises(ctx):
    raise ValueError("late")


def skips(ctx):
    raise SkipRun("late")


def run(root: Path, function, **kwargs):
    kept = {}

    def taken_over_meanwhile(ctx):
        kept["files"] = take_over(ctx.run_dir)
        return function(ctx)

    spec = RunSpec("r1", root / "r1", {"i": 0}, config_identity({"i": 0}))
    outcome = RunOne(Launch(taken_over_meanwhile, RunMetadata(), **kwargs))(spec)
    return outcome, kept["files"], contents(root / "r1")


@pytest.mark.parametrize("function", [returns, raises, skips], ids=lambda f: f.__name__)
def test_it_writes_no_end_over_that_of_its_successor(tmp_path: Path, function) -> None:
    outcome, then, now = run(tmp_path, function, retry=RetryRule(3))
    assert now == then
    assert outcome.reason == "elsewhere"
    assert "process 4711 on node17 has gone on with it (attempt 2)" in outcome.error_message


def silent(sink: RunSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "_checked", 0.0)  # as after an hour in which it was frozen


@pytest.mark.parametrize("call", ["log_metric", "log_params", "set_summary"])
def test_it_logs_nothing_more_and_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    told = []

    def logs(ctx):
        arguments = (1, {"loss": 0.5}) if call == "log_metric" else ({"loss": 0.5},)
        getattr(ctx, call)(*arguments)
        then.update(take_over(ctx.run_dir, "running"))
        silent(ctx._sink, monkeypatch)
        for _ in range(2):
            with pytest.raises(RunEndedError, match="process 4711 on node17") as raised:
                getattr(ctx, call)(*arguments)
            told.append(str(raised.value))

    then: dict[str, bytes] = {}
    spec = RunSpec("r1", tmp_path / "r1", {"i": 0}, config_identity({"i": 0}))
    outcome = RunOne(Launch(logs, RunMetadata()))(spec)
    assert outcome.reason == "elsewhere"
    assert told[0].startswith("run r1 is lost: this process gave no sign of life for too long")
    assert contents(tmp_path / "r1") == then


def test_a_run_that_was_silent_and_is_still_its_own_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def logs(ctx):
        silent(ctx._sink, monkeypatch)
        ctx.log_metric(1, {"loss": 0.5})
        return {"score": 2.0}

    spec = RunSpec("r1", tmp_path / "r1", {"i": 0}, config_identity({"i": 0}))
    assert RunOne(Launch(logs, RunMetadata()))(spec).status == "succeeded"
    assert json.loads((tmp_path / "r1/metrics.json").read_text()) == {"score": 2.0}
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_record_that_cannot_be_read_costs_no_result(tmp_path: Path) -> None:
    def damages(ctx):
        (ctx.run_dir / "run.json").write_text("{")
        return {"score": 2.0}

    spec = RunSpec("r1", tmp_path / "r1", {"i": 0}, config_identity({"i": 0}))
    assert RunOne(Launch(damages, RunMetadata()))(spec).status == "succeeded"
    assert json.loads((tmp_path / "r1/run.json").read_text())["status"] == "succeeded"
