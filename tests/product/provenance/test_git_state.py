"""git_state: what git says of the working folder, whatever the user has set up."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from repositories import Repository, alone

from ztxexp.provenance import git_state
from ztxexp.provenance.git_state import (
    Uncommitted,
    UnknownStateError,
    find_checkout,
    uncommitted,
)

START: dict[str, str | bytes] = {
    "train.py": "".join(f"line {i}\n" for i in range(40)),
    "pkg/__init__.py": "",
    "pkg/model.py": "size = 3\n",
    "weights.bin": bytes(range(256)) * 8,
    "run.sh": "echo\n",
}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    made = Repository(tmp_path / "repo").start()
    alone(made.top, monkeypatch)
    made.commit(START)
    return made


def look(without: str | Path = "results", limit: int = 2**20) -> Uncommitted:
    checkout = find_checkout()
    assert checkout is not None and checkout.top is not None
    return uncommitted(checkout, without, limit)


def rebuilt(repo: Repository, patch: bytes | None, to: Path) -> Repository:
    """A fresh clone at the commit, with the patch applied at its top."""
    fresh = repo.clone(to)
    fresh.git("checkout", "-q", repo.git("rev-parse", "HEAD"))
    if patch:
        (to.parent / "the.patch").write_bytes(patch)
        fresh.git("apply", to.parent / "the.patch")
    return fresh


# ---- where ---------------------------------------------------------------------------------------


def test_inside_a_repository_top_folder_commit_and_branch_are_found(repo, monkeypatch):
    head = repo.git("rev-parse", "HEAD")
    assert find_checkout() == (os.path.realpath(repo.top), head, "main")
    monkeypatch.chdir("pkg")
    assert find_checkout() == (os.path.realpath(repo.top), head, "main")
    monkeypatch.chdir(repo.top.parent)
    assert find_checkout("repo/pkg") == (os.path.realpath(repo.top), head, "main")


def test_a_detached_head_has_a_commit_and_no_branch(repo):
    repo.git("checkout", "-q", "--detach")
    checkout = find_checkout()
    assert (checkout.commit, checkout.branch) == (repo.git("rev-parse", "HEAD"), None)


def test_a_branch_may_have_slashes_in_its_name(repo):
    repo.git("checkout", "-q", "-b", "feature/größer")
    assert find_checkout().branch == "feature/größer"


def test_outside_a_repository_there_is_no_checkout(tmp_path, monkeypatch):
    alone(tmp_path, monkeypatch)
    assert find_checkout() is None


def test_where_git_is_missing_a_repository_is_not_known_and_a_plain_folder_is_none(
    repo, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(repo.top))
    monkeypatch.chdir("pkg")
    with pytest.raises(UnknownStateError, match=r"git could not be started .*: install it"):
        find_checkout()
    assert find_checkout(str(tmp_path)) is None


@pytest.mark.skipif(os.name == "nt", reason="GIT_TEST_ASSUME_DIFFERENT_OWNER is for Unix")
def test_where_git_refuses_because_of_the_owner_the_way_out_is_named(repo, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(
        UnknownStateError, match=r"owner.*git config --global --add safe\.directory"
    ):
        find_checkout()


def test_a_damaged_repository_is_not_known(repo):
    (repo.top / ".git/HEAD").write_text("nonsense")
    with pytest.raises(UnknownStateError, match="see what git status says in"):
        find_checkout()


def test_a_working_folder_that_is_gone_is_no_checkout(repo, monkeypatch):
    (repo.top / "gone").mkdir()
    monkeypatch.chdir("gone")
    (repo.top / "gone").rmdir()
    assert find_checkout() is None


def test_a_bare_repository_has_a_commit_and_no_top(repo, monkeypatch):
    repo.git("clone", "-q", "--bare", ".", repo.top.parent / "bare")
    monkeypatch.chdir(repo.top.parent / "bare")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repo.top.parent))
    checkout = find_checkout()
    assert (checkout.top, checkout.commit) == (None, repo.git("rev-parse", "HEAD"))


def test_a_linked_working_tree_is_a_checkout_of_its_own(repo, monkeypatch):
    repo.git("worktree", "add", "-q", "-b", "other", repo.top.parent / "linked")
    monkeypatch.chdir(repo.top.parent / "linked")
    assert find_checkout()[::2] == (os.getcwd(), "other")


# ---- what is not committed -----------------------------------------------------------------------


def test_a_clean_tree_has_no_patch(repo):
    assert look() == Uncommitted(False, None, None)


def change_everything(repo: Repository) -> None:
    text = START["train.py"]
    repo.write(
        {
            "train.py": str(text).replace("line 7\n", "line seven \t\r\n") + "no end",
            "weights.bin": bytes(range(255, -1, -1)) * 9,
            "staged.py": "a = 1\n",
            "new.py": "b = 2",
            "empty.txt": "",
            "deep/er/with blank.txt": "x\n\n y\n",
            'deep/größe "q" \t.py': "größe\n",
            "run.sh": "echo changed\n",
            "not utf-8.txt": b"\xff\xfe\x80 \r\n form\x0cfeed\n",
        }
    )
    (repo.top / "pkg/model.py").unlink()
    os.symlink("train.py", repo.top / "link")
    for name in ("run.sh", "new.py"):
        (repo.top / name).chmod(0o755)
    repo.git("add", "staged.py", "weights.bin")


@pytest.mark.parametrize("folder", [".", "pkg"])
def test_the_patch_makes_the_same_tree_of_a_fresh_clone(repo, tmp_path, monkeypatch, folder):
    change_everything(repo)
    monkeypatch.chdir(folder)
    found = look()
    assert (found.dirty, found.note) == (True, None)
    monkeypatch.chdir(repo.top)
    assert rebuilt(repo, found.patch, tmp_path / "fresh").tree() == repo.tree()


def git_config(repo: Repository, settings: dict[str, str]) -> None:
    for name, value in settings.items():
        repo.git("config", name, value)


@pytest.mark.skipif(os.name == "nt", reason="the drivers are shell scripts")
def test_no_setting_of_the_users_spoils_the_patch_and_none_of_their_programs_is_started(
    repo, tmp_path, monkeypatch
):
    driver = tmp_path / "driver"
    driver.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\necho spoilt\n")
    driver.chmod(0o755)
    repo.commit({".gitattributes": "*.py diff=own\n*.bin diff=own\n"})
    change_everything(repo)
    plain = look()
    git_config(
        repo,
        {
            "diff.external": str(driver),
            "diff.own.command": str(driver),
            "diff.own.textconv": str(driver),
            "core.pager": str(driver),
            "pager.diff": "true",
            "core.fsmonitor": str(driver),
            "color.ui": "always",
            "color.diff": "always",
            "diff.noprefix": "true",
            "diff.mnemonicPrefix": "true",
            "diff.relative": "true",
            "diff.renames": "copies",
            "diff.context": "0",
            "diff.interHunkContext": "9",
            "diff.suppressBlankEmpty": "true",
            "diff.submodule": "log",
            "diff.wsErrorHighlight": "all",
            "core.quotePath": "false",
            "core.abbrev": "4",
            "status.showUntrackedFiles": "no",
        },
    )
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(driver))
    monkeypatch.setenv("GIT_DIFF_OPTS", "-u0")
    monkeypatch.setenv("GIT_PAGER", str(driver))
    monkeypatch.setenv("GIT_TRACE", "1")
    found = look()
    assert not (tmp_path / "started").exists()
    assert (found.dirty, found.note) == (plain.dirty, plain.note)
    for name in ("GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_PAGER", "GIT_TRACE"):
        monkeypatch.delenv(name)
    assert rebuilt(repo, found.patch, tmp_path / "fresh").tree() == repo.tree()


def test_attributes_do_not_change_what_is_recorded_of_a_new_file(repo, tmp_path):
    repo.commit({".gitattributes": "* text=auto\n*.csv filter=own -diff\n"})
    git_config(repo, {"filter.own.clean": f"touch {tmp_path}/started; cat"})
    repo.write({"new.csv": "1,2\r\n", "new.py": "a = 1\r\n"})
    found = look()
    assert not (tmp_path / "started").exists() and b"GIT binary patch" not in found.patch
    tree = rebuilt(repo, found.patch, tmp_path / "fresh").tree()
    assert (tree["new.csv"][0], tree["new.py"][0]) == (b"1,2\r\n", b"a = 1\r\n")


def test_a_file_of_which_only_the_date_has_changed_is_no_change(repo):
    for name in START:
        os.utime(repo.top / name, (1e9, 1e9))
    assert look() == Uncommitted(False, None, None)


def test_the_users_index_stays_as_it_is_also_while_it_is_locked(repo):
    change_everything(repo)
    os.utime(repo.top / "pkg/__init__.py", (1e9, 1e9))
    index = repo.top / ".git/index"
    before = (index.read_bytes(), index.stat().st_mtime_ns, index.stat().st_ino)
    (repo.top / ".git/index.lock").write_bytes(b"")
    assert look().note is None
    assert (index.read_bytes(), index.stat().st_mtime_ns, index.stat().st_ino) == before
    (repo.top / ".git/index.lock").unlink()
    look()
    assert (index.read_bytes(), index.stat().st_mtime_ns, index.stat().st_ino) == before


def test_a_file_taken_out_of_the_index_but_still_there_comes_back(repo, tmp_path):
    repo.git("rm", "-q", "--cached", "train.py")
    repo.write({"train.py": "other\n"})
    assert rebuilt(repo, look().patch, tmp_path / "fresh").tree() == repo.tree()


def test_a_file_that_has_become_a_link_comes_back_as_one(repo, tmp_path):
    (repo.top / "run.sh").unlink()
    os.symlink("train.py", repo.top / "run.sh")
    assert rebuilt(repo, look().patch, tmp_path / "fresh").tree() == repo.tree()


def test_what_an_unfinished_merge_has_left_can_be_applied(repo, tmp_path):
    base = repo.git("rev-parse", "HEAD")
    repo.commit({"pkg/model.py": "size = 4\n"})
    repo.git("checkout", "-q", "-b", "other", base)
    repo.commit({"pkg/model.py": "size = 5\n"})
    repo.git("merge", "-q", "main", fails=True)
    assert "<<<<" in (repo.top / "pkg/model.py").read_text()
    assert rebuilt(repo, look().patch, tmp_path / "fresh").tree() == repo.tree()


def test_before_the_first_commit_the_patch_holds_everything(tmp_path, monkeypatch):
    repo = Repository(tmp_path / "repo").start()
    alone(repo.top, monkeypatch)
    repo.write({"train.py": "a = 1\n", "pkg/x.py": "b\n", "results/r/run.json": "{}"})
    repo.git("add", "train.py")
    assert find_checkout()[1:] == (None, None)
    found = look()
    assert (found.dirty, found.note) == (True, None)
    fresh = Repository(tmp_path / "fresh").start()
    (tmp_path / "the.patch").write_bytes(found.patch)
    fresh.git("apply", tmp_path / "the.patch")
    assert list(fresh.tree()) == ["pkg/x.py", "train.py"]


@pytest.fixture
def nested(repo, tmp_path):
    """A clean submodule "sub" of the repository."""
    inner = Repository(tmp_path / "inner").start()
    inner.commit({"a.py": "1\n", ".gitignore": "*.log\n"})
    repo.git("submodule", "-q", "add", inner.top, "sub")
    repo.commit()
    return Repository(repo.top / "sub")


@pytest.mark.first_is_quick
@pytest.mark.parametrize("ignore", [None, "all"])
@pytest.mark.parametrize("name", ["a.py", "b.py", "staged.py"])
def test_what_is_not_committed_in_a_submodule_is_dirty_and_named(repo, nested, name, ignore):
    if ignore:
        repo.git("config", "diff.ignoreSubmodules", ignore)
        repo.git("config", "submodule.sub.ignore", ignore)
    assert look() == Uncommitted(False, None, None)
    nested.write({name: "2\n", "x.log": "ignored\n", "__pycache__/a.pyc": "generated"})
    if name == "staged.py":
        nested.git("add", name)
    note = "left out: what is not committed inside of the submodule sub"
    assert look() == Uncommitted(True, None, note)
    repo.write({"new.py": "x\n"})
    found = look()
    assert found.note == note and b"new.py" in found.patch


def test_what_programs_make_in_a_submodule_is_no_change(repo, nested):
    nested.write({"x.log": "ignored\n", "__pycache__/a.pyc": "generated"})
    assert look() == Uncommitted(False, None, None)


def test_a_submodule_inside_of_a_submodule_is_looked_at_too(repo, nested, tmp_path):
    deep = Repository(tmp_path / "deep").start()
    deep.commit({"d.py": "1\n"})
    nested.git("submodule", "-q", "add", deep.top, "deep")
    nested.commit()
    repo.commit()
    assert look() == Uncommitted(False, None, None)
    Repository(nested.top / "deep").write({"d.py": "2\n"})
    assert look().dirty is True and "submodule sub" in look().note


def test_a_submodule_that_cannot_be_read_is_not_known(repo, nested):
    (nested.top / ".git").write_text("gitdir: /nowhere\n")
    found = look()
    assert found.dirty is None or "not known" in found.note


def test_another_commit_of_a_submodule_is_in_the_patch(repo, nested, tmp_path):
    nested.commit({"a.py": "2\n"})
    repo.write({"new.py": "x\n"})
    found = look()
    assert found.dirty is True
    assert f"+Subproject commit {nested.git('rev-parse', 'HEAD')}\n".encode() in found.patch
    assert rebuilt(repo, found.patch, tmp_path / "fresh").tree()["new.py"] == (b"x\n", False)


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_changes_that_git_is_told_not_to_look_at_are_dirty_and_named(repo, flag):
    repo.git("update-index", flag, "train.py", "pkg/model.py")
    assert look() == Uncommitted(False, None, None)
    repo.write({"train.py": "quite different\n"})
    found = look()
    assert (found.dirty, found.patch) == (True, None)
    assert found.note.endswith("told not to look at them: train.py")
    (repo.top / "pkg/model.py").unlink()
    assert look() == found


def test_code_that_git_ignores_is_not_clean(repo, tmp_path):
    repo.commit({".gitignore": "scratch/\n"})
    repo.write({"scratch/exp.py": "x\n"})
    checkout = find_checkout()
    for name in ("train.py", "scratch/exp.py", "../elsewhere.py"):
        found = uncommitted(checkout, "results", code=str(repo.top / name))
        note = "without scratch/exp.py, which is not in git" if "scratch" in name else None
        assert found == Uncommitted(note is not None, None, note)
    repo.write({"new.py": "x\n"})
    found = uncommitted(checkout, "results", code=str(repo.top / "new.py"))
    assert (found.dirty, found.note) == (True, None)


# ---- what is left out ----------------------------------------------------------------------------


def test_a_patch_over_the_limit_is_left_out_and_its_size_told(repo):
    repo.write({"train.py": "x" * 5000})
    found = look(limit=4096)
    assert (found.dirty, found.patch) == (True, None)
    size = int(found.note.split(" bytes")[0].rpartition(" ")[2].replace(",", ""))
    assert found.note == f"not recorded: {size:,} bytes, over the limit of 4,096"
    assert 5000 < size < 6500


def test_a_patch_of_exactly_the_limit_is_kept(repo):
    repo.write({"train.py": "x" * 5000})
    size = len(look().patch)
    assert look(limit=size).patch and look(limit=size - 1).patch is None


def test_new_files_are_taken_as_far_as_there_is_room_and_the_others_named(repo):
    repo.write({"a.py": "a\n", "b.py": "b" * 3000, "c.py": "c\n"})
    found = look(limit=1000)
    assert b"a.py" in found.patch and b"c.py" in found.patch and b"b.py" not in found.patch
    assert found.note == "left out: b.py (over the limit)"


def test_new_files_that_are_large_binary_or_secret_are_left_out_and_named(repo):
    repo.write(
        {
            "data.csv": "1,2\n" * 100_000,
            "model.pt": b"PK\0\1",
            ".env": "PASSWORD=of-mine\n",
            "conf/api_key.yaml": "of-mine\n",
            "notes.txt": "-----BEGIN RSA PRIVATE KEY-----\nof-mine\n",
            "tokenizer.py": "kept\n",
        }
    )
    Repository(repo.top / "other").start().write({"x.py": "x\n"})
    found = look()
    assert b"tokenizer.py" in found.patch
    assert not any(word in found.patch for word in (b"of-mine", b"x.py", b"data.csv", b"model.pt"))
    assert found.note == (
        "left out: .env (may hold secrets), conf/api_key.yaml (may hold secrets), "
        "data.csv (400,000 bytes), model.pt (binary), notes.txt (holds a private key), "
        "other/ (a repository of its own)"
    )


def test_of_many_that_are_left_out_a_few_are_named(repo):
    repo.write({f"m{i:02}.pt": b"\0" for i in range(13)})
    found = look()
    assert (found.dirty, found.patch) == (False, None)
    assert found.note.endswith("m09.pt (binary) and 3 more")


def test_ignored_files_results_and_what_programs_make_are_left_out_silently(repo):
    run = {"run.json": "{}", "config.json": "{}", "meta.json": "{}", "artifacts/a.txt": "a"}
    repo.commit({".gitignore": "scratch/\n", "results/kept/metrics.json": "1\n"})
    repo.write(
        {
            "scratch/x.py": "x",
            "__pycache__/x.cpython-311.pyc": "x",
            "pkg/.ipynb_checkpoints/n.ipynb": "x",
            "mlruns/0/meta.yaml": "x",
            "results/kept/metrics.json": "2\n",
            **{f"results/r1/{name}": text for name, text in run.items()},
            **{f"older [x]/r2/{name}": text for name, text in run.items()},
        }
    )
    assert look() == Uncommitted(False, None, None)
    repo.write({"train.py": "x\n"})
    assert look().patch.count(b"diff --git") == 1


@pytest.mark.parametrize("name", ["results", "out/my [new] results*", "größe"])
def test_the_results_root_is_left_out_wherever_it_lies(repo, name):
    repo.write({f"{name}/notes.py": "x\n", f"{name}2/kept.py": "x\n"})
    found = look(repo.top / name)
    assert found.patch.count(b"diff --git") == 1 and b"kept.py" in found.patch


def test_a_results_root_that_is_the_repository_leaves_the_code_in(repo):
    repo.write({"new.py": "x\n", f".packages-{'a' * 64}.txt": "x\n", ".ztxexp/a.json": "{}"})
    found = look(repo.top)
    assert found.patch.count(b"diff --git") == 1 and b"new.py" in found.patch


def test_too_many_new_files_are_not_looked_at(repo, monkeypatch):
    monkeypatch.setattr(git_state, "MAX_NEW_FILES", 3)
    repo.write({f"n{i}.py": "x\n" for i in range(4)})
    found = look()
    assert (found.dirty, found.patch) == (None, None)
    assert found.note == "without files that git does not track: there are more than 3"


def test_tokens_are_masked_in_what_was_added_and_the_patch_still_applies(repo, tmp_path):
    secret = "ghp_" + "a1B2" * 6
    repo.commit({"old.py": f"key = '{secret}'\n"})
    repo.write({"old.py": f"key = '{secret}'\nother = '{secret}'\n", "new.py": f"t = '{secret}'\n"})
    found = look()
    assert found.note == "2 secrets masked"
    tree = rebuilt(repo, found.patch, tmp_path / "fresh").tree()
    assert tree["new.py"] == (b"t = '***'\n", False)
    assert tree["old.py"][0].decode() == f"key = '{secret}'\nother = '***'\n"


def test_secrets_known_by_their_names_are_masked_in_new_and_in_changed_files(repo, tmp_path):
    repo.commit({"conf.yaml": "lr: 1\n", ".env": "A=1\n"})
    secret = "db:\n  password: of-mine\n  url: postgres://me:of-mine@host/db\n"
    repo.write({"conf.yaml": f"lr: 2\n{secret}", "new.yaml": secret, ".env": "A=of-mine\n"})
    repo.write({"login.py": "login(api_key='of-mine')\nkey = len(tokens)\n"})
    found = look()
    assert b"of-mine" not in found.patch
    assert found.note == "5 secrets masked; left out: .env (may hold secrets)"
    tree = rebuilt(repo, found.patch, tmp_path / "fresh").tree()
    assert tree["conf.yaml"][0].startswith(b"lr: 2\ndb:\n  password: ***\n")
    assert tree["login.py"][0] == b"login(api_key='***')\nkey = len(tokens)\n"


def test_a_changed_file_for_secrets_alone_is_dirty_without_a_patch(repo):
    repo.commit({".env": "A=1\n"})
    repo.write({".env": "A=of-mine\n"})
    assert look() == Uncommitted(True, None, "left out: .env (may hold secrets)")


# ---- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for git is a shell script")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 7", "not known: git failed with exit code 7"),
        ("echo some; exec sleep 60", "not recorded: git took longer than 0.3 s"),
    ],
)
def test_a_git_that_fails_or_hangs_costs_the_patch_only(repo, tmp_path, monkeypatch, script, said):
    real = shutil.which("git")
    stand_in = tmp_path / "bin/git"
    stand_in.parent.mkdir()
    stand_in.write_text(
        f'#!/bin/sh\ncase "$*" in *" diff "*) {script};; *) exec {real} "$@";; esac\n'
    )
    stand_in.chmod(0o755)
    checkout = find_checkout()
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(git_state, "_TIMEOUT_SEC", 0.3)
    found = uncommitted(checkout, "results")
    assert (found.patch, found.note) == (None, said)
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())


def test_git_that_is_gone_meanwhile_costs_the_patch_only(repo, monkeypatch):
    checkout = find_checkout()
    monkeypatch.setenv("PATH", str(repo.top))
    found = uncommitted(checkout, "results")
    assert (found.dirty, found.patch) == (None, None)
    assert found.note.startswith("not known: git could not be started")


def test_a_damaged_repository_costs_the_patch_only(repo):
    checkout = find_checkout()
    (repo.top / ".git/index").write_bytes(b"nonsense")
    found = uncommitted(checkout, "results")
    assert found.dirty is None and found.patch is None
    assert found.note.startswith("not known: git failed")


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for git is a shell script")
@pytest.mark.parametrize("command", ["ls-files -z --others", "ls-files -v -z --stage"])
def test_where_a_part_of_the_answer_is_missing_nothing_is_called_clean(
    repo, tmp_path, monkeypatch, command
):
    real, stand_in = shutil.which("git"), tmp_path / "bin/git"
    stand_in.parent.mkdir()
    stand_in.write_text(
        f'#!/bin/sh\ncase "$*" in *"{command}"*) echo "fatal: oh no" >&2; exit 128;; '
        f'*) exec {real} "$@";; esac\n'
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    found = look()
    assert found.dirty is None and "git failed: oh no" in found.note


def test_no_process_outlives_an_interrupt(repo, monkeypatch):
    checkout, started = find_checkout(), []

    class Interrupted(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)
            self.stdout.close()
            self.stdout = Interrupting()

    class Interrupting:
        def read(self, size):
            raise KeyboardInterrupt

        def close(self): ...

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        uncommitted(checkout, "results")
    assert [process.returncode is not None for process in started] == [True]
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())
