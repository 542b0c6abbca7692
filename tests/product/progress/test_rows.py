"""rows: what tells a running configuration from others, and what it logged last."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from ztxexp.progress.rows import RunningRows
from ztxexp_core.records import MetricEvent, RunSpec
from ztxexp_core.store.files import RunFiles
from ztxexp_core.store.lines import JsonlWriter


def spec(folder: Path = Path("none"), run_id: str = "run", **config: Any) -> RunSpec:
    return RunSpec(run_id, folder, config, "")


def labels(*specs: RunSpec) -> list[str]:
    return [row.label for row in RunningRows().rows([(one, 0.0) for one in specs], 1.0)]


def metric(run: RunSpec, rows: RunningRows | None = None) -> str:
    ((_, _, text, *_),) = (rows or RunningRows()).rows([(run, 0.0)], 1.0)
    return text


def test_a_configuration_is_called_by_the_keys_that_vary_in_their_order() -> None:
    first = spec(run_id="first", seed=0, model={"lr": 0.1, "depth": 2}, data="x")
    second = spec(run_id="second", seed=1, model={"lr": 0.1, "depth": 3}, data="x")
    third = spec(run_id="third", seed=0, model={"lr": 0.1, "depth": 3}, data="x", extra=1)
    assert labels(first, second, third) == [
        "seed=0 model.depth=2",
        "seed=1 model.depth=3",
        "seed=0 model.depth=3 extra=1",
    ]


def test_where_nothing_varies_it_is_called_by_its_id() -> None:
    assert labels(spec(run_id="a", lr=1), spec(run_id="b", lr=1)) == ["a", "b"]
    assert labels(spec(run_id="a"), spec(run_id="b")) == ["a", "b"]


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), ("1", 1), (None, "None"), ([1], [2]), ({}, 3)]
)
def test_values_that_differ_vary(one, other) -> None:
    first, _ = labels(spec(run_id="a", x=one), spec(run_id="b", x=other))
    assert first.startswith("x=")


def test_values_that_have_no_single_answer_to_a_comparison_do_no_harm() -> None:
    import numpy as np

    same = spec(run_id="a", x=np.ones(3), y=np.zeros), spec(run_id="b", x=np.ones(3), y=np.zeros)
    assert labels(*same) == ["a", "b"]
    first, second = labels(spec(run_id="a", x=np.zeros), spec(run_id="b", x=np.ones))
    assert first != second


# ---- the last metric -------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path) -> RunSpec:
    return spec(tmp_path)


def log(run: RunSpec, step: int, split: str = "train", **metrics: float) -> None:
    with JsonlWriter(RunFiles(run.run_dir).curve) as writer:
        writer.append(MetricEvent(step, "", metrics, split).to_dict())


def append(run: RunSpec, data: bytes) -> None:
    with open(RunFiles(run.run_dir).curve, "ab") as curve:
        curve.write(data)


def test_the_last_event_is_shown_and_nothing_before_there_is_one(run) -> None:
    rows = RunningRows()
    assert metric(run, rows) == ""
    log(run, 1, loss=0.5)
    assert metric(run, rows) == "step 1  loss 0.5"
    log(run, 2, "valid", loss=1 / 3, acc=float("nan"), top5=1.0, top10=2.0)
    assert metric(run, rows) == "valid step 2  loss 0.3333  acc nan  top5 1"


@pytest.mark.parametrize(
    "torn", [b'{"step": 9, "metr', b"\n\n", b"garbage\n", b"[1]\n", b'{"step": 9}\n', b"\xff\n"]
)
def test_a_torn_or_foreign_line_hides_no_event(run, torn) -> None:
    log(run, 1, loss=0.5)
    append(run, torn)
    assert metric(run) == "step 1  loss 0.5"


def test_a_long_event_is_found(run) -> None:
    log(run, 7, **{f"metric_{i}": i for i in range(500)})
    assert os.path.getsize(RunFiles(run.run_dir).curve) > 8000
    assert metric(run) == "step 7  metric_0 0  metric_1 1  metric_2 2"


def test_the_end_of_a_long_curve_is_all_that_is_read(run) -> None:
    append(run, b"x" * 2**20 + b"\n")
    for step in range(3):
        log(run, step, loss=step)
    assert metric(run) == "step 2  loss 2"


def test_what_was_seen_stands_when_the_file_cannot_be_read_any_more(run) -> None:
    rows = RunningRows()
    log(run, 1, loss=0.5)
    assert metric(run, rows) == "step 1  loss 0.5"
    os.unlink(RunFiles(run.run_dir).curve)
    assert metric(run, rows) == "step 1  loss 0.5"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_the_place_of_the_curve_holds_nothing_up(run) -> None:
    os.mkfifo(RunFiles(run.run_dir).curve)
    assert metric(run) == ""


def test_a_metric_cannot_write_to_the_terminal(run) -> None:
    log(run, 1, **{"lo\x1b[2Jss\n": 0.5})
    assert metric(run).isprintable()


def test_a_run_that_its_launch_has_named_is_called_so_from_the_first_on() -> None:
    named = RunSpec("a", Path("none"), {"lr": 1}, "", name="lr=1 seed=2")
    assert labels(named) == ["lr=1 seed=2"]


def test_the_steps_that_a_run_says_stand_behind_its_last_one(run) -> None:
    rows = RunningRows()
    log(run, 3, loss=0.5)
    assert metric(run, rows) == "step 3  loss 0.5"
    with JsonlWriter(RunFiles(run.run_dir).extras) as writer:
        writer.append({"event": "params", "params": {"total_steps": 7}})
        assert metric(run, rows) == "step 3  loss 0.5"
        writer.append({"event": "total_steps", "total": 20})
        assert metric(run, rows) == "step 3/20  loss 0.5"
        writer.append({"event": "total_steps", "total": "\x1b[2J"})
        assert metric(run, rows) == "step 3/20  loss 0.5"


def test_a_run_has_the_short_id_that_its_launch_gives_it(run) -> None:
    asked = []

    def identities():
        asked.append(1)
        return [run.identity, "1:ab"]

    run = dataclasses.replace(run, identity="1:3f2ab1c0")
    rows = RunningRows(identities)
    for _ in range(2):
        (row,) = rows.rows([(run, 0.0)], 1.0)
    assert row.short == rows.short_of(run.identity) == "3f2a" and len(asked) == 1
    assert RunningRows().rows([(run, 0.0)], 1.0)[0].short == ""
