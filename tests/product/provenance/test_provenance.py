"""provenance: what is told about a launch, what is kept of it, and what must not be."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import importlib.util
import os
import platform
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import experiments
import pytest
from reading import names, strict, warned
from repositories import Repository, alone

from ztxexp import ExperimentPipeline, ExpRunner
from ztxexp.provenance import provenance
from ztxexp.provenance.provenance import (
    PACKAGES,
    PATCH,
    SHARED_FILE,
    CodeIdentity,
    describe_launch,
    installed,
    packages_of,
    read_shared,
    write_shared,
)
from ztxexp_core.records import RunMetadata

FUNCTION = "def f(ctx):\n    return {'score': 1.0}\n"


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder outside of any repository."""
    return alone(tmp_path, monkeypatch)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """The working folder, a repository with one change."""
    made = Repository(tmp_path / "repo").start()
    alone(made.top, monkeypatch)
    made.commit({"train.py": "a = 1\n", "pkg/x.py": "", "pkg/exp.py": FUNCTION})
    made.write({"train.py": "a = 2\n"})
    return made


def function_in(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the experiment function that lies in a repository, committed."""
    spec = importlib.util.spec_from_file_location("exp_in_repo", repo.top / "pkg/exp.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "exp_in_repo", module)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec.loader.exec_module(module)
    return module.f


# ---- describe_launch -----------------------------------------------------------------------------


def test_what_nobody_said_is_found_out(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--token", "abc"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-u", "train.py", "--token", "abc"])
    meta = describe_launch(None)
    assert meta.python_version == platform.python_version()
    assert meta.platform == platform.platform()
    assert meta.hostname == socket.gethostname()
    assert meta.started_cmd == "train.py --token ***"
    assert meta.command == "python -u train.py --token ***"
    assert meta.git_commit is None
    assert meta.extras == {}


def test_what_belongs_to_a_run_or_to_the_user_is_left_open(nowhere: Path) -> None:
    meta = describe_launch(None)
    open_fields = ("experiment_name", "group", "tags", "parent_run_id", "attempt", "seed")
    assert [getattr(meta, name) for name in (*open_fields, "dataset_version")] == [None] * 7


FULL: dict[str, Any] = {
    "experiment_name": "e",
    "group": "g",
    "tags": {"a": "b"},
    "parent_run_id": "p",
    "attempt": 4,
    "git_commit": "c0ffee",
    "python_version": "2.7",
    "platform": "Amiga",
    "hostname": "h",
    "started_cmd": "make",
    "dataset_version": "v1",
    "seed": 0,
    "extras": {"k": [1]},
    "git_branch": "b",
    "git_dirty": False,
    "git_folder": "f",
    "git_diff": "d",
    "git_diff_note": "n",
    "packages": "q",
    "command": "c",
    "function": "m:f",
    "function_file": "m.py",
    "function_hash": "1",
    "module_hash": "2",
    "code_hash": "code:c",
    "code_note": "n",
    "code_version": "2",
    "run_name": "lr=0.1",
}


def test_everything_that_the_template_says_is_kept(repo: Repository) -> None:
    assert describe_launch(RunMetadata(**FULL), len, "results").to_dict() == FULL


@pytest.mark.parametrize("field", FULL)
def test_each_field_of_the_template_is_kept_by_itself(nowhere: Path, field: str) -> None:
    assert getattr(describe_launch(RunMetadata(**{field: FULL[field]})), field) == FULL[field]


def test_the_template_itself_is_left_alone(nowhere: Path) -> None:
    template = RunMetadata(experiment_name="e")
    before = dataclasses.replace(template)
    assert describe_launch(template) is not template
    assert template == before


def test_a_commit_that_the_user_names_is_not_told_with_the_state_of_another(
    repo: Repository,
) -> None:
    meta = describe_launch(RunMetadata(git_commit="c0ffee"), None, "results")
    assert (meta.git_branch, meta.git_dirty, meta.git_diff) == (None, None, None)
    assert meta.packages is not None


def test_in_a_repository_its_state_is_told(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("pkg")
    meta = describe_launch(None, None, repo.top / "results")
    assert meta.git_commit == repo.git("rev-parse", "HEAD")
    assert (meta.git_branch, meta.git_folder, meta.git_dirty) == ("main", "pkg", True)
    found = read_shared(repo.top / "results", meta.git_diff, PATCH)
    assert found is not None and b"-a = 1\n+a = 2\n" in found[1]


def test_a_file_in_the_repository_is_told_below_its_top_and_another_one_as_it_is(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.write({"pkg/exp.py": "def f(ctx):\n    return None\n"})
    monkeypatch.syspath_prepend(str(repo.top))
    monkeypatch.chdir("pkg")
    monkeypatch.delitem(sys.modules, "pkg", raising=False)
    import pkg.exp  # type: ignore[import-not-found]

    meta = describe_launch(None, pkg.exp.f, repo.top / "results")
    assert (meta.function, meta.function_file) == ("pkg.exp:f", "pkg/exp.py")
    other = describe_launch(None, experiments.score, repo.top / "results")
    assert other.function_file == experiments.__file__
    for name in ("pkg", "pkg.exp"):
        monkeypatch.delitem(sys.modules, name)


# ---- what is kept once ---------------------------------------------------------------------------


def shared(root: Path) -> list[str]:
    return [name for name in names(root) if SHARED_FILE.fullmatch(name)]


def metas(root: Path) -> list[dict[str, Any]]:
    return [strict(path) for path in sorted(root.glob("*/meta.json"))]


@pytest.mark.slow
def test_all_runs_of_all_launches_share_one_patch_and_one_list_of_packages(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repo.top / "results"
    function = function_in(repo, monkeypatch)
    for mode in ("sequential", "process_pool"):
        assert ExpRunner([{"i": 0}, {"i": 1}], root).run(function, mode=mode).succeeded
    found = metas(root)
    assert len(found) == 4
    (patch,) = {meta["git_diff"] for meta in found}
    (listed,) = {meta["packages"] for meta in found}
    assert shared(root) == [PATCH.format(patch), PACKAGES.format(listed)]
    for kind, name in ((PATCH, patch), (PACKAGES, listed)):
        assert hashlib.sha256((root / kind.format(name)).read_bytes()).hexdigest() == name
    assert packages_of(root, found[0]) == installed()
    lines = (root / PACKAGES.format(listed)).read_text().splitlines()
    assert lines == [f"{name}=={version}" for name, version in installed().items()]
    assert {meta["function"] for meta in found} == {"exp_in_repo:f"}


def test_another_state_has_another_patch(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    root, function = repo.top / "results", function_in(repo, monkeypatch)
    for number in (2, 3):
        repo.write({"train.py": f"a = {number + 10}\n"})
        ExpRunner([{}], root).run(function)
    repo.commit()
    ExpRunner([{}], root).run(function)
    found = [meta["git_diff"] for meta in metas(root)]
    assert len(set(found)) == 3 and found[2] is None
    assert len(shared(root)) == 3  # two patches, one list
    assert [meta["git_dirty"] for meta in metas(root)] == [True, True, False]


# ---- which repository, and what is not known -----------------------------------------------------


@pytest.mark.parametrize("place", ["other repository", "no repository", "below the top"])
@pytest.mark.parametrize("with_root", [True, False])
def test_the_repository_is_that_of_the_functions_file_wherever_one_works(
    repo: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    with_root: bool,
) -> None:
    function = function_in(repo, monkeypatch)
    repo.write({"train.py": "a = 9\n"})
    other = Repository(tmp_path / "other").start()
    other.commit({"x.py": "x\n"})
    (tmp_path / "plain").mkdir()
    places = {"other repository": other.top, "no repository": tmp_path / "plain"}
    monkeypatch.chdir(places.get(place, repo.top / "pkg"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    meta = describe_launch(None, function, "results" if with_root else None)
    assert (meta.git_commit, meta.git_branch) == (repo.git("rev-parse", "HEAD"), "main")
    below = place == "below the top"
    assert meta.git_folder == ("pkg" if below else None)
    if with_root:
        shared_patch = read_shared("results", meta.git_diff, PATCH)
        assert shared_patch is not None and b"+a = 9\n" in shared_patch[1]
        assert meta.function_file == ("pkg/exp.py" if below else str(repo.top / "pkg/exp.py"))


def test_code_in_no_repository_has_no_commit_although_the_working_folder_has(
    repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = function_in(repo, monkeypatch)
    monkeypatch.chdir(Repository(tmp_path / "other").start().top)
    monkeypatch.setattr(
        provenance, "code_of", lambda _: CodeIdentity("m:f", str(tmp_path / "f.py"))
    )
    meta = describe_launch(None, function, "results")
    assert (meta.git_commit, meta.git_dirty, meta.git_folder) == (None, None, None)


def test_without_a_file_the_working_folder_counts_and_that_is_told(repo: Repository) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("def f(ctx): return None", "<stdin>", "exec"), namespace)
    for root in ("results", None):
        meta = describe_launch(None, namespace["f"], root)
        assert meta.git_commit == repo.git("rev-parse", "HEAD")
        assert meta.git_diff_note is not None and "has no file" in meta.git_diff_note


@pytest.mark.skipif(os.name == "nt", reason="GIT_TEST_ASSUME_DIFFERENT_OWNER is for Unix")
@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("trouble", ["owner", "missing", "index"])
def test_what_git_does_not_tell_is_recorded_as_not_known_with_one_warning(
    repo: Repository,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
    record: bool,
) -> None:
    function = function_in(repo, monkeypatch)
    if trouble == "owner":
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    elif trouble == "missing":
        monkeypatch.setenv("PATH", str(repo.top))
    else:
        (repo.top / ".git/index").write_bytes(b"nonsense")
    root = repo.top / "results"
    assert ExpRunner([{}, {}], root).run(function, record_diff=record).succeeded == 2
    for meta in metas(root):
        assert (meta["git_dirty"], meta["git_diff"]) == (None, None)
        assert meta["git_diff_note"].startswith("not known: git")
        assert (meta["git_commit"] is None) is (trouble != "index")
    ways = {"owner": "safe.directory", "missing": "install it", "index": "not known"}
    (line,) = warned(caplog, ways[trouble])
    assert "RunMetadata(git_commit=" in line


def test_launches_that_begin_at_once_write_the_same_file(nowhere: Path) -> None:
    data = os.urandom(200_000)
    found: set[str | None] = set()

    def write() -> None:
        found.add(write_shared(nowhere, PATCH, data))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (name,) = found
    assert read_shared(nowhere, name, PATCH) == (nowhere / PATCH.format(name), data)
    assert names(nowhere) == [PATCH.format(name)]


def test_a_torn_file_is_written_anew(nowhere: Path) -> None:
    name = write_shared(nowhere, PACKAGES, b"a==1\n")
    (nowhere / PACKAGES.format(name)).write_bytes(b"a=")
    assert packages_of(nowhere, {"packages": name}) == {}
    assert write_shared(nowhere, PACKAGES, b"a==1\n") == name
    assert packages_of(nowhere, {"packages": name}) == {"a": "1"}


def test_where_it_cannot_be_written_the_launch_goes_on(
    repo: Repository, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(provenance, "write_bytes", full)
    root = repo.top / "results"
    assert ExpRunner([{}], root).run(function_in(repo, monkeypatch)).succeeded == 1
    (meta,) = metas(root)
    assert (meta["git_dirty"], meta["git_diff"], meta["packages"]) == (True, None, None)
    assert meta["git_diff_note"] == "not recorded: it could not be written"
    assert len(warned(caplog, "going on without it")) == 2


@pytest.mark.parametrize("name", [None, 3, "", "x" * 64, "../../secret", "a" * 64, {"a": 1}])
def test_what_names_nothing_that_is_kept_reads_as_nothing(nowhere: Path, name: Any) -> None:
    (nowhere / "secret.txt").write_text("a==1\n")
    (nowhere / PACKAGES.format("a" * 64)).write_text("not of that hash==1\n")
    assert read_shared(nowhere, name, PACKAGES) is None
    assert packages_of(nowhere, {"packages": name}) == {}


def test_a_launch_that_has_nothing_to_run_keeps_nothing(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, function = repo.top / "results", function_in(repo, monkeypatch)
    pipeline = ExperimentPipeline(root).grid({"i": [1]}).exclude_completed()
    pipeline.run(function)
    repo.write({"train.py": "a = 5\n"})
    before = shared(root)
    assert pipeline.run(function).reused == 1
    assert shared(root) == before


# ---- the switch ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said", "recorded"),
    [
        (None, None, True),
        (None, "", True),
        (None, "1", True),
        (None, "0", False),
        (None, " Off", False),
        (True, "0", True),
        (False, None, False),
    ],
)
def test_the_launch_decides_and_else_the_environment(
    asked: bool | None,
    said: str | None,
    recorded: bool,
    repo: Repository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ZTXEXP_RECORD_DIFF", raising=False)
    if said is not None:
        monkeypatch.setenv("ZTXEXP_RECORD_DIFF", said)
    meta = describe_launch(None, None, repo.top / "results", asked)
    assert (meta.git_diff is not None) is recorded


def test_switched_off_no_diff_is_written_and_the_rest_is_told(
    repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repo.top / "results"
    repo.write({"conf.yaml": "password: of-mine\n"})
    pipeline = ExperimentPipeline(root).grid({"i": [1]})
    pipeline.run(function_in(repo, monkeypatch), record_diff=False)
    (meta,) = metas(root)
    assert (meta["git_dirty"], meta["git_diff"]) == (True, None)
    assert meta["git_diff_note"] == "not recorded: switched off"
    assert meta["git_commit"] and meta["packages"]
    assert shared(root) == [PACKAGES.format(meta["packages"])]


def test_in_a_clean_tree_the_switch_needs_no_word(repo: Repository) -> None:
    repo.commit()
    meta = describe_launch(None, None, repo.top / "results", record_diff=False)
    assert (meta.git_dirty, meta.git_diff, meta.git_diff_note) == (False, None, None)
