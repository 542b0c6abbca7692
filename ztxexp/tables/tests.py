"""Tests between cells, paired by seed: what they say, and what they cannot say with so few seeds.

All are two-sided. The numbers are scipy's, but for Holm's correction.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ztxexp.analysis.labels import place_of
from ztxexp.results.keys import ABSENT, codes_of
from ztxexp.tables.marks import best_of, scopes, with_mark
from ztxexp.tables.model import Cell, Place, Table, Test
from ztxexp.text.wording import either
from ztxexp_core.errors import ConfigError, ZtxexpError

EXACT_PAIRS = 12  # up to so many pairs all 2**n changes of signs are counted
RESAMPLES = 9999
_DIGITS = 14  # of differences: what is beyond is noise of floats, and would break ties


class Outcome(NamedTuple):
    """What a test says.

    Attributes:
        p: two-sided; ``None`` where it does not apply.
        least: the smallest p that it can give with so many pairs.
        note: why it does not apply.
    """

    p: float | None
    least: float | None
    note: str = ""


def need_scipy(test: str | None) -> None:
    """Refuse a test where scipy is missing.

    Raises:
        ZtxexpError: it is.
    """
    from importlib.util import find_spec

    if test is not None and find_spec("scipy") is None:
        raise ZtxexpError(f'the {test} test needs scipy: pip install "ztxexp[stats]"')


# ---- one pair of cells -------------------------------------------------------------------------


def differences(one: Cell, other: Cell) -> tuple[list[float], str]:
    """Return the differences of two cells, seed by seed, and why there are none to be tested.

    Only seeds that both have count, whatever their order.

    Example:
        >>> differences(Cell("a", 2, seeds=(0, 1), values=(1, 3)),
        ...             Cell("a", 1, seeds=(2, 1, 0), values=(9, 2, 1)))
        ([0.0, 1.0], '')
    """
    codes = codes_of([*one.seeds, *other.seeds])
    mine, its = codes[: len(one.seeds)], codes[len(one.seeds) :]
    if len(set(mine)) < len(mine) or len(set(its)) < len(its):
        return [], "a seed stands there several times, so there are no pairs"
    value_of = dict(zip(its, other.values, strict=True))
    pairs = [
        (value, value_of[code])
        for seed, code, value in zip(one.seeds, mine, one.values, strict=True)
        if code in value_of and not _lacks(seed)
    ]
    if len(pairs) < 2:
        shared = f"{len(pairs)} shared seed{'' if len(pairs) == 1 else 's'}"
        return [], f"{shared}, fewer than the 2 that a test needs"
    scale = max(max(map(abs, pair)) for pair in pairs)
    if not scale:
        return [0.0] * len(pairs), ""
    return [round(a / scale - b / scale, _DIGITS) * scale for a, b in pairs], ""


def _lacks(seed: Any) -> bool:
    """Return whether a run has no seed, or lacks a part of it."""
    parts = seed if isinstance(seed, tuple) else (seed,)
    return any(part is None or part is ABSENT for part in parts)


def outcome(test: str, values: Sequence[float]) -> Outcome:
    """Return what a test says of paired differences, at least two of them.

    Example:
        >>> outcome("wilcoxon", [0.1, 0.2, 0.3, 0.4, 0.5])
        Outcome(p=0.0625, least=0.0625, note='')
    """
    return _TESTS[test](values)


def _paired_t(values: Sequence[float]) -> Outcome:
    if len(set(values)) == 1:
        if values[0]:
            return Outcome(None, 0.0, "all differences are the same, so a t-test does not apply")
        return Outcome(1.0, 0.0)
    from scipy import stats

    return Outcome(float(stats.ttest_1samp(values, 0.0).pvalue), 0.0)


def _permutation(values: Sequence[float]) -> Outcome:
    return Outcome(_by_signs(values), _least_by_signs(len(values)))


def _wilcoxon(values: Sequence[float]) -> Outcome:
    """Test ranks; pairs without a difference do not count, ties get the mean of their ranks."""
    other = [value for value in values if value]
    if not other:
        return Outcome(1.0, 1.0)
    least = _least_by_signs(len(other))
    sizes = list(map(abs, other))
    from scipy import stats

    if len(set(sizes)) == len(sizes) and len(sizes) <= 50:
        return Outcome(float(stats.wilcoxon(other, method="exact").pvalue), 2.0 / 2 ** len(other))
    ranks = stats.rankdata(sizes)
    signed = [math.copysign(rank, value) for rank, value in zip(ranks, other, strict=True)]
    return Outcome(_by_signs(signed), least)


def _bootstrap(values: Sequence[float]) -> Outcome:
    """Test whether a percentile bootstrap of the mean difference covers 0.

    With few pairs its intervals are too narrow: p is at least what changes of signs could give.
    """
    least = max(2.0 / 2 ** len(values), 2.0 / (RESAMPLES + 1))
    if len(set(values)) == 1:
        return Outcome(least if values[0] else 1.0, least)
    import numpy as np
    from scipy import stats

    drawn = stats.bootstrap(
        (np.asarray(values),), np.mean, n_resamples=RESAMPLES, method="percentile", random_state=0
    ).bootstrap_distribution
    fewer = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Outcome(min(1.0, max(2 * (fewer + 1) / (RESAMPLES + 1), least)), least)


def _by_signs(values: Sequence[float]) -> float:
    """Return p by changes of the signs: all of them, or where there are many a drawn part."""
    import numpy as np
    from scipy import stats

    exact = len(values) <= EXACT_PAIRS
    result = stats.permutation_test(
        (np.asarray(values),),
        _mean,
        permutation_type="samples",
        n_resamples=2**EXACT_PAIRS if exact else RESAMPLES,
        vectorized=True,
        random_state=0,
    )
    return float(result.pvalue)


def _mean(values: Any, axis: int = -1) -> Any:
    return values.mean(axis=axis)


def _least_by_signs(n: int) -> float:
    least = 2.0 / float(2**n)
    return least if n <= EXACT_PAIRS else max(least, 2.0 / (RESAMPLES + 1))


_TESTS: dict[str, Callable[[Sequence[float]], Outcome]] = {
    "paired-t": _paired_t,
    "permutation": _permutation,
    "wilcoxon": _wilcoxon,
    "bootstrap": _bootstrap,
}


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values corrected by Holm's step-down method, in their order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected, highest = [0.0] * len(ps), 0.0
    for step, at in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min(1.0, (len(ps) - step) * ps[at]))
        corrected[at] = highest
    return corrected


# ---- a whole table -----------------------------------------------------------------------------


def tested(table: Table) -> Table:
    """Return a table whose cells say what the test says, with marks.

    The correction is over all comparisons of the table.

    Raises:
        ConfigError: there is nothing to pair, no cell is the baseline, or nothing says what is the
            best.
        ZtxexpError: scipy is missing.
    """
    if table.test is None:
        return table
    need_scipy(table.test)
    if not table.over:
        every = either("over=", "--over")
        raise ConfigError(f"a test pairs runs by seed, but every run counts here; give {every}")
    outcomes: dict[Place, tuple[Outcome, list[float]]] = {}
    references: set[Place] = set()
    for place, reference in _comparisons(table):
        references.add(reference)
        values, why = differences(table.cells[place], table.cells[reference])
        result = outcome(table.test, values) if values else Outcome(None, None, why)
        outcomes[place] = result, values
    judged = _judged(table, outcomes)
    cells = dict(table.cells)
    for place, test in judged.items():
        cell = dataclasses.replace(cells[place], test=test)
        mark = _mark(table, cell, test)
        cells[place] = with_mark(cell, mark) if mark else cell
    if isinstance(table.against, str) and any(cell.reported for cell in cells.values()):
        # what is bold may be a reported value, with which nothing is compared
        cells |= {place: with_mark(cells[place], "reference") for place in references}
    return dataclasses.replace(table, cells=cells)


def _comparisons(table: Table) -> Iterator[tuple[Place, Place]]:
    """Yield each cell that is tested, and with which one it is compared."""
    own = {at: cell for at, cell in table.cells.items() if cell.kind == "data"}
    if isinstance(table.against, str):
        for places in scopes(table, own):
            best = best_of(table, places, own)
            if best is None:
                name = own[places[0]].metric
                mode = either("mode='max' or mode='min'", "--max or --min")
                raise ConfigError(f"nothing says what is the best of {name!r}; give {mode}")
            yield from ((place, best) for place in places if place != best)
        return
    baselines = _baselines(table, table.against)
    for place in own:
        reference = baselines.get(place)
        if reference is not None and reference != place and reference in own:
            yield place, reference


def _baselines(table: Table, against: Mapping[str, Any]) -> dict[Place, Place]:
    """Return for each place that of its baseline: with the values asked for, else the same.

    Raises:
        ConfigError: a key that makes neither rows nor columns, or no row or column is the baseline.
    """
    keys = [*table.row_keys, *table.col_keys]
    for key in against:
        if key not in keys:
            raise ConfigError(
                f"against: {key!r} makes neither rows nor columns; known: {', '.join(keys)}"
            )
    rows = [row.values if row.kind == "data" else None for row in table.rows]
    cols = [(*col.values, col.metric) if col.kind == "data" else None for col in table.cols]
    row_of = _replaced(rows, table.row_keys, against)
    col_of = _replaced(cols, (*table.col_keys, ""), against)
    if not row_of or not col_of:
        asked = ", ".join(f"{key}={value}" for key, value in against.items())
        raise ConfigError(f"against: no row or column of the table is {asked}")
    return {(i, j): (row_of[i], col_of[j]) for i in row_of for j in col_of}


def _replaced(
    lines: Sequence[tuple[Any, ...] | None], keys: Sequence[str], against: Mapping[str, Any]
) -> dict[int, int]:
    """Return for each line the one with some values replaced, as far as it is there."""
    there = [(at, line) for at, line in enumerate(lines) if line is not None]
    codes = [codes_of([line[column] for _, line in there]) for column in range(len(keys))]
    wanted: dict[int, int | None] = {}
    for column, key in enumerate(keys):
        if key in against:
            first = place_of(against[key], [line[column] for _, line in there])
            wanted[column] = None if first is None else codes[column][first]
    combined = list(zip(*codes, strict=True)) if codes else [()] * len(there)
    number = {code: at for at, code in enumerate(combined)}
    found = {}
    for place, code in enumerate(combined):
        target = tuple(wanted.get(column, one) for column, one in enumerate(code))
        if target in number:
            found[there[place][0]] = there[number[target]][0]
    return found


def _judged(
    table: Table, outcomes: Mapping[Place, tuple[Outcome, list[float]]]
) -> dict[Place, Test]:
    """Return the tests with corrected p, and with what they cannot show."""
    places = [place for place, (one, _) in outcomes.items() if one.p is not None]
    ps = [outcomes[place][0].p or 0.0 for place in places]
    corrected = dict(zip(places, holm(ps) if table.correct == "holm" else ps, strict=True))
    leasts = [outcomes[place][0].least or 0.0 for place in places]
    family = len(places) if table.correct == "holm" else 1
    hopeless = bool(places) and min(leasts) * family >= table.alpha
    judged = {}
    for place, (one, values) in outcomes.items():
        significant: bool | None = None
        note = one.note
        if place in corrected:
            least = one.least or 0.0
            if hopeless or least >= table.alpha:
                note = f"with {len(values)} pairs p is {p_text(least)} at best"
                if least < table.alpha:
                    note += f", {p_text(min(1.0, least * family))} after Holm over {family}"
            else:
                significant = corrected[place] < table.alpha
        mean = sum(values) / len(values) if values else None
        judged[place] = Test(
            one.p, corrected.get(place), len(values), one.least, significant, note, mean
        )
    return judged


def _mark(table: Table, cell: Cell, test: Test) -> str:
    if test.p is None:
        return ""
    if isinstance(table.against, str):
        return "" if test.significant else "separable"
    mode = table.metric(cell.metric).mode
    if not test.significant or not test.difference:
        return ""
    if mode is None:
        return "differs"
    return "better" if (test.difference > 0) == (mode == "max") else "worse"


def p_text(p: float) -> str:
    """Return a p value for people.

    Example:
        >>> p_text(0.0625), p_text(0.03906), p_text(0.00001)
        ('0.0625', '0.039', '< 0.0001')
    """
    if p < 0.0001:
        return "< 0.0001"
    text = f"{p:.3f}" if p >= 0.001 else f"{p:.4f}"
    exact = f"{p:.4f}".rstrip("0")
    return exact if len(exact) == 6 and abs(float(exact) - p) < 1e-12 else text
