"""Programs that some tests need: a browser, LaTeX, node, Slurm."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

_NAMES = {
    "chromium": ["chromium", "chromium-browser", "google-chrome"],
    "pdflatex": ["pdflatex"],
    "pdftoppm": ["pdftoppm"],
    "node": ["node"],
    "npm": ["npm"],
}


def find(name: str) -> str | None:
    """Return where a program is; those of this environment come first."""
    own = Path(sys.executable).parent
    for candidate in _NAMES.get(name, [name]):
        if (own / candidate).exists():
            return str(own / candidate)
        path = shutil.which(candidate) or shutil.which(candidate, path="/usr/sbin")
        if path is not None:
            return path
    return None


def needs(name: str) -> str:
    """Return where a program is; skip the test where it is missing.

    With ``ZTXEXP_REQUIRE_ALL`` set, as ``make test`` sets it, the test fails instead.
    """
    path = find(name)
    if path is None:
        text = f"{name} is not installed"
        if os.environ.get("ZTXEXP_REQUIRE_ALL"):
            pytest.fail(text)
        pytest.skip(text)
    return path
