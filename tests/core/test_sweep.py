"""A launch under way: deaths tried again, launches that end early, sums that add up."""

from __future__ import annotations

import time

import experiments
import pytest
from reading import lines, strict

from ztxexp import ExperimentPipeline, ExpRunner

PARALLEL = ["process_pool", "joblib", "dynamic"]


@pytest.mark.parametrize("mode", PARALLEL)
def test_a_death_is_tried_again_in_the_same_folder_where_the_rule_says_so(root, mode):
    configs = [{"i": i, "dies_until": 3 if i == 1 else 1} for i in range(4)]
    summary = ExpRunner(configs, root.path).run(
        experiments.dies_until, mode=mode, workers=2, max_attempts=3, retry_on=["WorkerDied"]
    )
    assert (summary.total, summary.succeeded, summary.failed) == (4, 4, 0)
    (run,) = [run for run in root.runs() if run["config"]["i"] == 1]
    assert (run["status"], run["attempt"], run["retry_count"]) == ("succeeded", 3, 2)
    earlier = run["earlier_attempts"]
    assert [e["attempt"] for e in earlier] == [1, 2]
    assert {e["error_type"] for e in earlier} == {"WorkerDied"}
    assert sorted(p.name for p in run["dir"].glob("error*.log")) == [
        "error-attempt1.log",
        "error-attempt2.log",
    ]
    assert [row["attempt"] for row in lines(run["dir"] / "metrics.jsonl")] == [1, 2, 3]
    starts = [e for e in lines(run["dir"] / "events.jsonl") if e["event"] == "start"]
    assert [e["attempt"] for e in starts] == [1, 2, 3]


def test_deaths_and_exceptions_count_together(root):
    summary = ExpRunner([{"dies_until": 2, "raises_until": 9}], root.path).run(
        experiments.dies_until,
        mode="process_pool",
        max_attempts=3,
        retry_on=["WorkerDied", "ValueError"],
    )
    run = root.only()
    assert summary.failed == 1
    assert (run["attempt"], run["error_type"]) == (3, "ValueError")
    assert [e["error_type"] for e in run["earlier_attempts"]] == ["WorkerDied", "ValueError"]


def test_a_death_is_not_tried_again_unless_asked_for(root):
    summary = ExpRunner([{"dies_until": 2}], root.path).run(
        experiments.dies_until, mode="process_pool", max_attempts=3
    )
    assert summary.failed == 1
    assert root.only()["attempt"] == 1


def test_a_timeout_can_be_tried_again(root):
    summary = ExpRunner([{"sleeps_until": 2}], root.path).run(
        experiments.dies_until,
        mode="process_pool",
        timeout=1.0,
        max_attempts=2,
        retry_on="Timeout",
    )
    assert summary.succeeded == 1
    assert root.only()["earlier_attempts"][0]["reason"] == "timeout"


def test_the_pause_before_an_attempt_grows(root):
    started = time.monotonic()
    ExpRunner([{"raises_until": 4}], root.path).run(
        experiments.dies_until, max_attempts=4, retry_delay=0.1, retry_backoff=2.0
    )
    assert 0.7 <= time.monotonic() - started < 5  # 0.1 + 0.2 + 0.4
    assert root.only()["status"] == "succeeded"


def test_the_pause_after_a_death_holds_up_no_other_run(root):
    configs = [{"dies_until": 2}, *({"i": i} for i in range(3))]
    summary = ExpRunner(configs, root.path).run(
        experiments.dies_until,
        mode="process_pool",
        max_attempts=2,
        retry_on="WorkerDied",
        retry_delay=1.0,
    )
    assert summary.succeeded == 4
    ends = {tuple(r["config"]): r["finished_at"] for r in root.runs()}
    assert max(ends, key=ends.__getitem__) == ("dies_until",)


def test_a_launch_that_fails_everywhere_ends_after_so_many_failures(root):
    summary = ExpRunner([{"raises_until": 9, "i": i} for i in range(20)], root.path).run(
        experiments.dies_until, max_failures=3
    )
    assert (summary.total, summary.failed, summary.not_started) == (3, 3, 17)
    assert "3 runs failed" in summary.stopped_because
    assert len(root.runs()) == 3


def test_failures_in_a_row_are_counted_from_the_last_success(root):
    wrong = [0, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1]
    configs = [{"i": i, "raises_until": 9 if bad else 1} for i, bad in enumerate(wrong)]
    summary = ExpRunner(configs, root.path).run(experiments.dies_until, max_failures_in_a_row=3)
    assert (summary.total, summary.failed, summary.not_started) == (9, 6, 2)
    assert "in a row" in summary.stopped_because


def test_runs_under_way_end_by_themselves_when_a_launch_stops_early(root):
    configs = [{"raises_until": 9}, {"seconds": 1.0}, *({"i": i} for i in range(8))]
    summary = ExpRunner(configs, root.path).run(
        experiments.dies_until, mode="process_pool", workers=2, max_failures=1
    )
    assert summary.failed == 1
    assert summary.succeeded >= 1  # the one that slept
    assert summary.not_started >= 6
    assert "running" not in root.statuses()


def test_the_digest_groups_failures_by_place_and_names_the_key_that_tells_them_apart(root):
    space = {"lr": [0.1, 1.0], "seed": [0, 1, 2, 3]}
    summary = (
        ExperimentPipeline(root.path)
        .grid(space)
        .run(experiments.diverges, mode="process_pool", workers=2)
    )
    (group,) = summary.failures
    assert (group.error_type, len(group.run_ids)) == ("ArithmeticError", 4)
    assert group.place.startswith("experiments.py:")
    assert group.place.endswith("in diverges")
    assert list(group.separated_by) == ["lr"]
    run = strict(root.path / group.run_ids[0] / "run.json")
    assert run["error_place"] == group.place
    assert "lr" in str(summary)
