"""Stand-ins for ``run_one`` in calls of an executor. Workers import this module: it stays light."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ztxexp_core.records import RunOutcome, RunSpec

WAIT_SEC = 60.0  # until a run gives up what it waits for
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_POLL_SEC = 0.005

DEATHS: dict[str, tuple[Callable[[], Any], tuple[int | None, int | None]]] = {
    # How a process dies; the signal and exit code that an executor tells.
    "exit code 0": (lambda: os._exit(0), (None, 0)),
    "exit code 3": (lambda: os._exit(3), (None, 3)),
    "SIGKILL": (lambda: os.kill(os.getpid(), KILL), (KILL, None)),
    "segmentation fault": (lambda: ctypes.string_at(0), (11, None)),
}


class FakeRun:
    """Stands in for ``run_one``: does what the configuration says, and reports what it saw.

    Keys of the configuration, in the order in which they are looked at: ``at_term`` (``"ignore"``,
    or a text: touch the file ``termed``), ``pid_file`` (add the process id to this file),
    ``children`` (start a process, and add its id to this file), ``meet`` (a folder, and how many
    runs have to be there), ``wait_for`` (a file), ``seconds``, ``die``, ``pool`` (start method of a
    process that it starts and waits for), ``show`` (environment variables), ``unsendable`` (the
    outcome cannot be pickled), ``outcome`` (fields of the outcome).

    Args:
        seen: an environment variable, and its value when this was loaded in the process.
    """

    def __init__(self, seen: tuple[str, str | None] = ("", None)):
        self.seen = seen

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_fake_run, (self.seen[0],)

    def __call__(self, spec: RunSpec) -> RunOutcome:
        began = time.monotonic()
        try:
            facts = self._act(spec.config, stop_file(spec.run_dir))
        except BaseException as exc:  # like the real one, it never raises
            return RunOutcome(spec.run_id, "failed", error_type=type(exc).__name__)
        facts |= {"pid": os.getpid(), "seen": self.seen[1], "spec": spec_text(spec)}
        facts |= {"began": began, "ended": time.monotonic()}
        notices: tuple[Any, ...] = tuple(f"{name}={value}" for name, value in facts.items())
        if spec.config.get("unsendable"):
            notices += (Unsendable("pickled"),)
        fields: dict[str, Any] = {"status": "succeeded", **spec.config.get("outcome", {})}
        return RunOutcome(spec.run_id, **{"notices": notices, **fields})

    def _act(self, config: dict[str, Any], stop: Path) -> dict[str, Any]:
        if "at_term" in config:
            _on_sigterm(config["at_term"], config.get("termed"))
        if "pid_file" in config:
            append_pid(config["pid_file"], os.getpid())
        if "children" in config:
            sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            append_pid(config["children"], sleeping.pid)
        if "meet" in config:
            folder, number = config["meet"]
            Path(folder, f"{os.getpid()}-{time.monotonic_ns()}").touch()
            _wait_for(lambda: len(os.listdir(folder)) >= number, f"{number} runs in {folder}", stop)
        if "wait_for" in config:
            _wait_for(Path(config["wait_for"]).exists, config["wait_for"], stop)
        until = time.monotonic() + config.get("seconds", 0)
        while (left := until - time.monotonic()) > 0 and not stop.exists():
            time.sleep(min(left, 0.2))
        if "die" in config:
            DEATHS[config["die"]][0]()
        facts: dict[str, Any] = {name: os.environ.get(name) for name in config.get("show", ())}
        if "pool" in config:
            facts["child"] = _exit_code_of_a_child(config["pool"])
        return facts


def _load_fake_run(variable: str) -> FakeRun:
    return FakeRun((variable, os.environ.get(variable)))


def spec_text(spec: RunSpec) -> str:
    """Return what a run has to know of itself, for comparison."""
    own = (spec.run_id, str(spec.run_dir), spec.config, spec.identity, spec.attempt, spec.tries)
    return repr(own)


def fact(outcome: RunOutcome, name: str) -> str:
    """Return what a :class:`FakeRun` has reported; empty where it has not."""
    facts = (notice.partition("=") for notice in outcome.notices)
    return next((value for key, _, value in facts if key == name), "")


def append_pid(path: str, pid: int) -> None:
    """Add a process id to a file."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{pid}\n")


def pids_in(path: Path) -> list[int]:
    """Return the process ids that runs have added to a file."""
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def stop_file(run_dir: Path) -> Path:
    """Return the file that tells runs that still wait that the test is over."""
    return run_dir.parent / "over"


def _wait_for(condition: Callable[[], bool], what: str, stop: Path) -> None:
    until = time.monotonic() + WAIT_SEC
    while not condition():
        if time.monotonic() > until or stop.exists():
            raise TimeoutError(f"{what} did not come within {WAIT_SEC:g} s")
        time.sleep(_POLL_SEC)


def _on_sigterm(action: str, path: str | None) -> None:
    def touch(signum: int, frame: object) -> None:
        Path(str(path)).touch()

    signal.signal(signal.SIGTERM, signal.SIG_IGN if action == "ignore" else touch)


def _exit_code_of_a_child(method: str) -> int | None:
    import multiprocessing

    child = multiprocessing.get_context(method).Process(target=abs, args=(-1,))  # type: ignore[attr-defined]
    child.start()
    child.join()
    code: int | None = child.exitcode
    return code


# ---- what cannot be sent -------------------------------------------------------------------------


class Unsendable:
    """Cannot be pickled, or cannot be loaded from a pickle in another process.

    Args:
        moment: ``"pickled"`` or ``"loaded"``.
        home: the process in which it can be loaded.
    """

    def __init__(self, moment: str, home: int | None = None):
        self.moment = moment
        self.home = home or os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.moment == "pickled":
            raise TypeError("an unsendable value cannot be pickled")
        return _load_unsendable, (self.home,)


def _load_unsendable(home: int) -> Unsendable:
    if os.getpid() != home:
        raise ImportError("an unsendable value cannot be loaded here")
    return Unsendable("loaded", home)


class UnloadableRun(FakeRun):
    """Stands in for ``run_one``: cannot be loaded in any other process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_unsendable, (os.getpid(),)
