"""What the methods that draw have in common: which runs, which keys, which colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from ztxexp.results.arguments import Statuses, Tags, as_list, checked_filters
from ztxexp_core.errors import ZtxexpError
from ztxexp_core.records import RUN_STATUS_SUCCEEDED

if TYPE_CHECKING:
    from ztxexp.analysis.run_table import RunTable
    from ztxexp.figures.colours import Palette
    from ztxexp.figures.plot import Plot

Keys = str | Sequence[str]
Mode = Literal["max", "min", ""]
Look = str | Mapping[str, Any] | None
_SUCCEEDED: Statuses = (RUN_STATUS_SUCCEEDED,)


class _Options(TypedDict, total=False):
    where: str | None
    code: str | None
    function: str | None
    statuses: Statuses
    experiment_name: str | None
    tags: Tags | None
    labels: Mapping[Any, Any] | None
    ax: Any
    style: Look
    width: str | float | None


class CurveOptions(_Options, total=False):
    """What curves take besides, see :class:`ztxexp.figures.methods.FigureMethods`."""

    group: str | None


class BarOptions(_Options, total=False):
    """What bars take besides; a group of launches is chosen by ``where``."""

    at: str | int | float | None


class FigureOptions(BarOptions, total=False):
    """What other figures take besides."""

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

    def _plot(self, make: Callable[..., Plot], known: Any, options: Any, *arguments: Any) -> Plot:
        """Return a figure of the runs that are asked for.

        Args:
            make: of the runs and the arguments.
            known: the class of options that it takes.
            options: what was given of them.
            *arguments: what else it takes.
        """
        from ztxexp.figures.plot import Canvas
        from ztxexp.figures.words import called

        given = {"statuses": _SUCCEEDED, **checked_filters(options, known)}
        labels = given.pop("labels", None)
        look = {name: given.pop(name, None) for name in ("ax", "style", "width")}
        canvas = Canvas(**look, palette=self._palette)
        with called(labels):
            return make(self._runs(given), *arguments, canvas=canvas)

    def _runs(self, given: dict[str, Any]) -> RunTable:
        from ztxexp.analysis.choosing import chosen_runs

        if "experiment_name" in given:
            given["experiment"] = given.pop("experiment_name")
        if isinstance(given.get("tags"), Mapping):
            given["tags"] = [f"{key}={value}" for key, value in given["tags"].items()]
        at = given.pop("at", None)
        table = chosen_runs(self.results_path, **given, at=None if at is None else str(at))
        if not len(table):
            count = len(table.names)
            passes = f"none of its {count} runs passes the filters" if count else "it has no runs"
            raise ZtxexpError(f"nothing to draw from {self.results_path}: {passes}")
        return table


def keys_of(keys: Keys | None, argument: str) -> list[str] | None:
    """Return keys as a list; ``None`` where none are given."""
    return None if keys is None else as_list(keys, argument)
