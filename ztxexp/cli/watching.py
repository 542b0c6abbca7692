"""``ztxexp status --watch``: the display of a launch, in another terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ztxexp.progress.status_lines import job_lines, launch_line, lines, next_lines, shown_launches
from ztxexp.progress.unfinished import short_launch
from ztxexp.text.logs import last_lines
from ztxexp_core.errors import StoreError
from ztxexp_core.store.files import RunFiles

if TYPE_CHECKING:
    from ztxexp.progress.status import LaunchStatus, RootStatus, StatusReader

_LOOK_SEC, _LINES_SEC = 1.0, 10.0
_MANY, _LOG_LINES = 50, 8
_KEY_BYTES, _KEY_SEC = 3, 0.1  # of an arrow, and until the rest of it has come
_UP, _DOWN = ("\x1b[A", "\x1bOA", "k"), ("\x1b[B", "\x1bOB", "j")  # as terminals send them


def watch(reader: StatusReader) -> None:
    """Show the status until all launches have ended, or q or Ctrl-C is typed."""
    from ztxexp.progress.display import can_be_live

    with contextlib.suppress(KeyboardInterrupt):
        (_draw if can_be_live(sys.stdout) else _write)(reader)


def _write(reader: StatusReader) -> None:
    """Write lines when something has changed, not too often."""
    shown: list[str] = []
    while True:
        status = reader.read()
        text = [line for one in shown_launches(status) for line in _lines_of(one)]
        if text != shown:
            shown = text
            for line in lines(status) if not status.living else text:
                click.echo(line)
            sys.stdout.flush()
        if not status.living:
            return
        time.sleep(_LINES_SEC)


def _lines_of(launch: LaunchStatus) -> list[str]:
    return [launch_line(launch), *job_lines(launch)]


@dataclass
class _Shown:
    """What the person who watches has asked for.

    Attributes:
        question: to be answered with y.
        failures: whether all kinds of failures are shown.
        log: whether the last lines of a run are shown.
        selected: number of that run, from the top.
    """

    question: str = ""
    failures: bool = False
    log: bool = False
    selected: int = 0

    def take(self, key: str) -> None:
        """Change what is shown after a key; others have no effect."""
        if key == "s":
            self.question = "stop? y stops, any other key goes on"
        elif key == "f":
            self.failures = not self.failures
        elif key in ("\r", "\n"):
            self.log = not self.log
        elif key in _UP:
            self.log, self.selected = True, max(0, self.selected - 1)
        elif key in _DOWN:
            self.log, self.selected = True, self.selected + 1


def _draw(reader: StatusReader) -> None:
    from rich.live import Live

    from ztxexp.text.terminal import console

    shown = _Shown()
    with (
        _keys() as key,
        Live(console=console(sys.stdout), auto_refresh=False, redirect_stderr=False) as live,
    ):
        while True:
            status = reader.read()
            shown.selected = min(shown.selected, max(0, len(status.running) - 1))
            live.update(_screen(status, shown), refresh=True)
            if not status.living:
                break
            typed = key(_LOOK_SEC)
            if shown.question:
                if typed == "y":
                    _stop(status)
                shown.question = "" if typed else shown.question
            elif typed == "q":
                break
            else:
                shown.take(typed)
        status = reader.read(again=not status.living)
        live.update(_screen(status, _Shown(failures=shown.failures)), refresh=True)
    for line in next_lines(status):
        click.echo(line, err=True)


def _stop(status: RootStatus) -> None:
    """Ask every launch under way to stop; the display shows what becomes of that."""
    from ztxexp.progress.cancelling import JobsOf
    from ztxexp.results.requests import STOP, ask

    for launch in status.living:
        with contextlib.suppress(OSError, StoreError):
            if launch.record.detached:
                JobsOf(status.root, launch.record).cancel()
            else:
                ask(launch.record, STOP)


def _screen(status: RootStatus, shown: _Shown) -> Any:
    from rich.console import Group
    from rich.text import Text

    from ztxexp.progress.display import render

    parts: list[Any] = []

    def say(text: str, style: str = "") -> None:
        parts.append(Text(text, style, no_wrap=True, overflow="ellipsis"))

    everything = list(lines(status, *([_MANY] if shown.failures else [])))
    parts.append(Text(everything[0], "bold"))  # folded where it is too long
    records = [launch.record for launch in status.launches]
    for launch in shown_launches(status):
        record = launch.record
        text = launch_line(launch).partition("   ")[0]
        text = text.replace(record.id, short_launch(record, records), 1)
        say(text, {"alive": "", "died": "bold red"}.get(record.state, "dim"))
        for line in job_lines(launch):
            say(line, "dim")
        parts.append(render(launch.view))
    at = next(
        (
            n
            for n, line in enumerate(everything)
            if line.startswith(("best ", "failed ", "left over"))
        ),
        0,
    )
    for line in everything[at:] if at else ():
        if "   ztxexp " in line:  # to be typed: no piece of it is left out
            parts.append(Text(line, "dim"))
        else:
            say(line, "red" if line.startswith("failed") else "dim")
    if shown.log and status.running:
        row = status.running[shown.selected]
        say(f"log  {row.short}  {row.label}", "bold")
        for line in last_lines(RunFiles(status.root / row.run_id).log, _LOG_LINES):
            say(f"  {line}")
    if status.living:
        keys = "q quits · s stops · f failures · up, down, enter: a log"
        say(shown.question or keys, "reverse" if shown.question else "dim")
    return Group(*parts)


def _no_key(seconds: float) -> str:
    time.sleep(seconds)
    return ""


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """Yield a function that waits for a key for some seconds, and returns it or an empty text."""
    try:
        import termios
        import tty

        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)
    except Exception:  # Windows; no terminal: termios.error is no OSError
        yield _no_key
        return

    def comes(seconds: float) -> bool:
        return bool(select.select([fd], [], [], seconds)[0])

    def key(seconds: float) -> str:
        typed = os.read(fd, 1) if comes(seconds) else b""
        while typed[:1] == b"\x1b" and len(typed) < _KEY_BYTES and comes(_KEY_SEC):
            typed += os.read(fd, 1)
        return typed.decode(errors="replace")

    tty.setcbreak(fd)
    try:
        yield key
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
