"""What runs print, in all the ways there are; and a worker that carries such runs out."""

from __future__ import annotations

import atexit
import ctypes
import io
import logging
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading

from ztxexp_core.run.output import flush_output, output_before_runs, redirect_output

libc = ctypes.CDLL(None)
late = threading.Event()


def carry_out(folder, names, early=b""):
    """A worker's life: run after run, each with a log of its name, and what happens in between."""
    output_before_runs(early)
    for name in names:
        if name.startswith("between_"):
            globals()[name]()
            continue
        redirect_output(f"{folder}/{name}.log")
        globals()[name]()
        flush_output()


def says_hello():
    print("hello")


def prints_in_every_way():
    print("print")
    print("to stderr", file=sys.stderr)
    os.write(1, b"os.write\n")
    libc.puts(b"puts")
    libc.printf(b"printf %d\n", ctypes.c_int(3))
    os.system("echo os.system")
    subprocess.run([sys.executable, "-c", "print('subprocess')"], check=True)
    logging.getLogger("somewhere").warning("logging")


def leaves_unfinished_lines():
    print("python's rest", end="")
    print("error's rest", end="", file=sys.stderr)
    sys.stdout.buffer.write(b"bytes' rest")
    libc.printf(b"c's rest")


def starts_children():
    for method in multiprocessing.get_all_start_methods():
        child = multiprocessing.get_context(method).Process(target=print, args=(method,))
        child.start()
        child.join()


def starts_children_too():
    starts_children()


def leaves_a_thread():
    threading.Thread(target=_print_when_told).start()


def _print_when_told():
    late.wait()
    print("late", end="")


def between_runs_the_thread_prints():
    late.set()
    for thread in threading.enumerate():
        if thread not in (threading.main_thread(), threading.current_thread()):
            thread.join()


def prints_at_exit():
    atexit.register(print, "at exit")


def is_killed():
    print("last line")
    print("last line of errors", file=sys.stderr)
    libc.puts(b"last line of C")
    os.kill(os.getpid(), signal.SIGKILL)


def segfaults():
    libc.puts(b"before")
    ctypes.string_at(0)


def prints_odd_texts():
    print("Wörter 试验 \U0001f600")
    print("half a pair \ud83d")


def closes_descriptors():
    print("closing")
    os.close(1)
    os.close(2)


def closes_one_and_leaves_text():
    print("never to be seen", end="")
    os.close(1)


def closes_streams():
    sys.stdout.close()
    sys.stderr.close()


def detaches_streams():
    sys.stdout.detach()


def replaces_streams():
    sys.stdout = io.StringIO()
    sys.stderr = None
    print("swallowed")


def wraps_streams():
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="ascii")
    print("through a wrapper")


def tees_streams():
    class Tee:
        def __init__(self, stream, other):
            self._stream, self._other = stream, other

        def write(self, text):
            self._other.write(text)
            return self._stream.write(text)

        def __getattr__(self, name):
            return getattr(self._stream, name)

    with open(os.devnull, "w") as other:
        sys.stdout = Tee(sys.stdout, other)
        print("to both")


def breaks_streams():
    class Broken:
        def write(self, text): ...

        def flush(self):
            raise RuntimeError("no")

    sys.stdout = Broken()


def sets_streams_to_ascii():
    sys.stdout.reconfigure(encoding="ascii", errors="strict", line_buffering=False)


def fills_its_log():
    """The file may not grow: what is held back cannot be written."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    leaves_unfinished_lines()


def between_runs_the_disk_has_room_again():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
