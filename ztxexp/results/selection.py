"""Which runs a reader wants: the filters that all of them share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.records import VALID_RUN_STATUSES

Tags = dict[str, str] | list[str]


@dataclass(frozen=True, slots=True)
class Selection:
    """Filters judged on ``run.json`` alone; what is ``None`` or empty keeps every run.

    Attributes:
        statuses: statuses to keep; an empty set keeps none.
        experiment_name: experiment to keep.
        group: group to keep.
        tags: pairs (compared as text), or words to find among words, keys or values.
    """

    statuses: frozenset[str] | None
    experiment_name: str | None
    group: str | None
    tags: Tags | None

    @classmethod
    def of(
        cls,
        statuses: Sequence[str] | None,
        experiment_name: str | None,
        group: str | None,
        tags: Tags | None,
    ) -> Selection:
        """Make a selection from the arguments that readers take.

        Raises:
            ConfigError: a word among ``statuses`` that is no status, or what is no text.
        """
        for name, value in (("experiment_name", experiment_name), ("group", group)):
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"{name} must be a text, got {value!r}")
        if not isinstance(tags, Mapping):
            words(tags, "tags")
        wanted = None if statuses is None else frozenset(status_words(statuses))
        return cls(wanted, experiment_name, group, tags)

    def accepts(self, run: Mapping[str, Any]) -> bool:
        """Tell whether a run is wanted, whatever stands in its record."""
        return self.takes_status(run.get("status")) and self.takes_labels(
            run.get("experiment_name"), run.get("group"), run.get("tags")
        )

    def takes_status(self, status: Any) -> bool:
        """Tell whether a run of this status may be wanted."""
        return self.statuses is None or (isinstance(status, str) and status in self.statuses)

    def takes_labels(self, experiment_name: Any, group: Any, tags: Any) -> bool:
        """Tell whether a run with these labels may be wanted."""
        if self.experiment_name and experiment_name != self.experiment_name:
            return False
        if self.group and group != self.group:
            return False
        return not self.tags or _tags_match(tags, self.tags)


def words(names: Iterable[str] | None, argument: str) -> list[str]:
    """Return names as a list; a single text is one name, not its letters.

    Args:
        names: a text, or several.
        argument: what a user knows them by, for the message.

    Raises:
        ConfigError: neither.
    """
    if names is None:
        return []
    if isinstance(names, str):
        return [names]
    if isinstance(names, Mapping) or not isinstance(names, Iterable):
        raise ConfigError(f"{argument} must be a text or a list of texts, got {names!r}")
    return list(names)


def status_words(statuses: Iterable[str] | None) -> list[str]:
    """Return statuses as a list, each held against those that a run can have.

    Raises:
        ConfigError: one that no run can have; a ``ValueError``.
    """
    found = words(statuses, "statuses")
    for word in found:
        if not isinstance(word, str) or word not in VALID_RUN_STATUSES:
            raise ConfigError(
                f"{word!r} is no status of a run{closest(word, VALID_RUN_STATUSES)}; known: "
                f"{', '.join(sorted(VALID_RUN_STATUSES))} (statuses=None takes them all)"
            )
    return found


def _tags_match(tags: Any, wanted: Tags) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(tags, dict) and all(
            key in tags and str(tags[key]) == str(value) for key, value in wanted.items()
        )
    if isinstance(tags, dict):
        tags = [*tags, *tags.values()]
    return isinstance(tags, list) and all(word in tags for word in words(wanted, "tags"))
