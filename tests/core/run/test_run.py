"""The life of one run, as the files tell it."""

from __future__ import annotations

import collections
import dataclasses
import io
import json
import logging
import math
import os
import subprocess
import sys
import types

import experiments
import numpy as np
import pandas
import pytest
from reading import lines, strict

from ztxexp import ExpRunner, RunMetadata, SkipRun
from ztxexp_core import RunEndedError, RunSpec
from ztxexp_core.run.launch import Launch
from ztxexp_core.run.run import RunOne
from ztxexp_core.store.liveness import this_process


def run(root, function, config=None, **kwargs):
    return ExpRunner([config if config is not None else {"i": 0}], root.path).run(
        function, **kwargs
    )


def events(root):
    return [row["event"] for row in lines(root.only()["dir"] / "events.jsonl")]


def test_a_succeeded_run_leaves_every_file_of_the_documented_folder(root):
    run(root, experiments.score, {"i": 3, "seed": 7})
    folder = root.only()["dir"]
    assert {p.name for p in folder.iterdir()} == {
        "config.json", "run.json", "meta.json", "metrics.json", "metrics.jsonl",
        "events.jsonl", "artifacts",
    }  # fmt: skip
    assert strict(folder / "metrics.json") == {"score": 3}
    assert strict(folder / "config.json") == {"i": 3, "seed": 7}
    assert strict(folder / "meta.json")["seed"] == 7


def test_run_json_keeps_the_fields_of_1_0_3_and_names_its_owner(root):
    run(root, experiments.score, metadata=RunMetadata("name", "group", {"a": "b"}, "parent"))
    record = root.only()
    assert list(record)[:14] == [
        "schema_version", "run_id", "status", "started_at", "finished_at", "duration_sec",
        "error_type", "error_message", "experiment_name", "group", "tags", "parent_run_id",
        "attempt", "retry_count",
    ]  # fmt: skip
    assert record["schema_version"] == 2
    assert record["run_id"] == record["dir"].name
    assert record["experiment_name"] == "name"
    assert record["tags"] == {"a": "b"}
    assert record["attempt"] == 1
    assert record["owner"]["pid"] == os.getpid()


def test_events_tell_the_life_of_a_run_in_both_families(root):
    run(root, experiments.score)
    assert events(root) == ["run_start", "start", "metric", "end", "run_end"]


def test_returning_none_succeeds_without_metrics_json(root):
    run(root, experiments.nothing)
    assert root.only()["status"] == "succeeded"
    assert not (root.only()["dir"] / "metrics.json").exists()


@dataclasses.dataclass
class Scores:
    acc: float


Pair = collections.namedtuple("Pair", "acc loss")


@pytest.mark.parametrize(
    ("returned", "kept"),
    [
        (0.93, {"result": 0.93}),
        (np.float32(0.5), {"result": 0.5}),
        (np.array([1, 2]), {"result": [1, 2]}),
        ([1, {"a": 2}], {"result": [1, {"a": 2}]}),
        ((1, 2), {"result": [1, 2]}),
        ("text", {"result": "text"}),
        (types.MappingProxyType({"acc": 1}), {"acc": 1}),
        (pandas.Series({"acc": 0.5, "n": 2.0}), {"acc": 0.5, "n": 2.0}),
        (Scores(0.5), {"acc": 0.5}),
        (Pair(0.5, 2), {"acc": 0.5, "loss": 2}),
    ],
)
def test_what_is_returned_without_a_dict_is_kept(root, returned, kept):
    assert run(root, lambda ctx: returned).succeeded == 1
    assert strict(root.only()["dir"] / "metrics.json") == kept


@pytest.mark.parametrize("returned", [object(), lambda: 3, io.StringIO("open"), 123])
def test_what_cannot_be_kept_fails_and_is_in_the_error(root, returned):
    assert run(root, lambda ctx: returned).failed == 1
    record = root.only()
    assert record["error_type"] == "TypeError"
    assert type(returned).__name__ in record["error_message"]
    assert repr(returned) in (record["dir"] / "error.log").read_text()


def test_skiprun_ends_a_run_as_skipped_with_its_reason(root):
    def skip(ctx):
        raise SkipRun("makes no sense")

    summary = run(root, skip)
    assert (summary.skipped, summary.failed, summary.failed_run_ids) == (1, 0, [])
    record = root.only()
    assert (record["status"], record["error_message"]) == ("skipped", "makes no sense")
    assert "skip" in events(root)


class BadStr(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "exc", [ValueError("x"), SystemExit(3), SystemExit(0), GeneratorExit(), MemoryError(), BadStr()]
)
def test_whatever_is_raised_ends_as_failed_and_the_next_run_goes_on(root, exc):
    def fail_first(ctx):
        if ctx.config["i"] == 0:
            raise exc
        return {"ok": 1}

    summary = ExpRunner([{"i": 0}, {"i": 1}], root.path).run(fail_first)
    assert (summary.succeeded, summary.failed) == (1, 1)
    failed = next(r for r in root.runs() if r["config"]["i"] == 0)
    assert failed["status"] == "failed"
    assert failed["error_type"] == type(exc).__name__
    assert failed["reason"] == "exception"
    assert summary.failed_run_ids == [failed["run_id"]]
    assert (failed["dir"] / "error.log").stat().st_size > 0


def test_error_log_shows_the_users_frames_and_not_ours(root):
    def fail(ctx):
        raise ValueError("look here")

    run(root, fail)
    text = (root.only()["dir"] / "error.log").read_text()
    assert "look here" in text
    assert "test_run.py" in text
    assert "ztxexp_core/run/run.py" not in text


def test_keyboard_interrupt_ends_the_launch_and_the_run_is_not_succeeded(root):
    def interrupted(ctx):
        if ctx.config["i"] == 1:
            raise KeyboardInterrupt
        return {"ok": 1}

    with pytest.raises(KeyboardInterrupt):
        ExpRunner([{"i": i} for i in range(4)], root.path).run(interrupted)
    by_index = {r["config"]["i"]: r for r in root.runs()}
    assert set(by_index) == {0, 1}
    assert by_index[0]["status"] == "succeeded"
    assert (by_index[1]["status"], by_index[1]["reason"]) == ("failed", "interrupted")


def test_every_attempt_gets_a_fresh_copy_and_lines_carry_the_attempt(root):
    config = {"nested": {"n": 1}}
    summary = run(root, experiments.spends_itself, config, max_attempts=3)
    assert summary.succeeded == 1
    assert config == {"nested": {"n": 1}}
    record = root.only()
    assert (record["attempt"], record["retry_count"]) == (3, 2)
    assert record["config"] == {"nested": {"n": 1}}
    assert [row["attempt"] for row in lines(record["dir"] / "metrics.jsonl")] == [1, 2, 3]
    assert strict(record["dir"] / "meta.json")["attempt"] == 3
    retries = [r for r in lines(record["dir"] / "events.jsonl") if r["event"] == "retry"]
    assert [(r["attempt"], r["error_type"]) for r in retries] == [
        (1, "FileNotFoundError"),
        (2, "FileNotFoundError"),
    ]


@pytest.mark.parametrize(
    "retry_on", [("OSError",), "OSError", (OSError,), OSError, ["ValueError", FileNotFoundError]]
)
def test_retry_on_takes_names_and_classes_and_a_parent_covers_its_children(root, retry_on):
    config = {"nested": {"n": 1}}
    assert run(root, experiments.spends_itself, config, max_attempts=3, retry_on=retry_on).succeeded


def test_another_name_of_a_built_in_exception_is_one_of_it(root):
    assert run(
        root, experiments.spends_itself, {"nested": {"n": 1}}, max_attempts=3, retry_on="IOError"
    ).succeeded


def test_what_is_not_in_retry_on_is_not_tried_again(root):
    config = {"nested": {"n": 1}}
    summary = run(root, experiments.spends_itself, config, max_attempts=3, retry_on=("KeyError",))
    assert summary.failed == 1
    assert root.only()["attempt"] == 1


def test_skiprun_in_a_later_attempt_ends_the_run_as_skipped(root):
    def later(ctx):
        if ctx.meta.attempt == 1:
            raise ValueError("first")
        raise SkipRun("no point")

    assert run(root, later, max_attempts=5).skipped == 1
    assert root.only()["attempt"] == 2


def test_odd_numbers_are_kept_and_read_back_as_numbers(root):
    from ztxexp import ResultAnalyzer

    returned = {"nan": math.nan, "inf": -math.inf, "np": np.float32(0.5), "zero_d": np.array(2)}
    run(root, lambda ctx: returned)
    assert strict(root.only()["dir"] / "metrics.json") == {
        "nan": "NaN", "inf": "-Infinity", "np": 0.5, "zero_d": 2,
    }  # fmt: skip
    (record,) = ResultAnalyzer(root.path).to_records()
    assert math.isnan(record["nan"])
    assert record["inf"] == -math.inf


def test_a_returned_value_that_cannot_be_kept_costs_that_value_and_is_told(root, caplog):
    with caplog.at_level(logging.WARNING, "ztxexp"):
        summary = run(root, lambda ctx: {"ok": 1, "odd": object()})
    assert summary.succeeded == 1
    assert strict(root.only()["dir"] / "metrics.json") == {"ok": 1}
    assert "'odd'" in caplog.text


def test_a_logged_value_that_is_no_number_costs_that_value_and_is_told(root, caplog):
    def logs(ctx):
        ctx.log_metric(1, {"good": 1.0, "word": "high"})
        ctx.log_metric(2, {"good": 2.0})

    with caplog.at_level(logging.WARNING, "ztxexp"):
        assert run(root, logs).succeeded == 1
    rows = lines(root.only()["dir"] / "metrics.jsonl")
    assert [row["metrics"] for row in rows] == [{"good": 1.0}, {"good": 2.0}]
    assert "'word'" in caplog.text


def test_an_integer_that_no_float_holds_costs_itself_only_and_is_told(root, caplog):
    def logs(ctx):
        ctx.log_metric(1, {"good": 1.0, "huge": 10**400, "endless": 10**5000})
        ctx.log_params(good=1, endless=10**5000)
        return {"good": 1, "huge": 10**400, "endless": 10**5000}

    with caplog.at_level(logging.WARNING, "ztxexp"):
        assert run(root, logs).succeeded == 1
    folder = root.only()["dir"]
    assert [row["metrics"] for row in lines(folder / "metrics.jsonl")] == [{"good": 1.0}]
    assert [row["params"] for row in lines(folder / "extras.jsonl")] == [{"good": 1}]
    assert strict(folder / "metrics.json") == {"good": 1, "huge": 10**400}
    for said in ("metric 'huge'", "parameter 'endless'", "returned metric 'endless'"):
        assert said in caplog.text


def test_ctx_logger_writes_to_run_log_only(root, capfd):
    run(root, lambda ctx: ctx.logger.info("said 你好"))
    assert "said 你好" in (root.only()["dir"] / "run.log").read_text(encoding="utf-8")
    assert capfd.readouterr() == ("", "")


def test_run_dir_is_absolute_and_the_run_has_its_own_subfolders(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    seen = {}

    def look(ctx):
        seen["absolute"] = ctx.run_dir.is_absolute()
        seen["before"] = sorted(path.name for path in ctx.run_dir.iterdir() if path.is_dir())
        seen["folders"] = ctx.artifacts_dir.is_dir() and ctx.checkpoints_dir.is_dir()
        seen["place"] = ctx.checkpoints_dir == ctx.run_dir / "checkpoints"

    ExpRunner([{}], "results").run(look)
    assert seen == {"absolute": True, "before": ["artifacts"], "folders": True, "place": True}


def test_the_commit_is_found_once_per_launch_and_stored_per_run(root, tmp_path, monkeypatch):
    repo = tmp_path / "repo"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run([*git, "init", "-q", repo], check=True)
    (repo / "exp.py").write_text("def nothing(ctx): ...\n")
    subprocess.run([*git, "-C", repo, "add", "exp.py"], check=True)
    subprocess.run([*git, "-C", repo, "commit", "-q", "-m", "x"], check=True)
    code = compile((repo / "exp.py").read_text(), str(repo / "exp.py"), "exec")
    exec(code, namespace := {"__name__": "exp"})
    head = subprocess.check_output(["git", "-C", repo, "rev-parse", "HEAD"], text=True).strip()
    monkeypatch.chdir(repo)
    calls = []
    real = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda words, **k: calls.append(words) or real(words, **k)
    )
    ExpRunner([{"i": i} for i in range(3)], root.path).run(namespace["nothing"])
    assert {strict(r["dir"] / "meta.json")["git_commit"] for r in root.runs()} == {head}
    asked = [word for words in calls for word in words if word in GIT and words[0] == "git"]
    assert sorted(asked) == ["diff", "ls-files", "ls-files", "rev-parse"]


GIT = {"rev-parse", "diff", "ls-files"}


class Broken:
    """A tracker that fails where it is told to."""

    def __init__(self, where="on_metric", what=RuntimeError):
        self.where, self.what, self.calls = where, what, []

    def _hit(self, call):
        self.calls.append(call)
        if call == self.where:
            raise self.what("tracker broken")

    def on_run_start(self, ctx, meta):
        self._hit("on_run_start")

    def on_metric(self, ctx, event):
        self._hit("on_metric")

    def on_run_end(self, ctx, summary):
        self._hit("on_run_end")


@pytest.mark.parametrize("where", ["on_run_start", "on_metric", "on_run_end"])
@pytest.mark.parametrize("what", [RuntimeError, SystemExit])
def test_a_broken_tracker_changes_nothing_and_is_told_once(root, where, what, caplog):
    tracker = Broken(where, what)
    with caplog.at_level(logging.WARNING, "ztxexp"):
        summary = ExpRunner([{"i": i} for i in range(3)], root.path).run(
            experiments.score, trackers=[tracker]
        )
    assert summary.succeeded == 3
    assert where in tracker.calls
    assert caplog.text.count("tracker broken") == 1
    for record in root.runs():
        assert len(lines(record["dir"] / "metrics.jsonl")) == 1
        assert "tracker_error" in {r["event"] for r in lines(record["dir"] / "events.jsonl")}


@pytest.mark.parametrize("where", ["on_run_start", "on_metric", "on_run_end"])
def test_logins_in_the_error_of_a_tracker_are_masked_in_every_file_and_message(
    root, where, capfd, caplog
):
    def what(_):
        return RuntimeError("POST https://me:pass@host/api?token=t0k3n&page=2: refused")

    with caplog.at_level(logging.WARNING, "ztxexp"):
        summary = ExpRunner([{}], root.path).run(
            experiments.score, trackers=[Broken(where, what)], record_diff=False
        )
    files = [path for path in root.path.rglob("*") if path.is_file()]
    said = [path.read_text(errors="replace") for path in files]
    said += [str(summary), caplog.text, *capfd.readouterr()]
    assert any("https://host/api?token=***&page=2" in text for text in said)
    assert not [text for text in said if "me:pass" in text or "t0k3n" in text]


def test_metrics_too_large_for_the_disk_fail_that_run_only(tmp_path):
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from ztxexp import ExpRunner\n"
        "s = ExpRunner([{'n': 1}, {'n': 400_000}, {'n': 2}], sys.argv[1]).run("
        "lambda ctx: {'pad': 'x' * ctx.config['n']})\n"
        "print(s.succeeded, s.failed)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "r"], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["2", "1"]
    failed = [json.loads(p.read_text()) for p in (tmp_path / "r").glob("*/run.json")]
    assert [r["error_message"] for r in failed if r["status"] == "failed"] == [
        "[Errno 27] File too large"
    ]
    assert not list((tmp_path / "r").glob("*/*.tmp"))


# ---- at the edges of a run -------------------------------------------------------------------


def test_a_thread_of_an_earlier_attempt_cannot_log_into_a_later_one(root):
    refused = []

    def tries(ctx):
        if ctx.meta.attempt == 1:
            tries.first = ctx
            ctx.log_metric(1, {"a": 1.0})
            raise ValueError("again")
        try:
            tries.first.log_metric(2, {"a": 2.0})
        except RunEndedError as exc:
            refused.append(exc)

    assert run(root, tries, max_attempts=2).succeeded == 1
    assert len(refused) == 1
    assert len(lines(root.only()["dir"] / "metrics.jsonl")) == 1


def test_a_context_reaches_processes_that_the_run_starts(root):
    assert run(root, experiments.sends_its_context).succeeded == 1
    folder = root.only()["dir"]
    assert "from a child" in (folder / "run.log").read_text()
    assert [row["metrics"] for row in lines(folder / "metrics.jsonl")] == [{"child": 1.0}]


def test_child_loggers_write_to_run_log(root):
    run(root, lambda ctx: ctx.logger.getChild("data").info("loaded"))
    text = (root.only()["dir"] / "run.log").read_text()
    assert ".data - INFO - loaded" in text


def test_a_tracker_whose_constructor_exits_costs_no_run(root, monkeypatch):
    def exits(spec):
        raise SystemExit(3)

    monkeypatch.setattr("ztxexp_core.run.trackers.make_tracker", exits)
    assert run(root, experiments.nothing).succeeded == 1


@pytest.mark.parametrize("status", ["running", "succeeded"])
def test_a_folder_that_another_launch_has_gone_on_in_is_refused_and_left_alone(root, status):
    def fails(ctx):
        raise ValueError("once")

    run(root, fails)
    made = root.only()
    path = made["dir"] / "run.json"
    path.write_text(json.dumps({**strict(path), "status": status, "owner": this_process()}))
    before = {file: file.read_bytes() for file in made["dir"].rglob("*.*")}
    spec = RunSpec(made["run_id"], made["dir"], made["config"], made["identity"], attempt=2)
    outcome = RunOne(Launch(experiments.nothing, RunMetadata()))(spec)
    assert (outcome.status, outcome.reason) == ("failed", "elsewhere")
    assert {file: file.read_bytes() for file in made["dir"].rglob("*.*")} == before


def test_the_traceback_of_each_attempt_is_kept(root):
    def twice(ctx):
        if ctx.attempt < 3:
            raise ValueError(f"attempt {ctx.attempt}")

    run(root, twice, max_attempts=3)
    folder = root.only()["dir"]
    for number in (1, 2):
        assert (
            f"ValueError: attempt {number}" in (folder / f"error-attempt{number}.log").read_text()
        )
    assert not (folder / "error.log").exists()


def test_ctrl_c_is_never_tried_again(root):
    def interrupted(ctx):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(root, interrupted, max_attempts=3, retry_on=("BaseException",))
    assert (root.only()["attempt"], root.only()["status"]) == (1, "failed")


def test_ctrl_c_right_after_the_folder_was_made_leaves_nothing_running(root, monkeypatch):
    from ztxexp_core.run import run as module

    def interrupts(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "RunLogger", interrupts)
    with pytest.raises(KeyboardInterrupt):
        run(root, experiments.nothing)
    assert (root.only()["status"], root.only()["reason"]) == ("failed", "interrupted")


def test_ctrl_c_while_the_end_is_told_tells_each_tracker_once(root):
    class Presses(Broken):
        local = True  # told in the thread of the run, where Ctrl-C arrives

        def on_run_end(self, ctx, summary):
            self.calls.append("on_run_end")
            raise KeyboardInterrupt

    first, second = Presses(), Broken(where="never")
    with pytest.raises(KeyboardInterrupt):
        run(root, experiments.nothing, trackers=[first, second])
    assert first.calls.count("on_run_end") == second.calls.count("on_run_end") == 1
    assert root.only()["status"] == "succeeded"  # the function had returned
    assert events(root).count("end") == 1


class Scalar:
    """What some libraries return for a number."""

    def item(self):
        return 0.25


def test_what_can_be_logged_as_a_number_can_be_returned(root):
    sparse = pytest.importorskip("torch").ones(2).to_sparse()
    summary = run(root, lambda ctx: {"loss": Scalar(), "sparse": sparse}, max_attempts=2)
    assert summary.succeeded == 1
    folder = root.only()["dir"]
    assert strict(folder / "metrics.json") == {"loss": 0.25}
    assert root.only()["attempt"] == 1
    refused = [r for r in lines(folder / "events.jsonl") if r["event"] == "metric_refused"]
    assert "'sparse'" in refused[0]["error_message"]


@pytest.mark.parametrize(
    ("config", "seed", "version"),
    [
        ({"seed": "42", "dataset_version": "v1", "data_version": "v2"}, 42, "v1"),
        ({"seed": " -3 ", "dataset_version": None, "data_version": "v2"}, -3, "v2"),
        ({"seed": "4.5", "dataset_version": "", "data_version": 3}, None, "3"),
        ({"seed": True}, None, None),
        ({"seed": "none"}, None, None),
    ],
)
def test_the_configuration_tells_seed_and_dataset_version(root, config, seed, version):
    run(root, experiments.nothing, config)
    [record] = root.runs()
    meta = strict(record["dir"] / "meta.json")
    assert (meta["seed"], meta["dataset_version"]) == (seed, version)


def test_what_the_metadata_says_counts_before_the_configuration(root):
    metadata = RunMetadata(seed=5, dataset_version="mine")
    configs = [{"seed": "42", "dataset_version": "v1"}]
    ExpRunner(configs, root.path).run(experiments.nothing, metadata=metadata)
    [record] = root.runs()
    meta = strict(record["dir"] / "meta.json")
    assert (meta["seed"], meta["dataset_version"]) == (5, "mine")


def test_runs_share_neither_tags_nor_extras_and_any_whole_seed_counts(root):
    def grows(ctx):
        ctx.meta.extras["seen"].append(ctx.config["seed"])

    metadata = RunMetadata(tags=["a"], extras={"seen": []})
    ExpRunner([{"seed": np.int64(i)} for i in range(2)], root.path).run(grows, metadata=metadata)
    assert metadata.extras == {"seen": []}
    assert [strict(r["dir"] / "meta.json")["seed"] for r in root.runs()] == [0, 1]


def test_a_message_of_millions_of_characters_is_kept_whole_in_one_place_only(root):
    def fails(ctx):
        raise ValueError("x" * 3_000_000)

    ExpRunner([{}], root.path).run(fails, progress=False)
    sizes = {path.name: path.stat().st_size for path in root.only()["dir"].iterdir()}
    assert sizes.pop("error.log") > 3_000_000 and sizes.pop("run.log") > 3_000_000
    assert max(sizes.values()) < 100_000
    assert "3,000,000 characters in all" in root.only()["error_message"]
