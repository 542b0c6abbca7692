"""The methods of ``ResultAnalyzer`` that draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ztxexp.figures.basics import (
    BarOptions,
    CurveOptions,
    FigureBasics,
    FigureOptions,
    Keys,
    Mode,
    keys_of,
)
from ztxexp.results.arguments import as_list

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ztxexp.figures.plot import Plot


class FigureMethods(FigureBasics):
    """Part of ``ResultAnalyzer``; needs matplotlib (``pip install "ztxexp[plot]"``).

    All figures return a :class:`ztxexp.figures.plot.Plot` with ``.fig``, ``.ax``, ``.data``,
    ``.caption`` and ``.save()``. Nothing of matplotlib's global state is changed. A value has the
    same colour in all figures of an analyzer. All take these options as keywords:

    - ``where``: only runs that meet a condition, such as ``"lr < 0.1 and model == 'mlp'"``;
    - ``code``: of a version (``"latest"``, ``"v1"``, a piece of its hash); ``function``: of one;
    - ``statuses``: by default those that succeeded, ``None``: all;
    - ``experiment_name``, ``group``, ``tags``;
    - ``at`` (not of curves): which value of a curve counts, instead of the one that was returned:
      ``"last"``, ``"best"``, ``"best:METRIC"`` or a step;
    - ``labels``: what keys, values (``"model=mlp"``) and metrics are called, as in a table;
      ``$...$`` is mathematics;
    - ``ax``: axes to draw into; by default a figure is made;
    - ``style``: a venue (``"neurips"``, ``"icml"``, ...), the name of a bundle of tueplots
      (``"icml2024"``), rcParams that count besides, or ``"rcparams"``;
    - ``width``: ``"column"``, ``"text"``, ``"full"`` or inches.

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
        **options: Unpack[CurveOptions],
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
            **options: see :class:`FigureMethods`.

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

        return self._plot(
            curves_plot,
            CurveOptions,
            options,
            metric,
            keys_of(by, "by"),
            keys_of(over, "over"),
            band,
            raw,
            logx,
            logy,
            smooth,
            mode,
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
        **options: Unpack[BarOptions],
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
            **options: see :class:`FigureMethods`; a group of launches is chosen by
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

        return self._plot(
            bars_plot,
            BarOptions,
            options,
            metric,
            keys_of(by, "by"),
            as_list(group, "group"),
            keys_of(over, "over"),
            show,
            raw,
            zero,
            mode,
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
        **options: Unpack[FigureOptions],
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
            **options: see :class:`FigureMethods`.

        Returns:
            The figure; ``.data`` has a row for each dot.

        Raises:
            ZtxexpError: no run has a finite number, or matplotlib is missing.
            ConfigError: an argument that makes no sense.

        Example:
            >>> ResultAnalyzer("./results").scatter("lr", "accuracy", color="hidden", logx=True)
        """
        from ztxexp.figures.scatter import scatter_plot

        return self._plot(
            scatter_plot,
            FigureOptions,
            options,
            key,
            metric,
            color,
            keys_of(over, "over"),
            logx,
            logy,
            mode,
        )

    def effects(
        self,
        metric: str,
        keys: Keys | None = None,
        *,
        over: Keys | None = None,
        mode: Mode = "",
        **options: Unpack[FigureOptions],
    ) -> Plot:
        """Draw how much each key moves a metric, all else taken together. (Since 2.0.)

        Seeds are averaged first, so no seed counts as a parameter. A row for each value of a key:
        its mean over all settings, with a 95 % interval. Keys whose effects do not add up are
        marked, and log and caption say where it shows; see :mod:`ztxexp.analysis.effects` for how
        that is judged.

        Args:
            metric: its key.
            keys: which; ``None``: all that vary but for ``over``.
            over: keys whose values are averaged over; ``None``: those of seeds.
            mode: ``"max"`` or ``"min"``, what is the best.
            **options: see :class:`FigureMethods`.

        Returns:
            The figure; ``.data`` has a row for each value of each key: ``mean``, ``low``, ``high``,
            ``n`` (settings), ``range`` of the key, ``interacts``.

        Raises:
            ZtxexpError: there is nothing to compare, or matplotlib is missing.
            ConfigError: a key or metric that no run has, or a key that does not vary.

        Example:
            >>> effects = ResultAnalyzer("./results").effects("accuracy")
            >>> effects.data[["key", "range"]].drop_duplicates()
        """
        from ztxexp.figures.effects import effects_plot

        return self._plot(
            effects_plot,
            FigureOptions,
            options,
            metric,
            keys_of(keys, "keys"),
            keys_of(over, "over"),
            mode,
        )

    def parallel(
        self,
        keys: Keys | None,
        metric: str,
        *,
        over: Keys | None = None,
        mode: Mode = "",
        **options: Unpack[FigureOptions],
    ) -> Plot:
        """Draw a line for each setting through its values, coloured by the metric. (Since 2.0.)

        Numbers over two decades or more stand on a logarithmic axis, which its name says.

        Args:
            keys: those with an axis, at most 8; ``None``: all that vary but for ``over``.
            metric: its key; it has the axis at the right.
            over: keys whose values are averaged over; ``None``: those of seeds.
            mode: ``"max"`` or ``"min"``, what is the best: these lines are above the others.
            **options: see :class:`FigureMethods`.

        Returns:
            The figure; ``.data`` has a row for each setting.

        Raises:
            ZtxexpError: no run has a finite number, or matplotlib is missing.
            ConfigError: an argument that makes no sense, or too many keys.

        Example:
            >>> ResultAnalyzer("./results").parallel(["lr", "hidden"], "accuracy")
        """
        from ztxexp.figures.parallel import parallel_plot

        return self._plot(
            parallel_plot,
            FigureOptions,
            options,
            keys_of(keys, "keys"),
            metric,
            keys_of(over, "over"),
            mode,
        )

    def ranks(
        self,
        metric: str,
        methods: Keys,
        blocks: Keys,
        *,
        over: Keys | None = None,
        alpha: float = 0.05,
        mode: Mode = "",
        **options: Unpack[FigureOptions],
    ) -> Plot:
        """Draw mean ranks of methods over blocks, and which cannot be told apart. (Since 2.0.)

        A critical difference diagram after Demšar (2006): Friedman's test, then the critical
        difference of Nemenyi. Fewer than 5 blocks are refused. A block that lacks a method is left
        out, and the caption says so. Needs scipy, too (``pip install "ztxexp[stats]"``).

        Args:
            metric: its key; seeds are averaged before ranks are given.
            methods: keys that make the methods, 3 to 20.
            blocks: keys that make the blocks, such as data sets.
            over: keys whose values are averaged over; ``None``: those of seeds.
            alpha: the level.
            mode: ``"max"`` or ``"min"``, what is the best.
            **options: see :class:`FigureMethods`.

        Returns:
            The figure; ``.data`` has a row for each method: its mean rank, and its rank in each
            block.

        Raises:
            ZtxexpError: too few blocks or methods, or a library is missing.
            ConfigError: nothing says what is the best, or an argument that makes no sense.

        Example:
            >>> ResultAnalyzer("./results").ranks("accuracy", methods="model", blocks="dataset")
        """
        from ztxexp.figures.ranks import ranks_plot

        return self._plot(
            ranks_plot,
            FigureOptions,
            options,
            metric,
            as_list(methods, "methods"),
            as_list(blocks, "blocks"),
            keys_of(over, "over"),
            alpha,
            mode,
        )
