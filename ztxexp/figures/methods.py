"""The methods of ``ResultAnalyzer`` that draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ztxexp.figures.basics import Keys, Look, Mode, keys_of
from ztxexp.figures.effect_methods import EffectMethods
from ztxexp.results.arguments import as_list

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ztxexp.figures.basics import BarFilters, FigureFilters
    from ztxexp.figures.plot import Plot


class FigureMethods(EffectMethods):
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
        labels: Mapping[Any, Any] | None = None,
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
            labels: what keys, values (``"model=mlp"``) and metrics are called, as in a table;
                ``$...$`` is mathematics.
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
        from ztxexp.figures.words import called

        with called(labels):
            return curves_plot(
                self._runs(filters, None, ax),
                metric,
                keys_of(by, "by"),
                keys_of(over, "over"),
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

    def bars(
        self,
        metric: str,
        by: Keys | None = None,
        group: Keys = (),
        *,
        over: Keys | None = None,
        show: Literal["ci95", "std", "sem", "minmax", "none"] = "ci95",
        raw: bool = False,
        zero: bool = True,
        mode: Mode = "",
        labels: Mapping[Any, Any] | None = None,
        at: str | int | float | None = None,
        ax: Any = None,
        style: Look = None,
        width: str | float | None = None,
        **filters: Unpack[BarFilters],
    ) -> Plot:
        """Draw the mean of a metric over seeds as bars with intervals. (Since 2.0.)

        Args:
            metric: its key.
            by: keys that make the places of the axis; ``None``: all that vary but for ``over`` and
                ``group``.
            group: keys whose values stand side by side at each place, at most 8, with colours.
            over: keys whose values are averaged over; ``None``: those of seeds; ``[]``: every run
                of a bar counts.
            show: what intervals are: 95 % confidence interval of the mean by Student's t, standard
                deviation, standard error, smallest and largest, or none.
            raw: draw single runs as dots.
            zero: begin the axis at zero; without it means are dots, since bars that begin elsewhere
                mislead.
            mode: ``"max"`` or ``"min"``, what is the best.
            labels: what keys, values (``"model=mlp"``) and metrics are called, as in a table;
                ``$...$`` is mathematics.
            at: which value of a curve counts: ``"last"``, ``"best"``, ``"best:METRIC"`` or a step.
            ax: axes to draw into; by default a figure is made.
            style: as of :meth:`curves`.
            width: as of :meth:`curves`.
            **filters: see :class:`FigureMethods`; a group of launches is chosen by
                ``where="run.group == 'name'"``.

        Returns:
            The figure; ``.data`` has a row for each bar: ``mean``, ``low``, ``high``, ``n``.

        Raises:
            ZtxexpError: no run has a finite number, or matplotlib is missing.
            ConfigError: an argument that makes no sense, or more bars than can be read.

        Example:
            >>> bars = ResultAnalyzer("./results").bars("accuracy", by="dataset", group="model")
            >>> bars.save("bars.pdf", style="icml")
        """
        from ztxexp.figures.bars import bars_plot
        from ztxexp.figures.words import called

        with called(labels):
            return bars_plot(
                self._runs(filters, at, ax),
                metric,
                keys_of(by, "by"),
                as_list(group, "group"),
                keys_of(over, "over"),
                show,
                raw,
                zero,
                mode,
                self._palette,
                ax,
                style,
                width,
            )

    def scatter(
        self,
        key: str,
        metric: str,
        *,
        color: str | None = None,
        over: Keys | None = (),
        logx: bool = False,
        logy: bool = False,
        mode: Mode = "",
        labels: Mapping[Any, Any] | None = None,
        at: str | int | float | None = None,
        ax: Any = None,
        style: Look = None,
        width: str | float | None = None,
        **filters: Unpack[FigureFilters],
    ) -> Plot:
        """Draw a metric against a parameter, a dot for each run. (Since 2.0.)

        Args:
            key: a key of the configuration, a metric, or ``"run.duration_sec"`` and the like;
                values that are no numbers stand side by side.
            metric: its key.
            color: a key for colours: of at most 8 values a legend, of more numbers a scale.
            over: keys whose values are averaged over, ``"seed"``: then a dot is a setting, with its
                standard deviation; by default each run is a dot.
            logx: logarithmic x.
            logy: logarithmic y.
            mode: ``"max"`` or ``"min"``, what is the best.
            labels: what keys, values (``"model=mlp"``) and metrics are called, as in a table;
                ``$...$`` is mathematics.
            at: which value of a curve counts: ``"last"``, ``"best"``, ``"best:METRIC"`` or a step.
            ax: axes to draw into; by default a figure is made.
            style: as of :meth:`curves`.
            width: as of :meth:`curves`.
            **filters: see :class:`FigureMethods`.

        Returns:
            The figure; ``.data`` has a row for each dot.

        Raises:
            ZtxexpError: no run has a finite number, or matplotlib is missing.
            ConfigError: an argument that makes no sense.

        Example:
            >>> ResultAnalyzer("./results").scatter("lr", "accuracy", color="hidden", logx=True)
        """
        from ztxexp.figures.scatter import scatter_plot
        from ztxexp.figures.words import called

        with called(labels):
            return scatter_plot(
                self._runs(filters, at, ax),
                key,
                metric,
                color,
                keys_of(over, "over"),
                logx,
                logy,
                mode,
                self._palette,
                ax,
                style,
                width,
            )
