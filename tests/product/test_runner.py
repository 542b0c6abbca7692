"""The sweep loop: arguments, summaries, what an executor loses."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import time

import experiments
import pytest
from reading import strict

from ztxexp import ExperimentPipeline, ExpRunner, RunMetadata, RunSummary
from ztxexp.launch import reconcile
from ztxexp_core import ExecutorError, OptionError, RunOutcome, StoreError, hookimpl
from ztxexp_core.errors import ConfigError, UnknownPluginError
from ztxexp_core.plugins.registry import executors
from ztxexp_core.store import heartbeat, run_folder


class Flaky:
    """An executor that loses runs: it raises, or forgets to yield, as it is told."""

    supports = frozenset({"in_process"})

    def __init__(self):
        self.calls = 0
        self.script = lambda call, n: "yield"

    @hookimpl
    def ztxexp_execute(self, specs, run_one):
        self.calls += 1
        for n, spec in enumerate(specs):
            step = self.script(self.calls, n)
            if step == "raise before":
                raise RuntimeError("executor broke")
            if step == "odd":
                yield {"status": "succeeded"}
            if step == "made up":
                yield RunOutcome(spec.run_id, "succeeded")
                continue
            if step in ("died staging", "died damaged", "died odd"):
                staged = step == "died staging"
                folder = spec.run_dir.parent / ((".new-" if staged else "") + spec.run_id)
                folder.mkdir()
                (folder / "config.json").write_text("{}")
                (folder / "run.json").write_text("{" if step == "died damaged" else "{}")
                yield RunOutcome.lost(spec, "killed", signal=9)
                continue
            outcome = run_one(spec)
            if step == "raise after":
                raise RuntimeError("executor broke")
            if step == "forget":
                continue
            if step == "lost":
                yield RunOutcome.lost(spec, "killed", signal=9)
                continue
            if step == "foreign":
                yield RunOutcome("no-such-run", "failed")
            yield outcome


@pytest.fixture
def flaky(own_executor):
    plugin = Flaky()
    own_executor(plugin)
    return plugin


def five(root, function=experiments.nothing, **kwargs):
    return ExpRunner([{"i": i} for i in range(5)], root.path).run(function, **kwargs)


def test_the_summary_adds_up_and_failed_ids_are_folders(root):
    summary = ExpRunner([{"i": i} for i in range(7)], root.path).run(experiments.mixed)
    assert (summary.total, summary.succeeded, summary.failed, summary.skipped) == (7, 3, 2, 2)
    assert summary.duration_sec > 0
    assert sorted(summary.failed_run_ids) == sorted(
        r["run_id"] for r in root.runs() if r["status"] == "failed"
    )


def test_an_empty_list_is_an_empty_summary(root):
    assert ExpRunner([], root.path).run(experiments.nothing) == RunSummary(0, 0, 0, 0, 0.0, [])


@pytest.mark.slow
def test_older_argument_names_mean_the_same(root):
    summary = five(root, execution_mode="dynamic", num_workers=1, dynamic_cpu_threshold=100)
    assert summary.succeeded == 5


def test_the_function_may_be_given_to_the_constructor(root):
    assert ExpRunner([{}], root.path, experiments.nothing).run().succeeded == 1


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [
        ({"mode": "no_such_mode"}, "no_such_mode"),
        ({"mode": "sequentail"}, "sequential"),
        ({"workers": 0}, "workers"),
        ({"workers": -3}, "-3"),
        ({"workers": 1.5}, "workers"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": "3"}, "max_attempts"),
        ({"retry_on": (3,)}, "retry_on"),
        ({"record_diff": "no"}, "record_diff"),
        ({"progress": "off"}, "progress"),
        ({"tracker_specs": [{"type": "wanbd"}]}, "wandb"),
        ({"tracker_specs": [{"kwargs": {}}]}, "type"),
        ({"tracker_specs": [{"type": "jsonl", "kwargs": {"filename": "x"}}]}, "filename"),
        ({"options": {"speed": 3}}, "speed"),
        ({"mode": "dynamic", "options": {"speed": 3}}, "cpu_threshold"),
        ({"mode": "dynamic", "cpu_threshold": "hot"}, "cpu_threshold"),
    ],
)
def test_bad_arguments_are_refused_by_name_before_anything_runs(root, kwargs, word):
    with pytest.raises((ValueError, TypeError), match=word):
        five(root, **kwargs)
    assert root.runs() == []


def test_a_missing_function_is_a_value_error(root):
    with pytest.raises(ValueError, match="exp_function"):
        ExpRunner([{}], root.path).run()
    with pytest.raises(TypeError, match="callable"):
        ExpRunner([{}], root.path).run("train")


def test_unknown_modes_say_the_known_ones_and_the_closest(root):
    with pytest.raises(UnknownPluginError, match=r"process_pool") as caught:
        five(root, mode="proces_pool")
    assert "sequential" in str(caught.value)


def test_a_configuration_that_cannot_be_kept_is_refused_with_its_place(root):
    with pytest.raises(ConfigError, match=r"configuration 1 of 2.*model\.act"):
        ExpRunner([{}, {"model": {"act": lambda x: x}}], root.path).run(experiments.nothing)
    assert root.runs() == []


@pytest.mark.parametrize("mode", ["process_pool", "joblib"])
def test_a_function_that_cannot_be_sent_is_refused_before_anything_runs(root, mode, tmp_path):
    with (
        (tmp_path / "open").open("w") as handle,
        pytest.raises(OptionError, match="cannot be pickled"),
    ):
        five(root, lambda ctx: handle.write("x"), mode=mode)
    assert root.runs() == []


def test_a_root_that_is_a_file_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "afile"
    path.write_text("precious")
    with pytest.raises(StoreError, match="afile"):
        ExpRunner([{}], path)
    assert path.read_text() == "precious"


@pytest.mark.slow
def test_run_ids_are_unique_whatever_the_clock_and_the_seed_say(root, monkeypatch):
    real = time.strftime
    monkeypatch.setattr(time, "strftime", lambda form, *_: real(form, time.gmtime(1_700_000_000)))
    random.seed(1)
    summary = ExpRunner([{"i": i} for i in range(300)], root.path).run(lambda ctx: random.seed(1))
    assert summary.succeeded == 300
    assert len(root.runs()) == 300


def test_runs_left_running_by_a_dead_launcher_are_closed_by_the_next_launch(root):
    code = (
        "import os, sys; from ztxexp import ExpRunner\n"
        "ExpRunner([{'i': 0}], sys.argv[1]).run(lambda ctx: os._exit(1))"
    )
    done = subprocess.run([sys.executable, "-c", code, root.path], check=False)
    assert done.returncode == 1
    assert root.statuses() == ["running"]
    five(root)
    assert root.statuses() == ["failed"] + 5 * ["succeeded"]
    assert next(r for r in root.runs() if r["status"] == "failed")["reason"] == "lost"


@pytest.mark.first_is_quick
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_a_live_jsonl_tracker_replaces_the_default_one(root, mode):
    from ztxexp import JsonlTracker

    five(root, mode=mode, trackers=[JsonlTracker("other.jsonl")])
    for record in root.runs():
        assert "run_start" in (record["dir"] / "other.jsonl").read_text()
        assert "run_start" not in (record["dir"] / "events.jsonl").read_text()


# ---- executors that lose runs ----------------------------------------------------------------


def test_an_executor_that_raises_is_called_again_with_the_rest(root, flaky):
    flaky.script = lambda call, n: "raise before" if (call, n) == (1, 2) else "yield"
    summary = five(root, mode="own")
    assert summary.succeeded == 5
    assert flaky.calls == 2
    assert root.statuses() == 5 * ["succeeded"]


def test_a_run_that_ended_on_disk_counts_even_if_its_outcome_was_never_yielded(root, flaky):
    flaky.script = lambda call, n: {1: "forget", 3: "raise after"}.get(n, "yield")
    summary = five(root, experiments.mixed, mode="own")
    assert (summary.succeeded, summary.failed, summary.skipped) == (2, 2, 1)


def test_an_outcome_never_overrules_what_is_on_disk(root, flaky):
    flaky.script = lambda call, n: "lost" if n == 1 else "yield"
    assert five(root, mode="own").succeeded == 5  # the run had succeeded before it was "lost"


def test_outcomes_of_unknown_runs_are_ignored(root, flaky):
    flaky.script = lambda call, n: "foreign"
    assert five(root, mode="own").total == 5


def test_an_executor_without_progress_is_an_error_that_names_it(root, flaky):
    flaky.script = lambda call, n: "raise before"
    with pytest.raises(ExecutorError, match=r"'own'.*executor broke"):
        five(root, mode="own")
    assert root.runs() == []


def test_identity_is_stored_with_every_run(root):
    from ztxexp_core.values.identity import config_identity

    five(root)
    for record in root.runs():
        assert record["identity"] == config_identity(record["config"])
        assert strict(record["dir"] / "run.json")["identity"] == record["identity"]


def test_the_default_registry_lists_the_four_executors():
    assert {"sequential", "process_pool", "joblib", "dynamic"} <= set(executors().names())


@pytest.mark.parametrize("how", ["died staging", "died damaged", "died odd", "made up"])
def test_whatever_a_dead_worker_left_its_run_is_failed_and_the_launch_goes_on(
    root, flaky, how, monkeypatch
):
    monkeypatch.setattr(reconcile, "LATE_SEC", 0.1)
    flaky.script = lambda call, n: how if n == 1 else "yield"
    summary = five(root, mode="own")
    assert (summary.total, summary.succeeded, summary.failed) == (5, 4, 1)
    failed = strict(root.path / summary.failed_run_ids[0] / "run.json")
    assert failed["status"] == "failed"
    assert failed["error_type"]
    assert not list(root.path.glob(".new-*"))


def test_what_the_executor_said_stands_in_the_record_of_the_run_it_lost(root, flaky, caplog):
    flaky.script = lambda call, n: "raise after" if n == 4 else "yield"

    def dies_quietly(ctx):
        if ctx.config["i"] == 4:
            (ctx.run_dir / "run.json").unlink()

    with caplog.at_level(logging.WARNING, "ztxexp"):
        summary = five(root, dies_quietly, mode="own")
    assert summary.total == summary.succeeded + summary.failed
    assert "executor broke" in caplog.text


@pytest.mark.slow
def test_an_exit_asked_for_by_a_signal_handler_leaves_nothing_running(root, tmp_path):
    code = (
        "import os, signal, sys, experiments\n"
        "from ztxexp import ExpRunner\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))\n"
        "signal.alarm(2)\n"
        "configs = [{'i': i, 'seconds': 30} for i in range(3)]\n"
        "ExpRunner(configs, sys.argv[1]).run(experiments.sleeps, mode='process_pool', workers=2)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.path.dirname(experiments.__file__)}
    done = subprocess.run([sys.executable, "-c", code, root.path], env=env, check=False)
    assert done.returncode == 143
    assert root.statuses() == ["failed", "failed"]
    assert {r["reason"] for r in root.runs()} == {"interrupted"}


def test_failures_are_told_once_by_kind_with_the_place_of_the_log(root, caplog):
    with caplog.at_level(logging.WARNING, "ztxexp"):
        summary = ExpRunner([{"i": i} for i in (1, 4, 7, 0)], root.path).run(experiments.mixed)
    assert summary.failed == 3
    (told,) = [r.getMessage() for r in caplog.records if "failed" in r.getMessage()]
    assert told.startswith("3 of 4 runs failed")
    assert "ValueError: bad 1" in told
    assert str(root.path / summary.failed_run_ids[0] / "error.log") in told


def test_ids_sort_in_the_order_of_the_list(root):
    ExpRunner([{"i": i} for i in range(50)], root.path).run(experiments.nothing)
    assert [r["config"]["i"] for r in root.runs()] == list(range(50))


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [
        ({"metadata": {"experiment_name": "x"}}, "RunMetadata"),
        ({"metadata": RunMetadata(extras={"fn": lambda: 1})}, r"metadata: key 'extras\.fn'"),
        ({"options": ["timeout"]}, "options"),
        ({"tracker_specs": ["jsonl"]}, "tracker spec"),
        ({"retry_on": None}, "retry_on"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused_before_anything_runs(root, kwargs, word):
    with pytest.raises((TypeError, ValueError), match=word):
        five(root, **kwargs)
    assert root.runs() == []


def test_a_single_mapping_instead_of_a_list_is_explained(root):
    with pytest.raises(TypeError, match="list of mappings"):
        ExpRunner({"a": 1}, root.path)


def test_an_executor_that_yields_something_else_is_told_what(root, flaky, caplog):
    flaky.script = lambda call, n: "odd" if call == 1 and n == 2 else "yield"
    with caplog.at_level(logging.WARNING, "ztxexp"):
        assert five(root, mode="own").succeeded == 5
    assert "yielded a dict, not a RunOutcome" in caplog.text


def test_a_dead_run_that_cannot_be_closed_does_not_hold_up_the_next_launch(
    root, monkeypatch, caplog
):
    code = (
        "import os, sys; from ztxexp import ExpRunner\n"
        "ExpRunner([{'i': 0}], sys.argv[1]).run(lambda ctx: os._exit(1))"
    )
    subprocess.run([sys.executable, "-c", code, root.path], check=False)

    def refuses(*args):
        raise PermissionError(13, "another user's")

    monkeypatch.setattr(run_folder, "write_json", refuses)
    with caplog.at_level(logging.WARNING, "ztxexp"):
        assert five(root).succeeded == 5
    assert "cannot be closed" in caplog.text


@pytest.mark.parametrize("shares", [False, True])
def test_a_launch_beats_once(root, shares):
    held = []
    pipeline = ExperimentPipeline(root.path, {"i": 1})
    if shares:
        pipeline.exclude_completed()
    assert pipeline.run(lambda ctx: held.append(dict(heartbeat._launches))).succeeded == 1
    assert held == [{str(root.path): 1}]
    assert not heartbeat._launches


async def _async(ctx):
    return None


class _Awaited:
    async def __call__(self, ctx):
        return None


def _generator(ctx):
    yield


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda: None, "cannot be called with ctx alone: too many positional"),
        (
            lambda ctx, lr: None,
            "cannot be called with ctx alone: missing a required argument: 'lr'",
        ),
        (_async, "_async is async; wrap it"),
        (_Awaited(), "is async; wrap it"),
        (_generator, "_generator is a generator function"),
        (3, "must be callable, got int"),
    ],
)
def test_a_function_that_would_fail_in_every_run_is_refused_before_the_first(root, function, said):
    with pytest.raises(TypeError, match=said):
        ExpRunner([{}], root.path).run(function)
    assert root.runs() == []


def test_whatever_takes_a_context_is_a_function(root):
    class Model:
        def __call__(self, ctx):
            return {"score": 1}

        def fit(self, ctx, epochs=3, *more, **options):
            return {"score": 2}

    for function in (Model(), Model().fit, lambda *args: None, print):
        assert ExpRunner([{}], root.path).run(function).succeeded == 1
