"""Lets calls that read the file system fail: for some paths, for a while, or the n-th one.

Used as a script, it lets every call fail that a launch or a reader makes to read, one at a time,
each in a process of its own:

    python read_faults.py SCENARIO ROOT

Each round prints one line of JSON, see :func:`main`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import json
import logging
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CALLS = ("open", "stat", "lstat", "scandir", "listdir")
EVERY_CALL = (*CALLS, "readlink", "read", "fstat")
TIMES = {errno.EIO: 1, errno.EACCES: 2}  # one that passes, and one that is believed


class ReadFaults:
    """A layer under Python's file calls.

    Args:
        patch: puts it in, and takes it out.
        number: the ``errno`` of the failures.
        part: only calls on paths that hold this text.
        times: how often such a call fails.
        after: how often such a call works before the first that fails.
        calls: names of functions of ``os``.

    Attributes:
        seen: name and path of every such call.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        number: int,
        part: str,
        times: float = math.inf,
        after: int = 0,
        calls: tuple[str, ...] = CALLS,
    ):
        self.number, self.part, self.times, self.after = number, part, times, after
        self.seen: list[tuple[str, str]] = []
        self._opened: dict[int, str] = {}
        for name in calls:
            patch.setattr(os, name, self._layer(name, getattr(os, name)))
        if "read" in calls:
            patch.setattr(io, "open", self._layer("io.open", io.open))

    def _layer(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *args: Any, **named: Any) -> Any:
            writes = name == "open" and args and args[0] & (os.O_WRONLY | os.O_RDWR)
            shown = self._opened.get(path, "") if isinstance(path, int) else os.fsdecode(path)
            if self.part in shown and shown and not writes:
                self.seen.append((name, shown))
                if self.after < len(self.seen) <= self.after + self.times:
                    raise OSError(self.number, os.strerror(self.number), shown)
            result = real(path, *args, **named)
            if name == "open":
                self._opened[result] = "" if writes else shown
            return result

        return call


# ---- one fault at a time -------------------------------------------------------------------------


def score(ctx: Any) -> dict[str, Any]:
    """Tell a file beside the root that it was called."""
    fd = os.open(ctx.run_dir.parent.with_suffix(".log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\n" % ctx.config["i"])
    os.close(fd)
    if ctx.config.get("waits"):
        input()
    return {"score": ctx.config["i"]}


def launch(root: Path, configs: list[dict[str, Any]]) -> None:
    from ztxexp import ExperimentPipeline

    ExperimentPipeline(root).variants(configs).exclude_completed().run(score, progress=False)


def relaunch(root: Path) -> dict[str, Any]:
    """Launch what is done, and something else."""
    launch(root, [{"i": 0}, {"i": 1}])
    return {}


def beside(root: Path) -> dict[str, Any]:
    """Launch what another process is at work on; end where this launch would wait for it."""
    from ztxexp.launch.queue import RunQueue

    def wait(queue: RunQueue) -> None:
        raise SystemExit(0)

    RunQueue._wait = wait  # type: ignore[method-assign]
    with contextlib.suppress(SystemExit):
        launch(root, [{"i": 0, "waits": True}])
    return {}


def read(root: Path) -> dict[str, Any]:
    """Read everything."""
    from ztxexp import ResultAnalyzer

    frame = ResultAnalyzer(root).to_dataframe()
    return {"rows": frame.reindex(columns=["i", "score"]).values.tolist()}


SCENARIOS = {"relaunch": relaunch, "beside": beside, "read": read}


def one_round(scenario: str, root: Path, part: str, number: int, n: int) -> dict[str, Any]:
    """Let the n-th call fail, in a child; returns what became of it."""
    ours, its = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        told = io.StringIO()
        logging.basicConfig(stream=told, level=logging.WARNING, force=True)
        patch = pytest.MonkeyPatch()
        faults = ReadFaults(patch, number, part, TIMES[number], n, EVERY_CALL)
        row: dict[str, Any] = {"error": None}
        try:
            row.update(SCENARIOS[scenario](root))
        except Exception as exc:
            row["error"] = f"{type(exc).__name__}: {exc}"
        patch.undo()
        failed = faults.seen[n] if len(faults.seen) > n else None
        row.update(failed=failed, told=told.getvalue())
        os.write(its, json.dumps(row).encode())
        os._exit(0)
    os.close(its)
    with os.fdopen(ours, "rb") as pipe:
        told_by_child = pipe.read()
    os.waitpid(pid, 0)
    return {"n": n, "errno": errno.errorcode[number], **json.loads(told_by_child)}


def main(scenario: str, root: Path) -> None:
    """Print, for each fault: what failed and what was told; which runs began; all records."""
    import ztxexp.analysis.frames
    import ztxexp.runner  # noqa: F401 - once, not in every child

    log, kept = root.with_suffix(".log"), root.with_suffix(".kept")
    if scenario == "beside":
        worker = os.fork()
        if worker == 0:
            sys.stdin = os.fdopen(os.pipe()[0])
            launch(root, [{"i": 0, "waits": True}])
            os._exit(0)
        while not log.exists() or not log.read_text():
            time.sleep(0.01)
    else:
        launch(root, [{"i": i} for i in range(1 if scenario == "relaunch" else 3)])
        shutil.copytree(root, kept)
    for part, number in itertools.product((str(root), "/proc"), TIMES):
        for n in itertools.count():
            log.unlink(missing_ok=True)
            if scenario == "relaunch":
                shutil.rmtree(root)
                shutil.copytree(kept, root)
            row = one_round(scenario, root, part, number, n)
            row["began"] = log.read_text().split() if log.exists() else []
            row["status"] = [json.loads(f.read_text())["status"] for f in root.glob("*/run.json")]
            print(json.dumps(row), flush=True)
            if row["failed"] is None:
                break
    if scenario == "beside":
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
