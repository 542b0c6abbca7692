"""The sources of the page with the packages that their lock names, in a folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from programs import needs

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 150
_NO_NETWORK = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ETIMEDOUT", "ENETUNREACH", "ECONNRESET")


def installed(folder: Path) -> Path:
    """Copy ``web/`` below a folder, install what its lock names there, and return the copy.

    The test is skipped where npm is not there (with ``ZTXEXP_REQUIRE_ALL`` set it fails) or where
    its registry does not answer.
    """
    npm = needs("npm")
    target = folder / "web"
    shutil.copytree(ROOT / "web", target, ignore=shutil.ignore_patterns("node_modules"))
    run = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund"],
        cwd=target,
        env=_environment(npm),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    if run.returncode:
        text = f"npm ci in web/ fails: {run.stderr[-1500:]}"
        if not any(word in run.stderr for word in _NO_NETWORK):
            pytest.fail(text)
        pytest.skip(text)
    return target


def build(web: Path, out: Path) -> None:
    """Build the page from installed sources into a folder."""
    node = needs("node")
    subprocess.run(
        [node, "build.js", str(out)], cwd=web, env=_environment(node), check=True, timeout=_SECONDS
    )


def _environment(program: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"}
