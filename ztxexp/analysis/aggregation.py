"""Means over seeds, with what is needed to judge them: spread, intervals, which seeds count.

One row for each group of runs whose configurations agree in some keys. What could make a mean
misleading is told in the log: runs without a number, repeated runs, other settings that are mixed
in, groups that lack seeds.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.columns import (
    ABSENT,
    Column,
    asked_for,
    codes_at,
    codes_of,
    flattened,
    vary,
    without_number,
)
from ztxexp.analysis.student import t_quantile
from ztxexp.results.columns import Objects
from ztxexp.text.format import cut, encodable, plural
from ztxexp.text.labels import label
from ztxexp_core.errors import ConfigError
from ztxexp_core.values.codec import is_number

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Floats = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]

_log = logging.getLogger("ztxexp")

INTERVAL = (
    "95 % confidence interval of the mean, by Student's t distribution with n - 1 degrees of "
    "freedom (ci95 = mean +- t * sem)"
)
_TOLD = 5  # groups, runs or values that a message names


def aggregate(
    ids: Sequence[str],
    parts: Mapping[str, Objects],
    by: Sequence[str] | None,
    over: str | None,
    metrics: Sequence[str] | None,
) -> pd.DataFrame:
    """Return statistics of metrics by group, as ``ResultAnalyzer.aggregate`` describes them.

    Args:
        ids: of the runs, for messages.
        parts: what their files say: ``config``, ``metrics``, ``run``.
        by: keys that make a group; ``None``: all that vary, but for ``over``.
        over: the key whose values are averaged over; ``None``: every run counts.
        metrics: what is averaged; ``None``: all that are numbers.

    Raises:
        ConfigError: a key or metric that no run has, or ``over`` among ``by``.
    """
    sweep = _Sweep.of(parts, by, over)
    sweep = sweep.without_repeated(ids, parts["run"])
    sweep.tell_mixed()
    measured = _measured(parts["metrics"], parts, metrics, sweep.places)
    _tell_without_numbers(measured, len(sweep.places))
    return _frame(sweep, measured)


@dataclass
class _Sweep:
    """Runs in groups.

    Attributes:
        by: the keys that make a group.
        over: the key that is averaged over.
        varying: codes of the values of every key of the configurations that varies.
        places: positions of the runs that count.
        group: for each of these the number of its group, by order of appearance.
    """

    by: list[Column]
    over: Column | None
    varying: dict[str, list[int]]
    places: list[int]
    group: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        codes = [column.codes() for column in self.by]
        known: dict[Any, int] = {}
        values = zip(*codes, strict=True) if codes else [()] * len(self.places)
        self.group = [known.setdefault(value, len(known)) for value in values]

    @classmethod
    def of(cls, parts: Mapping[str, Objects], by: Sequence[str] | None, over: str | None) -> _Sweep:
        """Sort all runs into groups."""
        config = flattened(parts["config"])
        coded = {key: codes_at(config, key) for key in _keys(config)}
        varying = {key: codes for key, codes in coded.items() if vary(codes)}
        column = None
        if over is not None:
            way_out = ", or give over=None to let every run count"
            column = asked_for(parts, over, "config", "over", way_out)
        if by is None:
            keys = [key for key in varying if column is None or not _is_below(key, column.name)]
            groups = [Column(key, config.column(key, ABSENT), config) for key in keys]
        else:
            groups = [asked_for(parts, key, "config", "by") for key in dict.fromkeys(by)]
        if column is not None and column.name in [group.name for group in groups]:
            raise ConfigError(f"{over!r} stands in by and in over; it makes groups or is averaged")
        return cls(groups, column, varying, list(range(config.size)))

    def without_repeated(self, ids: Sequence[str], run: Objects) -> _Sweep:
        """Leave out the earlier ones of runs that are the same in everything; the log names them.

        Without ``over`` every run counts.
        """
        if self.over is None or not self.places:
            return self
        other = self.over.codes()
        every = zip(self.group, other, *self.varying.values(), strict=True)
        same: dict[Any, list[int]] = {}
        for place, key in enumerate(every):
            same.setdefault(key, []).append(place)
        if len(same) == len(self.places):
            return self
        ended = _ends(run, [place for places in same.values() if places[1:] for place in places])
        latest = {max(places, key=lambda p: (ended.get(p, 0.0), p)) for places in same.values()}
        earlier = [place for place in self.places if place not in latest]
        _log.warning(
            "aggregate: left out %s, since a later one of the same configuration succeeded too: %s",
            plural(len(earlier), "run"),
            _listed([ids[place] for place in earlier]),
        )
        return self._only(sorted(latest))

    def _only(self, kept: list[int]) -> _Sweep:
        def only(cells: list[Any]) -> list[Any]:
            return [cells[place] for place in kept]

        return _Sweep(
            [Column(column.name, only(column.cells)) for column in self.by],
            None if self.over is None else Column(self.over.name, only(self.over.cells)),
            {key: only(codes) for key, codes in self.varying.items()},
            kept,
        )

    def tell_mixed(self) -> None:
        """Log which keys differ within a group although they make none and are not ``over``."""
        if self.over is None:
            return
        groups = len(set(self.group))
        mixed = [
            key
            for key, codes in self.varying.items()
            if not _is_below(key, self.over.name)
            and len(set(zip(self.group, codes, strict=True))) > groups
        ]
        if mixed:
            _log.warning(
                "aggregate: runs of one group differ in %s, so the means are over mixed settings; "
                "add to by what should make groups of its own",
                ", ".join(map(repr, mixed)),
            )

    def firsts(self) -> list[int]:
        """Return for each group, in the order of its values, which of the runs comes first."""
        first: dict[int, int] = {}
        for place, group in enumerate(self.group):
            first.setdefault(group, place)
        places = list(first.values())
        columns = [[column.cells[place] for place in places] for column in self.by]
        ranked = [list(map(_rank, cells, codes_of(cells))) for cells in columns]
        ranks = [*zip(*ranked, strict=True)] if ranked else [()] * len(places)
        return [place for _, place in sorted(zip(ranks, places, strict=True))]


def _rank(value: Any, code: int) -> tuple[int, Any]:
    """Return what values of any kinds are sorted by: numbers, texts, others as they come, none."""
    if is_number(value) and value == value:
        return 0, value
    if isinstance(value, (str, bool)):
        return (1, value) if isinstance(value, bool) else (2, value)
    return (4, 0) if value is None or value is ABSENT else (3, code)


def _keys(objects: Objects) -> list[str]:
    return list(dict.fromkeys(key for keys in objects.keys()[0] for key in keys))


def _is_below(key: str, other: str) -> bool:
    return key == other or key.startswith(f"{other}.")


def _ends(run: Objects, places: Iterable[int]) -> dict[int, float]:
    """Return when runs ended (or began, where that is all they say), as far as they say it."""
    ends, starts, found = run.column("finished_at"), run.column("started_at"), {}
    for place in places:
        for text in (ends[place], starts[place]):
            try:
                when = datetime.fromisoformat(text)
                if when.tzinfo is None:
                    when = when.replace(tzinfo=timezone.utc)
                found[place] = when.timestamp()
                break
            except (TypeError, ValueError, OverflowError):
                continue
    return found


# ---- numbers ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Measured:
    """A metric of the runs that count, NaN where it is no number."""

    name: str
    values: Floats
    cells: list[Any]


def _measured(
    own: Objects, parts: Mapping[str, Objects], asked: Sequence[str] | None, places: list[int]
) -> list[_Measured]:
    import numpy as np

    if asked is None:
        flat = flattened(own)
        columns = [Column(key, flat.column(key, ABSENT)) for key in _keys(flat)]
    else:
        columns = [asked_for(parts, key, "metrics", "metrics") for key in dict.fromkeys(asked)]
    found = []
    for column in columns:
        cells = [column.cells[place] for place in places] if column.cells else []
        if asked is None and not any(map(is_number, cells)):
            continue
        values = np.array([_float(cell) for cell in cells], dtype=np.float64)
        found.append(_Measured(column.name, values, cells))
    return found


def _float(cell: Any) -> float:
    if not is_number(cell):
        return math.nan
    try:
        return float(cell)
    except OverflowError:  # an integer that no float holds
        return math.inf if cell > 0 else -math.inf


def _tell_without_numbers(measured: Iterable[_Measured], size: int) -> None:
    lacking = {each.name: without_number(each.cells) for each in measured}
    told = [f"{name!r} lacks {text}" for name, text in lacking.items() if text]
    if told:
        _log.warning(
            "aggregate: means are not over all %s: %s", plural(size, "run"), "; ".join(told)
        )


def _statistics(values: Floats, group: Integers, groups: int) -> dict[str, npt.NDArray[Any]]:
    """Return number, mean, spread and interval of the numbers in each group.

    Mean and standard deviation (n - 1 in the denominator) are found in two passes from how far the
    values are away from one of their group: nothing cancels out, and equal ones have no spread.
    """
    import numpy as np

    there = ~np.isnan(values)
    values, group = values[there], group[there]
    n = np.bincount(group, minlength=groups)

    def sums(of: Floats) -> Floats:
        return np.asarray(np.bincount(group, weights=of, minlength=groups), dtype=np.float64)

    with np.errstate(all="ignore"):  # infinities; groups of one or of none
        shift = np.zeros(groups)
        shift[group[::-1]] = np.where(np.isfinite(values), values, 0.0)[::-1]  # the first of each
        away = values - shift[group]
        mean_away = sums(away) / n
        mean: Floats = np.where(n > 0, shift + mean_away, np.nan)
        squares = sums((away - mean_away[group]) ** 2)
        std = np.where(n > 1, np.sqrt(squares / (n - 1)), np.nan)
        sem = std / np.sqrt(n)
        half = sem * np.array([t_quantile(int(k) - 1) if k > 1 else np.nan for k in n])
    return {
        "mean": mean, "std": std, "sem": sem,
        "ci95_low": mean - half, "ci95_high": mean + half, "n": n,
    }  # fmt: skip


# ---- the frame -------------------------------------------------------------------------------


def _frame(sweep: _Sweep, measured: Sequence[_Measured]) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    firsts = sweep.firsts()
    number_of = {sweep.group[place]: number for number, place in enumerate(firsts)}
    group = np.array([number_of[g] for g in sweep.group], dtype=np.int64)
    counted = _counted(sweep, group, firsts)
    statistics = {
        f"{each.name}_{word}": values
        for each in measured
        for word, values in _statistics(each.values, group, len(firsts)).items()
    }
    taken = {**counted, **statistics}
    columns: dict[str, Any] = {}
    for column in sweep.by:
        name = f"config.{column.name}" if column.name in taken else column.name
        columns[encodable(name)] = _series([column.cells[place] for place in firsts])
    columns.update({encodable(name): values for name, values in taken.items()})
    frame: pd.DataFrame = pd.DataFrame(columns, index=pd.RangeIndex(len(firsts)))
    frame.attrs["interval"] = INTERVAL
    return frame


def _series(cells: Sequence[Any]) -> pd.Series[Any]:
    import pandas as pd

    shown = [math.nan if cell is ABSENT else encodable(cell) for cell in cells]
    series: pd.Series[Any] = pd.Series(shown, dtype=None if shown else object)
    return series


def _counted(sweep: _Sweep, group: Integers, firsts: Sequence[int]) -> dict[str, Any]:
    """Return the columns that say of which runs a group consists."""
    import numpy as np
    import pandas as pd

    if sweep.over is None:
        return {"n_runs": np.bincount(group, minlength=len(firsts))}
    word = f"{sweep.over.name.rpartition('.')[2]}s"
    cells = [None if cell is ABSENT else cell for cell in sweep.over.cells]
    codes = codes_of(cells)
    value_of = dict(zip(codes, cells, strict=True))
    in_order = sorted(value_of, key=lambda code: _rank(value_of[code], code))
    rank_of = {code: rank for rank, code in enumerate(in_order)}
    values = [_shown(value_of[code]) for code in in_order]
    sets: list[set[int]] = [set() for _ in firsts]
    for number, code in zip(group.tolist(), codes, strict=True):
        sets[number].add(rank_of[code])
    differs = _different(sets)
    shown = [tuple([values[rank] for rank in sorted(ranks)]) for ranks in sets]
    if any(differs):
        _tell_different(sweep, firsts, word, shown, differs)
    return {
        f"n_{word}": np.array([len(ranks) for ranks in sets], dtype=np.int64),
        word: pd.Series(shown, dtype=object),
        f"{word}_differ": np.array(differs, dtype=bool),
    }


def _shown(value: Any) -> Any:
    return None if value is ABSENT else encodable(value)


def _different(sets: Sequence[set[int]]) -> list[bool]:
    """Tell which sets are not the fullest; of several as full the most frequent one counts."""
    if not sets:
        return []
    most = max(map(len, sets))
    full = Counter(frozenset(codes) for codes in sets if len(codes) == most)
    fullest = full.most_common(1)[0][0]
    return [codes != fullest for codes in sets]


def _tell_different(
    sweep: _Sweep,
    firsts: Sequence[int],
    word: str,
    shown: Sequence[tuple[Any, ...]],
    differs: Sequence[bool],
) -> None:
    fullest = next(values for values, differ in zip(shown, differs, strict=True) if not differ)
    told: list[str] = []
    for place, values, differ in zip(firsts, shown, differs, strict=True):
        if differ and len(told) < _TOLD:
            lacking = [value for value in fullest if value not in values]
            further = [value for value in values if value not in fullest]
            words = [f"lacks {_listed(lacking)}"] * bool(lacking)
            words += [f"has {_listed(further)} besides"] * bool(further)
            config = {c.name: _shown(c.cells[place]) for c in sweep.by}
            told.append(f"{label(config, width=60) or 'all runs'} {' and '.join(words)}")
    _log.warning(
        "aggregate: %d of %d groups do not have the %s of the fullest one (%s), so their means "
        "are not over the same: %s",
        sum(differs),
        len(differs),
        word,
        _listed(fullest),
        "; ".join(told) + ("; ..." if sum(differs) > len(told) else ""),
    )


def _listed(values: Sequence[Any]) -> str:
    text = ", ".join(cut(str(value), 60) for value in values[: 2 * _TOLD])
    return f"{text}, ..." if len(values) > 2 * _TOLD else text
