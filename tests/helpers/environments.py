"""Python environments of their own, for tests that install packages."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path


def make_environment(folder: Path, *requirements: object) -> Path:
    """Make an environment and install something there with pip; returns its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run_quietly([python, "-m", "pip", "install", "--quiet", *requirements], folder)
    return python


def run_quietly(command: list[object], cwd: Path) -> str:
    """Run a program that knows nothing of this checkout; returns its output.

    Raises:
        AssertionError: it fails; the message is what it printed.
    """
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    words = [str(word) for word in command]
    out = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stdout + out.stderr
    return out.stdout
