"""How progress looks in a notebook: a bar in HTML, below the cell, which is replaced in place."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from ztxexp.progress.display import View, status
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
    counts = " · ".join(
        f'<span style="{_COLOURS.get(style, "opacity:.7")}">{html.escape(text)}</span>'
        for text, style in status(view)
    )
    parts = [f'<progress value="{view.done}" max="{max(view.total, 1)}"></progress> {counts}']
    if view.rows:
        cells = (
            (row.short, row.label, str(timedelta(seconds=row.seconds)), row.metric)
            for row in view.rows
        )
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in cells
        )
        parts.append(f'<table style="font-family:monospace;font-size:smaller">{body}</table>')
        if view.running > len(view.rows):
            parts.append(f"and {view.running - len(view.rows)} more")
    if view.best:
        parts.append(f'<div style="opacity:.7">best {html.escape(view.best)}</div>')
    left_out = len(lines) - _LINES_KEPT
    if lines:
        shown = [f"{left_out} lines before"] if left_out > 0 else []
        text = html.escape("\n".join([*shown, *lines[-_LINES_KEPT:]]))
        parts.append(f'<pre style="font-size:smaller;margin:0">{text}</pre>')
    return f"<div>{''.join(parts)}</div>"
