"""A layer under Python's file calls that lets the n-th change of the file system fail.

Used as a script, it launches a small sweep once for every n, each time in a process of its own:

    python write_faults.py KIND MODE ROOT

KIND is ``kill`` (the process is gone at once, as by SIGKILL) or ``enospc`` (the disk is full from
there on). Each round prints one line of JSON: n, how the process ended, what the root holds then.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import signal
import sys
from pathlib import Path

CHANGES = ("write", "mkdir", "rename", "replace", "link", "unlink", "rmdir")
CONFIGS = [{"i": i} for i in range(2)]


class FaultLayer:
    """Counts the changes that this process makes to files, and lets the n-th of them fail."""

    def __init__(self, n: int, kind: str):
        self.left = n
        self.kind = kind
        self.hit = False
        for name in CHANGES:
            setattr(os, name, self._watched(getattr(os, name)))

    def _watched(self, real):
        def call(*args, **kwargs):
            if args and isinstance(args[0], int) and args[0] in (1, 2):
                return real(*args, **kwargs)  # the console is no file of ours
            self.left -= 1
            if self.left <= 0:
                if self.kind == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                if real.__name__ in ("write", "mkdir", "link") or not self.hit:
                    self.hit = True
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

        return call


class Experiment:
    """Logs and returns a metric; loaded in a worker, it puts the fault layer under it."""

    def __init__(self, n: int = 0, kind: str = ""):
        self.n, self.kind = n, kind

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.n:
            FaultLayer(self.n, self.kind)

    def __call__(self, ctx):
        ctx.logger.info("begun")
        ctx.log_metric(step=1, metrics={"loss": 0.5})
        return {"score": ctx.config["i"]}


def launch(root: str, mode: str, function, **kwargs) -> None:
    from ztxexp import ExperimentPipeline

    pipeline = ExperimentPipeline(root).variants(CONFIGS).resume()
    pipeline.run(function, mode=mode, workers=2, progress=False, **kwargs)


def _round(n: int, kind: str, mode: str, root: str) -> str:
    """Launch in a child whose n-th change fails; returns how it ended."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
            if mode == "sequential":
                layer = FaultLayer(n, kind)
                launch(root, mode, Experiment())
                code = 0 if layer.left > 0 else 1
            else:
                launch(root, mode, Experiment(n, kind))
                code = 0
        except OSError:
            code = 1
        except BaseException:
            import traceback

            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {0: "undisturbed", 1: "fault", -signal.SIGKILL: "killed"}.get(status, f"exit {status}")


def _state(root: str) -> dict[str, str]:
    """Read every record strictly; returns the status of each run."""
    found = {}
    for path in Path(root).rglob("*.json"):
        if ".new-" in str(path):  # what nobody sees yet may be half-written
            continue
        json.loads(path.read_text(encoding="utf-8"))
        if path.name == "run.json":
            run = json.loads(path.read_text())
            if run["status"] == "succeeded":  # its figures are whole on disk
                json.loads((path.parent / "metrics.json").read_text())["score"]
            found[path.parent.name] = run["status"]
    return found


def main(kind: str, mode: str, root: str) -> None:
    import ztxexp.runner  # noqa: F401 - once, not in every child

    for n in itertools.count(1):
        shutil.rmtree(root, ignore_errors=True)
        ended = _round(n, kind, mode, root)
        before = _state(root)
        repaired = _round(10**9, "kill", "sequential", root)
        row = {"n": n, "ended": ended, "before": before, "repaired": repaired}
        print(json.dumps({**row, "after": _state(root)}), flush=True)
        if ended == "undisturbed" and (mode == "sequential" or _untouched(before)):
            return


def _untouched(state: dict[str, str]) -> bool:
    return sorted(state.values()) == ["succeeded"] * len(CONFIGS)


if __name__ == "__main__":
    main(*sys.argv[1:4])
