"""What the runs of an executor's suite do, in whichever process; imported by workers, so light."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ztxexp_core.records import RunOutcome, RunSpec

PATIENCE_SEC = 60.0  # until a run takes what it waits for as not coming
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_LOOK_SEC = 0.005
_CHILD = "import time; time.sleep(60)"

WAYS_TO_DIE: dict[str, Callable[[], Any]] = {
    "exit code 0": lambda: os._exit(0),
    "exit code 3": lambda: os._exit(3),
    "SIGKILL": lambda: os.kill(os.getpid(), KILL),
    "segmentation fault": lambda: ctypes.string_at(0),
}


class Acts:
    """Stands in for ``run_one``: does what a spec's configuration says, and reports what it saw.

    Keys of the configuration, in the order in which they count: ``at_term``, ``note`` (a file to
    which its process id is added), ``children`` (a file, likewise, of processes that it starts),
    ``meet`` (folder and number of runs that have to be there), ``wait_for`` (a file), ``seconds``,
    ``die``, ``pool`` (start method of a process that it starts and waits for), ``show``
    (environment variables), ``outcome`` (fields of the outcome).

    Args:
        seen: variable of the environment, and what it was when this came into the process.
    """

    def __init__(self, seen: tuple[str, str | None] = ("", None)):
        self.seen = seen

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.seen[0],)

    def __call__(self, spec: RunSpec) -> RunOutcome:
        began = time.monotonic()
        try:
            more = self._act(spec.config, over_file(spec.run_dir))
        except BaseException as exc:  # as the real one, which never raises
            return RunOutcome(spec.run_id, "failed", error_type=type(exc).__name__)
        facts = {"pid": os.getpid(), "seen": self.seen[1], "spec": repr(_as_told(spec)), **more}
        facts |= {"began": began, "ended": time.monotonic()}
        notices = tuple(f"{name}={value}" for name, value in facts.items())
        fields: dict[str, Any] = {"status": "succeeded", **spec.config.get("outcome", {})}
        return RunOutcome(spec.run_id, **{"notices": notices, **fields})

    def _act(self, config: dict[str, Any], over: Path) -> dict[str, Any]:
        if "at_term" in config:
            _at_term(config["at_term"], config.get("termed"))
        if "note" in config:
            note(config["note"], os.getpid())
        if "children" in config:
            child = subprocess.Popen([sys.executable, "-c", _CHILD])
            note(config["children"], child.pid)
        if "meet" in config:
            folder, number = config["meet"]
            _meet(folder, number, over)
        if "wait_for" in config:
            _wait_for(Path(config["wait_for"]).exists, config["wait_for"], over)
        _sleep(config.get("seconds", 0), over)
        if "die" in config:
            WAYS_TO_DIE[config["die"]]()
        found: dict[str, Any] = {name: os.environ.get(name) for name in config.get("show", ())}
        if "pool" in config:
            found["child"] = _exit_code_of_a_child(config["pool"])
        return found


def _arrive(variable: str) -> Acts:
    return Acts((variable, os.environ.get(variable)))


def _as_told(spec: RunSpec) -> tuple[Any, ...]:
    """Return what the run has to know of itself, for comparison."""
    return (spec.run_id, str(spec.run_dir), spec.config, spec.identity, spec.attempt, spec.tries)


def fact(outcome: RunOutcome, name: str) -> str:
    """Return what a run of :class:`Acts` has reported; empty where it has not."""
    words = (notice.partition("=") for notice in outcome.notices)
    return next((value for key, _, value in words if key == name), "")


def note(path: str, *words: object) -> None:
    """Add a line to a file, whole."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(" ".join(map(str, words)) + "\n")


def noted(path: Path) -> list[int]:
    """Return the process ids that runs have added to a file."""
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def over_file(run_dir: Path) -> Path:
    """Return the file which says that the test is over, to whatever run still waits."""
    return run_dir.parent / "over"


def _meet(folder: str, number: int, over: Path) -> None:
    """Wait until so many runs are under way at the same time."""
    mine = Path(folder, f"{os.getpid()}-{time.monotonic_ns()}")
    mine.touch()
    _wait_for(lambda: len(os.listdir(folder)) >= number, f"{number} runs in {folder}", over)


def _wait_for(there: Callable[[], bool], what: str, over: Path) -> None:
    until = time.monotonic() + PATIENCE_SEC
    while not there():
        if time.monotonic() > until or over.exists():
            raise TimeoutError(f"{what} did not come within {PATIENCE_SEC:g} s")
        time.sleep(_LOOK_SEC)


def _sleep(seconds: float, over: Path) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not over.exists():
        time.sleep(min(left, 0.2))


def _at_term(what: str, path: str | None) -> None:
    """Set what SIGTERM does: nothing, or let the run go on to its end."""

    def handle(signum: int, frame: object) -> None:
        Path(str(path)).touch()

    signal.signal(signal.SIGTERM, signal.SIG_IGN if what == "ignore" else handle)


def _exit_code_of_a_child(method: str) -> int | None:
    import multiprocessing

    child = multiprocessing.get_context(method).Process(target=abs, args=(-1,))  # type: ignore[attr-defined]
    child.start()
    child.join()
    code: int | None = child.exitcode
    return code


# ---- what cannot be sent -------------------------------------------------------------------------


class Stubborn:
    """Refuses to be pickled, or to be made from a pickle in another process.

    Args:
        moment: ``"pickled"`` or ``"loaded"``.
        home: the process in which it can be loaded.
    """

    def __init__(self, moment: str, home: int | None = None):
        self.moment = moment
        self.home = home or os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.moment == "pickled":
            raise TypeError("a stubborn value cannot be pickled")
        return _load_stubborn, (self.home,)


def _load_stubborn(home: int) -> Stubborn:
    if os.getpid() != home:
        raise ImportError("a stubborn value cannot be loaded here")
    return Stubborn("loaded", home)


class AnswersStubbornly:
    """Stands in for ``run_one``: an outcome that cannot be pickled where the spec asks for it."""

    def __call__(self, spec: RunSpec) -> RunOutcome:
        odd: Any = (Stubborn("pickled"),) if spec.config.get("stubborn") else ()
        return RunOutcome(spec.run_id, "succeeded", notices=odd)


class NeverLoads(Acts):
    """Stands in for ``run_one``: cannot be loaded in any other process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _load_stubborn, (os.getpid(),)


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
