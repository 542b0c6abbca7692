"""What one build of configurations has made, and what it has left out: :class:`ExpansionReport`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ztxexp.results.history import PastRun, Snapshot
from ztxexp.text.terminal import bar
from ztxexp_core.errors import closest
from ztxexp_core.records import Config
from ztxexp_core.values.codec import plain
from ztxexp_core.values.copying import flat
from ztxexp_core.values.identity import config_identity

_log = logging.getLogger("ztxexp")


@dataclass(slots=True)
class FilteredOut:
    """What one rule took out of a sweep.

    Attributes:
        rule: its name.
        count: number of configurations.
    """

    rule: str
    count: int = 0


class ExpansionReport:
    """The configurations of one build, and what was left out of them.

    Args:
        rules: names of the rules of :meth:`ConfigBuilder.where`.
        snapshot: the runs of a root that were read already.
        code_hash: its successes of this version of the code count before those of others.
        same_code: only these count.
        code_version: the version that the user has stated, part of every identity.
        function: only what this function or command has made counts.

    Attributes:
        configs: the configurations, in the order in which they are to be run.
        reused: configurations that had succeeded before, with the run that did.
    """

    def __init__(
        self,
        rules: Sequence[str] = (),
        snapshot: Snapshot | None = None,
        code_hash: str | None = None,
        same_code: bool = False,
        code_version: str | None = None,
        function: str | None = None,
    ):
        self.configs: list[Config] = []
        self.reused: list[tuple[Config, PastRun]] = []
        self._snapshot = snapshot
        self._code_hash = code_hash
        self._same_code = same_code
        self._code_version = code_version
        self._function = function
        self._identities: dict[tuple[int, tuple[str, ...]], str] = {}
        self._rules = [FilteredOut(name) for name in rules]

    @property
    def filtered_out(self) -> tuple[FilteredOut, ...]:
        """What each rule took out, in the order of the rules; only those that took something."""
        return tuple(rule for rule in self._rules if rule.count)

    def reject(self, rule: int) -> None:
        """Note that a rule, given by its place, has taken out a configuration."""
        self._rules[rule].count += 1

    def exclude_completed(self, root: Path, ignore_keys: tuple[str, ...]) -> None:
        """Move what has succeeded below a root from ``configs`` to ``reused``.

        The log names ignored keys that no configuration has.

        Raises:
            ConfigError: a value that cannot be compared.
        """
        snapshot = self._snapshot
        if snapshot is None or snapshot.root != root:
            with bar("reading runs") as on_progress:
                snapshot = Snapshot(root, on_progress)
        history = snapshot.history(
            ignore_keys, self._code_hash, self._same_code, function=self._function
        )
        self._warn_unknown(ignore_keys)
        remaining = []
        for config in self.configs:
            past = history.get(self.identity(config, ignore_keys))
            if past is not None and past.succeeded:
                self.reused.append((config, past))
            else:
                remaining.append(config)
        self.configs = remaining

    def _warn_unknown(self, ignore_keys: tuple[str, ...]) -> None:
        unknown = [k for k in ignore_keys if not any(k in config for config in self.configs)]
        if not unknown or not self.configs:
            return
        known = {name for config in self.configs for name, _ in flat(plain(config))}
        missing = [f"{k!r}{closest(k, known)}" for k in unknown if not _is_among(k, known)]
        if missing:
            _log.warning("ignore_keys: no configuration has the key %s", ", ".join(missing))

    def identity(self, config: Config, ignore_keys: tuple[str, ...] = ()) -> str:
        """Return the identity of one of these configurations, which is made once.

        Raises:
            ConfigError: a value that cannot be compared.
        """
        key = (id(config), ignore_keys)
        if key not in self._identities:
            self._identities[key] = config_identity(config, ignore_keys, self._code_version)
        return self._identities[key]


def _is_among(key: str, names: Iterable[str]) -> bool:
    """Return whether a key, or one below it, is among dotted names."""
    return any(f"{name}.".startswith(f"{key}.") for name in names)
