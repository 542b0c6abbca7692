"""How progress looks: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TextIO

from ztxexp.progress.rows import Row
from ztxexp.text.format import sanitize_for_terminal
from ztxexp.text.terminal import console
from ztxexp_core.terminal import sanitize_lines

if TYPE_CHECKING:  # imported when something is displayed
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

_QUIET_SEC = 5.0  # a launch that is over by then prints no counts into a file
_FIRST_PAUSE_SEC = 10.0
_LONGEST_PAUSE_SEC = 110.0  # two minutes are promised; some CI services end jobs that are silent


@dataclass(frozen=True)
class View:
    """A launch at one instant; times in seconds.

    Attributes:
        total: configurations that this launch runs.
        done: how many of them have ended, whatever their status.
        reused: configurations beside ``total`` that were completed before.
        eta: how long the rest will take; ``None`` if unknown.
        waiting: what the launch waits for, if anything.
        rows: the configurations that have been running longest.
        lacking: trackers that lack runs, and how many.
        interrupted: runs that the end of the launch has cut short.
        best: the best result so far, as a text.
        trackers: all trackers that are sent the runs, and how many each lacks.
        queued: runs that wait in the queue of an engine.
    """

    total: int
    done: int = 0
    running: int = 0
    failed: int = 0
    skipped: int = 0
    reused: int = 0
    elapsed: int = 0
    eta: int | None = None
    waiting: str | None = None
    rows: tuple[Row, ...] = ()
    lacking: tuple[tuple[str, int], ...] = ()
    interrupted: int = 0
    best: str = ""
    trackers: tuple[tuple[str, int], ...] = ()
    queued: int = 0


def status(view: View) -> list[tuple[str, str]]:
    """Return counts and times, each a text with its style; counts of zero are left out."""
    counts = (
        (view.running, "running", ""),
        (view.queued, "queued", ""),
        (view.failed, "failed", "bold red"),
        (view.skipped, "skipped", "yellow"),
        (view.interrupted, "interrupted", "yellow"),
        (view.reused, "reused", ""),
    )
    parts = [(f"{view.done}/{view.total} done", "bold")]
    parts += [(f"{count} {word}", style) for count, word, style in counts if count]
    for tracker, runs in view.lacking:
        parts.append((sanitize_for_terminal(f"{tracker} lacks {runs}"), "yellow"))
    parts.append((f"elapsed {timedelta(seconds=view.elapsed)}", "dim"))
    if view.eta is not None:
        parts.append((f"ETA {timedelta(seconds=view.eta)}", "dim"))
    if view.waiting:
        parts.append((f"waiting: {view.waiting}", "dim"))
    return parts


def render(view: View) -> RenderableType:
    """Return the bar with the counts and, below it, the running configurations and the best."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = [_First(view)]
    table = Table.grid(padding=(0, 3, 0, 0))
    named = any(row.short for row in view.rows)
    for justify in ("left", *(["left"] * named), "left", "right", "left"):
        column: Any = {"justify": justify}
        table.add_column(style="dim", no_wrap=True, overflow="ellipsis", **column)
    for row in view.rows:
        short = [row.short] if named else []
        table.add_row(" ", *short, row.label, str(timedelta(seconds=row.seconds)), row.metric)
    if view.rows:
        parts.append(table)
        if view.running > len(view.rows):
            parts.append(f"    and {view.running - len(view.rows)} more")
    if view.best:
        parts.append(Text(f"    best  {view.best}", "dim", no_wrap=True, overflow="ellipsis"))
    for tracker, lacks in view.trackers if view.rows and view.done else ():
        has = (
            f"    {sanitize_for_terminal(tracker)}  has {max(0, view.done - lacks)} of {view.done}"
        )
        parts.append(Text(has, "dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


_NARROWEST, _WIDEST = 8, 24  # columns of the bar


class _First:
    """The line with the counts; a bar before it, where the terminal has room for one."""

    def __init__(self, view: View):
        self._view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        from rich.text import Text

        parts = [Text(*part) for part in status(self._view)]
        length = Text(" · ").join(parts).cell_len
        width = min(_WIDEST, options.max_width - length - 4)
        line = Text("  ")
        if self._view.total and width >= _NARROWEST:
            line.append(_bar(self._view, width)).append("  ")
        for number, part in enumerate(parts):
            if number and line.cell_len + part.cell_len + 3 > options.max_width:
                yield line  # no count is torn
                line = Text("    ")
            elif number:
                line.append(" · ")
            line.append_text(part)
        yield line


def _bar(view: View, width: int) -> Text:
    """Return the share of what is done, failures apart."""
    from rich.text import Text

    done = min(view.done, view.total)
    failed = min(view.failed, done)
    filled = width * done // view.total
    bad = min(filled, -(-width * failed // view.total)) if failed else 0
    bar = Text("#" * (filled - bad), "green")
    return bar.append("#" * bad, "red").append("-" * (width - filled), "dim")


# ---- a terminal ------------------------------------------------------------------------------

_live: Live | None = None  # of this process: there is room for one


def can_be_live(stream: TextIO) -> bool:
    """Return whether a live display can be drawn on a stream by this process now."""
    try:
        if not stream.isatty() or not (stream.encoding or "").lower().startswith("utf"):
            return False
        if os.tcgetpgrp(stream.fileno()) != os.getpgrp():  # in the background of a shell
            return False
    except (AttributeError, ValueError, OSError):  # Windows; closed; not this session's terminal
        pass
    return _live is None and console(stream).is_interactive


class Live:
    """A live display by rich: a few lines at the bottom, below what is printed.

    Args:
        stream: a terminal for which :func:`can_be_live` is true.
        view: the first view.

    Attributes:
        tick: seconds between two calls of ``draw``.
        rows: how many running configurations are shown.
    """

    tick, rows = 0.25, 8

    def __init__(self, stream: TextIO, view: View):
        global _live
        from rich.live import Live as RichLive

        self._console = console(stream, force_terminal=True, force_jupyter=False)
        self._view = view
        self._live = RichLive(
            console=self._console,
            get_renderable=lambda: render(self._view),
            auto_refresh=False,
            redirect_stdout=False,  # rich restores them only if the terminal takes more output
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        with self._console:
            self._live.start(refresh=True)
            self._console.show_cursor(True)  # it must be visible after the launch is killed
        self._redirected: list[tuple[Any, str, Any, Any]] = []
        self._redirect()
        _live = self

    def draw(self, view: View, lines: Sequence[str]) -> None:
        """Draw, unless nothing has changed."""
        if view != self._view or lines:
            with self._console:  # in one write
                self._view = view
                self._print(lines)
                self._live.refresh()

    def close(self, view: View, lines: Sequence[str]) -> None:
        """Replace the live lines by the last state."""
        for *_, proxy in self._redirected:
            proxy.flush()  # an incomplete line
        with self._console:
            self._view = view
            self._print(lines)
            self._live.stop()

    def _print(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._console.print(sanitize_lines(line), soft_wrap=True)

    def _redirect(self) -> None:
        """Print above the live lines what is written to the terminal; pipes stay as they are."""
        from rich.file_proxy import FileProxy

        loggers = [logging.root, *logging.root.manager.loggerDict.values()]
        handlers = [handler for log in loggers for handler in getattr(log, "handlers", ())]
        holders = [(sys, "stdout"), (sys, "stderr"), *((handler, "stream") for handler in handlers)]
        for owner, name in holders:
            stream: Any = getattr(owner, name, None)
            with contextlib.suppress(AttributeError, ValueError):  # None; closed
                if stream.isatty():
                    proxy: Any = FileProxy(self._console, stream)
                    self._redirected.append((owner, name, stream, proxy))
                    setattr(owner, name, proxy)

    def release(self) -> None:
        """Restore the streams."""
        global _live
        for owner, name, stream, proxy in self._redirected:
            if getattr(owner, name) is proxy:
                setattr(owner, name, stream)
        if _live is self:
            _live = None


if hasattr(os, "register_at_fork"):  # the child has no thread that draws
    os.register_at_fork(after_in_child=lambda: _live.release() if _live else None)


# ---- a file, a pipe, CI, or a terminal on which runs print ---------------------------------------


class Lines:
    """Plain lines that become rarer, and no counts for a short launch without a failure.

    Args:
        stream: where they are written.
        name: what each begins with.
    """

    tick, rows = 0.5, 0

    def __init__(self, stream: TextIO, name: str):
        self._stream = stream
        self._name = name
        self._next = _QUIET_SEC
        self._pause = _FIRST_PAUSE_SEC
        self._is_empty = True
        self._last = ""

    def draw(self, view: View, lines: Sequence[str]) -> None:
        """Write new lines, and the counts if it is time for them."""
        self._write(lines)
        if view.elapsed >= self._next:
            self._write_counts(view)
            self._next = view.elapsed + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE_SEC)

    def close(self, view: View, lines: Sequence[str]) -> None:
        """Write new lines, and the last counts if anything but these was written before."""
        self._write(lines)
        if not self._is_empty and view.total:
            self._write_counts(view)

    def release(self) -> None:
        """Do nothing: no stream was redirected."""

    def _write_counts(self, view: View) -> None:
        counts = ", ".join(text for text, _ in status(view))
        if counts != self._last:
            self._write([counts])

    def _write(self, lines: Sequence[str]) -> None:
        if not lines:
            return
        self._last = lines[-1]
        self._is_empty = False
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        text = "".join(f"{sanitize_lines(f'{self._name}: {line}')}\n" for line in lines)
        # In one piece, because other processes may write into the same file.
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()
