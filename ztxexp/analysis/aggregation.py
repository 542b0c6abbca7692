"""Means over seeds as a frame, with what is needed to judge them: spread, intervals, the seeds.

One row for each group of runs whose configurations agree in some keys.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.grouping import Groups, as_float, grouped
from ztxexp.results.arguments import as_list
from ztxexp.results.index import no_garbage_collection
from ztxexp.results.keys import ABSENT
from ztxexp.results.selection import Selection, read_runs
from ztxexp.text.format import encodable

if TYPE_CHECKING:
    import pandas as pd

INTERVAL = (
    "95 % confidence interval of the mean, by Student's t distribution with n - 1 degrees of "
    "freedom (ci95 = mean +- t * sem)"
)


@no_garbage_collection()
def aggregate(
    selection: Selection,
    by: str | Sequence[str] | None = None,
    over: str | Sequence[str] | None = "seed",
    metrics: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return statistics of metrics by group, see ``ResultAnalyzer.aggregate``."""
    keys = None if by is None else as_list(by, "by")
    asked = None if metrics is None else as_list(metrics, "metrics")
    return frame_of(grouped(read_runs(selection), keys, over, asked))


# ---- numbers ---------------------------------------------------------------------------------


def _statistics(cells: list[Any], group: pd.Series[int]) -> dict[str, pd.Series[Any]]:
    """Return number, mean, spread and interval of the numbers in each group.

    Deviations from the group's first value avoid cancellation: equal values have no spread.
    """
    import numpy as np
    import pandas as pd

    values = pd.Series([as_float(cell) for cell in cells], dtype=np.float64)
    with np.errstate(all="ignore"):  # infinities; groups of one or of none
        finite = values.where(np.isfinite(values)).groupby(group)
        deviation = (values - finite.transform("first").fillna(0.0)).groupby(group)
        n, std = deviation.count(), deviation.std()
        mean = deviation.mean() + finite.first().fillna(0.0)
        sem = std / np.sqrt(n)
        half = sem * [t_95(k - 1) if k > 1 else math.nan for k in n]
    return {
        "mean": mean, "std": std, "sem": sem,
        "ci95_low": mean - half, "ci95_high": mean + half, "n": n,
    }  # fmt: skip


# ---- the frame -------------------------------------------------------------------------------


def frame_of(groups: Groups) -> pd.DataFrame:
    """Return statistics of the metrics of runs in groups, see ``ResultAnalyzer.aggregate``."""
    import pandas as pd

    calculated = _counted(groups)
    rows = pd.Series(groups.rows, dtype="int64")
    for metric, cells in groups.measured.items():
        for word, values in _statistics(cells, rows).items():
            calculated[f"{metric}_{word}"] = values
    frame: dict[str, Any] = {}
    for name, cells in groups.keys.items():
        shown = [math.nan if cell is ABSENT else encodable(cell) for cell in cells]
        name = f"config.{name}" if name in calculated else name
        frame[encodable(name)] = pd.Series(shown, dtype=None if shown else object)
    frame.update({encodable(name): values for name, values in calculated.items()})
    means: pd.DataFrame = pd.DataFrame(frame, index=pd.RangeIndex(groups.size))
    means.attrs["interval"] = INTERVAL
    return means


def _counted(groups: Groups) -> dict[str, Any]:
    """Return the columns that describe the runs of each group."""
    import numpy as np
    import pandas as pd

    if groups.seeds is None:
        rows = np.array(groups.rows, dtype=np.int64)
        return {"n_runs": np.bincount(rows, minlength=groups.size)}
    word = groups.seeds.name
    return {
        f"n_{word}": np.array(list(map(len, groups.seed_sets)), dtype=np.int64),
        word: pd.Series(groups.seed_sets, dtype=object),
        f"{word}_differ": np.array(groups.differ, dtype=bool),
    }


# ---- Student's t: scipy would be 35 MB for one number ----------------------------------------

# For 1 to 10 degrees of freedom, as scipy.stats.t.ppf(0.975, n) gives them.
_EXACT = (
    12.706204736174694, 4.302652729749462, 3.1824463052837078, 2.7764451051977934,
    2.5705818356363146, 2.4469118511449786, 2.364624251592784, 2.306004135204166,
    2.262157162798205, 2.228138851986274,
)  # fmt: skip
_NORMAL = 1.959963984540054  # what they tend to


def t_95(freedom: int) -> float:
    """Return the t for which 95 % of Student's distribution lies between -t and t.

    Beyond 10 degrees of freedom it is the expansion 26.7.5 of Abramowitz and Stegun, Handbook of
    Mathematical Functions, whose error is at most 3 in a million there.

    Example:
        >>> round(t_95(4), 4)
        2.7764
    """
    if freedom <= len(_EXACT):
        return _EXACT[freedom - 1]
    x = _NORMAL
    g1 = (x**3 + x) / 4
    g2 = (5 * x**5 + 16 * x**3 + 3 * x) / 96
    g3 = (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384
    g4 = (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160
    return x + g1 / freedom + g2 / freedom**2 + g3 / freedom**3 + g4 / freedom**4
