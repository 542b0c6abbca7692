"""How a run came about, what differs today, and the way back."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from reading import names, strict
from repositories import Repository, alone

from ztxexp import ConfigError, ResultAnalyzer
from ztxexp.analysis import reproducing
from ztxexp.analysis.loading import load_function
from ztxexp.provenance import provenance
from ztxexp.provenance.provenance import installed

pytestmark = pytest.mark.slow

SCRIPT = '''
import sys
from ztxexp import ExpRunner

from pkg.model import size


def train(ctx):
    """Trains."""
    return {"score": size * ctx.config["lr"]}


if __name__ == "__main__":
    ExpRunner([{"lr": 0.5}], sys.argv[1]).run(train)
'''


def reproduce(root, run_id):
    return ResultAnalyzer(root).reproduce(run_id)


class Lab:
    """A repository in which a script has been launched with changes that are not committed."""

    def __init__(self, repo: Repository, root: Path):
        self.repo = repo
        self.root = root

    def launch(self, *words: str, folder: str = ".", **variables: str) -> str:
        before = set(names(self.root)) if self.root.exists() else set()
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.repo.top / folder,
            env={**os.environ, "PYTHONPATH": str(self.repo.top), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        run_id, *_ = (n for n in names(self.root) if n not in before and n[0] != ".")
        return run_id

    def meta(self, run_id: str, **changes: Any) -> None:
        path = self.root / run_id / "meta.json"
        path.write_text(json.dumps({**strict(path), **changes}))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    repo = Repository(tmp_path / "repo").start()
    alone(repo.top, monkeypatch)
    repo.commit({"train.py": "old\n", "pkg/model.py": "size = 1\n", ".gitignore": "__pycache__\n"})
    repo.write({"train.py": SCRIPT, "pkg/model.py": "size = 3\n", "new.txt": "new\n"})
    return Lab(repo, tmp_path / "results")


def steps_in(folder: Path, steps: tuple[str, ...]) -> None:
    """Type the steps that have to do with git."""
    lines = [step for step in steps if step.startswith(("cd", "git"))]
    subprocess.run(["sh", "-e", "-c", "\n".join(lines)], cwd=folder, check=True)


# ---- what was ------------------------------------------------------------------------------------


def test_of_a_run_just_launched_everything_is_known_and_nothing_differs(lab):
    run_id = lab.launch("train.py", str(lab.root), "--token", "of-mine")
    found = ResultAnalyzer(lab.root).reproduce(run_id)
    assert found.run_id == run_id and found.folder == lab.root / run_id
    assert found.config == {"lr": 0.5}
    assert found.commit == lab.repo.git("rev-parse", "HEAD")
    assert (found.branch, found.dirty, found.working_folder) == ("main", True, ".")
    assert "+size = 3\n" in found.patch and found.patch_path.read_text() == found.patch
    assert found.patch_note is None
    assert found.command == f"{sys.executable} train.py {lab.root} --token ***"
    assert (found.function, found.function_file) == ("__main__:train", "train.py")
    assert found.python_version == platform.python_version()
    assert found.packages == installed()
    assert (found.not_recorded, found.differences) == ((), ())
    assert found.steps[:-2] == (
        "# *** stands for what was masked",
        f"# the whole launch: python train.py {lab.root} --token '***'",
    )
    assert found.steps[-2].startswith("# this run alone") and run_id in found.steps[-1]
    assert not any("of-mine" in path.read_text() for path in lab.root.rglob("*") if path.is_file())


def test_it_prints_all_of_it(lab):
    run_id = lab.launch("train.py", str(lab.root))
    found = reproduce(lab.root, run_id)
    lab.repo.commit()
    text = str(reproduce(lab.root, run_id))
    for part in (
        run_id,
        "lr=0.5",
        found.commit,
        "on main",
        str(found.patch_path),
        f"train.py {lab.root}",
        "__main__:train in train.py",
        platform.python_version(),
        "what differs today\n  commit: ",
        f"git checkout {found.commit}",
        f"git apply --whitespace=nowarn {found.patch_path}",
    ):
        assert part in text
    assert repr(found) == f"<Reproduction: run {run_id}: 0 differences today>"
    assert "<pre" in found._repr_html_()
    assert "what differs today\n  nothing" in str(found)


def test_what_others_wrote_into_the_records_is_obeyed_by_no_terminal_and_no_shell(lab):
    run_id = lab.launch("train.py", str(lab.root))
    lab.meta(
        run_id,
        git_commit="--help; touch x",
        git_branch="\x1b[31mred",
        git_folder="$(touch x)",
        git_diff="../../x",
        packages=["a"],
        function="m:f\nnew line",
        function_file="/dev/zero",
        git_diff_note="left out\nrm x",
        function_hash="ast:1",
        python_version=3,
    )
    found = reproduce(lab.root, run_id)
    assert not any("touch x" in step and "'" not in step for step in found.steps)
    assert not any("\n" in step for step in found.steps)
    assert "\x1b" not in str(found) and "f\\x0anew line" in str(found)
    assert (found.patch, found.packages, found.python_version) == (None, {}, None)


# ---- what differs today, and the way back --------------------------------------------------------


def test_the_steps_lead_back_from_a_later_commit(lab, tmp_path):
    run_id = lab.launch("train.py", str(lab.root))
    then = lab.repo.tree()
    commit = lab.repo.git("rev-parse", "HEAD")
    lab.repo.commit({"pkg/model.py": "size = 4\n", "later.py": ""})
    found = reproduce(lab.root, run_id)
    assert {each.what: each.then for each in found.differences} == {
        "commit": commit,
        "what is not committed": f"patch {found.patch_path.stem.partition('-')[2][:12]}",
    }
    assert dict(found.differences[1]._asdict())["today"] == "nothing"
    steps_in(tmp_path, found.steps)
    assert lab.repo.tree() == then
    assert reproduce(lab.root, run_id).differences == ()


def test_the_steps_lead_a_fresh_clone_to_the_same_result(lab, tmp_path, monkeypatch):
    run_id = lab.launch("../train.py", str(lab.root), folder="pkg")
    then = lab.repo.tree()
    fresh = lab.repo.clone(tmp_path / "fresh")
    fresh.commit({"later.py": ""})
    monkeypatch.chdir(tmp_path)
    found = reproduce(lab.root, run_id)
    assert found.steps[0] == "# in a clone of the repository:"
    assert found.differences[0][::2] == ("commit", "none")
    steps_in(fresh.top, found.steps)
    assert fresh.tree() == then
    lines = "\n".join(["cd pkg", found.steps[-1].replace("python", sys.executable, 1)])
    environment = {**os.environ, "PYTHONPATH": str(fresh.top)}
    subprocess.run(["sh", "-e", "-c", lines], cwd=fresh.top, env=environment, check=True)
    assert [strict(path)["score"] for path in lab.root.glob("*/metrics.json")] == [1.5, 1.5]


def test_from_another_folder_of_the_repository_the_way_is_one_step(lab, monkeypatch):
    run_id = lab.launch("../train.py", str(lab.root), folder="pkg")
    found = reproduce(lab.root, run_id)
    assert (found.working_folder, found.differences) == ("pkg", ())
    assert found.steps[0] == f"cd {lab.repo.top / 'pkg'}"
    monkeypatch.chdir("pkg")
    assert not reproduce(lab.root, run_id).steps[0].startswith("cd")


def test_code_beside_the_working_folder_is_compared_and_brought_back_where_it_lies(
    lab, tmp_path, monkeypatch
):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    run_id = lab.launch(str(lab.repo.top / "train.py"), str(lab.root), folder="../scratch")
    then, commit = lab.repo.tree(), lab.repo.git("rev-parse", "HEAD")
    monkeypatch.chdir(tmp_path / "scratch")
    found = reproduce(lab.root, run_id)
    assert (found.commit, found.dirty, found.working_folder) == (commit, True, None)
    assert found.differences == ()
    lab.repo.commit({"pkg/model.py": "size = 4\n"})
    steps = reproduce(lab.root, run_id).steps
    assert f"git -C {lab.repo.top} checkout {commit}" in steps
    steps_in(tmp_path / "scratch", steps)
    assert lab.repo.tree() == then
    type_last_step(steps[-1], tmp_path / "scratch")
    assert [strict(path)["score"] for path in lab.root.glob("*/metrics.json")] == [1.5, 1.5]


def test_where_git_does_not_tell_today_that_is_said(lab, monkeypatch):
    run_id = lab.launch("train.py", str(lab.root))
    monkeypatch.setenv("PATH", str(lab.root))
    (difference,) = (d for d in reproduce(lab.root, run_id).differences if d.what == "commit")
    assert difference.today.startswith("not known: git could not be started")


def test_other_changes_differ_and_are_to_be_moved_away_first(lab):
    run_id = lab.launch("train.py", str(lab.root))
    lab.repo.write({"pkg/model.py": "size = 5\n"})
    found = reproduce(lab.root, run_id)
    (difference,) = found.differences
    assert difference.what == "what is not committed" and difference.today.startswith("patch ")
    assert found.steps[:4] == (
        f"cd {lab.repo.top}",
        "# commit or move away what is not committed there now",
        f"git checkout {found.commit}",  # the advice may have moved it
        f"git apply --whitespace=nowarn {found.patch_path}",
    )


def test_the_steps_lead_back_when_the_advice_to_commit_is_followed(lab):
    lab.repo.commit({"train.py": SCRIPT, "pkg/model.py": "size = 3\n"})
    run_id = lab.launch("train.py", str(lab.root))
    lab.repo.write({"pkg/model.py": "size = 5\n"})
    steps = reproduce(lab.root, run_id).steps
    lab.repo.commit({"pkg/model.py": "size = 5\n"})
    steps_in(lab.repo.top, steps)
    assert (lab.repo.top / "pkg" / "model.py").read_text() == "size = 3\n"


def test_what_the_patch_lacks_is_said_once_and_among_the_steps(lab):
    lab.repo.commit({"train.py": SCRIPT, "pkg/model.py": "size = 3\n", "new.txt": "new\n"})
    (lab.repo.top / "data.bin").write_bytes(b"\0\1\2")
    run_id = lab.launch("train.py", str(lab.root))
    lab.repo.write({"pkg/model.py": "size = 5\n"})
    found = reproduce(lab.root, run_id)
    assert "left out: data.bin" in str(found) and "nothing; left out" not in str(found)
    assert any("left out: data.bin" in step for step in found.steps)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"""Trains."""', '"""Trains well."""', []),
        ("import sys\n", "import sys, os\n", ["the function's file train.py"]),
        ("size * ctx", "size + ctx", ["function"]),
        ("def train(", "def renamed(", ["function"]),
        (SCRIPT, "def (", ["function"]),
    ],
)
def test_the_code_of_today_is_compared_without_importing_it(lab, old, new, what):
    run_id = lab.launch("train.py", str(lab.root))
    lab.repo.write({"train.py": SCRIPT.replace(old, new)})
    found = [each.what for each in reproduce(lab.root, run_id).differences]
    assert found == ["what is not committed", *what]
    (lab.repo.top / "train.py").unlink()
    assert reproduce(lab.root, run_id).differences[1].today.startswith("there is no such file")


def test_other_versions_of_packages_and_python_differ(lab, monkeypatch):
    run_id = lab.launch("train.py", str(lab.root))
    today = {**installed(), "pluggy": "0.1", "extra": "2"}
    del today["orjson"]
    monkeypatch.setattr(provenance, "installed", lambda: today)
    monkeypatch.setattr(reproducing.platform, "python_version", lambda: "3.99.1")
    found = reproduce(lab.root, run_id)
    then = found.packages
    assert found.differences == (
        ("Python", platform_version := found.python_version, "3.99.1"),
        ("package extra", "not installed", "2"),
        ("package orjson", then["orjson"], "not installed"),
        ("package pluggy", then["pluggy"], "0.1"),
    )
    assert found.steps[:2] == (
        f"# with Python {platform_version}",
        f"python -m pip install orjson=={then['orjson']} pluggy=={then['pluggy']}",
    )
    monkeypatch.setattr(provenance, "installed", dict)
    found = reproduce(lab.root, run_id)
    assert len(found.differences) > 20 and "more, see .differences" in str(found)
    assert found.steps[1].startswith("python -m pip install ") and "pluggy==" in found.steps[1]


def test_a_diff_that_was_not_recorded_is_said_to_be_missing(lab):
    run_id = lab.launch("train.py", str(lab.root), ZTXEXP_RECORD_DIFF="0")
    found = reproduce(lab.root, run_id)
    assert (found.patch, found.patch_path, found.dirty) == (None, None, True)
    assert found.not_recorded == ("what was not committed",)
    assert "not recorded: switched off" in str(found)
    assert found.differences == ()


def test_files_that_are_gone_or_damaged_are_said_to_be_so(lab):
    run_id = lab.launch("train.py", str(lab.root))
    for path in (*lab.root.glob(".git-*"), *lab.root.glob(".packages-*")):
        path.write_text("damaged")
    (lab.root / run_id / "config.json").write_text("{")
    found = reproduce(lab.root, run_id)
    assert found.not_recorded == (
        "what was not committed, the file is gone or damaged",
        "packages, the file is gone or damaged",
    )
    assert (found.config, found.patch, found.packages) == (None, None, {})
    assert "nothing" not in str(found).split("what differs today")[0]
    lab.repo.commit()
    steps = reproduce(lab.root, run_id).steps
    assert any("what was not committed is missing" in step for step in steps)


def test_before_the_first_commit_the_patch_is_everything(tmp_path, monkeypatch):
    repo = Repository(tmp_path / "repo").start()
    alone(repo.top, monkeypatch)
    repo.write({"train.py": SCRIPT, "pkg/model.py": "size = 3\n"})
    lab = Lab(repo, tmp_path / "results")
    run_id = lab.launch("-B", "train.py", str(lab.root))
    (tmp_path / "fresh").mkdir()
    monkeypatch.chdir(tmp_path / "fresh")
    found = reproduce(lab.root, run_id)
    assert found.steps[0] == "# in an empty folder:" and found.not_recorded == ("commit",)
    steps_in(tmp_path / "fresh", found.steps)
    assert Repository(tmp_path / "fresh").tree() == repo.tree()


def test_a_program_given_by_c_is_neither_recorded_nor_promised(lab):
    code = "from train import *; ExpRunner([{'lr': 1}], sys.argv[1]).run(train)  # of-mine"
    run_id = lab.launch("-c", code, str(lab.root))
    found = reproduce(lab.root, run_id)
    assert found.command.endswith(f"python -c ... {lab.root}") or "-c ..." in found.command
    assert "# ... stands for a program that was given by -c" in found.steps
    assert not any("of-mine" in path.read_text() for path in lab.root.rglob("*") if path.is_file())


# ---- one run alone -------------------------------------------------------------------------------

LAUNCH = """
import sys
from ztxexp import ExpRunner
from pkg.model import {name}
ExpRunner([{{"lr": 0.5, "clip": float("inf")}}, {{"lr": 0.7}}], sys.argv[1]).run({name})
"""
MODEL = """
def train(ctx):
    return {"score": ctx.config["lr"] * 2}

class Model:
    @staticmethod
    def fit(ctx):
        return {"score": ctx.config["lr"] * 2}

def make():
    return lambda ctx: {"score": 1.0}

made = make()
"""

GUARDED = """
if __name__ == "__main__":
    import sys
    from ztxexp import ExpRunner
    ExpRunner([{"lr": 1}], sys.argv[1]).run(train)
"""


def type_last_step(step: str, folder: Path) -> None:
    assert step.startswith("python -c ")
    line = step.replace("python", sys.executable, 1)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(["sh", "-e", "-c", line], cwd=folder, env=clean, check=True)


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["train.py"], "."),
        (["../train.py"], "pkg"),
        (["-m", "train"], "."),
        (["go.py"], "."),
        (["../go.py"], "pkg"),
        (["fit-it.py"], "."),
        (["-m", "pkg.model"], "."),
    ],
)
def test_the_last_step_runs_the_same_configuration_alone(lab, words, folder, monkeypatch):
    lab.repo.write(
        {
            "go.py": LAUNCH.format(name="train"),
            "fit-it.py": SCRIPT.replace('{"lr": 0.5}', '{"lr": 0.5, "clip": float("inf")}'),
            "pkg/model.py": f"size = 3\n{MODEL}\n{GUARDED}",
        }
    )
    lab.launch(*words, str(lab.root), folder=folder)
    run_id = names(lab.root)[-1]
    monkeypatch.chdir(lab.repo.top / folder)
    type_last_step(reproduce(lab.root, run_id).steps[-1], lab.repo.top / folder)
    (again,) = {name for name in names(lab.root) if name > run_id and name[0] != "."}
    for filename in ("config.json", "metrics.json"):
        first, second = (strict(lab.root / name / filename) for name in (run_id, again))
        assert first == second
    first, second = (strict(lab.root / name / "run.json") for name in (run_id, again))
    assert first["identity"] == second["identity"]


UNGUARDED = """
import sys
from ztxexp import ExpRunner

def train(ctx):
    return {"score": ctx.config["lr"] * 2}

ExpRunner([{"lr": 0.5}, {"lr": 0.7}], ROOT).run(train)
"""


def test_of_a_script_without_a_main_guard_one_run_is_started_and_not_its_sweep(lab):
    lab.repo.write({"bare.py": UNGUARDED.replace("ROOT", repr(str(lab.root)))})
    run_id = lab.launch("bare.py")
    type_last_step(reproduce(lab.root, run_id).steps[-1], lab.repo.top)
    assert len([n for n in names(lab.root) if n[0] != "."]) == 3


@pytest.mark.parametrize("how", ["later commit", "other function"])
def test_the_last_step_runs_nothing_where_the_steps_before_have_not_led_there(lab, how):
    run_id = lab.launch("train.py", str(lab.root))
    step = reproduce(lab.root, run_id).steps[-1]
    lab.repo.write({"train.py": SCRIPT.replace("size *", "size +" if how[0] == "o" else "size *")})
    if how == "later commit":
        lab.repo.commit()
    with pytest.raises(subprocess.CalledProcessError):
        type_last_step(step, lab.repo.top)
    assert [n for n in names(lab.root) if n[0] != "."] == [run_id]
    found = reproduce(lab.root, run_id)
    with pytest.raises(ConfigError, match="the code is not what the run was made from"):
        found.load_function("train")


def test_a_module_that_starts_a_launch_before_the_function_is_named(tmp_path, monkeypatch):
    (tmp_path / "early.py").write_text(
        "from ztxexp import ExpRunner\nExpRunner([{}], 'r').run(print)\ndef train(ctx): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="early does not define train"):
        load_function("early", "train")
    assert not list(tmp_path.glob("r/*/run.json")) and "early" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        load_function("nowhere_at_all", "train")


@pytest.mark.parametrize(("name", "alone"), [("Model", True), ("made", False)])
def test_a_function_without_a_name_to_import_gives_the_whole_launch(lab, name, alone):
    lab.repo.write({"go.py": LAUNCH.format(name=name), "pkg/model.py": MODEL})
    if alone:
        lab.repo.write({"go.py": LAUNCH.format(name=name).replace("run(Model)", "run(Model.fit)")})
    lab.launch("go.py", str(lab.root))
    run_id = names(lab.root)[-1]
    last = reproduce(lab.root, run_id).steps[-1]
    if alone:
        type_last_step(last, lab.repo.top)
        assert len([n for n in names(lab.root) if n[0] != "."]) == 3
    else:
        assert last == f"python go.py {lab.root}"


# ---- earlier versions, and which run -------------------------------------------------------------


def of_1_0_3(root: Path, run_id: str, **meta: Any) -> None:
    folder = root / run_id
    folder.mkdir(parents=True)
    run = {"schema_version": 2, "run_id": run_id, "status": "succeeded"}
    for name, value in {"run": run, "config": {"lr": 1}, "meta": meta}.items():
        (folder / f"{name}.json").write_text(json.dumps(value))


def test_of_a_run_of_1_0_3_what_is_missing_is_said(tmp_path, monkeypatch):
    alone(tmp_path, monkeypatch)
    root = tmp_path / "results"
    commit = "c0ffee" * 6 + "c0ff"
    told = {"git_commit": commit, "python_version": "3.8.1", "started_cmd": "train.py --lr 1"}
    of_1_0_3(root, "20240101_000000_aaaaaa", **told)
    found = ResultAnalyzer(root).reproduce("20240101_000000_aaaaaa")
    assert (found.commit, found.config, found.branch, found.dirty) == (
        commit,
        {"lr": 1},
        None,
        None,
    )
    assert found.command == "python train.py --lr 1"
    assert found.not_recorded == ("code of the function", "what was not committed", "packages")
    assert [each.what for each in found.differences] == ["commit", "Python"]
    assert found.steps == (
        "# with Python 3.8.1",
        "# in a clone of the repository:",
        "# commit or move away what is not committed there now",
        f"git checkout {commit}",
        "# starts the whole launch: the run's function cannot be imported by name",
        "python train.py --lr 1",
    )
    assert "not recorded" in str(found)


def test_a_run_without_a_meta_json_is_told_with_what_is_left(tmp_path, monkeypatch):
    alone(tmp_path, monkeypatch)
    of_1_0_3(tmp_path, "a_run")
    (tmp_path / "a_run/meta.json").unlink()
    found = reproduce(tmp_path, "a_run")
    assert len(found.not_recorded) == 6 and found.steps == () and found.differences == ()
    assert str(found).startswith("run a_run: 0 differences today\n")


def test_a_run_is_known_by_the_beginning_of_its_id_where_there_is_one_only(tmp_path, monkeypatch):
    alone(tmp_path, monkeypatch)
    for run_id in ("20240101_aa", "20240101_ab", "20240101_ab_2"):
        of_1_0_3(tmp_path, run_id)
    assert reproduce(tmp_path, "20240101_aa").run_id == "20240101_aa"
    assert reproduce(tmp_path, "20240101_ab").run_id == "20240101_ab"
    assert reproduce(str(tmp_path), "20240101_ab_").run_id == "20240101_ab_2"
    with pytest.raises(ConfigError, match="could be 3 runs"):
        reproduce(tmp_path, "2024")
    with pytest.raises(ConfigError, match="did you mean '20240101_ab'"):
        reproduce(tmp_path, "20240101_xb")
    for word in ("", None, "../secret"):
        with pytest.raises(ConfigError):
            reproduce(tmp_path, word)
