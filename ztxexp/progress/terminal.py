"""The live display on a terminal: a few lines at the bottom that are drawn over and over.

What the program prints meanwhile goes above them. Where it wants the terminal for itself, because
it asks something or moves the cursor, the display makes room. The cursor is never hidden: a launch
that is killed leaves the terminal as it was.
"""

from __future__ import annotations

import builtins
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TextIO, cast

from ztxexp.progress.display import Piece, View, cells, row_lines, status

if TYPE_CHECKING:  # imported where a terminal is opened
    from rich.live import Live
    from rich.text import Text

# A program that writes these draws by itself: cursor movements and clearing of the screen.
_DRAWS = re.compile(r"\x1b\[[0-9;?]*[A-HJSTfsu]|\x1b[78M]")
_MAKE_ROOM_SEC = 5.0
_LINE_LIMIT = 4096

_open: Terminal | None = None  # of this process: there is one bottom only


def suits(stream: TextIO) -> bool:
    """Tell whether a live display can be drawn on a stream, now and by this process."""
    environ = os.environ
    try:
        return (
            _open is None
            and stream.isatty()
            and environ.get("TERM", "").lower() not in ("dumb", "unknown")
            and "0" not in (environ.get("TTY_COMPATIBLE"), environ.get("TTY_INTERACTIVE"))
            and (stream.encoding or "").lower().startswith("utf")
            and not _in_background(stream)
        )
    except (AttributeError, ValueError):  # closed, or only somewhat like a file
        return False


def _in_background(stream: TextIO) -> bool:
    """Tell whether the shell, or another program, is at work on the terminal meanwhile."""
    try:
        return os.tcgetpgrp(stream.fileno()) != os.getpgrp()
    except (AttributeError, OSError):  # Windows; or not the terminal of this session
        return False


class Terminal:
    """A live display by rich, which is imported when it is opened.

    Args:
        stream: the terminal, as :func:`suits` has found it.
    """

    tick = 0.25
    rows = 8

    def __init__(self, stream: TextIO):
        self._stream = _original(stream)
        # Around all writing; but giving back must never wait for it, the terminal may be stopped.
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._last = ""
        self._told: list[str] = []
        self._held = 0
        self._room_until = 0.0
        self._mid_line = False
        self._streams: dict[str, _Diverted] = {}
        self._handlers: list[tuple[Any, _Diverted]] = []
        self._input: Callable[..., str] | None = None

    def open(self, view: View) -> None:
        """Draw for the first time, and let what is printed pass through here."""
        global _open
        from rich.console import Console

        _open = self
        self._console = Console(
            file=self._stream, force_terminal=True, force_jupyter=False, highlight=False
        )
        # rich's own answer would be to close the program's standard output and to exit.
        self._console.on_broken_pipe = _raise_again  # type: ignore[method-assign,unused-ignore]
        self.draw(view)
        self._divert()

    def tell(self, line: str) -> None:
        """Keep a line; the next drawing puts it above the live lines."""
        self._told.append(line)

    def draw(self, view: View) -> None:
        """Draw, unless nothing has changed or the program has the terminal for itself."""
        with self._lock:
            if self._held or time.monotonic() < self._room_until:
                return
            text = self._compose(view)
            with self._console:  # in one write: no count is seen without the line that explains it
                if self._live is None:
                    self._begin(text)
                elif text.plain != self._last:
                    self._live.update(text, refresh=True)
                self._last = text.plain
                self._print_told()

    def close(self, view: View) -> None:
        """Put the last state in the place of the live lines."""
        from rich.text import Text

        with self._lock, self._console:
            self._take_down()
            self._begin_line()
            self._print_told()
            self._console.print(Text("\n").join(_status_lines(view, self._console.width)))

    # -- drawing

    def _begin(self, text: Text) -> None:
        from rich.live import Live

        live = Live(
            text,
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        with self._console:  # in one write: the cursor is hidden and shown at once
            self._begin_line()
            live.start(refresh=True)
            self._console.show_cursor(True)
        self._live = live

    def _begin_line(self) -> None:
        if self._mid_line:
            self._console.line()
            self._mid_line = False

    def _take_down(self) -> None:
        """Clear the live lines away; lines that the program has begun are left to it."""
        with self._console:
            if self._live is not None:
                self._live.stop()
                self._live = None
            for diverted in self._streams.values():
                text, diverted.begun = diverted.begun, ""
                if text.strip():
                    self._console.print(_from_program(text), soft_wrap=True, end="")
                    self._mid_line = True

    def _compose(self, view: View) -> Text:
        from rich.text import Text

        size = self._console.size
        begun = [d.begun for d in self._streams.values() if d.begun.strip()]
        lines = [_from_program(text) for text in begun]
        lines += _status_lines(view, size.width)
        if view.waiting:
            lines.append(Text(f"    waiting: {view.waiting}", "dim"))
        # One line less than the terminal has, the count of further ones included.
        most = min(self.rows, size.height - len(lines) - 2)
        rows = row_lines(view, size.width, max(0, most))
        lines += [Text(row, "" if row.startswith("    and ") else "dim") for row in rows]
        return Text("\n", no_wrap=True, overflow="ellipsis", end="").join(lines)

    def _print_told(self) -> None:
        told, self._told = self._told, []
        if told:
            self._print(told)

    def _print(self, lines: list[str]) -> None:
        from rich.text import Text

        text = Text("\n").join(_from_program(line) for line in lines)
        self._console.print(text, soft_wrap=True)

    # -- what the program prints

    def take(self, diverted: _Diverted, text: str) -> None:
        """Take what the program writes: whole lines go above, a line begun stays at the bottom."""
        with self._lock:
            if self._live is not None and _DRAWS.search(text):
                self._take_down()
            if self._live is None:
                if _DRAWS.search(text) or time.monotonic() < self._room_until:
                    self._room_until = time.monotonic() + _MAKE_ROOM_SEC
                diverted.original.write(text)
                self._mid_line = not text.endswith("\n") if text else self._mid_line
                return
            *lines, begun = (diverted.begun + text).split("\n")
            diverted.begun = begun[_overwritten(begun) :][-_LINE_LIMIT:]
            if lines:
                self._print([line[_overwritten(line) :].rstrip("\r") for line in lines])

    def _ask(self, *args: Any) -> str:
        with self._lock:
            self._held += 1
            self._take_down()
        try:
            return cast("Callable[..., str]", self._input)(*args)
        finally:
            with self._lock:
                self._held -= 1
                self._mid_line = False

    def _divert(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if _same_terminal(_original(stream), self._stream):
                self._streams[name] = _Diverted(self, stream)
                setattr(sys, name, self._streams[name])
        by_stream = {id(_original(d.original)): d for d in self._streams.values()}
        for handler in _stream_handlers():  # made earlier: they hold the stream itself
            diverted = by_stream.get(id(_original(handler.stream)))
            if diverted is not None:
                self._handlers.append((handler, diverted))
                handler.stream = diverted
        self._input, builtins.input = builtins.input, self._ask

    def give_back(self) -> None:
        """Let the program's streams be as they were; no waiting, also in a forked child."""
        global _open
        for name, diverted in self._streams.items():
            if getattr(sys, name) is diverted:
                setattr(sys, name, diverted.original)
            diverted.terminal = None  # whoever has kept it goes on writing, straight on
        for handler, diverted in self._handlers:
            if handler.stream is diverted:
                handler.stream = diverted.original
        if self._input is not None and builtins.input == self._ask:
            builtins.input = self._input
        if _open is self:
            _open = None


class _Diverted:
    """Stands in for ``sys.stdout`` or ``sys.stderr`` while a terminal is open."""

    def __init__(self, terminal: Terminal, original: TextIO):
        self.terminal: Terminal | None = terminal
        self.original = original
        self.begun = ""

    def write(self, text: str) -> int:
        terminal = self.terminal
        if terminal is None or not isinstance(text, str):  # the original says what is wrong with it
            return self.original.write(text)
        terminal.take(self, text)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


def _original(stream: Any) -> Any:
    while isinstance(stream, _Diverted):
        stream = stream.original
    return stream


def _same_terminal(one: Any, other: Any) -> bool:
    """Tell whether two streams lead to one terminal; a pipe must get what is printed into it."""
    if one is other:
        return True
    try:
        if not (one.isatty() and other.isatty()):
            return False
        return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
    except (AttributeError, ValueError, OSError):  # None, closed, without a descriptor
        return False


def _stream_handlers() -> Iterator[Any]:
    for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, logging.StreamHandler) and "stream" in vars(handler):
                yield handler


def _overwritten(line: str) -> int:
    """Return how much of a line is written over by what follows its last carriage return."""
    return line.rstrip("\r").rfind("\r") + 1


def _from_program(text: str) -> Text:
    """Return a line with its colours; whatever else a terminal would obey is left out."""
    from rich.text import Text

    return Text.from_ansi(text) if "\x1b" in text else Text(text)


def _status_lines(view: View, width: int) -> list[Text]:
    """Return the status, on as many lines as the terminal's width asks for."""
    from rich.text import Text

    lines: list[Text] = []
    room = 0
    for gap, text, style in _shortened(status(view), width):
        if not lines or len(gap) + cells(text) > room:
            lines.append(Text("  "))
            room = width - 2
            gap = ""
        lines[-1].append(gap).append(text, style)
        room -= len(gap) + cells(text)
    return lines


def _shortened(pieces: list[Piece], width: int) -> Iterator[Piece]:
    for piece in pieces:
        yield piece._replace(text=piece.text[: max(1, width - 2)])


def _raise_again() -> None:
    raise  # rich calls it where it handles the error
