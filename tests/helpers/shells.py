"""Typing commands of ztxexp in a folder."""

from __future__ import annotations

import os
import subprocess
import sys


def shell_in(folder, **always):
    """Return a function that types ``ztxexp WORDS`` there: exit code, output, standard error.

    Args:
        folder: the working folder; the function has it as ``folder``.
        **always: variables of the environment besides.
    """

    def run(*words, **env):
        done = subprocess.run(
            [sys.executable, "-m", "ztxexp", *words],
            cwd=folder,
            env={**os.environ, **always, **env},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    run.folder = folder
    return run
