"""The methods of ``ResultAnalyzer`` that draw what keys and methods do to a metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ztxexp.figures.basics import FigureBasics, Keys, Look, Mode, keys_of
from ztxexp.results.arguments import as_list

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ztxexp.figures.basics import FigureFilters
    from ztxexp.figures.plot import Plot


class EffectMethods(FigureBasics):
    """Part of ``ResultAnalyzer``, see :class:`ztxexp.figures.methods.FigureMethods`."""

    def effects(
        self,
        metric: str,
        keys: Keys | None = None,
        *,
        over: Keys | None = None,
        mode: Mode = "",
        labels: Mapping[Any, Any] | None = None,
        at: str | int | float | None = None,
        ax: Any = None,
        style: Look = None,
        width: str | float | None = None,
        **filters: Unpack[FigureFilters],
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
            labels: what keys, values (``"model=mlp"``) and metrics are called, as in a table;
                ``$...$`` is mathematics.
            at: which value of a curve counts: ``"last"``, ``"best"``, ``"best:METRIC"`` or a step.
            ax: axes to draw into; by default a figure is made.
            style: as of :meth:`ztxexp.ResultAnalyzer.curves`.
            width: as of :meth:`ztxexp.ResultAnalyzer.curves`.
            **filters: see :class:`ztxexp.figures.methods.FigureMethods`.

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
        from ztxexp.figures.words import called

        with called(labels):
            return effects_plot(
                self._runs(filters, at, ax),
                metric,
                keys_of(keys, "keys"),
                keys_of(over, "over"),
                mode,
                ax,
                style,
                width,
            )

    def parallel(
        self,
        keys: Keys | None,
        metric: str,
        *,
        over: Keys | None = None,
        mode: Mode = "",
        labels: Mapping[Any, Any] | None = None,
        at: str | int | float | None = None,
        ax: Any = None,
        style: Look = None,
        width: str | float | None = None,
        **filters: Unpack[FigureFilters],
    ) -> Plot:
        """Draw a line for each setting through its values, coloured by the metric. (Since 2.0.)

        Numbers over two decades or more stand on a logarithmic axis, which its name says.

        Args:
            keys: those with an axis, at most 8; ``None``: all that vary but for ``over``.
            metric: its key; it has the axis at the right.
            over: keys whose values are averaged over; ``None``: those of seeds.
            mode: ``"max"`` or ``"min"``, what is the best: these lines are above the others.
            labels: what keys, values (``"model=mlp"``) and metrics are called, as in a table;
                ``$...$`` is mathematics.
            at: which value of a curve counts: ``"last"``, ``"best"``, ``"best:METRIC"`` or a step.
            ax: axes to draw into; by default a figure is made.
            style: as of :meth:`ztxexp.ResultAnalyzer.curves`.
            width: as of :meth:`ztxexp.ResultAnalyzer.curves`.
            **filters: see :class:`ztxexp.figures.methods.FigureMethods`.

        Returns:
            The figure; ``.data`` has a row for each setting.

        Raises:
            ZtxexpError: no run has a finite number, or matplotlib is missing.
            ConfigError: an argument that makes no sense, or too many keys.

        Example:
            >>> ResultAnalyzer("./results").parallel(["lr", "hidden"], "accuracy")
        """
        from ztxexp.figures.parallel import parallel_plot
        from ztxexp.figures.words import called

        with called(labels):
            return parallel_plot(
                self._runs(filters, at, ax),
                keys_of(keys, "keys"),
                metric,
                keys_of(over, "over"),
                mode,
                ax,
                style,
                width,
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
        labels: Mapping[Any, Any] | None = None,
        at: str | int | float | None = None,
        ax: Any = None,
        style: Look = None,
        width: str | float | None = None,
        **filters: Unpack[FigureFilters],
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
            labels: what keys, values (``"model=mlp"``) and metrics are called, as in a table;
                ``$...$`` is mathematics.
            at: which value of a curve counts: ``"last"``, ``"best"``, ``"best:METRIC"`` or a step.
            ax: axes to draw into; by default a figure is made.
            style: as of :meth:`ztxexp.ResultAnalyzer.curves`.
            width: as of :meth:`ztxexp.ResultAnalyzer.curves`.
            **filters: see :class:`ztxexp.figures.methods.FigureMethods`.

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
        from ztxexp.figures.words import called

        with called(labels):
            return ranks_plot(
                self._runs(filters, at, ax),
                metric,
                as_list(methods, "methods"),
                as_list(blocks, "blocks"),
                keys_of(over, "over"),
                alpha,
                mode,
                ax,
                style,
                width,
            )
