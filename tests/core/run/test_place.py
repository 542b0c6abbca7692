"""What a worker elsewhere takes over of the script's place: sys.path, working folder, variables."""

from __future__ import annotations

import os
import sys
import sysconfig
import threading

import pytest
from elsewhere import Elsewhere
from reading import strict

from ztxexp import ExperimentPipeline, ExpRunner
from ztxexp_core import OptionError
from ztxexp_core.run.place import Place, move_to, present_place

MODULE = """
import os, sys
from pathlib import Path
def train(ctx):
    names = ("GIVEN", "OTHER", "SLURM_JOB_ID")
    shown = {name: os.environ.get(name, "") for name in names}
    return {"folder": os.getcwd(), "data": Path("data.txt").read_text(), **shown}
"""


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A folder with a module and a file, as a script has them beside itself."""
    folder = tmp_path / "beside"
    folder.mkdir()
    (folder / "theirs_beside.py").write_text(MODULE)
    (folder / "data.txt").write_text("abc")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(folder)
    yield folder
    sys.modules.pop("theirs_beside", None)


def test_a_function_of_a_module_beside_the_script_runs_elsewhere(
    beside, root, own_executor, tmp_path, monkeypatch
):
    import theirs_beside

    monkeypatch.setenv("GIVEN", "yes")
    monkeypatch.setenv("OTHER", "yes")
    own_executor(Elsewhere(tmp_path / "elsewhere", SLURM_JOB_ID="12"))
    runner = ExpRunner([{"i": 1}], root.path)
    summary = runner.run(theirs_beside.train, mode="own", pass_env=["GIVEN", "NOT_SET"])
    assert summary.succeeded == 1
    seen = {"GIVEN": "yes", "OTHER": "", "SLURM_JOB_ID": "12"}
    assert strict(root.only()["dir"] / "metrics.json") == {
        "folder": str(beside),
        "data": "abc",
        **seen,
    }


@pytest.mark.slow
def test_the_variables_are_there_before_the_experiment_is_loaded(
    beside, root, own_executor, tmp_path, monkeypatch
):
    (beside / "theirs_beside.py").write_text(
        "import os\nAT_IMPORT = os.environ.get('GIVEN')\ndef train(ctx): return {'at': AT_IMPORT}"
    )
    monkeypatch.setenv("GIVEN", "yes")
    import theirs_beside

    own_executor(Elsewhere(tmp_path / "elsewhere"))
    pipeline = ExperimentPipeline(root.path).variants([{"i": 1}])
    pipeline.run(theirs_beside.train, mode="own", pass_env=("GIVEN",))
    assert strict(root.only()["dir"] / "metrics.json") == {"at": "yes"}


@pytest.mark.parametrize(
    ("names", "error"),
    [
        ("HF_HOME", TypeError),
        ([3], TypeError),
        (["SLURM_JOB_ID"], OptionError),
        (["CUDA_VISIBLE_DEVICES"], OptionError),
        (["ROCR_VISIBLE_DEVICES"], OptionError),
    ],
)
def test_what_cannot_go_along_is_refused_before_anything_runs(root, names, error):
    with pytest.raises(error, match="pass_env"):
        ExpRunner([{"i": 1}], root.path).run(lambda ctx: None, pass_env=names)
    assert root.runs() == []


@pytest.fixture
def put_back(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(os.getcwd())


def test_entries_keep_their_side_of_the_standard_library(tmp_path, put_back, monkeypatch):
    library = sysconfig.get_path("stdlib")
    for name in ("script", "editable"):
        (tmp_path / name).mkdir()
    missing = str(tmp_path / "missing")
    script, editable = str(tmp_path / "script"), str(tmp_path / "editable")
    monkeypatch.setattr(sys, "path", [script, missing, library, editable])
    place = present_place()
    assert (place.before, place.after) == ((script, missing), (editable,))
    monkeypatch.setattr(sys, "path", ["/engine", library])
    move_to(place)
    assert sys.path == [script, "/engine", library, editable]
    move_to(place)
    assert sys.path == [script, "/engine", library, editable]


def test_the_working_folder_is_changed_where_it_exists_and_no_thread_shares_it(tmp_path, put_back):
    here = os.getcwd()
    move_to(Place(folder=str(tmp_path / "missing")))
    assert os.getcwd() == here
    thread = threading.Thread(target=move_to, args=[Place(folder=str(tmp_path))])
    thread.start()
    thread.join()
    assert os.getcwd() == here
    move_to(Place(folder=str(tmp_path)))
    assert os.getcwd() == str(tmp_path)


def test_a_deleted_working_folder_is_none(tmp_path, put_back):
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    place = present_place()
    assert place.folder is None
    assert all(os.path.isabs(entry) for entry in place.before)
