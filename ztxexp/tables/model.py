"""What a table for a paper is: rows, columns, cells with all that is known of them, sentences.

Everything that writes a table takes a :class:`Table`, asks :func:`text_of` how a cell reads and
:func:`emphasis` how it is set, and puts ``table.footer`` below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from ztxexp.results.keys import ABSENT, codes_of
from ztxexp.tables.writing import WritableTable

Values = tuple[Any, ...]
Spread = float | tuple[float, float] | None
Kind = Literal["data", "average", "average rank", "reported"]
Place = tuple[int, int]

MEDIAN = "median[iqr]"
RANK_DECIMALS = 2


@dataclass(frozen=True)
class Test:
    """What a test says of a cell and of what it is compared with.

    Attributes:
        p: two-sided; ``None`` where there was nothing to test.
        corrected: the same after the correction for several comparisons.
        n_pairs: how many seeds both have.
        least_p: the smallest p that the test can give with so many pairs, before the correction.
        significant: whether the corrected p is below the level; ``None`` where it cannot be.
        note: why there is no p, or why it cannot become significant; else empty.
        difference: mean of the paired differences, this cell minus the other.
    """

    __test__ = False  # it is no test of pytest

    p: float | None
    corrected: float | None
    n_pairs: int
    least_p: float | None
    significant: bool | None
    note: str = ""
    difference: float | None = None


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        metric: its name.
        value: mean or median, as measured: before percent.
        spread: half the width of what stands behind ±; both quartiles of ``"median[iqr]"``;
            ``None`` where it is not known or not shown.
        n: how many values there are; of an average, how many rows.
        seeds: what was averaged over, in their order; empty where every run counts.
        values: what was measured, parallel to ``seeds``.
        runs: names of the runs' folders, parallel to ``values``.
        run_ids: their short ids.
        code: the versions of the code that made them, each once.
        code_hash: of what code they are, each once.
        marks: ``"best"``, ``"second"``, ``"separable"`` (the test cannot tell it from the best);
            ``"reference"``, the best of the runs, where there are reported values, too;
            against a baseline ``"better"``, ``"worse"``, or ``"differs"`` where nothing says what
            is the best.
        test: what the test says; ``None`` where there was none.
        kind: ``"data"``, ``"average"``, ``"average rank"`` or ``"reported"``.
    """

    metric: str
    value: float
    spread: Spread = None
    n: int = 0
    seeds: Values = ()
    values: tuple[float, ...] = ()
    runs: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    code_hash: tuple[str, ...] = ()
    marks: frozenset[str] = frozenset()
    test: Test | None = None
    kind: Kind = "data"

    @property
    def reported(self) -> bool:
        """Whether it comes from a file of reported values and not from runs."""
        return self.kind == "reported"


@dataclass(frozen=True)
class Metric:
    """A metric of a table.

    Attributes:
        name: its name.
        label: what it is called in the table.
        mode: ``"max"`` or ``"min"``, what is the best; ``None`` where nothing says it.
        source: who says so: ``"asked for"``, ``"declared"``, ``"inferred from the name"``.
        percent: whether numbers are shown times 100.
        decimals: of all numbers shown, after percent.
        exponent: whether they are written as ``1.20e-09``.
    """

    name: str
    label: str
    mode: str | None = None
    source: str | None = None
    percent: bool = False
    decimals: int = 4
    exponent: bool = False

    @property
    def arrow(self) -> str:
        """An arrow to where the best is; empty where nothing says it."""
        return {"max": "↑", "min": "↓"}.get(self.mode or "", "")

    @property
    def unit(self) -> str:
        """``"%"`` or nothing."""
        return "%" if self.percent else ""

    @property
    def title(self) -> str:
        """Label, unit and arrow, ``accuracy (%) ↑``."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.label}{unit} {self.arrow}".rstrip()

    def text(self, number: float) -> str:
        """Return a number as it is shown, without the unit."""
        number = 100 * number if self.percent else number
        if self.exponent:
            return f"{number:.{self.decimals}e}"
        text = f"{number:.{self.decimals}f}"
        return text.removeprefix("-") if not text.strip("-0.") else text


@dataclass(frozen=True)
class Row:
    """A row.

    Attributes:
        values: by key of the rows; ``ABSENT`` where runs do not have it.
        labels: what is shown of these.
        group: number of the group of rows to which it belongs, see ``Table.groups``.
        kind: what its cells are.
        metric: name of its metric in a transposed table, where the last of its labels says it.
    """

    values: Values
    labels: tuple[str, ...]
    group: int = 0
    kind: Kind = "data"
    metric: str = ""


@dataclass(frozen=True)
class Col:
    """A column.

    Attributes:
        values: by key of the columns; ``ABSENT`` where runs do not have it.
        labels: what is shown of these.
        metric: name of its metric; empty in a transposed table of several.
        kind: what its cells are.
    """

    values: Values
    labels: tuple[str, ...]
    metric: str
    kind: Kind = "data"


class CellText(NamedTuple):
    """How a cell reads.

    Attributes:
        value: the number.
        spread: what stands behind ±, or ``[0.91, 0.95]``; empty where there is none.
        n: ``n=2`` of a cell that lacks some of the seeds that others have; else empty.
        sign: ``†``, ``‡`` or ``§``, which the footer explains; else empty.
    """

    value: str
    spread: str = ""
    n: str = ""
    sign: str = ""


@dataclass(frozen=True)
class Table(WritableTable):
    """Means over seeds by two sets of keys.

    Attributes:
        metrics: what is averaged.
        over: keys that were averaged over; empty: every run counts.
        show: ``"std"``, ``"sem"``, ``"ci95"``, ``"median[iqr]"`` or ``"none"``.
        test: ``"paired-t"``, ``"permutation"``, ``"wilcoxon"``, ``"bootstrap"`` or ``None``.
        correct: ``"holm"`` or ``"none"``.
        against: ``"best"``, or the values of the baseline by key.
        highlight: ``"column"``, ``"row"``, ``"block"`` or ``"table"``: where the best is looked
            for; with ``"separable"`` all that cannot be told from it are bold.
        row_keys: keys that make the rows.
        col_keys: keys that make the columns; none: a column for each metric.
        row_titles: what the keys of the rows are called.
        col_titles: what the keys of the columns are called.
        rows: the rows, in order.
        cols: the columns, in order.
        cells: by row and column, numbered from 0; a cell that is missing is not there.
        groups: titles of the groups of rows; an empty one is shown as a line only.
        seeds: all values that were averaged over.
        footer: sentences for below the table.
        hints: lines that help whoever makes the table: what to type, what else there is.
        relabelled: texts that the user has given as labels, which may hold mathematics.
        source: what is needed to make it again, as JSON can hold it.
        alpha: the level of the test.
    """

    metrics: tuple[Metric, ...]
    over: tuple[str, ...]
    show: str
    test: str | None
    correct: str
    against: str | Mapping[str, Any]
    highlight: str
    row_keys: tuple[str, ...]
    col_keys: tuple[str, ...]
    row_titles: tuple[str, ...]
    col_titles: tuple[str, ...]
    rows: list[Row]
    cols: list[Col]
    cells: dict[Place, Cell] = field(repr=False)
    groups: tuple[str, ...] = ("",)
    seeds: Values = ()
    footer: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    relabelled: frozenset[str] = frozenset()
    source: Mapping[str, Any] = field(default_factory=dict, repr=False)
    alpha: float = 0.05

    # ---- what it holds ---------------------------------------------------------------------------

    def metric(self, name: str) -> Metric:
        """Return one of its metrics by name."""
        return next(one for one in self.metrics if one.name == name)

    @property
    def title(self) -> str:
        """The metric where there is only one; empty where columns or rows name theirs."""
        return self.metrics[0].title if len(self.metrics) == 1 else ""

    @property
    def is_even(self) -> bool:
        """Whether every cell has the same seeds."""
        return not list(self.missing())

    @cached_property
    def usual(self) -> tuple[int, str]:
        """How many values, and which seeds, most cells of runs have; else the fullest and all."""
        cells = [cell for cell in self.cells.values() if cell.kind == "data"]
        sets = Counter((cell.n, repr(cell.seeds)) for cell in cells)
        common = max(sets, key=sets.__getitem__, default=(0, ""))
        if 2 * sets[common] > len(cells):
            return common
        return max((cell.n for cell in cells), default=0), repr(self.seeds)

    def is_unusual(self, cell: Cell) -> bool:
        """Return whether a cell of runs has another number of values, or other seeds, than most."""
        return cell.kind == "data" and (cell.n, repr(cell.seeds)) != self.usual

    def keys_of(self, place: Place) -> dict[str, Any]:
        """Return the keys of a cell with their values, without those that it does not have."""
        row, col = self.rows[place[0]], self.cols[place[1]]
        row_keys = self.row_keys[:-1] if row.metric else self.row_keys
        pairs = [*zip(row_keys, row.values, strict=False)]
        pairs += [*zip(self.col_keys, col.values, strict=False)]
        return {key: value for key, value in pairs if value is not ABSENT}

    def missing(self) -> Iterator[tuple[dict[str, Any], Values]]:
        """Yield, for each cell that lacks some, its keys with values, and the seeds that it lacks.

        Of a cell without a run, all seeds are missing; where nothing is averaged over there is one
        seed, ``None``. A key that a row or column does not have is left out.
        """
        wanted = self.seeds or (None,)
        for i, row in enumerate(self.rows):
            for j, col in enumerate(self.cols):
                if row.kind != "data" or col.kind != "data":
                    continue
                cell = self.cells.get((i, j))
                there = (cell.seeds or (None,)) if cell else ()
                if there == wanted:
                    continue
                codes = codes_of([*wanted, *there])
                known = set(codes[len(wanted) :])
                lacking = tuple(
                    seed for seed, code in zip(wanted, codes, strict=False) if code not in known
                )
                if lacking:
                    yield self.keys_of((i, j)), lacking

    def mixed(self) -> Iterator[tuple[dict[str, Any], tuple[str, ...]]]:
        """Yield, for each cell of several versions of the code, its keys with values, and these."""
        for place, cell in sorted(self.cells.items()):
            if len(cell.code) > 1:
                yield self.keys_of(place), cell.code


def text_of(cell: Cell, table: Table) -> CellText:
    """Return how a cell reads: all cells of a metric with the same decimals.

    Example:
        >>> text_of(table.cells[0, 0], table)
        CellText(value='97.0', spread='0.2', n='', sign='')
    """
    if cell.kind == "average rank":
        return CellText(f"{cell.value:.{RANK_DECIMALS}f}")
    metric = table.metric(cell.metric)
    spread = ""
    if isinstance(cell.spread, tuple):
        spread = f"[{metric.text(cell.spread[0])}, {metric.text(cell.spread[1])}]"
    elif cell.spread is not None:
        spread = metric.text(cell.spread)
    n = f"n={cell.n}" if table.is_unusual(cell) else ""
    return CellText(metric.text(cell.value), spread, n, _sign(cell, table))


def _sign(cell: Cell, table: Table) -> str:
    if "worse" in cell.marks:
        return "‡"
    if (
        "reference" in cell.marks
        and "best" not in cell.marks
        and "separable" not in table.highlight
    ):
        return "§"
    alike = "separable" in cell.marks and "separable" not in table.highlight
    return "†" if alike or {"better", "differs"} & cell.marks else ""


def emphasis(cell: Cell, table: Table) -> Literal["bold", "underlined", ""]:
    """Return how a cell is set.

    Example:
        >>> emphasis(table.cells[1, 1], table)
        'bold'
    """
    likes = {"separable", "reference"} if "separable" in table.highlight else set()
    if cell.marks & {"best", *likes}:
        return "bold"
    return "underlined" if "second" in cell.marks else ""
