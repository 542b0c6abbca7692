"""README and docs/architecture.md are tested as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def block(after: str) -> str:
    """The first Python block after a heading."""
    return re.search(r"```python\n(.*?)```", README[README.index(after) :], re.S).group(1)


def run(tmp_path, code):
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    out = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stderr
    return out.stdout


def test_the_twenty_lines_run_and_the_second_time_everything_is_done(tmp_path):
    code = block("## Twenty lines")
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    assert re.match(r"6 runs in [\d.]+ s: 6 succeeded\n", run(tmp_path, code))
    again = run(tmp_path, code)
    assert again.startswith("no runs; 6 reused\n")
    assert len(re.findall(r"^\d +0\.\d+ +[01] +\d\.\d+$", again, re.M)) == 6


@pytest.mark.slow
def test_what_it_says_of_resuming_runs(tmp_path):
    code = block("## Twenty lines") + block("### Nothing is lost")
    said = run(tmp_path, code)
    assert "Plan for results: 0 of 6 configurations to run\n      6  reused\n" in said


@pytest.mark.slow
def test_a_tracker_that_comes_later_gets_the_runs_of_the_twenty_lines(tmp_path):
    code = block("## Twenty lines") + block("### Track now, or later")
    assert run(tmp_path, code).endswith(
        "tensorboard: 6 of 6 runs sent, 60 events, 0 parameter lists, 0 artifacts\n"
    )


def test_the_tracker_in_fifteen_lines_works(tmp_path):
    code = block("## A tracker in fifteen lines")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    code += (
        "\nfrom ztxexp import ExperimentPipeline\n"
        "def train(ctx):\n"
        "    ctx.log_metric(step=3, metrics={'acc': 0.5}, split='valid')\n"
        "    ctx.log_metric(step=2 + ctx.attempt, metrics={'loss': 0.5})\n"
        "    if ctx.attempt == 1: raise OSError\n"
        "for _ in range(2):\n"
        "    s = ExperimentPipeline('r').track(CsvTracker(sep=';')).resume().run(train)\n"
        "import pathlib; print(next(pathlib.Path('r').glob('*/artifacts/loss.csv')).read_text())\n"
    )
    assert run(tmp_path, code).strip() == "3;0.5\n4;0.5"  # the failed attempt's row is kept


def test_the_table_of_files_names_what_a_failed_run_leaves(tmp_path):
    code = (
        "from ztxexp import ExpRunner, ResultAnalyzer\n"
        "def f(ctx):\n"
        "    ctx.log_metric(1, {'a': 1.0})\n"
        "    ctx.log_params(n=1)\n"
        "    ctx.checkpoints_dir\n"
        "    if ctx.config['i']: raise ValueError\n"
        "    return {}\n"
        "class T:\n"
        "    on_run_start = on_metric = on_run_end = lambda *args: None\n"
        "ExpRunner([{'i': 0}, {'i': 1}], 'r').run(f, trackers=[T()])\n"
        "ResultAnalyzer('r').tag('@last', 'seen')\n"
    )
    run(tmp_path, code)
    rows = README[README.index("| file") : README.index("Beside the runs")]
    named = {
        n for row in rows.strip().splitlines() for n in re.findall(r"`([^`]+)`", row.split("|")[1])
    }
    files = [path for run in (tmp_path / "r").glob("2*") for path in run.iterdir()]
    assert named == {path.name + ("/" if path.is_dir() else "") for path in files}


def test_every_linked_file_exists():
    for page in (REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md")):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_architecture_names_every_package_and_every_file_it_names_exists():
    page = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page[page.index("| package |") : page.index("## From a configuration")]
    named = re.findall(r"^\| \**`([\w.]+)`", table, re.M)
    folders = [
        init.parent.relative_to(REPOSITORY) for init in REPOSITORY.glob("ztxexp*/**/__init__.py")
    ]
    packages = [".".join(folder.parts) for folder in folders if "templates" not in folder.parts]
    assert sorted(named) == sorted(packages)
    for file in re.findall(r"`(ztxexp\w*/[\w/]*\.py)`", page):
        assert (REPOSITORY / file).is_file(), file


def test_every_decision_is_numbered_and_listed_with_its_title():
    folder = REPOSITORY / "docs" / "decisions"
    pages = sorted(folder.glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    titles = [page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for page in pages]
    lines = [
        f"- [{page.name[:4]}]({page.name}) {title}"
        for page, title in zip(pages, titles, strict=True)
    ]
    index = (folder / "index.md").read_text(encoding="utf-8")
    assert re.findall(r"^- .*$", index, re.M) == lines


@pytest.mark.slow
def test_the_digits_example_trains_prints_its_table_and_is_done_the_second_time(tmp_path):
    script = REPOSITORY / "examples" / "digits_sweep.py"
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    first, second = (
        subprocess.run(
            [sys.executable, script, "results"],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    )  # fmt: skip
    assert "18 succeeded, 0 failed, 0 skipped" in first
    assert "nothing left to do" in second
    table = re.findall(r"^ +([\d.]+) +(\d+) +([\d.]+) ± ([\d.]+) +3$", second, re.M)
    assert len(table) == 6
    assert float(table[0][2]) > 0.95  # the best setting learns the digits
    assert len(list((tmp_path / "results").glob("*/run.json"))) == 18
