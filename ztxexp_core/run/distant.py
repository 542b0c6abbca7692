"""Runs in workers that may see another disk, other packages or another Python than the launcher.

:class:`DistantRun` is what such a worker is sent in the place of ``run_one``. A run that it cannot
carry out has not begun, so that it costs no attempt. :class:`Look` is sent before the first run and
says what the worker sees.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ztxexp_core.records import RunMetadata, RunOutcome, RunSpec
from ztxexp_core.run.launch import text_of
from ztxexp_core.store.files import SHARED_FOLDER, make_folder, read_bytes, write_new

_MARK = "mark"
_LATE_SEC = 3.0  # a network file system may show a new file late
_PAUSE_SEC = 0.25


def mark_root(root: str | Path) -> str:
    """Return the mark of a results root, by which workers know it; made where it is missing.

    Raises:
        OSError: it cannot be read or written.
    """
    folder = f"{root}/{SHARED_FOLDER}"
    make_folder(folder)
    with contextlib.suppress(FileExistsError):
        write_new(f"{folder}/{_MARK}", os.urandom(16).hex().encode())
    return read_bytes(f"{folder}/{_MARK}").decode()


class DistantRun:
    """Carries out runs in a worker that may lack what they need.

    Args:
        load: returns ``run_one``; called with ``arguments``, where the first run is carried out.
        mark: of the results root.
    """

    def __init__(self, load: Any, arguments: tuple[Any, ...], mark: str):
        self._load, self._arguments, self._mark = load, arguments, mark
        self._seen: set[str] = set()

    def __call__(self, spec: RunSpec) -> RunOutcome:
        root = os.path.dirname(spec.run_dir)
        problem = None if root in self._seen else self.problem(root)
        if problem is not None:
            return RunOutcome.not_begun(spec, f"{socket.gethostname()}: {problem}")
        self._seen.add(root)
        outcome: RunOutcome = self._load(*self._arguments)(spec)
        return outcome

    def __reduce__(self) -> tuple[Any, ...]:
        return DistantRun, (self._load, self._arguments, self._mark)

    def for_children(self, metadata: RunMetadata) -> ForChildren:
        """Return what a process holds that lets its children carry out the runs.

        Args:
            metadata: what the runs share.
        """
        return ForChildren(self._load, self._arguments, metadata)

    def problem(self, root: str) -> str | None:
        """Return why this process cannot carry out runs below a root; ``None`` if it can."""
        problem = self.root_problem(root)
        if problem is not None:
            return problem
        try:
            self._load(*self._arguments)
        except (Exception, SystemExit) as exc:
            return f"it cannot load the experiment: {type(exc).__name__}: {text_of(exc)}"
        return None

    def root_problem(self, root: str) -> str | None:
        """Return why this process cannot use a root; ``None`` if it can. Nothing is loaded."""
        mark = _mark_seen(root, self._mark)
        if mark is None:
            return f"it does not see the results root {root}"
        if mark != self._mark:
            return f"{root} is another folder there than for the launcher"
        return None


class ForChildren:
    """Stands for ``run_one`` in a process whose children carry out the runs.

    It imports nothing of the user's. A child loads it before its first run: where that fails, no
    run has begun.

    Attributes:
        metadata: what the runs share.
    """

    def __init__(self, load: Any, arguments: tuple[Any, ...], metadata: RunMetadata):
        self._load, self._arguments, self.metadata = load, arguments, metadata

    def __call__(self, spec: RunSpec) -> RunOutcome:
        outcome: RunOutcome = self._load(*self._arguments)(spec)
        return outcome

    def __reduce__(self) -> tuple[Any, ...]:
        return self._load, self._arguments


def _mark_seen(root: str, wanted: str) -> str | None:
    """Return the mark of a root as it is seen here; one that is missing is asked for again."""
    until = time.monotonic() + _LATE_SEC
    while True:
        mark = None
        with contextlib.suppress(OSError, UnicodeDecodeError):
            os.scandir(root).close()  # makes an NFS client ask its server
            mark = read_bytes(f"{root}/{SHARED_FOLDER}/{_MARK}").decode()
        if mark == wanted or time.monotonic() >= until:
            return mark
        time.sleep(_PAUSE_SEC)


class Look:
    """Stands in for ``run_one``: says what a worker sees, and carries out nothing.

    Args:
        run_one: what the runs will be carried out by.
        root: the results root.
        folder: the working folder of the launcher, if it has one.
    """

    def __init__(self, run_one: DistantRun, root: str, folder: str | None):
        self._run_one, self._root, self._folder = run_one, root, folder

    def __call__(self, spec: RunSpec) -> RunOutcome:
        answer = {
            **this_side(),
            "problem": self._run_one.problem(self._root),
            "lacks_folder": self._folder is not None and not os.path.isdir(self._folder),
            "folder": os.getcwd(),
        }
        return RunOutcome(spec.run_id, "succeeded", notices=(json.dumps(answer),))


def this_side() -> dict[str, str]:
    """Return host and versions of this process."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        own = version("ztxexp")
    except PackageNotFoundError:  # such as a folder on sys.path
        own = ""
    python = "{}.{}.{}".format(*sys.version_info)
    return {"host": socket.gethostname(), "python": python, "ztxexp": own}


def difference(launcher: Mapping[str, str], worker: Mapping[str, str]) -> str | None:
    """Return which version of a worker keeps it from carrying out runs; ``None`` if none does.

    Args:
        launcher: its :func:`this_side`.
        worker: likewise.
    """
    minor, minor_there = (side["python"].rpartition(".")[0] for side in (launcher, worker))
    if minor != minor_there:
        return (
            f"it has Python {worker['python']}, the launcher {launcher['python']}: functions can "
            "be sent between equal minor versions only"
        )
    if worker["ztxexp"] != launcher["ztxexp"]:
        there = worker["ztxexp"] or "none that is installed"
        return f"it has ztxexp {there}, the launcher {launcher['ztxexp']}; install the same version"
    return None
