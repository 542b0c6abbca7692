"""The script and the style of the page are what their sources build, and they are in a wheel."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from web_sources import ROOT, build, installed

_STATIC = ROOT / "ztxexp" / "report" / "static"
_FILES = ["THIRD_PARTY.txt", "report.css", "report.js"]
_MOST = 1_350_000  # bytes of script and style together


@pytest.mark.slow
def test_sources_build_the_same_bytes_as_are_committed(tmp_path: Path) -> None:
    web = installed(tmp_path)
    build(web, tmp_path / "out")
    for name in _FILES:
        built = (tmp_path / "out" / name).read_bytes()
        assert built == (_STATIC / name).read_bytes(), f"{name} differs: run `make web`"


def test_the_page_is_small_enough() -> None:
    assert sum((_STATIC / name).stat().st_size for name in ("report.js", "report.css")) < _MOST


def test_versions_are_exact_and_all_licences_are_there() -> None:
    package = json.loads((ROOT / "web" / "package.json").read_text())
    for versions in (package["dependencies"], package["devDependencies"]):
        assert all(version.replace(".", "").isdigit() for version in versions.values())
    text = (_STATIC / "THIRD_PARTY.txt").read_text()
    for name, version in package["dependencies"].items():
        assert f"{name} {version}" in text
    for part in ("Copyright 2017-2026 The Apache Software Foundation", "zrender", "Leon Sorokin"):
        assert part in text
    lock = json.loads((ROOT / "web" / "package-lock.json").read_text())
    packages = [one for path, one in lock["packages"].items() if path]
    assert packages and all(one["integrity"].startswith("sha512-") for one in packages)


def test_sources_put_no_text_into_html_and_evaluate_none() -> None:
    for path in (ROOT / "web" / "src").rglob("*.js"):
        text = path.read_text()
        for word in ("innerHTML =", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, f"{path}: {word}"


@pytest.mark.slow
def test_wheel_and_sdist_hold_the_page_and_no_packages_of_node(tmp_path: Path) -> None:
    build_ = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build_, check=True, capture_output=True, timeout=150)
    (wheel,) = tmp_path.glob("*.whl")
    (sdist,) = tmp_path.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"ztxexp/report/static/{name}" for name in _FILES} <= set(names)
    with tarfile.open(sdist) as archive:
        inside = [name.partition("/")[2] for name in archive.getnames()]
    assert "ztxexp/report/static/report.js" in inside and "web/package-lock.json" in inside
    for name in [*names, *inside]:
        assert "node_modules" not in name
