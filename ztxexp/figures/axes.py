"""What all figures do with their axes: labels, scales, ticks, legends, marks of categories."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ztxexp.figures.plot import plain_text
from ztxexp.figures.style import Style
from ztxexp.text.drawing import width_of
from ztxexp.text.format import cut
from ztxexp_core.errors import ZtxexpError

_CHARACTER = 0.55  # width of one, in sizes of the font
_HANDLE = 4.4  # width of a line in a legend with its gaps
_SHARE = 0.86  # of the width of a figure, for a legend
_MOST_ROWS = 5  # of a legend, about a third of the height
_USUAL_SHARE = 0.775  # of the width of a figure, for its only axes


def inches_of(ax: Any) -> float:
    """Return how wide a figure is that has these axes alone."""
    return float(ax.bbox.width / ax.figure.dpi / _USUAL_SHARE)


def label_axes(ax: Any, style: Style, x: str, y: str) -> None:
    """Name both axes, and let ticks that come later have the style, too."""
    ax.set_xlabel(plain_text(x))
    ax.set_ylabel(plain_text(y))
    if style.rc:
        kept = {"labelsize": style.rc["xtick.labelsize"], "width": style.rc["axes.linewidth"]}
        ax.tick_params(axis="both", which="major", length=2.5, **kept)
        ax.tick_params(axis="both", which="minor", length=1.5, **kept)


def grid(ax: Any, axis: str = "y") -> None:
    """Draw a faint grid behind everything."""
    ax.grid(True, axis=axis, color="#e4e4e4", linewidth=0.5)
    ax.set_axisbelow(True)


def log_scale(ax: Any, axis: str, values: Sequence[float], what: str) -> int:
    """Set a logarithmic scale where values allow it.

    Args:
        ax: the axes.
        axis: ``"x"`` or ``"y"``.
        values: all that stand on it.
        what: they are, for the message.

    Returns:
        How many of the values it cannot show.

    Raises:
        ZtxexpError: none of the values is above zero.
    """
    below = sum(not value > 0 for value in values)
    if below == len(values):
        raise ZtxexpError(f"no value of {what} is above zero, so it has no logarithmic axis")
    getattr(ax, f"set_{axis}scale")("log", nonpositive="mask")
    from matplotlib.ticker import LogLocator, NullFormatter

    line = getattr(ax, f"{axis}axis")
    there = [value for value in values if value > 0]
    if max(there) / min(there) > 30:
        line.set_major_locator(LogLocator(numticks=6))
        line.set_minor_formatter(NullFormatter())
    return below


def integer_ticks(ax: Any, axis: str = "x") -> None:
    """Put ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    getattr(ax, f"{axis}axis").set_major_locator(MaxNLocator(integer=True, nbins="auto"))


def legend(
    ax: Any, style: Style, handles: Sequence[Any], labels: Sequence[str], title: str
) -> None:
    """Put a legend without a frame above the axes, in as many columns as have room."""
    if not handles:
        return
    small = style.size - 1.0
    width = inches_of(ax)
    _, columns = legend_shape(labels, width, small)
    room = math.floor(width * _SHARE * 72 / small / _CHARACTER)
    box = ax.legend(
        handles,
        ["x"] * len(handles),  # a text that begins with _ would be left out
        title=plain_text(title, max(12, room)) or None,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        frameon=False,
        borderaxespad=0.3,
        borderpad=0.0,
        columnspacing=1.4,
        handletextpad=0.6,
        labelspacing=0.35,
        alignment="left",
        fontsize=small if style.rc else None,
        title_fontsize=small if style.rc else None,
    )
    widest = max(8, room // columns - math.ceil(_HANDLE / _CHARACTER))
    for text, wanted in zip(box.get_texts(), shortened(labels, widest), strict=True):
        text.set_text(plain_text(wanted, widest))


def shortened(labels: Sequence[str], width: int) -> list[str]:
    """Return labels of some characters at most; what differs stays different.

    Example:
        >>> shortened(["resnet-50-large", "resnet-50-small"], 12)
        ['res...-large', 'res...-small']
    """
    short = [cut(one, width) for one in labels]
    if len(set(short)) == len(set(labels)):
        return short
    head = (width - 3) // 3
    tail = width - 3 - head
    short = [one if len(one) <= width else f"{one[:head]}...{one[-tail:]}" for one in labels]
    if len(set(short)) == len(set(labels)):
        return short
    return [cut(f"{number}: {one}", width) for number, one in enumerate(labels, 1)]


def legend_shape(labels: Sequence[str], width: float, size: float = 7.0) -> tuple[int, int]:
    """Return how many rows and columns a legend gets in a figure of some inches."""
    widest = max(map(width_of, labels), default=1)
    inches = (widest * _CHARACTER + _HANDLE) * size / 72
    least = 2 if len(labels) > _MOST_ROWS else 1  # long labels are cut before it gets too high
    columns = max(least, min(len(labels), math.floor(width * _SHARE / inches)))
    rows = math.ceil(len(labels) / columns)
    return rows, math.ceil(len(labels) / rows)


def legend_height(labels: Sequence[str], width: float) -> float:
    """Return the inches that a legend takes above the axes."""
    return (legend_shape(labels, width)[0] + 1) * 0.13 if labels else 0.0


def category_ticks(ax: Any, style: Style, labels: Sequence[str], axis: str = "x") -> None:
    """Name categories at 0, 1, ...; at an angle where they do not fit side by side."""
    texts = [plain_text(one, 30) for one in labels]
    line = getattr(ax, f"{axis}axis")
    line.set_ticks(range(len(texts)), labels=texts)
    if axis == "y":
        return
    room = inches_of(ax) * 0.82 * 72 / max(1, len(texts))
    widest = max(map(width_of, texts), default=0) * _CHARACTER * (style.size - 1.0)
    if widest > room:
        for text in line.get_ticklabels():
            text.set(rotation=35, ha="right", rotation_mode="anchor")
