"""A tracker and an executor of outside authors: packages of their own, installed with pip."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.2"
dependencies = ["ztxexp>=2.0.0.dev0,<3"]

[project.entry-points."{group}"]
{entry} = "{target}"

[tool.hatch.build.targets.wheel]
only-include = ["{module}.py"]
"""

TRACKER = """
class CsvTracker:
    def __init__(self, filename="curve.csv", sep=","):
        self.filename, self.sep = filename, sep

    def on_run_start(self, ctx, meta):
        self.lines = ["step,loss".replace(",", self.sep)]

    def on_metric(self, ctx, event):
        self.lines.append(f"{event.step}{self.sep}{event.metrics['loss']}")

    def on_run_end(self, ctx, summary):
        self.lines.append(str(summary["status"]))
        (ctx.run_dir / "artifacts" / self.filename).write_text("\\n".join(self.lines))
"""

EXECUTOR = """
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass

from ztxexp_core import hookimpl


@dataclass
class Options:
    max_tasks: int = 5


@hookimpl
def ztxexp_execute(specs, run_one, workers, options):
    running = set()
    with ProcessPoolExecutor(workers, max_tasks_per_child=None) as pool:
        for spec in specs:
            running.add(pool.submit(run_one, spec))
            if len(running) >= workers:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
""".replace("workers, max_tasks_per_child=None", "workers")

SWEEP = """
import sys
from ztxexp import ExperimentPipeline

def train(ctx):
    ctx.log_metric(step=1, metrics={"loss": 0.25})
    return {"score": ctx.config["i"]}

if __name__ == "__main__":
    pipeline = ExperimentPipeline(sys.argv[1]).variants([{"i": i} for i in range(4)])
    pipeline.track("csv", sep=";")
    summary = pipeline.run(train, mode="futures", workers=2, options={"max_tasks": 3})
    print(summary.succeeded, summary.total)
"""


def install(tmp_path, site, name, group, entry, target, code):
    module = target.partition(":")[0]
    source = tmp_path / name
    source.mkdir()
    (source / f"{module}.py").write_text(code)
    fields = {"name": name, "group": group, "entry": entry, "target": target, "module": module}
    (source / "pyproject.toml").write_text(PYPROJECT.format(**fields))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", site, source], check=True)


@pytest.fixture
def site(tmp_path):
    """A folder with both packages, as pip installed them."""
    site = tmp_path / "site"
    install(tmp_path, site, "ztxexp-tracker-csv", "ztxexp.trackers", "csv",
            "csv_tracker:CsvTracker", TRACKER)  # fmt: skip
    install(tmp_path, site, "ztxexp-executor-futures", "ztxexp.executors", "futures",
            "futures_executor", EXECUTOR)  # fmt: skip
    return site


def sweep(tmp_path, root, *paths):
    script = tmp_path / "sweep.py"
    script.write_text(textwrap.dedent(SWEEP))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.run(
        [sys.executable, script, root.path], env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_installed_with_pip_they_are_used_by_name_and_without_them_the_name_is_unknown(
    tmp_path, root, site
):
    out = sweep(tmp_path, root, site)
    assert out.stdout.strip() == "4 4", out.stderr
    for record in root.runs():
        text = (record["dir"] / "artifacts" / "curve.csv").read_text()
        assert text == "step;loss\n1;0.25\nsucceeded"
    out = sweep(tmp_path, root)
    assert out.returncode != 0
    assert "unknown tracker 'csv'" in out.stderr.lower().replace('"', "'")
    assert len(root.runs()) == 4


@pytest.mark.slow
def test_wrong_arguments_of_an_installed_plugin_name_it_and_its_package(tmp_path, site):
    code = (
        "from ztxexp import ExperimentPipeline, ExpRunner\n"
        "for wrong in (\n"
        "    lambda: ExperimentPipeline('r').track('csv', separator=';'),\n"
        "    lambda: ExpRunner([{}], 'r').run(print, mode='futures', options={'tasks': 1}),\n"
        "):\n"
        "    try: wrong()\n"
        "    except ValueError as exc: print(exc)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    first, second = out.stdout.splitlines()
    assert "ztxexp-tracker-csv 1.2" in first and "'separator'" in first and "sep" in first
    assert "ztxexp-executor-futures 1.2" in second and "'tasks'" in second and "max_tasks" in second


def test_with_its_entry_points_blocked_a_built_in_name_is_unknown(tmp_path):
    code = (
        "from ztxexp import ExpRunner\n"
        "try: ExpRunner([{}], 'r').run(print, mode='joblib')\n"
        "except ValueError as exc: print(exc)\n"
    )
    env = {**os.environ, "ZTXEXP_DISABLE_PLUGINS": "joblib,mlflow"}
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert "ZTXEXP_DISABLE_PLUGINS" in out.stdout and "joblib" in out.stdout
