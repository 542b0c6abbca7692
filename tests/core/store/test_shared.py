"""shared: the one folder beside the runs, made when something has to be kept in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ztxexp_core.store.shared import CLAIMS, INDEX, shared_folder


def test_asking_for_the_path_makes_nothing(tmp_path: Path) -> None:
    assert shared_folder(tmp_path, CLAIMS) == f"{tmp_path}/.ztxexp/claims"
    assert os.listdir(tmp_path) == []


def test_a_part_is_made_once_and_git_ignores_all_of_them(tmp_path: Path) -> None:
    for part in (CLAIMS, CLAIMS, INDEX):
        assert os.path.isdir(shared_folder(tmp_path, part, make=True))
    assert os.listdir(tmp_path) == [".ztxexp"]
    assert sorted(os.listdir(tmp_path / ".ztxexp")) == [".gitignore", "claims", "index"]
    assert (tmp_path / ".ztxexp/.gitignore").read_text() == "*\n"


def test_the_users_own_gitignore_stays(tmp_path: Path) -> None:
    shared_folder(tmp_path, CLAIMS, make=True)
    (tmp_path / ".ztxexp/.gitignore").write_text("index/\n")
    shared_folder(tmp_path, INDEX, make=True)
    assert (tmp_path / ".ztxexp/.gitignore").read_text() == "index/\n"


def test_a_root_that_is_gone_does_not_come_back(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        shared_folder(tmp_path / "gone", CLAIMS, make=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", [".ztxexp", ".ztxexp/claims"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_nothing_is_made_through_a_link_or_in_place_of_a_file(
    tmp_path: Path, name: str, kind: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (root / name).parent.mkdir(parents=True)
    if kind == "link":
        (root / name).symlink_to(outside)
    else:
        (root / name).write_text("x")
    with pytest.raises(NotADirectoryError):
        shared_folder(root, CLAIMS, make=True)
    assert os.listdir(outside) == []
