"""Test files that need a process of their own: what they import changes it for all other tests.

Ray puts folders of its own on ``sys.path`` and takes signals; Dask leaves threads and settings. The
names of such files do not begin with ``test_``, so that nothing collects them by itself.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


def needs_engine(name: str) -> None:
    """Skip the test where Dask or Ray is not installed; it is not imported.

    With ``ZTXEXP_REQUIRE_ALL`` set the test fails instead, if there is one for this Python.

    Args:
        name: ``dask`` or ``ray``.
    """
    library = {"dask": "distributed", "ray": "ray"}[name]
    if importlib.util.find_spec(library) is not None:
        return
    if name == "ray" and (sys.version_info >= (3, 14) or sys.platform == "win32"):
        pytest.skip(f"there is no ray for Python {sys.version_info[:2]} on {sys.platform}")
    if os.environ.get("ZTXEXP_REQUIRE_ALL"):
        pytest.fail(f"{library} is not installed")
    pytest.skip(f"{library} is not installed")


def check(
    file: str, folder: Path, seconds: float, at_least: int, skipped: dict[str, str] | None = None
) -> None:
    """Run the tests of a file in a pytest of its own, and fail if one of them does.

    Args:
        file: below ``tests``.
        folder: for what is written on the way.
        seconds: how long it may take in all.
        at_least: how many tests must pass.
        skipped: what may be skipped: the beginning of the name, and a word of the reason.
    """
    report, output = folder / "report.xml", folder / "output.txt"
    options = ["-v", "-p", "no:cacheprovider", f"--junitxml={report}", "--basetemp", folder / "t"]
    with output.open("wb") as file_of_output:
        code = subprocess.run(
            [sys.executable, "-m", "pytest", TESTS / file, *map(str, options)],
            cwd=TESTS.parent,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=file_of_output,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        ).returncode
    text = output.read_text(errors="replace")
    assert report.exists(), text
    ends = Counter()
    unexpected = []
    for case in ET.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        kinds = {child.tag: child for child in case}
        end = next((kind for kind in ("failure", "error", "skipped") if kind in kinds), "passed")
        ends[end] += 1
        if end == "skipped":
            reason = kinds[end].get("message") or ""
            named = (skipped or {}).items()
            if any(case.get("name", "").startswith(n) and word in reason for n, word in named):
                continue
            unexpected.append(f"{name} was skipped: {reason}")
        elif end != "passed":
            unexpected.append(f"{name}: {end}: {kinds[end].get('message')}")
    if unexpected or code:
        lines = "\n".join(unexpected)
        pytest.fail(f"{dict(ends)}, exit code {code}\n{lines}\n\n{text[-60_000:]}", pytrace=False)
    assert ends["passed"] >= at_least, dict(ends)


def _environment() -> dict[str, str]:
    """Return the environment without what tells a pytest that it is a worker of another one."""
    return {name: v for name, v in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
