"""The runs of a root as people ask for them in a shell: chosen, sorted, with values by key.

No pandas: everything goes by the column tables of :mod:`ztxexp.results.columns`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp.analysis.curve_points import Logged, curve_values, read_points
from ztxexp.analysis.grouping import rank
from ztxexp.results.arguments import checked_statuses
from ztxexp.results.code_versions import code_names
from ztxexp.results.columns import ColumnTable, pack
from ztxexp.results.direction import known_direction
from ztxexp.results.functions import functions_at
from ztxexp.results.keys import ABSENT, cells_of, flattened, varying
from ztxexp.results.names import NamedRuns
from ztxexp.results.selection import PARTS, RunSet, Selection, read_runs
from ztxexp.text.format import cut, plural, sanitize_for_terminal
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.records import RUN_STATUS_SUCCEEDED
from ztxexp_core.store.files import is_folder, timestamp_of
from ztxexp_core.values.codec import is_number

if TYPE_CHECKING:  # it is not imported where there is no condition
    from ztxexp.text.expression import Expression

_LOOKED_IN = ("metrics", "config", "run")  # in this order
_INTERNAL = frozenset({"owner", "identity", "files", "schema_version"})  # of run.json: not listed
_KEYS_SHOWN = 20
_CURVES_READ = 3  # to look for a metric that no run has returned
SUCCEEDED = (RUN_STATUS_SUCCEEDED,)


@dataclasses.dataclass(frozen=True)
class RunTable:
    """Some runs of a root, with their names.

    Attributes:
        runs: the runs.
        names: all runs of the root with their names.
        places: the position of each run among these.
        whole: all runs of the root, as they were read; ``None``: these.
        logged: what curves say where metrics are taken from them.
    """

    runs: RunSet
    names: NamedRuns
    places: Sequence[int]
    whole: RunTable | None = None
    logged: Logged | None = None

    @classmethod
    def read(cls, root: str | Path, metrics: bool = True) -> RunTable:
        """Read all runs of a root.

        Raises:
            ConfigError: there is no such folder.
        """
        if not is_folder(root):
            path = Path(os.path.abspath(root))
            entries = path.parent.iterdir() if path.parent.is_dir() else ()
            near = closest(path.name, [entry.name for entry in entries if entry.is_dir()])
            raise ConfigError(
                f"there is no results folder at {root}{near}; give the root of a launch: -C DIR"
            )
        runs = read_runs(Selection(root, metrics_filename="metrics.json" if metrics else ""))
        runs.code = code_names(runs)
        names = NamedRuns(runs.root, runs.names, runs.run, runs.config)
        return cls(runs, names, range(len(runs)))

    def __len__(self) -> int:
        return len(self.runs)

    # ---- names -------------------------------------------------------------------------------

    @cached_property
    def short(self) -> list[str]:
        """The short id of each run."""
        return [self.names.short[place] for place in self.places]

    def name(self, at: int) -> str:
        """Return what a run is called, ``3f2a  lr=0.1 seed=1``."""
        return self.names.name(self.places[at])

    # ---- code ---------------------------------------------------------------------------------

    @cached_property
    def code(self) -> list[str | None]:
        """The version of the code of each run, ``v1``, ``v2``, ...; ``None`` if not known."""
        return code_names(self.runs)

    @cached_property
    def functions(self) -> list[str | None]:
        """The function or command of each run; ``None`` where it is not known."""
        if self.whole is None:
            return functions_at(self.runs.root, self.runs.names)
        return [self.whole.functions[place] for place in self.places]

    def of_function(self, text: str) -> RunTable:
        """Return the runs of a function or command.

        Args:
            text: its name, ``train.py:train`` or ``train:train``, or else a piece of it.

        Raises:
            ConfigError: no run is of such a one.
        """
        names = set(filter(None, self.functions))
        recorded = text.replace(".py:", ":").rpartition("/")[2] if ".py:" in text else text
        wanted = {recorded} & names or {name for name in names if recorded in name}
        if not wanted:
            listed = ", ".join(cut(sanitize_for_terminal(name), 60) for name in sorted(names)[:20])
            raise ConfigError(f"--function: no run is of {text!r}; known: {listed or 'none'}")
        return self.chosen([at for at, name in enumerate(self.functions) if name in wanted])

    def of_code(self, text: str) -> RunTable:
        """Return the runs of a version of the code.

        Args:
            text: ``latest`` for that of the newest run, ``v1``, or a piece of the hash.

        Raises:
            ConfigError: no run, or runs of several versions, are of such a one.
        """
        if not len(self):
            return self
        names, hashes = self.code, self.runs.run.column("code_hash")
        starts = self.runs.run.column("started_at")
        wanted: set[str | None]
        known = [at for at, name in enumerate(names) if name is not None]
        if text == "latest":
            wanted = {names[max(known, key=lambda at: (str(starts[at]), at))]} if known else set()
        elif text in names:
            wanted = {text}
        else:
            wanted = {names[at] for at in known if len(text) > 2 and text in str(hashes[at])}
        listed = ", ".join(sorted(set(filter(None, names)), key=lambda name: int(name[1:])))
        if len(wanted) != 1:
            problem = "several versions have" if wanted else "no run has"
            raise ConfigError(
                f"--code: {problem} {text!r}; give latest, or one of {listed or 'no version'}"
            )
        return self.chosen([at for at, name in enumerate(names) if name in wanted])

    # ---- values ------------------------------------------------------------------------------

    @cached_property
    def config(self) -> ColumnTable:
        """The configurations, nested values by dotted keys."""
        return flattened(self.runs.config)

    @cached_property
    def metrics(self) -> ColumnTable:
        """The metrics, nested values by dotted keys."""
        return flattened(self.runs.metrics)

    @cached_property
    def varying(self) -> list[str]:
        """The keys in which the configurations differ."""
        return list(varying(self.config))

    @cached_property
    def numbers(self) -> list[str]:
        """The metrics that are a number in some run."""
        return [
            key
            for key in self.metrics.names()
            if any(map(is_number, self.metrics.stored_column(key, ABSENT)))
        ]

    def column(self, key: str, argument: str = "") -> list[Any]:
        """Return what the runs have under a key of metrics, configuration or ``run.json``.

        Args:
            key: plain, dotted, or with the name of its part before it: ``config.lr``.
            argument: where it was given, for the message.

        Returns:
            A value for each run, ``None`` where it has none.

        Raises:
            ConfigError: no run has it.
        """
        cells = self.find(key)
        if cells is None:
            if self.logged is not None and key in self.logged.steps:
                raise ConfigError(self.logged.no_value(key))
            of_metric = "METRIC" in argument.upper()
            shown = self.metrics.names() + ([] if of_metric else self.config.names())
            known = shown if of_metric else self.keys()
            before = f"{argument}: " if argument.startswith("-") else ""
            listed = ", ".join(shown[:_KEYS_SHOWN]) + (", ..." if len(shown) > _KEYS_SHOWN else "")
            if any(key in read_points(folder) for folder in self.runs.folders()[:_CURVES_READ]):
                hint = "; it was logged at steps, and not returned: --at last takes its last value"
                raise ConfigError(f"{before}no run has returned {key!r}{hint}")
            near = closest(key, known)
            what = "metric" if of_metric else "key"
            raise ConfigError(
                f"{before}no run has the {what} {key!r}{near}; known: {listed or 'none'}"
            )
        return cells

    def find(self, key: str) -> list[Any] | None:
        """Return what :meth:`column` returns; ``None`` where no run has the key."""
        part, dot, rest = key.partition(".")
        asked = [(part, rest)] if dot and part in PARTS else []
        for name, inner in [*((name, key) for name in _LOOKED_IN), *asked]:
            cells = cells_of(getattr(self.runs, name), inner)
            if any(cell is not ABSENT for cell in cells):
                return [None if cell is ABSENT else cell for cell in cells]
        return None

    def keys(self) -> list[str]:
        """Return all keys that can be asked for: metrics, configuration, ``run.json``."""
        of_run = [name for name in self.runs.run.names() if name not in _INTERNAL]
        return list(dict.fromkeys([*self.metrics.names(), *self.config.names(), *of_run]))

    def is_metric(self, key: str) -> bool:
        """Return whether a key is that of a metric."""
        return any(cell is not ABSENT for cell in cells_of(self.runs.metrics, key))

    # ---- choosing ----------------------------------------------------------------------------

    def chosen(self, positions: Sequence[int]) -> RunTable:
        """Return the runs at some positions, in rising order."""
        rising = sorted(positions)
        places = [self.places[at] for at in rising]
        runs = self.runs.chosen(rising)
        return RunTable(runs, self.names, places, self.whole or self, self.logged)

    def named(self, texts: Iterable[str]) -> RunTable:
        """Return the runs that some texts name, see :meth:`NamedRuns.find`.

        Raises:
            ConfigError: a text that names no run, or an id that could be several.
        """
        wanted = {place for text in texts for place in self.names.find(text)}
        return self.chosen([at for at, place in enumerate(self.places) if place in wanted])

    def filtered(
        self,
        where: Expression | None = None,
        statuses: Collection[str] | None = None,
        tags: Sequence[str] = (),
        group: str | None = None,
        experiment: str | None = None,
        since: float | None = None,
    ) -> RunTable:
        """Return the runs that pass filters.

        Args:
            where: a condition on metrics, configuration and ``run.json``; a run that lacks a value
                that decides does not pass.
            statuses: those to keep; ``None``: all.
            tags: words, or ``key=value``; all must be there.
            group: exact.
            experiment: its name, exact.
            since: only runs that started after this time stamp.

        Raises:
            ConfigError: a status that no run can have, or a name that no run has.
        """
        run, kept = self.runs.run, list(range(len(self)))
        if statuses is not None:
            wanted, of = checked_statuses(statuses), run.column("status")
            kept = [at for at in kept if isinstance(of[at], str) and of[at] in wanted]
        if tags or group or experiment:
            pairs = dict(tag.split("=", 1) for tag in tags if "=" in tag)
            words = [tag for tag in tags if "=" not in tag]
            by_pair = Selection("", experiment_name=experiment, group=group, tags=pairs or None)
            by_word = Selection("", tags=words or None)
            labels = [run.column(name) for name in ("experiment_name", "group", "tags")]
            kept = [
                at
                for at in kept
                if by_pair.takes(*(of[at] for of in labels))
                and by_word.takes(*(of[at] for of in labels))
            ]
        if since is not None:
            starts = run.column("started_at")
            kept = [at for at in kept if (timestamp_of(starts[at]) or 0.0) >= since]
        if where is not None:
            meeting = self._meeting(where)
            kept = [at for at in kept if at in meeting]
        return self if len(kept) == len(self) else self.chosen(kept)

    def _meeting(self, where: Expression) -> set[int]:
        """Return the positions of the runs that meet a condition."""
        columns: dict[str, list[Any]] = {}
        for name in where.names:
            cells = self.find(name)
            if cells is not None:
                columns[name] = cells
            elif name == "run":
                columns[name] = list(self.short)
            elif len(self):
                where.check_names(set(self.keys()))
        meeting = set()
        for at in range(len(self)):
            values = {name: cells[at] for name, cells in columns.items() if cells[at] is not None}
            if where.matches(values, missing=False):
                meeting.add(at)
        return meeting

    def order(self, key: str, reverse: bool = False) -> list[int]:
        """Return the positions of the runs by the values of a key, those without one at the end.

        The best is the first where the key is that of a metric whose direction is known; else it is
        the smallest.

        Args:
            key: as for :meth:`column`.
            reverse: the other way round.
        """
        cells = self.column(key, "--sort")
        known = known_direction(key, root=self.runs.root) if self.is_metric(key) else None
        downwards = (known is not None and known.mode == "max") != reverse
        there = [at for at, cell in enumerate(cells) if cell is not None and cell == cell]
        without = [at for at, cell in enumerate(cells) if cell is None or cell != cell]
        if all(is_number(cells[at]) for at in there):
            return sorted(there, key=cells.__getitem__, reverse=downwards) + without
        ranks = {at: rank(cells[at], 0) for at in there}
        texts = {
            at: (kind, str(value) if kind == 3 else value) for at, (kind, value) in ranks.items()
        }
        return sorted(there, key=texts.__getitem__, reverse=downwards) + without

    def at(self, value: str) -> RunTable:
        """Return the runs with metrics as they were logged at a step, not as they were returned.

        A run that lacks the step has no value there. Metrics that no run has logged at steps stay
        as they were returned.

        Args:
            value: ``"last"``, ``"best"`` (each metric at its best), ``"best:METRIC"`` (all at the
                step where that one is best), or a step.

        Raises:
            ConfigError: another text, nothing says what is the best of a metric, or no run has
                logged anything there.
        """
        folders = self.runs.folders()
        logged = curve_values(folders, value, self.runs.root)
        merged = [
            {
                **{key: cell for key, cell in (one or {}).items() if key not in logged.steps},
                **logged.values[folder],
            }
            for folder, one in zip(folders, self.metrics.all(), strict=True)
        ]
        runs = dataclasses.replace(self.runs, metrics=pack(merged, len(self)))
        return RunTable(runs, self.names, self.places, self.whole or self, logged)

    def notes_at(self, metrics: Iterable[str] | None = None) -> list[str]:
        """Return what is to be said of values that curves do not have; nothing without ``at``.

        Args:
            metrics: those that are shown; ``None``: all.
        """
        if self.logged is None:
            return []
        logged, notes = self.logged, []
        names = self.metrics.names() if metrics is None else metrics
        shown = [name.removeprefix("metrics.") for name in names]
        plain = [name for name in shown if name not in logged.steps]
        if plain:
            names = ", ".join(map(repr, plain[:_KEYS_SHOWN]))
            notes.append(f"{names}: as returned; no run has logged it at steps")
        asked = [name for name in shown if name in logged.steps]
        values = [logged.values.get(folder, {}) for folder in self.runs.folders()]
        lacking = sum(not any(name in one for name in asked) for one in values) if asked else 0
        if lacking:
            have = "has" if lacking == 1 else "have"
            notes.append(f"{plural(lacking, 'run')} {have} no {logged.place}")
        return notes

    def records(self) -> Iterator[Mapping[str, Any]]:
        """Yield what each run's ``run.json`` says."""
        return (one or {} for one in self.runs.run.all())
