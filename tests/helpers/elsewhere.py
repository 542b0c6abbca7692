"""An engine on other machines, pretended: its workers share the disk with the launcher only."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from types import SimpleNamespace

from ztxexp_core import RunOutcome, hookimpl

_WORKER = """
import pickle, sys
try:
    run_one, spec = pickle.load(sys.stdin.buffer)
    answer = run_one(spec)
except BaseException as exc:
    answer = f"{type(exc).__name__}: {exc}"
with open(sys.argv[1], "wb") as file:
    pickle.dump(answer, file)
"""


UNMARKED = """
from ztxexp_core.run import distant
distant._LATE_SEC = 0.1
read = distant.read_bytes
def other(path):
    if str(path).endswith("mark"):
        {}
    return read(path)
distant.read_bytes = other
"""
"""Lines after which a worker finds another mark, or none, in the results root."""


def call_elsewhere(function, argument, folder, lines="", **variables):
    """Call a function in a process with another working folder, path and environment.

    Args:
        function: can be pickled; ``argument`` likewise.
        folder: the working folder there.
        lines: what is done there before.
        **variables: environment variables there.

    Returns:
        What it returns, or the text of what was raised.
    """
    kept = {"PATH", "HOME", "LANG", "TMPDIR"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    with tempfile.NamedTemporaryFile() as answer:
        code = subprocess.run(
            [sys.executable, "-c", f"{lines}\n{_WORKER}", answer.name],
            input=pickle.dumps((function, argument)),
            cwd=folder,
            env={**environment, **variables},
            check=False,
        ).returncode
        data = Path(answer.name).read_bytes()
    return pickle.loads(data) if data else f"exit code {code}"


class Elsewhere:
    """An executor whose runs happen in processes of :func:`call_elsewhere`, one each.

    Args:
        folder: the working folder there; made here.
        lines: what is done there before, by the number of the process; for those that are broken.
        **variables: environment variables there.
    """

    supports = frozenset({"distant"})

    def __init__(self, folder: Path, lines=lambda number: "", **variables):
        folder.mkdir(exist_ok=True)
        self.folder, self.lines, self.variables = folder, lines, variables
        self.tasks = []

    @hookimpl
    def ztxexp_execute(self, specs, run_one, workers):
        with ThreadPoolExecutor(workers) as pool:
            running = {}
            while True:
                while len(running) < workers and (spec := next(specs, None)) is not None:
                    running[pool.submit(self._carry_out, run_one, spec)] = spec
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    spec, answer = running.pop(future), future.result()
                    if isinstance(answer, str):
                        answer = RunOutcome.lost(spec, because=answer)
                    yield answer

    def _carry_out(self, run_one, spec):
        self.tasks.append(SimpleNamespace(spec=spec, run_one=run_one))
        lines = self.lines(len(self.tasks) - 1)
        return call_elsewhere(run_one, spec, self.folder, lines, **self.variables)
