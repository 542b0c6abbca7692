"""Ranks: a critical difference diagram, which methods can be told apart over several blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp.analysis.grouping import rank
from ztxexp.analysis.run_table import RunTable
from ztxexp.figures import words
from ztxexp.figures.bars import _axis
from ztxexp.figures.library import need_scipy
from ztxexp.figures.measured import Measured, measured
from ztxexp.figures.plot import Canvas, Plot, plain_text
from ztxexp.figures.style import Style
from ztxexp.results.keys import codes_of
from ztxexp_core.errors import ConfigError, ZtxexpError

LEAST_BLOCKS = 5
_LEAST_METHODS, _MOST_METHODS = 3, 20
_ROW = 0.19  # inches of a name


@dataclass(frozen=True)
class Ranks:
    """Mean ranks of methods over blocks.

    Attributes:
        known: the metric by method and block.
        names: of the methods, the best first.
        ranks: the mean rank of each; 1 is the best.
        blocks: names of the blocks that have all methods.
        missing: which blocks were left out, with what they lack.
        statistic: of Friedman's test.
        p: of it.
        difference: the critical difference, by Nemenyi.
        alpha: the level.
        groups: first and last of methods that cannot be told apart, two or more.
        rows: rank of each method in each block, by method.
        grid: ``2 dataset x 5 seed`` where the blocks are all combinations of values, else empty.
    """

    known: Measured
    names: list[str]
    ranks: list[float]
    blocks: list[str]
    missing: list[str]
    statistic: float
    p: float
    difference: float
    alpha: float
    groups: list[tuple[int, int]]
    rows: list[list[float]]
    grid: str = ""


def ranks_plot(
    table: RunTable,
    metric: str,
    methods: Sequence[str],
    blocks: Sequence[str],
    over: Sequence[str] | None = None,
    alpha: float = 0.05,
    mode: str = "",
    *,
    canvas: Canvas,
) -> Plot:
    """Return a critical difference diagram, see :meth:`ztxexp.ResultAnalyzer.ranks`."""
    ranks = ranks_of(table, metric, methods, blocks, over, alpha, mode)
    drawing = _Drawing(ranks)
    return Plot(drawing, drawing.frame(), caption_of(ranks), drawing.height, canvas)


def ranks_of(
    table: RunTable,
    metric: str,
    methods: Sequence[str],
    blocks: Sequence[str],
    over: Sequence[str] | None,
    alpha: float,
    mode: str,
) -> Ranks:
    """Return mean ranks with Friedman's test and the critical difference by Nemenyi.

    Raises:
        ConfigError: a key or metric that no run has, nothing says what is the best, or a level out
            of range.
        ZtxexpError: fewer than 5 blocks have all methods, or there are fewer than 3 methods.
    """
    from ztxexp.results.direction import direction_of

    stats = need_scipy()
    if not (isinstance(alpha, (int, float)) and 0 < alpha < 1):
        raise ConfigError(f"alpha lies between 0 and 1, not {alpha!r}")
    if not methods or not blocks or set(methods) & set(blocks):
        raise ConfigError("ranks needs keys of methods and others of blocks, none of them in both")
    known = measured(table, metric, [*methods, *blocks], over, mode, "ranks")
    direction = direction_of(known.metric, mode, table.runs.root)
    count = len(methods)
    row_of, rows = _axis([one.values[:count] for one in known.groups])
    column_of, columns = _axis([one.values[count:] for one in known.groups])
    cells = {
        (row, column): one.mean
        for row, column, one in zip(row_of, column_of, known.groups, strict=True)
    }
    names = [words.group_text(methods, one) for one in rows]
    pairs = [words.group_text(methods, one, short=len(methods) == 1) for one in rows]
    every = [words.group_text(blocks, one, short=len(blocks) == 1) for one in columns]
    missing, full = [], []
    for at, block in enumerate(every):
        lacking = [pairs[row] for row in range(len(rows)) if (row, at) not in cells]
        if lacking:
            missing.append(f"{block} lacks {words.listed(lacking)}")
        else:
            full.append(at)
    _check_sizes(len(rows), len(full), methods, blocks, missing)
    sign = -1.0 if direction.mode == "max" else 1.0
    scores = [[sign * cells[row, at] for row in range(len(rows))] for at in full]
    by_block = [[float(one) for one in stats.rankdata(values)] for values in scores]
    means = [math.fsum(of[row] for of in by_block) / len(full) for row in range(len(rows))]
    if all(len(set(values)) == 1 for values in scores):
        statistic, p = 0.0, 1.0  # all are equal everywhere
    else:
        test = stats.friedmanchisquare(*([of[row] for of in scores] for row in range(len(rows))))
        statistic, p = float(test.statistic), float(test.pvalue)
    difference = critical_difference(len(rows), len(full), alpha)
    order = sorted(range(len(rows)), key=lambda row: (means[row], rank(names[row], 0)))
    sorted_means = [means[row] for row in order]
    groups = [(0, len(order) - 1)] if p >= alpha else _groups(sorted_means, difference)
    return Ranks(
        known,
        [names[row] for row in order],
        sorted_means,
        [every[at] for at in full],
        missing,
        statistic,
        p,
        difference,
        alpha,
        groups,
        [[of[row] for of in by_block] for row in order],
        _grid(blocks, [columns[at] for at in full]),
    )


def _grid(keys: Sequence[str], values: Sequence[Sequence[Any]]) -> str:
    """Return how many values each key has, where several keys form a grid."""
    counts = [len(set(codes_of(list(cells)))) for cells in zip(*values, strict=True)]
    if len(keys) < 2 or math.prod(counts) != len(values):
        return ""
    pairs = zip(counts, keys, strict=True)
    return " x ".join(f"{count} {words.key_text(key)}" for count, key in pairs)


def critical_difference(methods: int, blocks: int, alpha: float = 0.05) -> float:
    """Return by how much two mean ranks must differ at least, after Nemenyi (Demšar 2006).

    Args:
        methods: how many.
        blocks: how many.
        alpha: the level.

    Example:
        >>> round(critical_difference(4, 14), 2)
        1.25
    """
    q = float(need_scipy().studentized_range.ppf(1 - alpha, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


def _check_sizes(
    methods: int, blocks: int, method_keys: Sequence[str], keys: Sequence[str], missing: list[str]
) -> None:
    if methods < _LEAST_METHODS:
        raise ZtxexpError(
            f"ranks: {methods} values of {', '.join(method_keys)}; Friedman's test compares 3 or "
            "more. For two: ztxexp table --test"
        )
    if methods > _MOST_METHODS:
        raise ZtxexpError(
            f"ranks: {methods} values of {', '.join(method_keys)}, and {_MOST_METHODS} can be read"
        )
    if blocks < LEAST_BLOCKS:
        reasons = f": {'; '.join(missing[:4])}{' ...' if missing[4:] else ''}" if missing else ""
        complete = " with all methods" if missing else ""
        raise ZtxexpError(
            f"ranks: {blocks} blocks ({', '.join(keys)}){complete}; with fewer than {LEAST_BLOCKS} "
            f"the tests say nothing{reasons}"
        )


def _groups(means: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Return the longest stretches of methods whose ranks differ by less than the difference."""
    groups: list[tuple[int, int]] = []
    for first in range(len(means)):
        last = max(at for at in range(first, len(means)) if means[at] - means[first] < difference)
        if last > first and not (groups and groups[-1][1] >= last):
            groups.append((first, last))
    return groups


def letters(ranks: Ranks) -> list[str]:
    """Return letters for each method; those that share one cannot be told apart."""
    made = [""] * len(ranks.names)
    stretches = list(ranks.groups)
    covered = {at for first, last in stretches for at in range(first, last + 1)}
    stretches += [(at, at) for at in range(len(made)) if at not in covered]
    for number, (first, last) in enumerate(sorted(stretches)):
        for at in range(first, last + 1):
            made[at] += "abcdefghijklmnopqrstuvwxyz"[number]
    return made


def caption_of(ranks: Ranks) -> str:
    """Return what a critical difference diagram shows."""
    known = ranks.known
    test = "p < 0.001" if ranks.p < 0.001 else f"p = {ranks.p:.3f}"
    over = f"{len(ranks.blocks)} blocks ({ranks.grid or words.listed(ranks.blocks)})"
    freedom = f"{len(ranks.names) - 1} degrees of freedom"
    metric = words.key_text(known.metric)
    parts = [
        f"Mean ranks of {len(ranks.names)} methods by {metric} over {over}; 1 is the best.",
        *known.caption(f"Each rank is by {metric}"),
        f"Friedman's test: chi² = {ranks.statistic:.3g}, {freedom}, {test}.",
    ]
    if ranks.p >= ranks.alpha:
        parts.append(
            f"So at the level {ranks.alpha:g} no method can be told from any other, and one bar "
            "joins them all."
        )
    else:
        parts.append(
            f"Bars join methods that cannot be told apart at the level {ranks.alpha:g}: their mean "
            f"ranks differ by less than the critical difference (CD) of {ranks.difference:.3f}, "
            "after Nemenyi."
        )
    if ranks.missing:
        left = "; ".join(ranks.missing[:4]) + (" ..." if ranks.missing[4:] else "")
        parts.append(f"Blocks left out since methods are missing: {left}.")
    return " ".join([*parts, *known.end()])


class _Drawing:
    """The axis of ranks on top, names at both sides, bars between."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.left = math.ceil(len(ranks.names) / 2)

    def height(self, width: float) -> float:
        """Return the inches of a figure of a width."""
        return 0.75 + _ROW * self.left + 0.08 * len(self.ranks.groups)

    def __call__(self, ax: Any, style: Style) -> None:
        count, ranks = len(self.ranks.names), self.ranks.ranks
        low, high = 1, count
        ax.set_axis_off()
        line = {"color": "#222222", "linewidth": 0.8, "solid_capstyle": "butt"}
        ax.plot([low, high], [0, 0], **line)
        small = style.size - 1.0
        for at in range(low, high + 1):
            ax.plot([at, at], [0, 0.28], **line)
            ax.text(at, 0.38, str(at), ha="center", va="bottom", fontsize=small)
        self._difference(ax, small, line)
        first = 0.45 + 0.42 * len(self.ranks.groups)
        reach = 0.12 * (high - low)
        for at, (name, mean) in enumerate(zip(self.ranks.names, ranks, strict=True)):
            on_left = at < self.left
            row = at if on_left else count - 1 - at
            y = -(first + row)
            x = low - reach if on_left else high + reach
            ax.plot([mean, mean, x], [0, y, y], **line)
            ax.text(
                x + (-0.02 if on_left else 0.02) * (high - low), y,
                plain_text(f"{name}  {mean:.2f}" if on_left else f"{mean:.2f}  {name}", 32),
                ha="right" if on_left else "left", va="center", fontsize=small,
            )  # fmt: skip
        thick = {**line, "linewidth": 2.2, "solid_capstyle": "round"}
        for number, (start, end) in enumerate(self.ranks.groups):
            y = -(0.35 + 0.42 * number)
            margin = 0.02 * (high - low)
            ax.plot([ranks[start] - margin, ranks[end] + margin], [y, y], **thick)
        ax.set_ylim(-(first + self.left - 0.4), 1.9)

    def _difference(self, ax: Any, small: float, line: dict[str, Any]) -> None:
        if self.ranks.p >= self.ranks.alpha:
            return
        size, y = self.ranks.difference, 1.35
        ax.plot([1, 1 + size], [y, y], **line)
        for end in (1, 1 + size):
            ax.plot([end, end], [y - 0.14, y + 0.14], **line)
        ax.text(1 + size / 2, y + 0.2, f"CD = {size:.2f}", ha="center", va="bottom", fontsize=small)

    def frame(self) -> Any:
        """Return a row for each method: its mean rank, and that in each block."""
        import pandas as pd

        ranks = self.ranks
        blocks = {
            f"rank in {block}": [of[at] for of in ranks.rows]
            for at, block in enumerate(ranks.blocks)
        }
        return pd.DataFrame({"method": ranks.names, "mean rank": ranks.ranks, **blocks})
