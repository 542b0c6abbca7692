"""``ztxexp status --watch``: the display of a launch, in another terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ztxexp.progress.status_lines import launch_line, lines, next_lines, shown_launches

if TYPE_CHECKING:
    from ztxexp.progress.status import RootStatus, StatusReader

_LOOK_SEC, _LINES_SEC = 1.0, 10.0


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
        text = [launch_line(one) for one in shown_launches(status)]
        if text != shown:
            shown = text
            for line in lines(status) if not status.living else text:
                click.echo(line)
            sys.stdout.flush()
        if not status.living:
            return
        time.sleep(_LINES_SEC)


def _draw(reader: StatusReader) -> None:
    from rich.live import Live

    from ztxexp.text.terminal import console

    to = console(sys.stdout)
    question = ""
    with _keys() as key, Live(console=to, auto_refresh=False, redirect_stderr=False) as live:
        while True:
            status = reader.read()
            live.update(_screen(status, question), refresh=True)
            if not status.living:
                break
            typed = key(_LOOK_SEC)
            if question:
                if typed == "y":
                    _stop(status)
                question = "" if typed else question
            elif typed == "q":
                break
            elif typed == "s":
                question = "stop? y stops, any other key goes on"
        live.update(_screen(reader.read(again=not status.living), ""), refresh=True)
    for line in next_lines(status):
        click.echo(line, err=True)


def _stop(status: RootStatus) -> None:
    """Ask every launch under way to stop; the display shows what becomes of that."""
    from ztxexp.results.requests import STOP, ask

    for launch in status.living:
        with contextlib.suppress(OSError):
            ask(launch.record, STOP)


def _screen(status: RootStatus, question: str) -> Any:
    from rich.console import Group
    from rich.text import Text

    from ztxexp.progress.display import render

    parts: list[Any] = []

    def say(text: str, style: str = "") -> None:
        parts.append(Text(text, style, no_wrap=True, overflow="ellipsis"))

    everything = list(lines(status))
    say(everything[0], "bold")
    for launch in shown_launches(status):
        record = launch.record
        text = launch_line(launch).partition("   ")[0]
        say(text, {"alive": "", "died": "bold red"}.get(record.state, "dim"))
        parts.append(render(launch.view))
    at = next((n for n, line in enumerate(everything) if line.startswith(("best ", "failed "))), 0)
    for line in everything[at:] if at else ():
        say(line, "red" if line.startswith("failed") else "dim")
    if status.living:
        say(question or "q quits · s stops", "reverse" if question else "dim")
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

    def key(seconds: float) -> str:
        ready, _, _ = select.select([fd], [], [], seconds)
        return os.read(fd, 1).decode(errors="replace") if ready else ""

    tty.setcbreak(fd)
    try:
        yield key
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
