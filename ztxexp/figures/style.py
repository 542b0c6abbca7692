"""How figures look: colours that everybody can tell apart, sizes for print, fonts that are there.

A style is a mapping of rcParams that counts while a figure is drawn or saved. The rcParams of the
program are read by no figure and changed by none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from ztxexp.figures.library import need_matplotlib
from ztxexp_core.errors import ConfigError, closest

COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A800",
)  # fmt: skip
"""Those of Okabe and Ito; the yellow is darker, since lines of it are not seen on white."""
DASHES: tuple[Any, ...] = (
    "solid", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)),
    (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (2, 2)), (0, (5, 1, 2, 1)),
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "oo", "++")
MOST = len(COLOURS)
"""More groups than this cannot be told apart."""
GREY = "#999999"

WIDTHS = {"column": 3.25, "text": 5.5, "full": 6.75}
"""Inches: a column of two, the text of one column, the text over two."""
_SERIF = {"font": "serif", "size": 9.0}
_TWO_COLUMNS = {"font": "serif", "size": 8.0}
_VENUES: dict[str, tuple[Mapping[str, Any], Mapping[str, float]]] = {
    "neurips": (_SERIF, {"column": 2.7, "text": 5.5, "full": 5.5}),
    "iclr": (_SERIF, {"column": 2.7, "text": 5.5, "full": 5.5}),
    "colm": (_SERIF, {"column": 2.7, "text": 5.5, "full": 5.5}),
    "icml": (_TWO_COLUMNS, {"text": 3.25, "column": 3.25, "full": 6.75}),
    "cvpr": (_TWO_COLUMNS, {"column": 3.25, "text": 3.25, "full": 6.875}),
    "aaai": (_TWO_COLUMNS, {"column": 3.3, "text": 3.3, "full": 7.0}),
    "acl": (_TWO_COLUMNS, {"column": 3.03, "text": 3.03, "full": 6.3}),
    "aistats": (_TWO_COLUMNS, {"column": 3.25, "text": 3.25, "full": 6.75}),
    "uai": (_TWO_COLUMNS, {"column": 3.25, "text": 3.25, "full": 6.75}),
    "jmlr": (_SERIF, {"column": 2.9, "text": 6.0, "full": 6.0}),
    "tmlr": (_SERIF, {"column": 3.2, "text": 6.5, "full": 6.5}),
}
OWN = "rcparams"
"""The style of the program itself."""

# Fonts with Chinese, Japanese or Korean, of which machines usually have one at most.
_WIDE = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "IPAGothic", "Microsoft YaHei", "PingFang SC",
    "Hiragino Sans", "Arial Unicode MS",
)  # fmt: skip

# Groups of rcParams that say how a figure looks; the others are left alone.
_LOOKS = (
    "axes.", "boxplot.", "date.", "errorbar.", "figure.", "font.", "grid.", "hatch.", "image.",
    "legend.", "lines.", "markers.", "mathtext.", "patch.", "path.", "pdf.", "ps.", "savefig.",
    "scatter.", "svg.", "text.", "xaxis.", "xtick.", "yaxis.", "ytick.",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Style:
    """How a figure is drawn.

    Attributes:
        rc: rcParams that count meanwhile.
        width: of the figure, in inches.
        size: of its text, in points.
    """

    rc: Mapping[str, Any]
    width: float
    size: float

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Let the style count within this block."""
        with need_matplotlib().rc_context(dict(self.rc)):
            yield


def style_of(style: str | Mapping[str, Any] | None, width: str | float | None) -> Style:
    """Return a style.

    Args:
        style: a venue (``"neurips"``, ``"icml"``, ...), the name of a bundle of tueplots
            (``"icml2024"``), rcParams that count beside the usual ones, or ``"rcparams"`` for those
            of the program; ``None``: the usual ones.
        width: ``"column"``, ``"text"`` or ``"full"``, or inches; ``None``: the column where there
            are two, else 5.5 inches.

    Raises:
        ConfigError: a style or width that is none, or tueplots is not installed.
    """
    matplotlib = need_matplotlib()
    widths: Mapping[str, float] = WIDTHS
    size = 8.0
    if style == OWN:
        rc: dict[str, Any] = {}
        size = float(matplotlib.rcParams["font.size"])
    else:
        rc = _usual(matplotlib, size)
        if isinstance(style, Mapping):
            rc |= _checked(matplotlib, style)
        elif style in _VENUES:
            look, widths = _VENUES[style]
            size = look["size"]
            rc |= _text(size) | _serif(())
        elif style is not None:
            bundle, widths = _bundle(str(style))
            rc |= _checked(matplotlib, bundle)
            rc |= _serif(rc.get("font.serif", ())) if _is_serif(bundle) else {}
            size = float(bundle.get("font.size", size))
    return Style(rc, _width(width, widths), size)


def _width(width: str | float | None, widths: Mapping[str, float]) -> float:
    if width is None:
        return widths["text"]
    if isinstance(width, str) and width in widths:
        return widths[width]
    try:
        inches = float(width)
    except (TypeError, ValueError):
        inches = 0.0
    if not 0.5 <= inches <= 50:
        known = ", ".join(widths)
        raise ConfigError(f"width is one of {known}, or 0.5 to 50 inches, not {width!r}")
    return inches


def _usual(matplotlib: Any, size: float) -> dict[str, Any]:
    """Return the defaults of matplotlib, whatever the program has set, with ours on top."""
    defaults = matplotlib.rcParamsDefault
    rc = {name: defaults[name] for name in defaults if name.startswith(_LOOKS)}
    grey = "#444444"
    return rc | _text(size) | {
        "axes.axisbelow": True,
        "axes.edgecolor": grey,
        "axes.formatter.use_mathtext": True,
        "axes.grid": False,
        "axes.linewidth": 0.6,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.constrained_layout.use": True,
        "figure.dpi": 100,
        "font.family": _sans(),
        "grid.color": "#e4e4e4",
        "grid.linewidth": 0.5,
        "hatch.linewidth": 0.4,
        "legend.frameon": False,
        "legend.handlelength": 2.4,
        "lines.linewidth": 1.25,
        "pdf.fonttype": 42,  # whole fonts: what a venue's checks ask for
        "ps.fonttype": 42,
        "savefig.dpi": 300,
        "svg.fonttype": "path",  # it looks the same where the font is missing
        "svg.hashsalt": "ztxexp",  # the same bytes each time
        "text.usetex": False,
        "xtick.color": grey,
        "xtick.labelcolor": "black",
        "ytick.color": grey,
        "ytick.labelcolor": "black",
    }  # fmt: skip


def _text(size: float) -> dict[str, Any]:
    small = size - 1.0
    return {
        "font.size": size,
        "axes.labelsize": size,
        "axes.titlesize": size,
        "legend.fontsize": small,
        "legend.title_fontsize": small,
        "xtick.labelsize": small,
        "ytick.labelsize": small,
    }


def _serif(wanted: Any) -> dict[str, Any]:
    """Return a serif font: those that are wanted where they are installed, else what is shipped.

    Naming one that is missing would log a line for every text of a figure.
    """
    names = _installed()
    listed = [wanted] if isinstance(wanted, str) else list(wanted)
    there = [name for name in (*listed, "Times New Roman", "Nimbus Roman") if name in names]
    return {
        "font.family": list(dict.fromkeys([*there[:1], "STIXGeneral", *_sans()])),
        "mathtext.fontset": "stix",
    }


def _sans() -> list[str]:
    """Return the font of usual figures, and those that have the characters that it lacks."""
    return ["DejaVu Sans", *(name for name in _WIDE if name in _installed())]


def _installed() -> set[str]:
    from matplotlib.font_manager import fontManager

    return set(fontManager.get_font_names())


def _is_serif(bundle: Mapping[str, Any]) -> bool:
    return "serif" in str(bundle.get("font.family", "")).replace("sans-serif", "")


def _checked(matplotlib: Any, rc: Mapping[str, Any]) -> dict[str, Any]:
    for name in rc:
        if name not in matplotlib.rcParamsDefault:
            near = closest(str(name), list(matplotlib.rcParamsDefault))
            raise ConfigError(f"there is no rcParam {name!r}{near}")
    return {name: value for name, value in rc.items() if name.startswith(_LOOKS)} | {
        "text.usetex": False  # texts of runs are no LaTeX
    }


def _bundle(name: str) -> tuple[dict[str, Any], Mapping[str, float]]:
    """Return the rcParams of a bundle of tueplots, and the widths that it knows.

    Raises:
        ConfigError: there is no such one, or tueplots is not installed.
    """
    if find_spec("tueplots") is None:
        ours = ", ".join((*_VENUES, OWN))
        raise ConfigError(
            f"there is no style {name!r}{closest(name, _VENUES)}; known: {ours}; with tueplots "
            "(pip install tueplots) its bundles too, such as icml2024"
        )
    from tueplots import bundles

    known = [one for one in dir(bundles) if one[-4:].isdigit()]
    if name not in known:
        every = (*_VENUES, OWN, *known)
        listed = ", ".join(every)
        raise ConfigError(f"there is no style {name!r}{closest(name, every)}; known: {listed}")
    make = getattr(bundles, name)
    takes = inspect.signature(make).parameters
    plain: dict[str, Any] = {"usetex": False} if "usetex" in takes else {}
    widths: dict[str, float] = {}
    for word, column in (("column", "half"), ("full", "full")):
        asked = {"column": column} if "column" in takes else {}
        widths[word] = float(make(**plain, **asked)["figure.figsize"][0])
    bundle: dict[str, Any] = make(**plain)
    return bundle, {**widths, "text": float(bundle["figure.figsize"][0])}
