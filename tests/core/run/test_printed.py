"""What lines of a program are metrics, and what lines are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztxexp_core.run.printed import METRIC_LINE, Lines, MetricsFile, PrintedMetrics


def found(text, ignored=(), pattern=METRIC_LINE):
    """What is logged of a text: step, metrics."""
    logged = []
    metrics = PrintedMetrics(
        pattern, ignored, lambda step, values, split, phase: logged.append((step, values))
    )
    lines = Lines(metrics.line)
    lines.feed(text.encode())
    lines.end()
    return logged


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("accuracy: 0.93", "accuracy", 0.93),
        ("  val loss = 1e-3  ", "val loss", 1e-3),
        ("train/loss:-.5", "train/loss", -0.5),
        ("f1.macro = 1", "f1.macro", 1.0),
        ("samples: 1_000", "samples", 1000.0),
        ("loss: nan", "loss", pytest.approx(float("nan"), nan_ok=True)),
        ("loss: -inf", "loss", float("-inf")),
        ("top-1: +97.5", "top-1", 97.5),
        ("\x1b[1;32mloss\x1b[0m: \x1b[31m0.5\x1b[0m", "loss", 0.5),
    ],
)
def test_a_name_and_a_number_alone_in_a_line_are_a_metric(line, name, value):
    assert found(line) == [(0, {name: value})]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "accuracy",
        "accuracy: good",
        "accuracy: 0.5 0.6",
        "2026-11-29 13:22:41",
        "12:30",
        "Nov 29 13:22:41",
        "listening on 127.0.0.1:8080",
        "INFO:root:accuracy: 0.9",
        "one two three four: 5",
        "http://host:8080",
        "loss: 0x10",
        "loss: 1e",
        "loss: 1.2.3",
        '  File "train.py", line: 12',
        "loss: " + "9" * 200,
    ],
)
def test_other_lines_are_none(line):
    assert found(line) == []


def test_repeated_names_are_steps():
    assert found("loss: 1\nloss: 2\nacc: 3\nloss: 4\n") == [
        (0, {"loss": 1.0}),
        (1, {"loss": 2.0}),
        (0, {"acc": 3.0}),
        (2, {"loss": 4.0}),
    ]


def test_a_printed_step_or_epoch_numbers_what_follows():
    text = "epoch: 10\nloss: 1\nacc: 2\nEpoch: 20\nloss: 3\nstep: 2.5\n"
    assert found(text) == [
        (10, {"loss": 1.0}),
        (10, {"acc": 2.0}),
        (20, {"loss": 3.0}),
        (20, {"step": 2.5}),
    ]


def test_a_program_that_repeats_its_configuration_has_no_metrics_of_these_names():
    assert found("lr: 0.1\nmodel.n: 3\nloss: 1", {"lr", "model.n"}) == [(0, {"loss": 1.0})]


def test_a_pattern_of_the_users_finds_what_it_says():
    pattern = r"(?P<name>\w+)=(?P<value>[\d.]+)"
    assert found("lr=0.1 loss=0.5 x=1.2.3", {"lr"}, pattern) == [
        (0, {"lr": 0.1}),
        (0, {"loss": 0.5}),
    ]


def test_a_table_of_names_does_not_flood_the_metrics():
    assert len(found("".join(f"name{chr(97 + n % 26)}{n}: 1\n" for n in range(5000)))) == 1000


@given(st.binary(max_size=300), st.integers(1, 50))
def test_bytes_in_pieces_give_the_same_lines_as_at_once(data, size):
    results = []
    for pieces in ([data], [data[at : at + size] for at in range(0, len(data), size)]):
        seen = []
        lines = Lines(seen.append)
        for piece in pieces:
            lines.feed(piece)
        lines.end()
        results.append((seen, list(lines.tail)))
    assert results[0] == results[1]


def test_a_line_without_end_costs_little_and_is_none():
    seen = []
    lines = Lines(seen.append)
    for _ in range(1000):
        lines.feed(b"x" * 1000)
        assert len(lines._rest) <= 10_000
    lines.feed(b": 5\nloss: 1\n")
    assert seen == ["loss: 1"]


def test_a_metrics_file_is_read_as_it_grows(tmp_path):
    rows, path = [], tmp_path / "metrics"
    path.write_text("left by an earlier attempt\n")
    file = MetricsFile(str(path), lambda *row: rows.append(row), pytest.fail)
    file.read()
    with path.open("a") as program:
        program.write('{"step": 1, "lo')
        program.flush()
        file.read()
        assert rows == []
        program.write('ss": 0.5}\n{"loss": true, "phase": "eval"}')
    file.read()
    assert rows == [(1, {"loss": 0.5}, "train", "fit")]
    file.end()
    assert rows[1:] == [(None, {"loss": True}, "train", "eval")]
    assert file.last == {"loss": True} and not path.exists()


def test_the_same_name_in_several_splits_has_several_last_values(tmp_path):
    path = tmp_path / "metrics"
    file = MetricsFile(str(path), lambda *row: None, pytest.fail)
    path.write_text('{"loss": 1, "split": "valid"}\n{"acc": 3, "split": "valid"}\n{"loss": 2}\n')
    file.end()
    assert file.last == {"valid_loss": 1, "acc": 3, "loss": 2}


def test_what_stands_in_the_place_of_the_file_is_not_waited_for(tmp_path):
    import os

    path = tmp_path / "metrics"
    file = MetricsFile(str(path), lambda *row: None, pytest.fail)
    path.unlink()
    os.mkfifo(path)
    file.end()
    assert file.last == {}


@pytest.mark.parametrize(
    "line, step, values",
    [
        ("epoch 1 loss=0.5 acc=0.9", 1, {"loss": 0.5, "acc": 0.9}),
        ("Epoch 3/10: loss: 0.5, val_loss: 1e-3", 3, {"loss": 0.5, "val_loss": 1e-3}),
        ("[step 12] loss=2 | top1=.5", 12, {"loss": 2.0, "top1": 0.5}),
        ("Epoch 3 loss: 0.5", 3, {"loss": 0.5}),
        ("loss=0.5, acc=0.9", 0, {"loss": 0.5, "acc": 0.9}),
    ],
)
def test_a_line_of_pairs_alone_is_read_with_the_number_before_it(line, step, values):
    assert found(line) == [(step, {name: value}) for name, value in values.items()]


@pytest.mark.parametrize(
    "line", ["loss=0.5 took 3s", "10:30:12 loss=0.5 acc=1", "a=1, b=text", "epoch 3", "epoch 3:"]
)
def test_a_line_with_anything_else_in_it_is_none(line):
    assert found(line) == []
