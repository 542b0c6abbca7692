"""Launches that submit jobs, with short pauses; what their runs have noted."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pilot_experiments as experiments
from local_jobs import NAME

from ztxexp import ExperimentPipeline
from ztxexp.launch import job_states, watching
from ztxexp.results import jobs as asking

SCRIPT = """
import sys
import pilot_experiments as experiments
from submitted import hurry, sweep

if __name__ == "__main__":
    hurry()
    function, count, *words = sys.argv[1:]
    settings = dict(word.split("=") for word in words if "=" in word)
    workers = int(settings.pop("workers", 2))
    mode = settings.pop("mode", "local_jobs")
    config = {name: float(value) for name, value in settings.items()}
    detach = {"detach": True} if "detach" in words else {}
    print(sweep("results", int(count), **config).run(
        getattr(experiments, function), mode=mode, workers=workers, **detach))
"""


def hurry(put=setattr) -> None:
    """Look and ask more often than users would."""
    put(watching, "_SHORT_SEC", 0.05)
    put(watching, "_LONG_SEC", 0.1)
    put(job_states, "_ASK_SEC", 0.3)
    put(job_states, "_ASK_LONG_SEC", 0.5)
    put(watching, "_HELD_SEC", 0.3)
    put(watching, "_STATES_SEC", 0.3)
    put(asking, "_KEPT_SEC", 0.1)


def sweep(root, count: int, **values) -> ExperimentPipeline:
    """A pipeline of runs that differ in ``i``, which goes on with what is there."""
    grid = {"i": list(range(count)), **{name: [value] for name, value in values.items()}}
    return ExperimentPipeline(root).grid(grid).resume()


def run(root, function=experiments.quick, count=4, workers=2, values=None, **options):
    """Launch so many runs as jobs of the stand-in."""
    pipeline = sweep(root.path, count, **(values or {}))
    return pipeline.run(function, mode=NAME, workers=workers, **options)


def notes(root) -> list[dict]:
    """What the runs have noted, one for each attempt."""
    path = Path(root).parent / "notes"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def times(root) -> dict[int, int]:
    """How often each configuration was started."""
    return dict(sorted(Counter(note["i"] for note in notes(root)).items()))


@contextlib.contextmanager
def launcher(folder: Path, *words: object) -> Iterator[subprocess.Popen]:
    """A launch in a process of its own: ``launcher(tmp_path, "slow", 4, "seconds=30")``."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _environment() -> dict[str, str]:
    import os

    helpers = str(Path(__file__).parent)
    paths = [helpers, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


class Beside:
    """A launch in a thread of this process: ``with Beside(lambda: pipeline.run(...)) as beside``.

    Attributes:
        summary: what it has returned.
        error: what it has raised.
    """

    def __init__(self, run):
        self.summary = self.error = None
        self._run = run
        self._thread = threading.Thread(target=self._go)

    def _go(self):
        try:
            self.summary = self._run()
        except BaseException as exc:
            self.error = exc

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.wait()

    def wait(self, seconds=60):
        """Wait for its end; raise what it has raised."""
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.summary


__all__ = ["NAME", "SCRIPT", "Beside", "hurry", "launcher", "notes", "run", "sweep", "times"]
