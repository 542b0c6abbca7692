"""What pilots are given to do: :class:`Work`, pickled by value into a folder outside the root.

Outside, because a pickle is a program, and results are passed around; private, because others could
put theirs in its place.

What may hold objects of the user's modules (configurations, the retry rule, the needs) is pickled
apart. A pilot opens it when it has moved to the script's place, and a configuration only when its
run is started: there may be a hundred thousand.
"""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ztxexp.results.code_folders import CODE_FILE, refuse_foreign
from ztxexp_core.context import RunContext
from ztxexp_core.errors import StoreError
from ztxexp_core.pickling import load_by_value, pickle_by_value
from ztxexp_core.records import RunMetadata, RunSpec
from ztxexp_core.run.distant import DistantRun, this_side
from ztxexp_core.run.launch import Launch, RetryRule
from ztxexp_core.store.files import write_bytes


@dataclass(frozen=True)
class Work:
    """All that pilots of one launch need to know.

    Attributes:
        root: the results root.
        plan: folder of the submission below it.
        specs: the runs; each pilot takes those whose ``needs`` are those of its group.
        groups: the different needs, by the number that a pilot is given.
        keys: claim keys, by run id.
        ended: claim key to the id of the last run that had ended before the launch, as for
            ``Claims``.
        since: when the root was looked at, as for ``Claims``.
        busy: as for ``RunQueue``.
        run_one: carries out one run; loaded by the processes that do.
        launch: what the runs share. Of a loaded one without the experiment, which a pilot itself
            does not need: it may take long to import, and much memory.
        retry: which deaths are tried again.
        max_failures: so many failed runs of all pilots end the work.
        max_failures_in_a_row: so many of one pilot end the work.
        needs: what runs need, as the user has given it.
        function: the function whose runs alone count, if so.
        flush_sec: as in ``run``.
        tracker_timeout: as in ``run``.
        runs_per_job: after so many runs a pilot ends; ``None`` for any number.
        runs_at_once: how many runs a pilot has under way at a time.
        grace: seconds before the end of a job's time at which it gets SIGTERM.
    """

    root: Path
    plan: Path
    specs: tuple[RunSpec, ...]
    groups: tuple[Mapping[str, float], ...]
    keys: Mapping[str, str]
    ended: Mapping[str, str]
    since: float
    busy: Mapping[str, Path]
    run_one: DistantRun
    launch: Launch
    retry: RetryRule
    max_failures: int | None = None
    max_failures_in_a_row: int | None = None
    needs: Mapping[str, Any] | None = None
    function: str | None = None
    flush_sec: float | None = 1.0
    tracker_timeout: float = 10.0
    runs_per_job: int | None = None
    runs_at_once: int = 1
    grace: float = 60.0
    configs: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Of a loaded one: configurations by run id, not opened yet; those in ``specs`` are empty."""
    rules: bytes = field(default=b"", repr=False)
    """Of a loaded one: ``launch``, ``retry`` and ``needs``, not opened yet."""
    made_by: Mapping[str, str] = field(default_factory=dict)
    """Of a loaded one: host and versions of the launcher."""

    def save(self, folder: Path) -> None:
        """Write it into a folder that nobody else can write.

        Raises:
            StoreError: the folder belongs to somebody else.
            OSError: it cannot be written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_foreign(folder)
        numbers = {_content(needs): number for number, needs in enumerate(self.groups)}
        rows = [_row(spec, numbers[_content(spec.needs)]) for spec in self.specs]
        launch = dataclasses.replace(
            self.launch, function=_nothing, initializer=None, settings={}, retry=RetryRule()
        )
        rules = pickle_by_value((launch, self.retry, self.needs))
        none = Launch(_nothing, RunMetadata(), place=self.launch.place)
        bare = dataclasses.replace(
            self,
            specs=(),
            launch=none,
            retry=RetryRule(),
            needs=None,
            rules=rules,
            made_by=this_side(),
        )
        write_bytes(str(folder / CODE_FILE), pickle.dumps((bare, rows), pickle.HIGHEST_PROTOCOL))

    @staticmethod
    def load(folder: Path, group: int | None = None) -> Work:
        """Read what :meth:`save` has written; nothing of the user's is imported.

        Args:
            folder: that of the code.
            group: only runs with the needs of this number.

        Raises:
            StoreError: it belongs to another user, or others can write it.
            OSError: it cannot be read.
        """
        refuse_foreign(folder)
        work: Work
        work, rows = pickle.loads((folder / CODE_FILE).read_bytes())
        rows = [row for row in rows if group is None or row[0] == group]
        configs = {row[2]: row[1] for row in rows}
        root, groups = work.root, work.groups
        specs = tuple(_bare_spec(root, groups[row[0]], *row[2:]) for row in rows)
        return dataclasses.replace(work, specs=specs, configs=configs)

    def opened(self) -> Work:
        """Return a loaded one with all its configurations, and its rules.

        Raises:
            Exception: as raised by modules of the user.
        """
        specs = tuple(map(self.with_config, self.specs))
        return dataclasses.replace(self.with_rules(), specs=specs, configs={}, rules=b"")

    def with_rules(self) -> Work:
        """Return it with what the runs share, the retry rule and the needs, opened.

        Raises:
            Exception: as raised by modules of the user.
        """
        launch, retry, needs = load_by_value(self.rules)
        return dataclasses.replace(self, launch=launch, retry=retry, needs=needs)

    def with_config(self, spec: RunSpec) -> RunSpec:
        """Return a run with its configuration, opened.

        Raises:
            StoreError: it cannot be; the message says why.
        """
        if spec.run_id not in self.configs:
            return spec
        try:
            return dataclasses.replace(spec, config=load_by_value(self.configs[spec.run_id]))
        except Exception as exc:
            why = f"{type(exc).__name__}: {exc}"
            raise StoreError(
                f"the configuration of run {spec.run_id} cannot be loaded: {why}"
            ) from exc


def _nothing(ctx: RunContext) -> None:
    """Stand for the experiment where none is carried out."""


def _content(needs: Mapping[str, float]) -> frozenset[tuple[str, float]]:
    return frozenset(needs.items())


def _row(spec: RunSpec, group: int) -> tuple[Any, ...]:
    """Return a run as plain values, of which a hundred thousand are read in a moment."""
    config = spec.config
    sealed = pickle.dumps(config) if _is_plain(config) else pickle_by_value(config)
    numbers = (spec.attempt, spec.timeout, spec.fresh_process)
    return (group, sealed, spec.run_id, spec.identity, spec.name, dict(spec.environment), *numbers)


def _bare_spec(
    root: Path,
    needs: Mapping[str, float],
    run_id: str,
    identity: str,
    name: str,
    environment: Mapping[str, str],
    attempt: int,
    timeout: float | None,
    fresh_process: bool,
) -> RunSpec:
    return RunSpec(
        run_id,
        root / run_id,
        {},
        identity,
        attempt,
        timeout=timeout,
        environment=environment,
        fresh_process=fresh_process,
        name=name,
        needs=needs,
    )


_PLAIN = {int, float, str, bool, type(None)}


def _is_plain(value: Any) -> bool:
    """Return whether there is nothing in a value that belongs to a module."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is dict:
        return all(type(key) in _PLAIN for key in value) and all(map(_is_plain, value.values()))
    return kind in (list, tuple) and all(map(_is_plain, value))
