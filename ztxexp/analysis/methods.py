"""The methods of ``ResultAnalyzer`` that say which runs a table lacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ztxexp.results.arguments import as_list
from ztxexp.results.selection import Selection, read_runs
from ztxexp_core.records import RUN_STATUS_SUCCEEDED

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ztxexp.analysis.further_seeds import FurtherSeeds
    from ztxexp.analysis.missing import Missing
    from ztxexp.results.arguments import Labels


class SeedMethods:
    """Part of ``ResultAnalyzer``.

    Attributes:
        results_path: the absolute path of the results root.
    """

    results_path: Path

    def missing(
        self,
        by: str | Sequence[str] | None = None,
        over: str | Sequence[str] | None = None,
        values: Sequence[Any] | None = None,
        cells: bool = False,
        **labels: Unpack[Labels],
    ) -> Missing:
        """Return the configurations that a table lacks, as ``ztxexp complete`` runs them.

        Each cell that has a run needs one for every seed that occurs in any cell.

        Args:
            by: keys that make the cells; ``None``: those that vary, but for ``over``.
            over: what is averaged over; ``None``: what the last sweep declares, or seeds.
            values: values of ``over`` that each cell needs besides.
            cells: cells of the table that have no run need runs, too.
            **labels: only runs of this ``experiment_name``, ``group``, ``tags``.

        Raises:
            ConfigError: no run has succeeded, a key that none has, or one that varies and is not
                among ``by``.

        Example:
            >>> missing = analyzer.missing(values=range(5))
            >>> ExperimentPipeline("results").variants(missing.configs).resume().run(train)
        """
        from ztxexp.analysis.missing import missing_configs

        keys = None if by is None else as_list(by, "by")
        runs = read_runs(Selection(self.results_path, [RUN_STATUS_SUCCEEDED], **labels))
        return missing_configs(runs, keys, over, values, cells)

    def further_seeds(
        self,
        until: str,
        max_seeds: int = 10,
        *,
        by: str | Sequence[str] | None = None,
        over: str | None = None,
        mode: Literal["max", "min", ""] = "",
        cells: bool = False,
        **labels: Unpack[Labels],
    ) -> FurtherSeeds:
        """Return the seeds that cells need which cannot be told from the best one yet.

        A cell needs further seeds while it cannot be told from the best, and the condition does not
        hold for both. Differences are paired by seed; their intervals are corrected for looking
        repeatedly and for the number of pairs, so that with 95 % nothing is told apart that is not,
        in all looks together. ``ci95`` in the condition is widened likewise. A seed that failed
        counts as tried.

        Args:
            until: a condition on ``ci95``, ``sem``, ``std``, ``mean`` and ``n`` of metrics, with
                arithmetic, ``and``, ``or``; the first metric ranks the cells.
            max_seeds: of a cell. It fixes how often is looked, so it is not to be changed later.
            by: keys that make the cells; ``None``: those that vary, but for ``over``.
            over: the key of the seed; ``None``: what the last sweep declares, or what is called so.
            mode: what is the best of the metric; "": what is declared, or what its name says.
            cells: cells of the table that have no run need seeds, too.
            **labels: only runs of this ``experiment_name``, ``group``, ``tags``.

        Returns:
            It prints how far each cell is; ``configs`` are what to run next.

        Raises:
            ConfigError: as :meth:`missing`, the condition cannot be used, or a metric that no run
                has.

        Example:
            >>> while left := analyzer.further_seeds("ci95(accuracy) < 0.005").configs:
            ...     ExperimentPipeline("results").variants(left).resume().run(train)
        """
        from ztxexp.analysis.further_seeds import further_seeds
        from ztxexp.analysis.sequential import Until

        keys = None if by is None else as_list(by, "by")
        runs = read_runs(Selection(self.results_path, **labels))
        return further_seeds(runs, Until(until, max_seeds), keys, over, mode, cells)
