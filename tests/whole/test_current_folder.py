"""Nothing is imported from the current folder, unless the script lies there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import pytest

NAMES = ["json", "re", "decimal", "multiprocessing", "pickle", "random", "tempfile", "argparse"]
NAMES += ["joblib", "orjson", "cloudpickle", "pluggy", "signal", "threading", "logging", "socket"]

SCRIPT = """
import sys
from ztxexp import ExperimentPipeline
def train(ctx):
    import decimal, random
    return {"score": 1.0}
options = {"mode": sys.argv[2], "workers": 2, "progress": False}
if len(sys.argv) > 3:
    options[sys.argv[3]] = True
summary = ExperimentPipeline(sys.argv[1]).grid({"i": [1, 2]}).run(train, **options)
assert summary.succeeded == 2, summary
"""


@pytest.fixture
def poisoned(tmp_path):
    """A folder with modules that leave a mark when they are imported, and the mark."""
    folder, mark = tmp_path / "folder", tmp_path / "imported"
    folder.mkdir()
    for name in NAMES:
        note = f"open({str(mark)!r}, 'a').write({name + chr(10)!r})\nraise ImportError('no')\n"
        (folder / f"{name}.py").write_text(note)
    return folder, mark


def run(*words, cwd):
    return subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, timeout=150)


@pytest.mark.slow
@pytest.mark.first_is_quick
@pytest.mark.parametrize("words", [["plugins"], ["doctor"]])
@pytest.mark.parametrize("module", [False, True])
def test_no_command_imports_from_the_current_folder(poisoned, words, module):
    folder, mark = poisoned
    command = [os.path.join(sysconfig.get_path("scripts"), "ztxexp")]
    done = run(*([sys.executable, "-m", "ztxexp"] if module else command), *words, cwd=folder)
    assert not mark.exists(), mark.read_text()
    assert b"process_pool" in done.stdout or words == ["doctor"]


@pytest.mark.first_is_quick
@pytest.mark.parametrize(
    "mode", [["process_pool"], ["joblib"], ["dynamic"], ["process_pool", "fresh_process"]]
)
def test_no_worker_imports_from_the_current_folder(poisoned, tmp_path, mode):
    if mode == ["joblib"] and sys.version_info < (3, 11):
        pytest.skip("Python 3.10 cannot be kept from it where a process is started by -m")
    folder, mark = poisoned
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train.py").write_text(SCRIPT)
    done = run(
        sys.executable, tmp_path / "scripts" / "train.py", tmp_path / "root", *mode, cwd=folder
    )
    assert done.returncode == 0, done.stderr.decode()
    assert not mark.exists(), mark.read_text()


@pytest.mark.slow
def test_modules_beside_the_script_are_found_and_processes_of_runs_are_as_ever(tmp_path):
    (tmp_path / "helper.py").write_text("value = 2.0\n")
    (tmp_path / "child.py").write_text("import helper; print(helper.value)\n")
    body = "import helper, os, subprocess\n    assert 'PYTHONSAFEPATH' not in os.environ\n    "
    body += "subprocess.run([sys.executable, 'child.py'], check=True)"
    (tmp_path / "train.py").write_text(SCRIPT.replace("import decimal, random", body))
    for mode in ("process_pool", "joblib"):
        done = run(sys.executable, "train.py", f"root-{mode}", mode, cwd=tmp_path)
        assert done.returncode == 0, done.stderr.decode()
