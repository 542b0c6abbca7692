"""What a figure is: :class:`Plot`, with the numbers behind it and a text that says what it is."""

from __future__ import annotations

import base64
import contextlib
import html
import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.labels import Labels
from ztxexp.figures import words
from ztxexp.figures.colours import Palette
from ztxexp.figures.library import need_matplotlib
from ztxexp.figures.style import Style, style_of
from ztxexp.text.drawing import folded
from ztxexp.text.format import cut, encodable, sanitize_for_terminal
from ztxexp_core.errors import ConfigError, ZtxexpError

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger("ztxexp")

Draw = Callable[[Any, Style], None]
"""Draws into axes; what it draws depends on nothing but the style."""
_CAPTION_WIDTH = 100
_ON_SCREEN = 144  # dots per inch


def plain_text(text: object, width: int = 60) -> str:
    """Return what a run says as matplotlib shows it as it is: no mathematics, no control codes."""
    shown = cut(sanitize_for_terminal(str(encodable(str(text)))), width).replace("$", r"\$")
    for one in words.labels_now().maths():  # what a label says is mathematics
        shown = shown.replace(one.replace("$", r"\$"), one)
    return shown


@dataclass(frozen=True)
class Canvas:
    """Where and how a figure is drawn; matplotlib is looked for when one is made.

    Attributes:
        ax: axes of somebody else; ``None``: a figure is made.
        style: a venue, a bundle of tueplots, or rcParams.
        width: a word, or inches.
        palette: which value has which colour.

    Raises:
        ZtxexpError: matplotlib is not installed.
        ConfigError: ``ax`` is no axes.
    """

    ax: Any = None
    style: str | Mapping[str, Any] | None = None
    width: str | float | None = None
    palette: Palette = field(default_factory=Palette)

    def __post_init__(self) -> None:
        need_matplotlib()
        if self.ax is not None and not hasattr(self.ax, "plot"):
            raise ConfigError(f"ax is the axes of a figure of matplotlib, not {self.ax!r}")


class Plot:
    """A figure.

    Attributes:
        ax: its axes; change them by hand as you like.
        fig: its figure, of matplotlib.
        data: the frame behind it.
        caption: what it shows, in sentences: what band and interval are, n, seeds, direction.

    Example:
        >>> plot = ResultAnalyzer("./results").curves("accuracy", by="lr")
        >>> plot.ax.set_ylim(0.9, 1)
        >>> plot.save("fig.pdf", style="neurips")
    """

    def __init__(
        self,
        draw: Draw,
        data: pd.DataFrame,
        caption: str,
        height: Callable[[float], float],
        canvas: Canvas,
    ) -> None:
        ax, style, width = canvas.ax, canvas.style, canvas.width
        self.data = data
        self.caption = sanitize_for_terminal(str(encodable(caption)))
        self._draw = draw
        self._height = height
        self._asked = (style, width)
        self._is_own = ax is None
        self._labels = words.labels_now()
        _check_maths(self._labels)
        if ax is None:
            self._style, self.fig, self.ax = self._drawn(style, width)
        else:
            if style is not None or width is not None:
                raise ConfigError("the axes are yours, and so are style and width: leave out ax")
            self._style, self.fig, self.ax = style_of("rcparams", None), ax.figure, ax
            with _warnings_noted():
                draw(ax, self._style)
        unused = self._labels.unused()
        if unused:
            _log.warning("figure: nothing in it has the name of a label: %s", ", ".join(unused))

    def _drawn(
        self, style: str | Mapping[str, Any] | None, width: str | float | None
    ) -> tuple[Style, Any, Any]:
        """Return a style, and figure and axes drawn with it."""
        from matplotlib.figure import Figure

        made = style_of(style, width)
        with made.used(), words.called(self._labels), _warnings_noted():
            fig = Figure(figsize=(made.width, self._height(made.width)), layout="constrained")
            ax = fig.add_subplot()
            self._draw(ax, made)
        return made, fig, ax

    def save(
        self,
        path: str | os.PathLike[str],
        style: str | Mapping[str, Any] | None = None,
        width: str | float | None = None,
        caption: bool = True,
    ) -> Path:
        """Write the figure to a file, and beside it what it shows: ``fig.caption.txt``.

        Fonts are embedded. The same runs give the same bytes.

        Args:
            path: the file; its ending says the format: pdf, svg, png, eps.
            style: draw it anew in another style, without changes that were made by hand: a venue
                (``"neurips"``, ``"icml"``, ...), a bundle of tueplots, or rcParams.
            width: draw it anew with another width: ``"column"``, ``"text"``, ``"full"`` or inches.
            caption: write the caption.

        Returns:
            The path of the figure.

        Raises:
            ConfigError: an ending, style or width that is none.
            ZtxexpError: a file cannot be written.

        Example:
            >>> analyzer.curves("accuracy").save("fig.pdf", style="icml", width="column")
        """
        fig, used = self.fig, self._style
        if style is not None or width is not None:
            if not self._is_own:
                raise ConfigError("the axes were given, so style and width are those of its figure")
            used, fig, _ = self._drawn(
                self._asked[0] if style is None else style,
                self._asked[1] if width is None and style is None else width,
            )
        target = Path(path)
        data = _bytes_of(fig, used, _format_of(target, fig))
        _write(target, data)
        if caption:
            text = "\n".join(folded(line, _CAPTION_WIDTH) for line in self.caption.split("\n"))
            _write(target.with_suffix(".caption.txt"), f"{text}\n".encode())
        return target

    def _repr_png_(self) -> bytes:
        return _bytes_of(self.fig, self._style, "png", dpi=_ON_SCREEN)

    def _repr_html_(self) -> str:
        image = base64.b64encode(self._repr_png_()).decode()
        inches = float(self.fig.get_figwidth())
        text = html.escape(self.caption)
        return (
            f'<figure style="margin:0;max-width:{inches * 96:.0f}px">'
            f'<img alt="{text}" style="width:100%" src="data:image/png;base64,{image}">'
            f'<figcaption style="white-space:pre-line;font-size:90%">{text}</figcaption></figure>'
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.data)} rows: {self.caption.splitlines()[0]}>"


def _format_of(path: Path, fig: Any) -> str:
    known = fig.canvas.get_supported_filetypes()
    ending = path.suffix.lower().removeprefix(".")
    if ending not in known or ending == "pgf":
        usual = ", ".join(f".{one}" for one in ("pdf", "svg", "png", "eps") if one in known)
        raise ConfigError(f"{path}: the ending says no format of figures; known: {usual}")
    return ending


def _bytes_of(fig: Any, style: Style, fmt: str, **options: Any) -> bytes:
    """Return a figure as bytes."""
    buffer = io.BytesIO()
    metadata: dict[str, dict[str, Any]] = {
        "pdf": {"Creator": "ztxexp", "CreationDate": None},
        "svg": {"Creator": "ztxexp", "Date": None},
        "png": {"Software": "ztxexp"},
    }
    with style.used(), _warnings_noted():
        fig.savefig(buffer, format=fmt, metadata=metadata.get(fmt), **options)
    return buffer.getvalue()


@contextlib.contextmanager
def _warnings_noted() -> Iterator[None]:
    """Log what matplotlib warns of; characters without a glyph in one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    texts = {str(one.message) for one in caught}
    missing = sorted(text for text in texts if text.startswith("Glyph "))
    if missing:
        _log.warning(
            "figure: %d character(s) are in no font of the style, so boxes stand for them: %s",
            len(missing),
            "; ".join(cut(text, 60) for text in missing[:3]),
        )
    for text in sorted(texts.difference(missing)):
        _log.debug("matplotlib: %s", text)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as exc:
        raise ZtxexpError(f"{path} cannot be written: {exc.strerror or exc}") from exc


def _check_maths(labels: Labels) -> None:
    """Refuse mathematics in labels that matplotlib cannot set."""
    from matplotlib.mathtext import MathTextParser

    for text in labels.maths():
        try:
            MathTextParser("path").parse(text)
        except ValueError as exc:
            raise ConfigError(
                f"{text} in a label is mathematics that matplotlib cannot set; {chr(92)}$ is a "
                "plain dollar sign"
            ) from exc
