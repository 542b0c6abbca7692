"""How progress looks in a notebook: a bar in HTML, below the cell, which is replaced in place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from ztxexp.progress.display import View, status
from ztxexp.text import html
from ztxexp_core.terminal import sanitize_lines

_LINES_KEPT = 20
_COLOURS = {"bold red": "color:#c00;font-weight:bold", "yellow": "color:#a60", "bold": ""}


class Notebook:
    """A display in the output of a cell.

    Args:
        view: the first view.

    Attributes:
        tick: seconds between two calls of ``draw``.
        rows: how many running configurations are shown.
    """

    tick, rows = 0.5, 8

    def __init__(self, view: View):
        from IPython.display import display

        self._view = view
        self._lines: list[str] = []
        self._handle: Any = display(self._bundle(), raw=True, display_id=True)

    def draw(self, view: View, lines: Sequence[str]) -> None:
        """Draw, unless nothing has changed."""
        if view != self._view or lines:
            self._view = view
            self._lines += [sanitize_lines(line) for line in lines]
            self._handle.update(self._bundle(), raw=True)

    def close(self, view: View, lines: Sequence[str]) -> None:
        """Show the last state, which stays."""
        self.draw(view, lines)

    def release(self) -> None:
        """Do nothing: no stream was redirected."""

    def _bundle(self) -> dict[str, str]:
        """Return what is shown, in HTML and as text."""
        text = ", ".join(text for text, _ in status(self._view))
        return {"text/html": to_html(self._view, self._lines), "text/plain": text}


def to_html(view: View, lines: Sequence[str] = ()) -> str:
    """Return a view, and lines that stay, as HTML in which nothing of theirs has a meaning."""
    counts = [
        part
        for text, style in status(view)
        for part in (" · ", html.element("span", text, style=_COLOURS.get(style, "opacity:.7")))
    ]
    bar = html.Html(f'<progress value="{view.done}" max="{max(view.total, 1)}"></progress> ')
    rows = [
        [html.code(row.short), row.label, str(timedelta(seconds=row.seconds)), row.metric]
        for row in view.rows
    ]
    left_out = len(lines) - _LINES_KEPT
    before = [f"{left_out} lines before"] if left_out > 0 else []
    return html.block(
        html.element("div", bar, *counts[1:]),
        html.table([], rows, noun="run", total=max(view.running, len(rows))) if rows else "",
        html.note(f"best {view.best}") if view.best else "",
        html.lines("\n".join([*before, *lines[-_LINES_KEPT:]])),
    )
