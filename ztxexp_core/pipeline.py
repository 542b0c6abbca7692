"""The fluent front door: :class:`ExperimentPipeline`. No logic of its own."""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp_core import registry
from ztxexp_core.contracts import Tracker
from ztxexp_core.errors import OptionError
from ztxexp_core.identity import config_identity
from ztxexp_core.launch import ExperimentFn, RetryRule
from ztxexp_core.manager import ExpManager
from ztxexp_core.runner import ExpRunner
from ztxexp_core.types import Config, RunMetadata, RunSummary

_log = logging.getLogger("ztxexp")


class ExperimentPipeline:
    """Describes a sweep and runs it.

    Args:
        results_root: folder that holds a folder for every run.
        base_config: what every configuration starts from.

    Example:
        >>> summary = (
        ...     ExperimentPipeline("./results", base_config={"seed": 42})
        ...     .grid({"lr": [1e-3, 1e-2]})
        ...     .exclude_completed()
        ...     .run(exp_fn, mode="process_pool", workers=2)
        ... )
    """

    def __init__(self, results_root: str | Path, base_config: Mapping[str, Any] | None = None):
        self.results_root = Path(results_root)
        self._manager = ExpManager(base_config)
        self._metadata = RunMetadata()
        self._retry_max_attempts = 1
        self._retry_on: Sequence[str | type[BaseException]] = ("Exception",)
        self._tracker_specs: list[dict[str, Any]] = []
        self._trackers: list[Tracker] = []

    # -- which configurations

    def grid(self, param_grid: Mapping[str, Sequence[Any]]) -> ExperimentPipeline:
        """Take every combination of the values, see :meth:`ExpManager.grid`."""
        self._manager.grid(param_grid)
        return self

    def variants(
        self, variants: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
    ) -> ExperimentPipeline:
        """Take each of some partial configurations, see :meth:`ExpManager.variants`."""
        self._manager.variants(variants)
        return self

    def random_search(
        self, space: Mapping[str, Any], n_trials: int, seed: int = 42
    ) -> ExperimentPipeline:
        """Draw at random from lists or distributions, see :meth:`ExpManager.random_search`."""
        self._manager.random_search(space=space, n_trials=n_trials, seed=seed)
        return self

    def zip(self, space: Mapping[str, Sequence[Any]]) -> ExperimentPipeline:
        """Pair the values of several keys, see :meth:`ExpManager.zip`."""
        self._manager.zip(space)
        return self

    def chain(self, *spaces: Any) -> ExperimentPipeline:
        """Take the union of several spaces, see :meth:`ExpManager.chain`."""
        self._manager.chain(*spaces)
        return self

    def expand(self, name: str, **options: Any) -> ExperimentPipeline:
        """Apply any installed expander by name.

        Example:
            >>> pipeline.expand("grid", param_grid={"lr": [1e-3, 1e-2]})
        """
        self._manager.expand(name, **options)
        return self

    def modify(self, fn: Callable[[Config], Config | None]) -> ExperimentPipeline:
        """Change every configuration, see :meth:`ExpManager.modify`."""
        self._manager.modify(fn)
        return self

    def where(self, fn: Callable[[Config], bool]) -> ExperimentPipeline:
        """Keep the configurations for which ``fn`` is true."""
        self._manager.where(fn)
        return self

    def exclude_completed(self, ignore_keys: Sequence[str] | None = None) -> ExperimentPipeline:
        """Leave out configurations that have succeeded under this results root.

        Args:
            ignore_keys: keys that do not count in the comparison, dotted for nested ones.

        Raises:
            TypeError: a text or a path, which a pipeline does not need here.
        """
        if isinstance(ignore_keys, (str, Path)):
            raise TypeError(
                "exclude_completed of a pipeline looks under its own results root; "
                f'{ignore_keys!r} is no list of keys to ignore, such as ["note"]'
            )
        self._manager.exclude_completed(self.results_root, ignore_keys=ignore_keys)
        return self

    def shuffle(self, seed: int | None = None) -> ExperimentPipeline:
        """Run the configurations in random order."""
        self._manager.shuffle(seed)
        return self

    def build(self) -> list[Config]:
        """Return the final list of configurations."""
        return self._manager.build()

    # -- what the runs say of themselves

    def name(self, experiment_name: str) -> ExperimentPipeline:
        """Set the name of the experiment."""
        self._metadata.experiment_name = experiment_name
        return self

    def group(self, group_name: str) -> ExperimentPipeline:
        """Set the group within the experiment."""
        self._metadata.group = group_name
        return self

    def tags(self, tags: dict[str, str] | list[str]) -> ExperimentPipeline:
        """Set the tags, a mapping or a list of words."""
        self._metadata.tags = tags
        return self

    def lineage(self, parent_run_id: str | None) -> ExperimentPipeline:
        """Set the run that these runs descend from."""
        self._metadata.parent_run_id = parent_run_id
        return self

    # -- how they run

    def retry(
        self,
        max_attempts: int = 1,
        retry_on: Sequence[str | type[BaseException]] = ("Exception",),
    ) -> ExperimentPipeline:
        """Try failures again.

        Args:
            max_attempts: attempts in all; below 1 counts as 1.
            retry_on: names of exceptions (a parent's covers its children) or exception classes.

        Raises:
            ValueError, TypeError: what is no number, name or exception class.
        """
        try:
            attempts = max(1, operator.index(max_attempts))
        except TypeError:
            raise ValueError(f"max_attempts must be a whole number, got {max_attempts!r}") from None
        RetryRule.of(attempts, retry_on)
        self._retry_max_attempts, self._retry_on = attempts, retry_on
        return self

    def track(self, tracker: Tracker | str, **kwargs: Any) -> ExperimentPipeline:
        """Send the runs to a tracker as well.

        Args:
            tracker: the name of an installed tracker, or an instance of one.
            **kwargs: arguments of a tracker given by name.

        Raises:
            PluginError: no such tracker, or one that cannot be used here.
            OptionError: arguments that the tracker does not take.

        Example:
            >>> pipeline.track("mlflow", experiment_name="digits")
        """
        if isinstance(tracker, str):
            name = tracker.lower()
            registry.tracker_spec(name, kwargs)  # an error belongs to this line, not to run()
            self._tracker_specs.append({"type": name, "kwargs": dict(kwargs)})
            return self
        if kwargs:
            raise OptionError(
                f"arguments ({', '.join(kwargs)}) go with a tracker's name; "
                f"this {type(tracker).__name__} is made already"
            )
        registry.check_tracker(tracker, type(tracker).__name__)
        self._trackers.append(tracker)
        return self

    def run(
        self,
        exp_fn: ExperimentFn,
        mode: str = "sequential",
        workers: int = 1,
        cpu_threshold: int = 80,
        options: Mapping[str, Any] | None = None,
        allow_duplicates: bool = False,
    ) -> RunSummary:
        """Build the configurations and execute them, see :meth:`ExpRunner.run`.

        Args:
            exp_fn: ``exp_fn(ctx) -> dict | None``.
            mode: name of an executor: ``sequential``, ``process_pool``, ``joblib``, ``dynamic``
                or any installed one.
            workers: runs at a time; -1 for one per available core.
            cpu_threshold: per cent of CPU use above which ``dynamic`` starts nothing more.
            options: settings of the executor.
            allow_duplicates: run a configuration as often as it stands in the list; by default it
                runs once.
        """
        configs = self.build()
        if not allow_duplicates:
            configs = _distinct(configs)
        return ExpRunner(configs, self.results_root).run(
            exp_function=exp_fn,
            mode=mode,
            workers=workers,
            cpu_threshold=cpu_threshold,
            metadata=self._metadata,
            max_attempts=self._retry_max_attempts,
            retry_on=self._retry_on,
            tracker_specs=self._tracker_specs,
            trackers=self._trackers,
            options=options,
        )


def _distinct(configs: list[Config]) -> list[Config]:
    found: dict[str, Config] = {}
    for config in configs:
        found.setdefault(config_identity(config), config)
    if len(found) < len(configs):
        _log.warning(
            "%d of %d configurations stand there more than once and run once; "
            "run(..., allow_duplicates=True) runs them all",
            len(configs) - len(found),
            len(configs),
        )
    return list(found.values())
