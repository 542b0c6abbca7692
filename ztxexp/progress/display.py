"""How progress looks: the words that all displays share, and the displays without a terminal.

A display is told what to show (:class:`View`); it knows nothing of runs and reads no file. The one
for terminals has a room of its own, ``terminal.py``.
"""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple, Protocol, TextIO

from ztxexp.text.format import clock

_QUIET_SEC = 5.0  # a sweep that is over by then prints nothing into a file
_FIRST_PAUSE_SEC = 10.0
_LONGEST_PAUSE_SEC = 60.0
_SIGN_OF_LIFE_SEC = 600.0  # some CI services end a job that prints nothing for longer
_LINES_KEPT = 50


class Row(NamedTuple):
    """One running configuration: what it is called, its seconds so far, its last metric."""

    label: str
    seconds: float
    metric: str


@dataclass(frozen=True)
class View:
    """A sweep at one instant.

    Attributes:
        total: configurations that this launch carries out.
        done: how many of them have ended, in whichever way.
        running: how many are under way.
        failed: how many ended as failed.
        skipped: how many ended as skipped.
        reused: configurations beside ``total`` that were done already.
        elapsed: seconds since the start.
        eta: seconds that the rest will take, ``None`` where that is not known.
        waiting: what the sweep waits for, if anything.
        rows: the longest running configurations.
    """

    total: int
    done: int = 0
    running: int = 0
    failed: int = 0
    skipped: int = 0
    reused: int = 0
    elapsed: float = 0.0
    eta: float | None = None
    waiting: str | None = None
    rows: tuple[Row, ...] = ()


class Display(Protocol):
    """What draws. ``give_back`` may be called from any thread, the others from one at a time.

    Attributes:
        tick: seconds between two calls of ``draw``.
        rows: how many running configurations it can show.
    """

    tick: float
    rows: int

    def open(self, view: View) -> None:
        """Begin, in the main thread."""

    def tell(self, line: str) -> None:
        """Show a line that stays."""

    def draw(self, view: View) -> None:
        """Show how it stands now."""

    def close(self, view: View) -> None:
        """Show how it ended, and leave it standing."""

    def give_back(self) -> None:
        """Give back what was taken from the process; raises nothing, waits for nothing."""


# ---- words -----------------------------------------------------------------------------------


class Piece(NamedTuple):
    """A part of the status line: what stands between it and the part before, text, style."""

    gap: str
    text: str
    style: str = ""


def status(view: View) -> list[Piece]:
    """Return the parts of the status line, those that count nothing left out."""
    counts = (
        (view.running, "running", ""),
        (view.failed, "failed", "bold red"),
        (view.skipped, "skipped", "yellow"),
        (view.reused, "reused", ""),
    )
    pieces = [Piece("", f"{view.done}/{view.total} done", "bold")]
    pieces += [Piece(" · ", f"{n} {word}", style) for n, word, style in counts if n]
    pieces.append(Piece("   ", f"elapsed {clock(view.elapsed)}", "dim"))
    if view.eta is not None:
        pieces.append(Piece("   ", f"ETA {clock(view.eta)}", "dim"))
    return pieces


def row_lines(view: View, width: int, most: int = 8) -> Iterator[str]:
    """Yield the running configurations in columns, what cannot be shown as a number."""
    rows = view.rows[:most]
    metric = max((cells(row.metric) for row in rows), default=0)
    longest = max((cells(row.label) for row in rows), default=0)
    # Indent, time, and the gaps on both sides of it; a label may be cut for the sake of a metric.
    column = min(longest, max(16, width - 4 - 2 - 7 - 3 - metric))
    for label, seconds, last in rows:
        yield f"    {fit(label, column)}  {clock(seconds):>7}   {last}".rstrip()
    if rows and view.running > len(rows):
        yield f"    and {view.running - len(rows)} more"


def cells(text: str) -> int:
    """Return how many columns a text takes; characters of East Asian scripts take two."""
    if text.isascii():
        return len(text)
    return sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def fit(text: str, width: int) -> str:
    """Return a text cut or filled to a number of columns."""
    room = cells(text)
    if room > width:
        while room >= width and text:
            room -= cells(text[-1])
            text = text[:-1]
        text, room = f"{text}…", room + 1
    return text + " " * (width - room)


# ---- a file, a pipe, CI ----------------------------------------------------------------------


class Lines:
    """Plain lines, few of them, and none at all for a short sweep without a failure.

    Args:
        stream: where they go.
        name: what each begins with.
    """

    tick = 0.5
    rows = 0

    def __init__(self, stream: TextIO, name: str):
        self._stream = stream
        self._name = name
        self._next = _QUIET_SEC
        self._pause = _FIRST_PAUSE_SEC
        self._spoken_at: float | None = None
        self._said: tuple[object, ...] = ()

    def open(self, view: View) -> None:
        """Nothing yet."""

    def tell(self, line: str) -> None:
        """Write a line."""
        self._write(line)
        self._spoken_at = self._spoken_at or 0.0

    def draw(self, view: View) -> None:
        """Write a line where it is time for one and something has changed since the last."""
        news = (view.done, view.total, view.running, view.reused, view.waiting)
        silent = view.elapsed - (self._spoken_at or 0.0)
        if view.elapsed < self._next or (news == self._said and silent < _SIGN_OF_LIFE_SEC):
            return
        self._write(self._line(view))
        self._said, self._spoken_at = news, view.elapsed
        self._next = view.elapsed + self._pause
        self._pause = min(self._pause * 1.5, _LONGEST_PAUSE_SEC)

    def close(self, view: View) -> None:
        """Write how it ended, if anything was written before."""
        if self._spoken_at is not None and view.total:
            self._write(self._line(view))

    def give_back(self) -> None:
        """Nothing was taken."""

    def _line(self, view: View) -> str:
        counts = ", ".join(piece.text for piece in status(view))
        return f"{counts}, waiting: {view.waiting}" if view.waiting else counts

    def _write(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        line = f"{self._name}: {text}\n"
        # In one piece: other processes write into the same file.
        self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()


# ---- a notebook ------------------------------------------------------------------------------


class Notebook:
    """One output below the cell, replaced again and again; needs no widgets."""

    tick = 0.5
    rows = 8
    _WIDTH = 100

    def __init__(self) -> None:
        self._told: deque[str] = deque(maxlen=_LINES_KEPT)
        self._shown: list[str] = []
        self._handle: Any = None

    def open(self, view: View) -> None:
        """Make the output; in the main thread, so that it belongs to the cell under way."""
        from IPython.display import display

        self._shown = self._lines(view)
        self._handle = display(_bundle(self._shown), raw=True, display_id=True)

    def tell(self, line: str) -> None:
        """Keep a line above the status line."""
        self._told.append(line)

    def draw(self, view: View) -> None:
        """Replace the output where it has changed."""
        lines = self._lines(view)
        if lines != self._shown:
            self._shown = lines
            self._handle.update(_bundle(lines), raw=True)

    def close(self, view: View) -> None:
        """Replace the output by the last state."""
        self.draw(view)

    def give_back(self) -> None:
        """Nothing was taken."""

    def _lines(self, view: View) -> list[str]:
        lines = [*self._told, "".join(piece.gap + piece.text for piece in status(view))]
        if view.waiting:
            lines.append(f"    waiting: {view.waiting}")
        return [*lines, *row_lines(view, self._WIDTH, self.rows)]


def _bundle(lines: Sequence[str]) -> dict[str, str]:
    text = "\n".join(lines)
    return {"text/plain": text, "text/html": f"<pre>{escape(text)}</pre>"}
