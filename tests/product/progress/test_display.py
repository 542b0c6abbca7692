"""display: the words, the configurations, plain lines for files and notebooks."""

from __future__ import annotations

import io
import itertools
from typing import Any

import pytest

from ztxexp.progress.display import Lines, View, render, status
from ztxexp.progress.notebook import to_html
from ztxexp.progress.rows import Row
from ztxexp.text.terminal import console, in_notebook


def test_the_status_counts_everything_and_leaves_out_what_there_is_none_of() -> None:
    view = View(100, 12, 2, 1, 3, 5, 42, 310, "1 run of another launch")
    assert [text for text, _ in status(view)] == [
        "12/100 done",
        "2 running",
        "1 failed",
        "3 skipped",
        "5 reused",
        "elapsed 0:00:42",
        "ETA 0:05:10",
        "waiting: 1 run of another launch",
    ]
    assert [text for text, _ in status(View(3))] == ["0/3 done", "elapsed 0:00:00"]


def shown(view: View, width: int) -> list[str]:
    out = io.StringIO()
    console(out, width=width).print(render(view))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_configurations_stand_in_columns() -> None:
    rows = (
        Row("lr=0.1 name=x", 5, "step 12  loss 0.31"),
        Row("学习率=[bold]x", 3700, ""),
        Row("lr=1", 0, "step 1  loss 0.5"),
    )
    assert shown(View(20, running=5, rows=rows), 70)[1:] == [
        "    lr=0.1 name=x    0:00:05   step 12  loss 0.31",
        "    学习率=[bold]x   1:01:40",
        "    lr=1             0:00:00   step 1  loss 0.5",
        "    and 2 more",
    ]
    long = View(1, rows=(Row("x" * 80, 5, "step 12"),))
    assert max(map(len, shown(long, 70))) <= 70


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
    assert said(out)[0] == "ztxexp: 10/600 done, 2 running, elapsed 0:00:05, ETA 0:01:00"
    assert said(out)[-1] == "ztxexp: 600/600 done, elapsed 0:05:00"
    times = [line.split("elapsed ")[1].split(",")[0] for line in said(out)[:-1]]
    seconds = [int(t.split(":")[1]) * 60 + int(t.split(":")[2]) for t in times]
    gaps = [after - before for before, after in itertools.pairwise(seconds)]
    assert gaps == [10, 20, 40, 80, 110]


def test_a_long_launch_gives_a_sign_of_life_every_two_minutes(lines, out) -> None:
    for second in range(3600):
        lines.draw(View(2, 1, 1, elapsed=second), [])
    assert len(said(out)) == 5 + (3599 - 155) // 110
    assert said(out)[-1].endswith("1/2 done, 1 running, elapsed 0:59:25")


def test_a_told_line_comes_at_once_and_has_the_launch_end_with_its_counts(lines, out) -> None:
    lines.draw(View(9, 1, failed=1), ["run a failed"])
    lines.close(View(9, 9, failed=1, elapsed=1), [])
    assert said(out) == ["ztxexp: run a failed", "ztxexp: 9/9 done, 1 failed, elapsed 0:00:01"]


def test_a_file_gets_what_its_encoding_can_hold() -> None:
    raw = io.BytesIO()
    lines = Lines(io.TextIOWrapper(raw, encoding="ascii"), "ztxexp")
    lines.draw(View(1), ["学 failed"])
    assert raw.getvalue().splitlines() == [b"ztxexp: \\u5b66 failed"]


# ---- a notebook ------------------------------------------------------------------------------


def test_there_is_no_notebook_here() -> None:
    assert not in_notebook()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["sequential", "process_pool"])
def test_a_kernel_shows_a_bar_in_the_cell_that_is_replaced_in_place(tmp_path, mode) -> None:
    pytest.importorskip("ipykernel")
    start_new_kernel = pytest.importorskip("jupyter_client.manager").start_new_kernel
    code = f"""
import time
from ztxexp import ExperimentPipeline
def train(ctx):
    ctx.log_metric(step=1, metrics={{"loss": 0.5}})
    time.sleep(1.2)
    print("of a run")
    if ctx.config["name"] == "<b>2":
        raise ValueError("<script>")
    return {{"accuracy": 0.5}}
pipeline = ExperimentPipeline("results").grid({{"name": ["<i>1", "<b>2"]}})
summary = pipeline.run(train, mode="{mode}", workers=1)
print("from the cell")
"""
    manager, client = start_new_kernel(cwd=str(tmp_path))
    try:
        messages: list[dict[str, Any]] = []
        reply = client.execute_interactive(code, output_hook=messages.append, timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["content"]["status"] == "ok"
    said = "".join(
        message["content"]["text"]
        for message in messages
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout"
    )
    assert said == ("of a run\n" * 2 if mode == "sequential" else "") + "from the cell\n"
    first, *others = [m for m in messages if "display_data" in m["msg_type"]]
    assert first["msg_type"] == "display_data"
    ids = {m["content"]["transient"]["display_id"] for m in [first, *others]}
    assert len(ids) == 1 and all(m["msg_type"] == "update_display_data" for m in others)
    pages = [m["content"]["data"]["text/html"] for m in others]
    assert any("name=&#x27;&lt;i&gt;1" in page or "name=&lt;i&gt;1" in page for page in pages)
    assert any("step 1  loss 0.5" in page for page in pages)
    assert '<progress value="2" max="2">' in pages[-1] and "1 failed" in pages[-1]
    assert "ValueError: &lt;script&gt;" in pages[-1]
    assert "accuracy 0.5 (max, inferred from the name)" in pages[-1]
    assert not any(sign in page for page in pages for sign in ("<script", "<b>", "<i>"))
    assert others[-1]["content"]["data"]["text/plain"].startswith("2/2 done, 1 failed, elapsed")


def test_nothing_that_runs_say_has_a_meaning_in_a_notebook() -> None:
    evil = "</td><script>alert(1)</script>"
    rows = (Row(evil, 1, evil, evil),)
    view = View(2, running=9, rows=rows, best=evil, waiting=evil, lacking=((evil, 1),))
    page = to_html(view, [evil] * 30)
    assert "<script" not in page and "and 8 more" in page and "10 lines before" in page
