"""What the methods that draw have in common: which runs, which keys, which colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from ztxexp.results.arguments import Statuses, Tags, as_list, checked_filters
from ztxexp_core.errors import ZtxexpError
from ztxexp_core.records import RUN_STATUS_SUCCEEDED

if TYPE_CHECKING:
    from ztxexp.analysis.run_table import RunTable
    from ztxexp.figures.colours import Palette

Keys = str | Sequence[str]
Mode = Literal["max", "min", ""]
Look = str | Mapping[str, Any] | None
_SUCCEEDED: Statuses = (RUN_STATUS_SUCCEEDED,)


class BarFilters(TypedDict, total=False):
    """Which runs bars are of, see :class:`FigureMethods`; of a group of launches by ``where``."""

    where: str | None
    code: str | None
    function: str | None
    statuses: Statuses
    experiment_name: str | None
    tags: Tags | None


class FigureFilters(BarFilters, total=False):
    """Which runs a figure is of, see :class:`FigureMethods`."""

    group: str | None


class FigureBasics:
    """Part of ``ResultAnalyzer``.

    Attributes:
        results_path: the absolute path of the results root.
    """

    results_path: Path

    @cached_property
    def _palette(self) -> Palette:
        from ztxexp.figures.colours import Palette

        return Palette()

    def _runs(self, filters: Any, at: str | int | float | None, ax: Any) -> RunTable:
        """Return the runs that are drawn; matplotlib is looked for first."""
        from ztxexp.analysis.choosing import chosen_runs
        from ztxexp.figures.plot import check_axes

        check_axes(ax)
        given: dict[str, Any] = {"statuses": _SUCCEEDED}
        checked_filters(filters, FigureFilters)
        given |= filters
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


def keys_of(keys: Keys | None, argument: str) -> list[str] | None:
    """Return keys as a list; ``None`` where none are given."""
    return None if keys is None else as_list(keys, argument)
