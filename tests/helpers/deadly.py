"""What a run can do to its process, for workers to import; and specs for it."""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from ztxexp_core import RunOutcome, RunSpec

NAP = 0.5  # time enough for an outcome to be on its way


def spec(folder, name, config, **limits):
    """A spec for :class:`RunsAnything`, or for any other stand-in of run_one."""
    return RunSpec(name, Path(folder) / name, config, "identity", **limits)


def die(how):
    """End this process, or do it harm, in the way that is named."""
    WAYS[how]()


def _close_files():
    os.closerange(3, 256)
    time.sleep(60)


def _exit_in_thread():
    thread = threading.Thread(target=sys.exit, args=(3,))
    thread.start()
    thread.join()


def _hog_memory():
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**30, before[1]))
    try:
        bytearray(2**32)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _fork_and_die():
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def _spawn_and_die():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False)
    os.kill(os.getpid(), signal.SIGKILL)


def _fork_and_return():
    os.fork()


WAYS = {
    "exit0": lambda: os._exit(0),
    "exit3": lambda: os._exit(3),
    "sigkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "sigterm": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "stack": lambda: faulthandler._stack_overflow(),
    "group": lambda: os.killpg(0, signal.SIGKILL),
    "files": _close_files,
    "forked": _fork_and_die,
    "spawned": _spawn_and_die,
    # No deaths:
    "thread": _exit_in_thread,
    "memory": _hog_memory,
    "sys.exit": sys.exit,
    "twins": _fork_and_return,
}

# How each of them looks from outside: reason, signal, exit code.
DEATHS = {
    "exit0": ("lost", None, 0),
    "exit3": ("lost", None, 3),
    "sigkill": ("killed", 9, None),
    "sigterm": ("killed", 15, None),
    "segfault": ("killed", 11, None),
    "abort": ("killed", 6, None),
    "stack": ("killed", 11, None),
    "group": ("killed", 9, None),
    "forked": ("killed", 9, None),
    "spawned": ("killed", 9, None),
}


class RunsAnything:
    """Stands in for run_one: does what the configuration says, without a folder.

    As the real one it turns exceptions into failures.
    """

    def __call__(self, spec):
        try:
            return self.act(spec)
        except BaseException as exc:
            return RunOutcome(spec.run_id, "failed", error_type=type(exc).__name__)

    def act(self, spec):
        config = spec.config
        die_if(config.get("first"))
        at_term(config.get("at_term"), config.get("note"))
        if "children" in config:
            have_children(config["children"])
        elif "note" in config:
            note(config["note"], os.getpid())
        hold = bytearray(config.get("bytes", 0))
        time.sleep(config.get("seconds", 0))
        while "wait_for" in config and not os.path.exists(config["wait_for"]):
            time.sleep(0.005)
        die_if(config.get("middle"))
        if "atexit" in config:
            atexit.register(die, config["atexit"])
        if "idle" in config:
            threading.Timer(NAP, die, [config["idle"]]).start()
        bomb = (Bomb(config["sending"], "dumps"),) if "sending" in config else ()
        seen = tuple(f"{name}={os.environ.get(name)}" for name in config.get("show", ()))
        notices = (f"pid={os.getpid()}", *seen, f"held={len(hold)}")
        return RunOutcome(spec.run_id, "succeeded", notices=notices + bomb)


def note(path, *words):
    """Add a line to a file, whole."""
    with open(path, "a") as file:
        file.write(" ".join(map(str, words)) + "\n")


def have_children(path):
    """Start a process, forked, and one, executed, that heed no SIGTERM; note all pids, wait."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    executed = subprocess.Popen(["sleep", "60"])
    forked = os.fork()
    if forked == 0:
        time.sleep(60)
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    note(path, os.getpid(), executed.pid, forked)


def at_term(what, path):
    """Set what SIGTERM does: save a checkpoint and go on, or end in one of several ways."""
    if what is None:
        return

    def handle(signum, frame):
        note(path, "SIGTERM")
        if what == "raise":
            raise SystemExit(7)
        if what == "exit":
            os._exit(7)
        if what == "succeed":
            Path(path + ".succeed").touch()

    signal.signal(signal.SIGTERM, signal.SIG_IGN if what == "ignore" else handle)


def die_if(how):
    if how:
        die(how)


class Bomb:
    """Does harm when it is pickled in a worker, or unpickled there."""

    def __init__(self, how, moment="loads"):
        self.how = how
        self.moment = moment

    def __reduce__(self):
        if self.moment == "dumps":
            die(self.how)
        return go_off, (self.how,)


def go_off(how):
    die(how)
    return how


class DiesWhenLoaded:
    """A run_one that does harm the first ``times`` times that a worker loads it."""

    def __init__(self, how, folder, times=1):
        self.how, self.folder, self.times = how, str(folder), times

    def __reduce__(self):
        return load_and_die, (self.how, self.folder, self.times)


def load_and_die(how, folder, times):
    for number in range(times):
        try:
            os.close(os.open(f"{folder}/loaded{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        print("loading goes wrong", flush=True)
        die(how)
    return RunsAnything()


def pid_of(outcome):
    """The worker's process id, as RunsAnything reports it."""
    return next(int(n[4:]) for n in outcome.notices if n.startswith("pid="))
