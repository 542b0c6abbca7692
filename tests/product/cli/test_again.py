"""The line with which show gives the same run again."""

from __future__ import annotations

import json
import os
import shlex
import sys

import pytest
from click.testing import CliRunner

from ztxexp.cli.main import main
from ztxexp_core.store.files import LAUNCHES, shared_folder

SCRIPT = "import sys\nprint('score is', float(sys.argv[1]) * 2)\n"
TRAIN = "def train(lr=0.1, seed=0, extra=1):\n    return {'score': lr + seed}\n"


def run(*words):
    result = CliRunner(catch_exceptions=False).invoke(main, words, prog_name="ztxexp")
    return result.exit_code, result.stdout, result.stderr


def again(*words):
    code, out, _ = run("show", *words, "--json")
    assert code == 0
    return json.loads(out)["again"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "score.py").write_text(SCRIPT)
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


@pytest.mark.slow
def test_the_line_gives_the_same_run(place):
    pattern = r"(?P<name>score) is (?P<value>\S+)"
    words = ["lr=0.5", "--metric-pattern", pattern, "--timeout", "20s", "--tag", "a b"]
    words += ["--workdir", "run", "--", sys.executable, str(place / "score.py"), "{lr}"]
    assert run("run", *words)[0] == 0
    line = again("@last")
    assert (
        shlex.quote(pattern) in line and "--timeout 20s --workdir run" in line and "'a b'" in line
    )
    assert run("run", *shlex.split(line)[2:])[0] == 0
    rows = json.loads(run("list", "--json", "--columns", "score,tags,lr")[1])
    assert len(rows) == 2 and rows[0] == rows[1] and rows[0]["score"] == 1.0


def test_values_of_base_files_are_in_the_line(place):
    (place / "base.yaml").write_text("{lr: 0.3, seed: 1, extra: 2}")
    words = ["run", "train.py:train", "lr=0.2", "~extra", "-c", "base.yaml", "--mode", "sequential"]
    assert run(*words)[0] == 0
    line = again("@last")
    assert "lr=0.2 seed=1 extra=1" in line and "--mode sequential" in line
    assert run("run", *shlex.split(line)[2:])[0] == 0
    one, other = json.loads(run("list", "--json", "--columns", "lr,seed,score")[1])
    assert one == other


def test_elsewhere_the_line_goes_to_where_the_launch_worked(place, tmp_path_factory, monkeypatch):
    assert run("run", "train.py:train", "seed=1", "--mode", "sequential")[0] == 0
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    line = again("@last", "-C", str(place / "results"))
    assert line.startswith(f"cd {place} && ztxexp run -C {place / 'results'} train.py:train ")


def test_the_last_launch_before_the_run_counts(place):
    assert run("run", "train.py:train", "seed=1", "--mode", "sequential", "--group", "a")[0] == 0
    assert run("run", "train.py:train", "seed=2", "--mode", "sequential", "--group", "b")[0] == 0
    assert "--group a" in again("seed=1") and "--group b" in again("seed=2")


def test_what_no_option_can_say_is_named(place):
    (place / "sweep.yaml").write_text(
        "{run: 'train.py:train', version: v7, mode: sequential, sweep: {seed: [1, 2]}}"
    )
    assert run("run", "sweep.yaml")[0] == 0
    line = again("seed=1")
    assert "the whole launch: it sets version, for which ztxexp run has no option" in line
    assert "seed=1" not in line


def test_a_run_without_a_record_has_a_line_where_its_function_names_a_file(place):
    assert run("run", "train.py:train", "seed=1", "--mode", "sequential")[0] == 0
    folder = shared_folder(place / "results", LAUNCHES)
    for name in os.listdir(folder):
        os.remove(os.path.join(folder, name))
    line = again("@last")
    assert line is None or "seed=1" in line or "the whole launch" in line
