"""display: the words, plain lines for files, one output for notebooks."""

from __future__ import annotations

import io
import itertools
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from ztxexp.progress.display import Lines, Notebook, Row, View, render, status
from ztxexp.text.terminal import in_notebook


def test_the_status_counts_everything_and_leaves_out_what_there_is_none_of() -> None:
    view = View(100, 12, 2, 1, 3, 5, 42, 310, "1 run of another launch")
    assert [text for text, _ in status(view)] == [
        "12/100 done",
        "2 running",
        "1 failed",
        "3 skipped",
        "5 reused",
        "elapsed 0:42",
        "ETA 5:10",
        "waiting: 1 run of another launch",
    ]
    assert [text for text, _ in status(View(3))] == ["0/3 done", "elapsed 0:00"]


def shown(view: View, width: int) -> list[str]:
    out = Console(file=io.StringIO(), width=width)
    with out.capture() as capture:
        out.print(render(view, width))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_configurations_stand_in_columns_and_the_metric_stays_in_sight() -> None:
    rows = (
        Row("lr=0.1 name=" + "x" * 80, 5, "step 12  loss 0.31"),
        Row("学习率=" + "x" * 80, 3700, ""),
        Row("lr=1", 0, "step 1  " + "loss 0.5  " * 9),
    )
    assert shown(View(20, running=5, rows=rows), 70)[1:] == [
        "    lr=0.1 name=xxxxx…      0:05   step 12  loss 0.31",
        "    学习率=xxxxxxxxxx…   1:01:40",
        "    lr=1                    0:00   step 1  loss 0.5  loss 0.5  loss 0…",
        "    and 2 more",
    ]


# ---- plain lines -----------------------------------------------------------------------------


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def lines(out) -> Lines:
    return Lines(out, "ztxexp")


def said(out: io.StringIO) -> list[str]:
    return out.getvalue().splitlines()


def test_a_short_launch_prints_nothing(lines, out) -> None:
    for second in range(5):
        lines.draw(View(9, second, elapsed=second), [])
    lines.close(View(9, 9, elapsed=4), [])
    assert said(out) == []


def test_lines_become_rarer_and_the_last_state_is_told(lines, out) -> None:
    for second in range(300):
        lines.draw(View(600, 2 * second, 2, elapsed=second, eta=60), [])
    lines.close(View(600, 600, elapsed=300), [])
    assert said(out)[0] == "ztxexp: 10/600 done, 2 running, elapsed 0:05, ETA 1:00"
    assert said(out)[-1] == "ztxexp: 600/600 done, elapsed 5:00"
    times = [line.split("elapsed ")[1].split(",")[0] for line in said(out)[:-1]]
    seconds = [int(minutes) * 60 + int(left) for minutes, left in (t.split(":") for t in times)]
    gaps = [after - before for before, after in itertools.pairwise(seconds)]
    assert gaps == [10, 15, 23, 34, 51, 60, 60]


def test_a_line_that_says_nothing_new_is_left_out_but_for_a_sign_of_life(lines, out) -> None:
    for second in range(3600):
        lines.draw(View(2, 1, 1, elapsed=second), [])
    assert len(said(out)) == 6


def test_a_told_line_comes_at_once_and_has_the_launch_end_with_its_counts(lines, out) -> None:
    lines.draw(View(9, 1, failed=1), ["run a failed"])
    lines.close(View(9, 9, failed=1, elapsed=1), [])
    assert said(out) == ["ztxexp: run a failed", "ztxexp: 9/9 done, 1 failed, elapsed 0:01"]


def test_a_file_gets_what_its_encoding_can_hold() -> None:
    raw = io.BytesIO()
    lines = Lines(io.TextIOWrapper(raw, encoding="ascii"), "ztxexp")
    lines.draw(View(1), ["学 failed"])
    assert raw.getvalue().splitlines() == [b"ztxexp: \\u5b66 failed"]


# ---- a notebook ------------------------------------------------------------------------------


@pytest.fixture
def outputs(monkeypatch) -> list[dict[str, str]]:
    """What a stand-in for IPython's display functions was given."""
    given: list[dict[str, str]] = []

    def display(bundle, raw, display_id):
        assert raw and display_id is True
        given.append(bundle)
        return SimpleNamespace(update=lambda bundle, raw: given.append(bundle))

    module = ModuleType("IPython.display")
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return given


def test_a_notebook_gets_one_output_that_is_replaced_when_something_changes(outputs) -> None:
    notebook = Notebook(View(2))
    notebook.draw(View(2), [])
    notebook.draw(View(2, 1, 1, 1, rows=(Row("lr=1", 3, "s"),)), ["run a failed: <b>"])
    notebook.close(View(2, 2, failed=1, elapsed=5), [])
    assert [bundle["text/plain"] for bundle in outputs] == [
        "  0/2 done · elapsed 0:00",
        "run a failed: <b>\n  1/2 done · 1 running · 1 failed · elapsed 0:00\n    lr=1   0:03   s",
        "run a failed: <b>\n  2/2 done · 1 failed · elapsed 0:05",
    ]
    assert outputs[-1]["text/html"] == (
        "<pre>run a failed: &lt;b&gt;\n  2/2 done · 1 failed · elapsed 0:05</pre>"
    )


def test_there_is_no_notebook_here() -> None:
    assert not in_notebook()


@pytest.mark.slow
def test_a_kernel_shows_one_output_that_ends_with_the_last_state() -> None:
    pytest.importorskip("ipykernel")
    start_new_kernel = pytest.importorskip("jupyter_client.manager").start_new_kernel
    code = """
from pathlib import Path
from ztxexp.progress.progress import Progress
from ztxexp_core.records import RunOutcome, RunSpec
with Progress(1, mode="sequential") as progress:
    progress.started(RunSpec("a", Path("a"), {}, ""))
    print("from the run")
    progress.ended(RunOutcome("a", "succeeded"))
"""
    manager, client = start_new_kernel()
    try:
        messages: list[dict[str, Any]] = []
        reply = client.execute_interactive(code, output_hook=messages.append, timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "ok"
    shown = [m for m in messages if m["msg_type"].endswith("display_data")]
    assert [m["msg_type"] for m in shown][:2] == ["display_data", "update_display_data"]
    assert shown[-1]["content"]["data"]["text/plain"].startswith("  1/1 done")
    streams = [m["content"] for m in messages if m["msg_type"] == "stream"]
    assert streams == [{"name": "stdout", "text": "from the run\n"}]
