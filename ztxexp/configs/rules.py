"""What takes configurations out of a sweep: rules with names, and the account of what they took."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results.history import PastRun, Snapshot, read_history
from ztxexp.text.terminal import bar
from ztxexp_core.records import RUN_STATUS_SUCCEEDED, Config
from ztxexp_core.values.copying import copy_config
from ztxexp_core.values.identity import config_identity

Predicate = Callable[[Config], object]

_EXAMPLES_KEPT = 3


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A predicate that configurations have to meet, and its name in what is printed."""

    predicate: Predicate
    name: str

    @classmethod
    def of(cls, predicate: Predicate, name: str | None = None) -> Rule:
        """Name a predicate: as given, else as its function is called, a lambda by where it stands.

        Raises:
            TypeError: it cannot be called, or the name is no text.

        Example:
            >>> Rule.of(lambda c: c["lr"] < 1).name
            'lambda at train.py:12'
        """
        if not callable(predicate):
            raise TypeError(f"where() needs a function of one configuration, not {predicate!r}")
        if not isinstance(name, (str, type(None))):
            raise TypeError(f"where() needs a text to name a rule, not {name!r}")
        return cls(predicate, name or _name_of(predicate))


def _name_of(function: Any) -> str:
    name = getattr(function, "__name__", None)
    if name == "<lambda>" and hasattr(function, "__code__"):
        code = function.__code__
        return f"lambda at {os.path.basename(code.co_filename)}:{code.co_firstlineno}"
    wrapped = getattr(function, "func", None)  # a partial
    if not isinstance(name, str) and callable(wrapped):
        return _name_of(wrapped)
    return name if isinstance(name, str) else type(function).__qualname__


@dataclass(frozen=True, slots=True)
class FilteredOut:
    """What one rule took out of a sweep.

    Attributes:
        rule: its name.
        count: number of configurations.
        examples: copies of the first three of them; the others are not kept, since a rule may
            leave a few of millions.
    """

    rule: str
    count: int
    examples: tuple[Config, ...]


class Account:
    """Where the configurations of one build went.

    Args:
        rules: all rules of the build.
        snapshot: the runs of a root that were read already.

    Attributes:
        configs: what is left, in the order in which it is to be run.
        reused: what had succeeded before, with the run that did.
    """

    __slots__ = ("_counts", "_examples", "_identities", "_snapshot", "configs", "reused")

    def __init__(self, rules: Iterable[Rule] = (), snapshot: Snapshot | None = None):
        self._snapshot = snapshot
        self._identities: dict[tuple[int, tuple[str, ...]], str] = {}
        self.configs: list[Config] = []
        self.reused: list[tuple[Config, PastRun]] = []
        self._counts = dict.fromkeys(rules, 0)
        self._examples: dict[Rule, list[Config]] = {}

    @property
    def filtered_out(self) -> tuple[FilteredOut, ...]:
        """What each rule took, in the order of the rules; those left out that took nothing."""
        return tuple(
            FilteredOut(rule.name, count, tuple(self._examples[rule]))
            for rule, count in self._counts.items()
            if count
        )

    def refuse(self, rule: Rule, config: Config) -> None:
        """Note that a rule has taken out a configuration."""
        count = self._counts[rule]
        self._counts[rule] = count + 1
        if count < _EXAMPLES_KEPT:
            self._examples.setdefault(rule, []).append(copy_config(config))

    def identity(self, config: Config, ignore_keys: tuple[str, ...] = ()) -> str:
        """Return the identity of one of these configurations, made once.

        Raises:
            ConfigError: a value that cannot be compared.
        """
        key = (id(config), ignore_keys)
        identity = self._identities.get(key)
        if identity is None:
            identity = self._identities[key] = config_identity(config, ignore_keys)
        return identity

    def exclude_completed(self, root: Path, ignore_keys: tuple[str, ...]) -> None:
        """Move what has succeeded below a root from ``configs`` to ``reused``.

        Raises:
            ConfigError: a value that cannot be compared.
        """
        if self._snapshot is not None and self._snapshot.root == root:
            done = self._snapshot.history(ignore_keys)
        else:
            with bar("reading runs") as on_progress:
                done = read_history(root, ignore_keys, (RUN_STATUS_SUCCEEDED,), on_progress)
        left = []
        for config in self.configs:
            past = done.get(self.identity(config, ignore_keys))
            if past is not None and past.succeeded:
                self.reused.append((config, past))
            else:
                left.append(config)
        self.configs = left
