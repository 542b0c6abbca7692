"""packages: what is installed, as importlib.metadata would say it, only faster."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

from packaging.utils import canonicalize_name

from ztxexp.provenance.provenance import PACKAGES, installed, packages_of, write_shared


def distribution(folder: Path, name: str, told: str | None = None) -> None:
    (folder / name).mkdir(parents=True)
    if told is not None:
        (folder / name / "METADATA").write_text(told)


def test_it_says_what_the_metadata_of_this_environment_says() -> None:
    told: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        told.setdefault(canonicalize_name(each.metadata["Name"]), each.version)
    assert installed() == dict(sorted(told.items()))


def test_a_folder_that_does_not_tell_is_read_and_a_damaged_one_left_out(tmp_path: Path) -> None:
    distribution(tmp_path, "Zope.Thing-1.0_b2+local.dist-info")
    distribution(tmp_path, "plain.dist-info", "Metadata-Version: 2.1\nName: Pl_ain\nVersion: 3\n")
    distribution(tmp_path, "broken.dist-info")
    distribution(tmp_path, "unrelated")
    (tmp_path / "old_style.egg-info").write_text("Name: old.style\nVersion: 0.1\n")
    found = installed([str(tmp_path), str(tmp_path / "none.zip")])
    assert found == {"old-style": "0.1", "pl-ain": "3", "zope-thing": "1.0_b2+local"}


def test_of_two_of_one_name_the_first_on_the_path_counts(tmp_path: Path) -> None:
    distribution(tmp_path / "a", "thing-1.0.dist-info")
    distribution(tmp_path / "b", "Thing-2.0.dist-info")
    assert installed([str(tmp_path / "b"), str(tmp_path / "a")]) == {"thing": "2.0"}


def test_what_a_package_brings_along_is_not_installed(tmp_path: Path) -> None:
    """Ray and setuptools put such folders on sys.path."""
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").touch()
    distribution(tmp_path / "engine" / "vendored", "psutil-7.0.dist-info")
    distribution(tmp_path, "psutil-6.0.dist-info")
    path = [str(tmp_path / "engine" / "vendored"), str(tmp_path)]
    assert installed(path) == {"psutil": "6.0"}


def test_what_is_installed_meanwhile_is_found(tmp_path: Path) -> None:
    distribution(tmp_path, "thing-1.0.dist-info")
    assert installed([str(tmp_path)]) == {"thing": "1.0"}
    distribution(tmp_path, "other-2.0.dist-info")
    os.utime(tmp_path, ns=(1, 1))  # however coarse the clock of the file system is
    assert installed([str(tmp_path)]) == {"other": "2.0", "thing": "1.0"}


def test_lines_that_are_no_package_are_left_out(tmp_path: Path) -> None:
    hostile = "-r x==1\n--index-url=x==y\na==1; rm\n$(x)==1\nd==--e\n\x1b[31m==1\nb-c==2!1.0rc1+c\n"
    name = write_shared(tmp_path, PACKAGES, hostile.encode())
    assert packages_of(tmp_path, {"packages": name}) == {"b-c": "2!1.0rc1+c"}
