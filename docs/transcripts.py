"""Run the commands that a page of the documentation shows, and write (or compare) what they print.

    python docs/transcripts.py docs/cli.md            # writes what is printed now into the page
    python docs/transcripts.py docs/cli.md --check    # exit code 1 where it differs

A block ```console holds lines that begin with "$ ", each with what it printed. Blocks below the
same heading (of the second level) share a folder, in which ``examples`` is the examples folder of
the project. A comment <!-- kill one worker --> before a block kills a process of a run of its first
command. Pictures that a section shows, ``![text](images/gallery/NAME)``, are files that its
commands make.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pyte

HERE = Path(__file__).parent
_BLOCK = re.compile(r"(<!-- kill one worker -->\n)?```console\n(.*?)```", re.S)
_PICTURE = re.compile(r"!\[[^\]]*\]\(images/(gallery/[\w./-]+)\)")
_HEADING = re.compile(r"^## .*$", re.M)
_COLUMNS, _WIDEST, _ROWS = 100, 1000, 200
_TOLERANCE = 0.03  # results of training differ a little between machines
# What is different each time: ids of runs and launches, dates, times, ages, sizes, processes.
_VOLATILE = [
    (r"\d{8}_\d{6}_[0-9a-f]{6,}", "ID"),
    (r"\d{4}-\d\d-\d\d[T ][\d:.+Z]+", "DATE"),
    (r"\b\d+:\d\d(:\d\d)?\b", "TIME"),
    (r"\b\d+(\.\d+)? ?(ms|s|min|h|d)\b( \d+ (s|min|h)\b)?", "TIME"),
    (r"\b\d+(\.\d+)? ?(B|KiB|MiB|GiB)\b", "SIZE"),
    (r"pid \d+ on \S+", "pid N on HOST"),
    (r"process \d+", "process N"),
    (r"UTC, on \S+", "UTC, on HOST"),
    (r"git [0-9a-f]{7,}( \+ changes that are not committed)?", "git COMMIT"),
    (r"python \d+\.\d+\.\d+", "python VERSION"),
    (r"/\S*/(results|examples)\b", r"\1"),
]


def commands(text: str) -> Iterator[str]:
    """Yield the commands of a block, without the dollar sign."""
    for line in text.splitlines():
        if line.startswith("$ "):
            yield line[2:]


def kill_one_worker(root: Path, over: threading.Event) -> None:
    """Kill the process that is at work on the first run below a root."""
    import json

    while not over.is_set():
        folders = sorted(root.glob("2*"))
        if len(folders) > 1 and (folders[0] / "metrics.jsonl").exists():
            record = json.loads((folders[0] / "run.json").read_text())
            if record["status"] == "running":
                os.kill(record["owner"]["pid"], signal.SIGKILL)
            return
        time.sleep(0.05)


def typed(command: str, folder: Path, env: Mapping[str, str]) -> list[str]:
    """Type a command in a terminal, and return the lines that it shows at the end."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    screen = pyte.Screen(_WIDEST, _ROWS)  # what is longer than the terminal stays one line
    stream = pyte.ByteStream(screen)
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=dict(env),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    with contextlib.suppress(OSError):  # nobody has the terminal open any more
        while data := os.read(controller, 65536):
            stream.feed(data)
    os.close(controller)
    process.wait()
    lines = [line.rstrip() for line in screen.display]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def run_block(text: str, folder: Path, kills: bool) -> str:
    """Run the commands of a block and return what a terminal would show."""
    shown = ""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env |= {"NO_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(_COLUMNS)}
    env.pop("LINES", None)
    env.pop("ZTXEXP_RESULTS", None)
    for number, command in enumerate(commands(text)):
        over = threading.Event()
        killer = threading.Thread(target=kill_one_worker, args=(folder / "results", over))
        if kills and number == 0:
            killer.start()
        screen = typed(command, folder, env)
        over.set()
        if killer.is_alive():
            killer.join()
        shown += "\n".join([f"$ {command}", *screen]) + "\n"
    for place in (f"{folder.resolve()}/", f"{Path(sys.executable).parent}/"):
        shown = shown.replace(place, "")
    return shown


def comparable(text: str) -> list[str]:
    """Return the words of a text, what is different each time replaced."""
    text = re.sub(r"last lines of .*?(?=next:)", "LINES ", text, flags=re.S)
    for pattern, word in _VOLATILE:
        text = re.sub(pattern, word, text)
    return text.split()


def same(written: str, printed: str) -> bool:
    """Return whether two texts say the same, numbers compared with a tolerance."""
    one, other = comparable(written), comparable(printed)
    return len(one) == len(other) and all(map(_same_word, one, other))


def _same_word(one: str, other: str) -> bool:
    numbers = [re.findall(r"\d+\.\d+", word) for word in (one, other)]
    texts = [re.sub(r"\d+\.\d+", "#", word) for word in (one, other)]
    drawn = [re.sub("[\u2581-\u2588\u2800-\u28ff]+", "~", text) for text in texts]  # sparklines
    return drawn[0] == drawn[1] and all(
        abs(float(a) - float(b)) <= _TOLERANCE for a, b in zip(*numbers, strict=True)
    )


def rendered(page: str, pictures: Path | None = None) -> str:
    """Return the page with what its commands print now.

    Args:
        page: the text of the page.
        pictures: the folder that gets the pictures of the page; ``None``: they are made, but not
            kept.
    """
    starts = [0, *(match.start() for match in _HEADING.finditer(page)), len(page)]
    parts = [page[a:b] for a, b in pairwise(starts)]
    for at, part in enumerate(parts):
        if "```console" not in part:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            (folder / "examples").symlink_to(HERE.parent / "examples")

            def run(match: re.Match[str], folder: Path = folder) -> str:
                kills = match[1] or ""
                return f"{kills}```console\n{run_block(match[2], folder, bool(kills))}```"

            parts[at] = _BLOCK.sub(run, part)
            for name in _PICTURE.findall(part):
                made = folder / Path(name).name
                if not made.is_file():
                    parts[at] += f"\nNo command of the page has made {made.name}.\n"
                elif pictures is not None:
                    (pictures / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(made, pictures / name)
    return "".join(parts)


def differences(page: str, new: str) -> list[str]:
    """Return the blocks that print something else than the page says."""
    pairs = zip(_BLOCK.finditer(page), _BLOCK.finditer(new), strict=True)
    return [
        f"the page says:\n{a[2]}\nprinted now:\n{b[2]}" for a, b in pairs if not same(a[2], b[2])
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    new = rendered(page, None if options.check else options.page.parent / "images")
    if not options.check:
        options.page.write_text(new, encoding="utf-8")
        return 0
    found = differences(page, new)
    sys.stdout.write("\n".join(found))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
