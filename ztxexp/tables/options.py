"""What can be asked of a table: checked, and written so that the table can be made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ztxexp.analysis.labels import flat_labels
from ztxexp.results.arguments import as_list, checked_choice
from ztxexp.tables.statistics import SHOWS
from ztxexp.text.wording import option
from ztxexp_core.errors import ConfigError
from ztxexp_core.values.codec import plain

Keys = str | Sequence[str] | Mapping[str, Sequence[Any]] | None
TESTS = ("paired-t", "permutation", "wilcoxon", "bootstrap")
AVERAGES = ("average", "average rank")
DECLARED_TOO = (
    "show", "test", "correct", "against", "alpha", "percent", "digits", "highlight", "labels",
    "order", "groups", "averages", "transpose",
)  # fmt: skip
"""What a sweep may declare of its table besides rows, columns, metric and over."""
SCOPES = ("column", "row", "block", "table")


@dataclass(frozen=True)
class Options:
    """What is asked of a table, see :meth:`ztxexp.ResultAnalyzer.table`.

    Raises:
        ConfigError: an option that makes no sense.
    """

    rows: Any = None
    cols: Any = None
    metric: Any = None
    over: Any = None
    mode: Any = ""
    show: str = "std"
    test: str | None = None
    correct: str = "holm"
    against: Any = "best"
    alpha: float = 0.05
    percent: Any = False
    digits: Any = None
    highlight: str | None = None
    labels: Any = None
    order: Any = None
    groups: Any = None
    averages: Any = ()
    reported: Any = None
    transpose: bool = False
    listed: dict[str, list[Any]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        checked_choice(option("show"), self.show, SHOWS)
        if self.test is not None:
            checked_choice(option("test"), self.test, TESTS)
        checked_choice(option("correct"), self.correct, ("holm", "none"))
        if not (isinstance(self.alpha, (int, float)) and 0 < self.alpha < 1):
            raise ConfigError(f"{option('alpha')} lies between 0 and 1, not {self.alpha!r}")
        if self.highlight is not None:
            self.scope  # noqa: B018
        for part in (self.rows, self.cols, self.order):
            if isinstance(part, Mapping):
                for key, values in part.items():
                    if values is not None:
                        self.listed[str(key)] = list(_values(key, values))
        if isinstance(self.against, str):
            checked_choice(option("against"), self.against, ("best",))
        elif not isinstance(self.against, Mapping) or not self.against:
            raise ConfigError(
                f'{option("against")} is "best" or the baseline\'s values by key, such as '
                f'{{"hidden": 16}}, not {self.against!r}'
            )
        if self.highlight and "separable" in self.highlight and self.test is None:
            raise ConfigError(
                f"what can be told from the best is said by a test; give {option('test')}, such as "
                "permutation"
            )
        for one in self.wanted_averages:
            checked_choice(option("averages"), one, AVERAGES)

    @property
    def scope(self) -> tuple[str | None, bool]:
        """Where the best is looked for, and whether all that are like it are bold."""
        words = str(self.highlight or "").replace("+", " ").split()
        separable = "separable" in words
        scopes = [word for word in words if word != "separable"]
        for word in scopes:
            checked_choice(option("highlight"), word, (*SCOPES, "separable"))
        return (scopes[0] if scopes else None), separable

    @property
    def wanted_averages(self) -> list[str]:
        """Which rows of averages are wanted."""
        if isinstance(self.averages, bool):
            return list(AVERAGES) if self.averages else []
        return [
            {"rank": "average rank"}.get(one, one) for one in as_list(self.averages, "averages")
        ]

    def keys(self, which: str) -> list[str] | None:
        """Return the keys of rows or columns; ``None`` where they are not given."""
        value = getattr(self, which)
        if value is None:
            return None
        return [*map(str, value)] if isinstance(value, Mapping) else as_list(value, which)

    def of_metric(self, which: str, name: str) -> Any:
        """Return an option that is given for all metrics, or by metric."""
        value = getattr(self, which)
        if isinstance(value, Mapping):
            return value.get(name)
        if which == "percent" and not isinstance(value, bool):
            return name in as_list(value, which)
        return value

    def given(self) -> dict[str, Any]:
        """Return what was asked, without what is usual."""
        return {
            one.name: getattr(self, one.name)
            for one in fields(self)
            if one.init and getattr(self, one.name) != one.default
        }

    def as_json(self) -> dict[str, Any]:
        """Return what was asked, without what is usual, as JSON can hold it.

        Example:
            >>> Options(rows="hidden", show="sem").as_json()
            {'rows': 'hidden', 'show': 'sem'}
        """
        given = self.given()
        if isinstance(given.get("labels"), Mapping):
            given["labels"] = flat_labels(given["labels"])
        return {name: plain(value) for name, value in given.items()}


def _values(key: object, values: Any) -> Sequence[Any]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise ConfigError(f"the order of {key!r} is a list of its values, not {values!r}")
    return values
