"""How runs are named: by a short id and the keys that vary, ``3f2a  lr=0.01 hidden=64 seed=1``.

The short id is the beginning of the hash of the run's configuration, so it is the same over
attempts, launches and hosts. Where several runs have one configuration, it means the latest;
``3f2a~1`` is the one before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ztxexp.results import empty
from ztxexp.results.columns import ColumnTable
from ztxexp.results.direction import direction
from ztxexp.results.history import IDENTITIES
from ztxexp.results.index import RECORDS, Kind, read_all
from ztxexp.results.keys import asked_for, flattened, varying
from ztxexp.results.to_type import line_to_type
from ztxexp.results.written_values import positions_with
from ztxexp.text.format import plural, sanitize_for_terminal
from ztxexp.text.labels import label
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.records import RUN_STATUS_FAILED, RUN_STATUS_RUNNING, RUN_STATUS_SUCCEEDED
from ztxexp_core.store.run_folder import effective_record, run_names
from ztxexp_core.values.codec import is_number, numbers
from ztxexp_core.values.identity import LEAST_DIGITS, VERSION, config_identity, digits_of
from ztxexp_core.values.identity import short_ids as short_ids

_LEAST_PIECE = 2  # digits or characters that may stand for a run
_CANDIDATES_SHOWN = 10
_EARLIER = re.compile(r"(.+)~(\d{1,6})")
_HEX = re.compile(r"[0-9a-f]+")


class NamedRuns:
    """The runs below a results root with their names.

    Args:
        root: the results root.
        names: of the runs' folders.
        run: what each ``run.json`` says.
        config: what each configuration says; read when it is needed by default.

    Attributes:
        root: the results root.
        folders: names of the runs' folders, sorted.
    """

    def __init__(
        self,
        root: str | Path,
        names: Sequence[str],
        run: ColumnTable,
        config: ColumnTable | None = None,
    ):
        self.root = str(root)
        self.folders = list(names)
        self._run = run
        self._given_config = config
        self._identities_of = run.column("identity")

    @classmethod
    def of(cls, root: str | Path) -> NamedRuns:
        """Read the records of all runs below a root.

        Example:
            >>> runs = NamedRuns.of("./results")
            >>> runs.name(runs.one("@last"))
            '3f2a  lr=0.01 seed=1'
        """
        names = run_names(root)
        (run,) = read_all(str(root), names, [RECORDS])
        return cls(root, names, run)

    def __len__(self) -> int:
        return len(self.folders)

    # ---- names -------------------------------------------------------------------------------

    @cached_property
    def ids(self) -> list[str]:
        """The id of each run; the name of its folder where the record has none."""
        ids = self._run.column("run_id")
        both = zip(ids, self.folders, strict=True)
        return [one if isinstance(one, str) else name for one, name in both]

    @cached_property
    def identities(self) -> list[str | None]:
        """The identity of each run's configuration, ``None`` where it has none."""
        start = f"{VERSION}:"
        known: list[str | None] = [
            one if isinstance(one, str) and one.startswith(start) else None
            for one in self._identities_of
        ]
        unknown = [at for at, one in enumerate(known) if one is None]
        if unknown:
            of_configs = self._of_configs(unknown)
            versions = self._run.column("code_version")
            for at, identity in zip(unknown, of_configs, strict=True):
                version = versions[at]
                known[at] = f"{identity}@{version}" if identity and version else identity
        return known

    def _of_configs(self, positions: Sequence[int]) -> list[str | None]:
        """Return the identities of configurations whose records do not hold them."""
        if len(positions) == len(self) or self._given_config is None:
            names = [self.folders[at] for at in positions]
            (derived,) = read_all(self.root, names, [IDENTITIES])
            return derived.column("identity")
        return [None if one is None else config_identity(one) for one in self.config.at(positions)]

    @cached_property
    def latest(self) -> dict[str, list[int]]:
        """For each identity the positions of its runs, the latest first."""
        runs: dict[str, list[int]] = {}
        for at, identity in enumerate(self.identities):
            if identity is not None:
                runs.setdefault(identity, []).append(at)
        starts: list[Any] = []
        for several in runs.values():
            if several[1:]:
                starts = starts or self._run.column("started_at")
                several.sort(key=lambda at: (str(starts[at] or ""), at), reverse=True)
        return runs

    @cached_property
    def short(self) -> list[str]:
        """The short id of each run; its id where it has no configuration."""
        short = short_ids(self.latest)
        of_runs: list[str] = list(self.ids)
        for identity, positions in self.latest.items():
            for number, at in enumerate(positions):
                of_runs[at] = f"{short[identity]}~{number}" if number else short[identity]
        return of_runs

    @cached_property
    def config(self) -> ColumnTable:
        """What each configuration says."""
        if self._given_config is not None:
            return self._given_config
        (config,) = read_all(self.root, self.folders, [Kind("config.json")])
        config.map_values(numbers, (str, list, dict))
        return config

    @cached_property
    def flat_config(self) -> ColumnTable:
        """What each configuration says, nested values by dotted keys."""
        return flattened(self.config)

    @cached_property
    def varying(self) -> list[str]:
        """The keys, dotted if nested, in which the configurations differ."""
        return list(varying(self.flat_config))

    @cached_property
    def _config_at(self) -> Callable[[int], Mapping[str, Any] | None]:
        return self.config.getter()

    def label(self, position: int, width: int = 80) -> str:
        """Return the keys that vary with the values of a run, ``lr=0.01 seed=1``."""
        config = self._config_at(position)
        return label(config, self.varying, width) if config and self.varying else ""

    def name(self, position: int, width: int = 80) -> str:
        """Return what a run is called: its short id and :meth:`label`."""
        text = self.label(position, width)
        return f"{self.short[position]}  {text}" if text else self.short[position]

    def name_of(self, folder: str, width: int = 80) -> str:
        """Return what the run in a folder is called; the folder's name where there is none."""
        position = self._position_of.get(folder)
        return folder if position is None else self.name(position, width)

    @cached_property
    def _position_of(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self.folders)}

    def record(self, position: int) -> Mapping[str, Any]:
        """Return what the ``run.json`` of a run says."""
        return self._record_at(position) or {}

    @cached_property
    def _record_at(self) -> Callable[[int], Mapping[str, Any] | None]:
        return self._run.getter()

    # ---- finding -----------------------------------------------------------------------------

    def one(self, text: str) -> int:
        """Return the position of the run that a text names.

        Raises:
            ConfigError: no run has that name, or several do; they are listed.
        """
        positions = self.find(text)
        if len(positions) > 1:
            raise self._ambiguous(text, positions)
        return positions[0]

    def find(self, text: str, preferred: Collection[int] = ()) -> list[int]:
        """Return the positions of the runs that a text names.

        That is one, but for ``@failed`` and ``key=value,...``, which may be several.

        Args:
            text: an id or a unique piece of one, a short id, ``3f2a~1``, ``@last``, ``@failed``,
                ``@best:METRIC``, or ``lr=0.01,hidden=64``.
            preferred: positions that count alone where an id could be several runs.

        Raises:
            ConfigError: no run has that name, or an id could be several runs; they are listed.
        """
        if not isinstance(text, str) or not text:
            raise ConfigError(f"the id of a run must be a non-empty string, got {text!r}")
        exact = self._exact(text)
        if exact:
            return exact
        earlier = _EARLIER.fullmatch(text)
        if earlier:
            return [self._earlier(text, earlier[1], int(earlier[2]))]
        if text.startswith("@"):
            return self._special(text)
        if "=" in text:
            return self._with_values(text)
        matching = self._beginning(text) or self._holding(text)
        if not matching:
            near = closest(text, [*self.short, *self.folders])
            all_runs = f"; {line_to_type(self.root, 'list')} shows the runs"
            raise ConfigError(
                f"no run below {self.root} has the id {text!r}"
                f"{near or empty.other_level(self.root) or all_runs}"
            )
        if len(matching) > 1:
            matching = [at for at in matching if at in preferred] or matching
        if len(matching) > 1:
            raise self._ambiguous(text, matching)
        return matching

    def is_exact(self, text: str) -> bool:
        """Return whether a text is a run's folder, whole id or short id, not a piece of one."""
        return bool(self._exact(text))

    def _exact(self, text: str) -> list[int]:
        at = self._position_of.get(text)
        if at is not None:
            return [at]
        for names in (self.ids, self.short):
            matching = [at for at, name in enumerate(names) if name == text]
            if matching:
                return matching
        folder, name = os.path.split(text.rstrip("/"))
        if folder and name in self._position_of and _same_folder(folder, self.root):
            return [self._position_of[name]]
        return []

    def _beginning(self, text: str) -> list[int]:
        """Return the runs whose ids, or the hashes of whose configurations, begin with a text."""
        begins = [
            at
            for at, (name, one) in enumerate(zip(self.folders, self.ids, strict=True))
            if name.startswith(text) or one.startswith(text)
        ]
        if len(text) >= _LEAST_PIECE and _HEX.fullmatch(text):
            begins += [
                runs[0]
                for identity, runs in self.latest.items()
                if digits_of(identity).startswith(text)
            ]
        return list(dict.fromkeys(begins))

    def _holding(self, text: str) -> list[int]:
        """Return the runs that have a text somewhere in their ids."""
        if len(text) < _LEAST_PIECE:
            return []
        both = enumerate(zip(self.folders, self.ids, strict=True))
        return [at for at, (name, one) in both if text in name or text in one]

    def _earlier(self, text: str, name: str, number: int) -> int:
        at = self.one(name)
        identity = self.identities[at]
        runs = self.latest[identity] if identity is not None else [at]
        back = runs.index(at) + number
        if back >= len(runs):
            raise ConfigError(
                f"{text!r}: there are {plural(len(runs), 'run')} of the configuration of {name!r}"
            )
        return runs[back]

    def _special(self, text: str) -> list[int]:
        if text == "@last":
            starts = self._run.column("started_at")
            statuses = self._run.column("status")
            there = [at for at, status in enumerate(statuses) if status is not None]
            order = {at: (str(starts[at] or ""), self.folders[at]) for at in there}
            last = max(there, key=order.__getitem__, default=None)
            if last is None:
                raise ConfigError(f"there is no run below {self.root}")
            return [last]
        if text == "@failed":
            failed = [at for at, one in enumerate(self.statuses) if one == RUN_STATUS_FAILED]
            if not failed:
                raise ConfigError(f"no run below {self.root} has failed")
            return failed
        if text.startswith("@best:") and text != "@best:":
            return [self._best(text.removeprefix("@best:"))]
        raise ConfigError(
            f"{text!r} names no run{closest(text, ['@last', '@failed', '@best:'])}; there are "
            "@last, @failed and @best:METRIC"
        )

    @cached_property
    def statuses(self) -> list[Any]:
        """The status of each run; one whose process is gone has failed."""
        statuses = self._run.column("status")
        running = [at for at, status in enumerate(statuses) if status == RUN_STATUS_RUNNING]
        for at, one in zip(running, self._run.at(running), strict=True):
            folder = f"{self.root}/{self.folders[at]}"
            statuses[at] = effective_record(one or {}, folder).get("status")
        return statuses

    def _best(self, metric: str) -> int:
        (metrics,) = read_all(self.root, self.folders, [Kind("metrics.json")])
        metrics.map_values(numbers, (str, list, dict))
        parts = {"metrics": metrics, "run": self._run}
        cells = asked_for(parts, metric, "metrics", "@best").cells
        mode = direction(metric, root=self.root)
        superseded = self._superseded()
        ranked = [
            at
            for at, (cell, status) in enumerate(zip(cells, self.statuses, strict=True))
            if status == RUN_STATUS_SUCCEEDED and is_number(cell) and cell == cell
            if at not in superseded
        ]
        if not ranked:
            raise ConfigError(f"no run below {self.root} has succeeded with a number as {metric!r}")
        best = max(ranked, key=cells.__getitem__) if mode == "max" else None
        return min(ranked, key=cells.__getitem__) if best is None else best

    def _superseded(self) -> set[int]:
        """Return the runs that a later one supersedes that succeeded with the same configuration.

        Only runs whose records say when they began are compared.
        """
        starts = self._run.column("started_at")
        earlier: set[int] = set()
        for runs in self.latest.values():
            done = [at for at in runs if self.statuses[at] == RUN_STATUS_SUCCEEDED and starts[at]]
            earlier.update(done[1:])
        return earlier

    def _with_values(self, text: str) -> list[int]:
        chosen = positions_with(self.config, text)
        if not chosen:
            raise ConfigError(
                f"no run below {self.root} has {text}; "
                f"{line_to_type(self.root, 'list')} shows the values that there are"
            )
        return chosen

    def _ambiguous(self, text: str, positions: Sequence[int]) -> ConfigError:
        listed = positions[:_CANDIDATES_SHOWN]
        width = max(len(self.short[at]) for at in listed)
        shown = [self.candidate(at, width) for at in listed]
        if len(positions) > len(shown):
            shown.append(f"... and {len(positions) - len(shown)} more")
        lines = "\n  ".join(shown)
        return ConfigError(
            f"{text!r} could be {plural(len(positions), 'run')}; {self._narrower(text, positions)}:"
            f"\n  {lines}"
        )

    def _narrower(self, text: str, positions: Sequence[int]) -> str:
        """Say how to name one of several runs: by more of its id, or by one more key."""
        if "=" not in text:
            return "give more of the id"
        given = {pair.partition("=")[0].strip() for pair in text.split(",")}
        cells = {key: self.flat_config.column(key) for key in self.varying if key not in given}
        for key, column in cells.items():
            values = [column[at] for at in positions]
            if any(value != values[0] for value in values):
                return f"add a key, as in {text},{key}={values[0]}"
        return "give an id"

    def candidate(self, position: int, width: int = LEAST_DIGITS) -> str:
        """Return a run as messages list it: short id, keys that vary, and its id."""
        parts = [f"{self.short[position]:<{width}}", self.label(position)]
        if self.short[position] != self.ids[position]:
            parts.append(f"({self.ids[position]})")
        return sanitize_for_terminal("  ".join(filter(None, parts)))


def _same_folder(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
