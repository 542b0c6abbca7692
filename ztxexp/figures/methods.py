"""The methods of ``ResultAnalyzer`` that draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ztxexp.results.arguments import Labels, Statuses, as_list, checked_filters
from ztxexp_core.errors import ZtxexpError
from ztxexp_core.records import RUN_STATUS_SUCCEEDED

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ztxexp.analysis.run_table import RunTable
    from ztxexp.figures.colours import Palette
    from ztxexp.figures.plot import Plot

Keys = str | Sequence[str]
Mode = Literal["max", "min", ""]
Look = str | Mapping[str, Any] | None
_SUCCEEDED: Statuses = (RUN_STATUS_SUCCEEDED,)


class FigureFilters(Labels, total=False):
    """Which runs a figure is of, see :class:`FigureMethods`."""

    where: str | None
    code: str | None
    function: str | None
    statuses: Statuses


class FigureMethods:
    """Part of ``ResultAnalyzer``; needs matplotlib (``pip install "ztxexp[plot]"``).

    All figures take filters as keywords: ``where``, a condition such as ``"lr < 0.1 and model ==
    'mlp'"``; ``code``, a version (``"latest"``, ``"v1"``, a piece of its hash); ``function``;
    ``statuses``, by default those that succeeded, ``None``: all; ``experiment_name``, ``group`` and
    ``tags``. They return a :class:`ztxexp.figures.plot.Plot` with
    ``.fig``, ``.ax``, ``.data``, ``.caption`` and ``.save()``. Nothing of matplotlib's global state
    is changed. A value has the same colour in all figures of an analyzer.

    Attributes:
        results_path: the absolute path of the results root.
    """

    results_path: Path

    @cached_property
    def _palette(self) -> Palette:
        from ztxexp.figures.colours import Palette

        return Palette()

    def curves(
        self,
        metric: str,
        by: Keys | None = None,
        *,
        over: Keys | None = None,
        band: Literal["std", "sem", "ci95", "minmax", "none"] = "std",
        raw: bool = False,
        logx: bool = False,
        logy: bool = False,
        smooth: float = 0.0,
        mode: Mode = "",
        ax: Any = None,
        style: Look = None,
        width: str | float | None = None,
        **filters: Unpack[FigureFilters],
    ) -> Plot:
        """Draw a metric by step: the mean over seeds with a band, a line for each setting.

        Nothing is interpolated and, unless it is asked for, nothing is smoothed. The band stands
        only where all seeds of a line have a value; where fewer have, the line is faded and n is
        written there. Steps in between that some seeds lack are left out, and the caption says so.
        Of more than 8 lines the best 8 have a colour, the others are grey. (Since 2.0.)

        Args:
            metric: its name; ``"valid/loss"`` for that of another split than ``train``.
            by: keys of the configuration, a line for each of their values; ``None``: all that vary
                but for ``over``.
            over: keys whose values are averaged over; ``None``: those of seeds; ``[]``: every run
                of a line counts.
            band: standard deviation, standard error, 95 % confidence interval of the mean by
                Student's t, smallest and largest, or none.
            raw: draw single runs, too, thin behind the mean.
            logx: logarithmic steps.
            logy: logarithmic values.
            smooth: the weight of an exponential moving average, 0 to below 1; axis and caption say
                it.
            mode: ``"max"`` or ``"min"``, what is the best; left out it is declared or inferred.
            ax: axes to draw into; by default a figure is made.
            style: a venue (``"neurips"``, ``"icml"``, ...), the name of a bundle of tueplots
                (``"icml2024"``), rcParams that count besides, or ``"rcparams"``.
            width: ``"column"``, ``"text"``, ``"full"`` or inches.
            **filters: see :class:`FigureMethods`.

        Returns:
            The figure; ``.data`` has a row for each line and step: ``mean``, ``low``, ``high``,
            ``n``, ``complete``.

        Raises:
            ZtxexpError: no run has logged the metric, or matplotlib is missing.
            ConfigError: an argument that makes no sense.

        Example:
            >>> curves = ResultAnalyzer("./results").curves("accuracy", by="lr", band="ci95")
            >>> curves.save("fig.pdf", style="neurips")
        """
        from ztxexp.figures.curves import curves_plot

        return curves_plot(
            self._runs(filters, None, ax),
            metric,
            _keys(by, "by"),
            _keys(over, "over"),
            band,
            raw,
            logx,
            logy,
            smooth,
            mode,
            self._palette,
            ax,
            style,
            width,
        )

    def _runs(self, filters: Any, at: str | int | float | None, ax: Any) -> RunTable:
        """Return the runs that are drawn; matplotlib is looked for first."""
        from ztxexp.analysis.choosing import chosen_runs
        from ztxexp.figures.plot import check_axes

        check_axes(ax)
        given: dict[str, Any] = {"statuses": _SUCCEEDED}
        given |= checked_filters(filters, FigureFilters)
        if "experiment_name" in given:
            given["experiment"] = given.pop("experiment_name")
        if isinstance(given.get("tags"), Mapping):
            given["tags"] = [f"{key}={value}" for key, value in given["tags"].items()]
        table = chosen_runs(self.results_path, **given, at=None if at is None else str(at))
        if not len(table):
            count = len(table.names)
            passes = f"none of its {count} runs passes the filters" if count else "it has no runs"
            raise ZtxexpError(f"nothing to draw from {self.results_path}: {passes}")
        return table


def _keys(keys: Keys | None, argument: str) -> list[str] | None:
    return None if keys is None else as_list(keys, argument)
