"""Limits: refused before anything runs where they cannot be kept, and kept otherwise."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import time

import experiments
import pytest

from ztxexp import ExperimentPipeline, ExpRunner, OptionError
from ztxexp.launch.options import LaunchOptions


@pytest.mark.parametrize(
    ("asked", "what"),
    [({"timeout": 5}, "timeout"), ({"gpus": [0]}, "gpus"), ({"fresh_process": True}, "process")],
)
def test_what_an_executor_cannot_enforce_is_refused_before_the_first_run(root, asked, what):
    with pytest.raises(OptionError, match=what) as caught:
        ExpRunner([{}], root.path).run(experiments.score, mode="sequential", **asked)
    assert "sequential" in str(caught.value)
    assert "process_pool" in str(caught.value)  # the way out
    assert root.runs() == []


@pytest.mark.parametrize("timeout", [0, -1, "", math.nan, math.inf, True, [5], lambda c: "soon"])
def test_a_time_limit_that_is_no_number_over_0_is_refused_before_the_first_run(root, timeout):
    with pytest.raises(ValueError, match="timeout"):
        ExpRunner([{}], root.path).run(experiments.score, mode="process_pool", timeout=timeout)
    assert root.runs() == []


def test_a_time_limit_for_all_is_judged_once_and_a_function_that_raises_is_named(root):
    runner = ExpRunner([{"i": 0}, {"i": 1}], root.path)
    with pytest.raises(ValueError, match=r"^timeout must be"):
        runner.run(experiments.score, mode="process_pool", timeout=-1)
    with pytest.raises(ValueError, match=r"configuration 0 of 2: the function .* KeyError: 'zz'"):
        runner.run(experiments.score, mode="process_pool", timeout=lambda config: config["zz"])
    assert root.runs() == []


@pytest.mark.parametrize("name", ["max_failures", "max_failures_in_a_row"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"])
def test_numbers_of_failures_below_1_are_refused(root, name, value):
    with pytest.raises(ValueError, match=name):
        ExpRunner([{}], root.path).run(experiments.score, **{name: value})
    assert root.runs() == []


def test_a_time_limit_comes_from_a_number_a_key_or_a_function():
    assert LaunchOptions(timeout=3).timeout_of({}) == 3.0
    assert LaunchOptions(timeout="limit").timeout_of({"limit": 4}) == 4.0
    assert LaunchOptions(timeout="model.limit").timeout_of({"model": {"limit": 5}}) == 5.0
    assert LaunchOptions(timeout="limit").timeout_of({}) is None
    assert LaunchOptions(timeout=lambda c: c["epochs"] * 2.0).timeout_of({"epochs": 3}) == 6.0
    assert LaunchOptions().timeout_of({}) is None


def test_whatever_a_function_for_time_limits_refuses_is_told_with_its_place(root):
    runner = ExpRunner([{"limit": "1"}, {"limit": "x"}], root.path)
    limit = lambda config: json.loads(config["limit"])  # noqa: E731 - its error takes three texts
    with pytest.raises(ValueError, match=r"configuration 1 of 2: .*Expecting value") as caught:
        runner.run(experiments.score, mode="process_pool", timeout=limit)
    assert isinstance(caught.value.__cause__.__cause__, json.JSONDecodeError)
    assert root.runs() == []


def test_a_key_that_no_configuration_has_is_refused(root):
    pipeline = ExperimentPipeline(root.path).grid({"i": [1, 2]})
    with pytest.raises(ValueError, match="limit_sec"):
        pipeline.run(experiments.score, mode="process_pool", timeout="limit_sec")
    assert root.runs() == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["process_pool", "joblib", "dynamic"])
def test_a_run_over_its_time_limit_is_ended_and_says_so_and_the_others_finish(root, mode):
    started = time.monotonic()
    summary = ExpRunner([{"seconds": 60}, {}, {}, {}], root.path).run(
        experiments.sleeps, mode=mode, workers=2, timeout=0.7
    )
    assert time.monotonic() - started < 30
    assert (summary.succeeded, summary.failed) == (3, 1)
    (failed,) = [run for run in root.runs() if run["status"] == "failed"]
    assert (failed["reason"], failed["error_type"]) == ("timeout", "Timeout")
    assert failed["config"] == {"seconds": 60}
    assert "0.7 s" in (failed["dir"] / "error.log").read_text()


@pytest.mark.slow
def test_an_end_that_a_handler_of_sigterm_wrote_is_still_a_timeout(root):
    summary = ExpRunner([{}], root.path).run(
        experiments.leaves_on_sigterm, mode="process_pool", timeout=0.7
    )
    run = root.only()
    assert summary.failed == 1
    assert (run["status"], run["reason"], run["error_type"]) == ("failed", "timeout", "Timeout")
    assert (run["dir"] / "checkpoints" / "saved").exists()


@pytest.mark.parametrize("run", [ExpRunner.run, ExperimentPipeline.run])
def test_every_setting_of_a_launch_is_an_argument_and_the_other_way_round(run):
    names = {field.name for field in dataclasses.fields(LaunchOptions)}
    arguments = set(inspect.signature(run).parameters)
    of_the_pipeline = {  # metadata(), retry(), track(), version() of the pipeline
        "metadata", "max_attempts", "retry_on", "retry_delay", "retry_backoff",
        "tracker_specs", "trackers", "code_version", "sweep",
    }  # fmt: skip
    other = {"self", "exp_fn", "exp_function", "allow_duplicates", "command", "metric_pattern"}
    older_names = {"execution_mode", "num_workers", "dynamic_cpu_threshold"}
    assert names - of_the_pipeline <= arguments
    assert arguments <= names | other | older_names
