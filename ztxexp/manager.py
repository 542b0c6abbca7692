"""The builder: from a base configuration to the list of configurations of a sweep."""

from __future__ import annotations

import argparse
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ztxexp.configs.rules import Account, Predicate, Rule
from ztxexp.results.history import Snapshot
from ztxexp_core.errors import PluginContractError
from ztxexp_core.plugins.registry import Plugin, load_expander
from ztxexp_core.records import Config
from ztxexp_core.values.copying import copy_config, is_flat

_log = logging.getLogger("ztxexp")

Modifier = Callable[[Config], "Config | None"]


class ExpManager:
    """Builds the configurations of a sweep, step by step.

    Whatever the order of the calls, the stages are: expansions (``grid``, ``variants``,
    ``random_search``, ``zip``, ``chain``, ``expand``, among themselves in the order of the calls),
    modifiers, predicates, ``exclude_completed``, ``shuffle``. Every step is checked when it is
    added and carried out in :meth:`build`, which may be called again and gives equal results that
    share nothing.

    In ``grid``, ``variants``, ``random_search`` and ``zip`` a key such as ``"model.lr"`` sets the
    nested value where the configuration has a dict under ``"model"``; where it has not, or has the
    very key ``"model.lr"``, the literal key is set.

    Args:
        base_config: what all configurations start from.

    Raises:
        TypeError: ``base_config`` is neither a ``Namespace`` nor a mapping nor ``None``.
        ConfigError: a value in it cannot be copied.

    Example:
        >>> manager = ExpManager({"seed": 1}).grid({"lr": [0.1, 0.01]}).variants([{"depth": 2}])
        >>> manager.build()
        [{'seed': 1, 'lr': 0.1, 'depth': 2}, {'seed': 1, 'lr': 0.01, 'depth': 2}]
    """

    def __init__(self, base_config: argparse.Namespace | Mapping[str, Any] | None = None):
        self._base = _base(base_config)
        self._steps: list[tuple[Plugin, dict[str, Any]]] = []
        self._modifiers: list[Modifier] = []
        self._rules: list[Rule] = []
        self._excluded: list[tuple[Path, tuple[str, ...]]] = []
        self._shuffle_seed: int | None = None

    def __copy__(self) -> ExpManager:
        """Return a manager with the same steps; steps added to one are not added to the other."""
        twin = ExpManager(self._base)
        twin._steps = list(self._steps)
        twin._modifiers = list(self._modifiers)
        twin._rules = list(self._rules)
        twin._excluded = list(self._excluded)
        twin._shuffle_seed = self._shuffle_seed
        return twin

    # ---- expansions --------------------------------------------------------------------------

    def grid(self, param_grid: Mapping[str, Sequence[Any]]) -> ExpManager:
        """Take every combination of the values; the first key varies slowest.

        Args:
            param_grid: key to list of values; an empty mapping changes nothing. A key with an
                empty list leaves no configuration, and a warning is logged.

        Raises:
            ConfigError: a text, a single value or a distribution where a list of values belongs.

        Example:
            >>> len(ExpManager().grid({"lr": [0.1, 0.01], "batch_size": [16, 32]}).build())
            4
        """
        return self.expand("grid", param_grid=param_grid)

    def variants(
        self, variants: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
    ) -> ExpManager:
        """Take each variant by itself, set over the configuration.

        Args:
            variants: a list of mappings; or key to list of values (the older form), where each
                value is a variant of one key. An empty one changes nothing.

        Raises:
            ConfigError: an item that is no mapping.

        Example:
            >>> ExpManager().variants([{"model": "tiny"}, {"model": "base", "layers": 12}]).build()
            [{'model': 'tiny'}, {'model': 'base', 'layers': 12}]
        """
        return self.expand("variants", variants=variants)

    def random_search(self, space: Mapping[str, Any], n_trials: int, seed: int = 42) -> ExpManager:
        """Draw values at random, ``n_trials`` times for each configuration.

        Draws are made with replacement, but one that repeats an earlier draw is made anew; where
        the space has fewer than ``n_trials`` distinct draws, repeats stand and a warning is logged.
        A second step of one manager draws the same stream of numbers as the first where their seeds
        are equal, so that its values go hand in hand with the first one's: pass another seed (a
        warning is logged).

        Args:
            space: key to list of values or to a distribution: ``uniform``, ``loguniform``,
                ``integers`` and ``choice`` of this package, or a frozen one of SciPy. A key
                with an empty list is left out; an empty mapping changes nothing.
            n_trials: number of draws; 0 or fewer changes nothing.
            seed: an integer; equal seeds give equal draws, in every process.

        Raises:
            ConfigError: something else in ``space``, or a number that is no integer.

        Example:
            >>> ExpManager().random_search({"lr": loguniform(1e-5, 1e-1)}, n_trials=20, seed=1)
        """
        return self.expand("random_search", space=space, n_trials=n_trials, seed=seed)

    def zip(self, space: Mapping[str, Sequence[Any]]) -> ExpManager:
        """Take the first values of all keys together, then the second ones, and so on.

        Args:
            space: key to list of values, all equally long; an empty mapping changes nothing.

        Raises:
            ConfigError: lists of different lengths.

        Example:
            >>> ExpManager().zip({"model": ["tiny", "base"], "layers": [2, 12]}).build()
            [{'model': 'tiny', 'layers': 2}, {'model': 'base', 'layers': 12}]
        """
        return self.expand("zip", space=space)

    def chain(self, *spaces: Any) -> ExpManager:
        """Take the results of several spaces, one space after the other.

        Args:
            spaces: each an argument of its own: a mapping (a grid), a list of mappings (variants:
                a list in one of these is one value), or another ``ExpManager``, of which the base
                configuration (set over the present one), expansions, modifiers and predicates
                count.

        Raises:
            ConfigError: a space of another kind.

        Example:
            >>> sgd = ExpManager({"opt": "sgd"}).grid({"momentum": [0.0, 0.9]})
            >>> len(ExpManager().chain(sgd, [{"opt": "adam"}]).build())
            3
        """
        return self.expand("chain", spaces=spaces)

    def expand(self, name: str, /, **options: Any) -> ExpManager:
        """Add a step of any installed expander.

        Args:
            name: its name in the entry-point group ``ztxexp.expanders``.
            options: its settings.

        Raises:
            PluginError: there is none of that name, or it is broken.
            OptionError: a setting that it does not know or refuses.

        Example:
            >>> ExpManager().expand("latin_hypercube", n=20, seed=1)  # of a package of its own
        """
        plugin = load_expander(name)
        checked = plugin.check_options(options)
        if name == "random_search":
            self._tell_equal_seed(checked)
        self._steps.append((plugin, checked))
        return self

    def _tell_equal_seed(self, options: Mapping[str, Any]) -> None:
        seeds = [
            earlier.get("seed")
            for plugin, earlier in self._steps
            if plugin.ref.name == "random_search" and earlier.get("n_trials")
        ]
        if options.get("n_trials") and options.get("seed") in seeds:
            _log.warning(
                "random_search: seed=%r serves an earlier step already, so that both draw the same "
                "stream of numbers and their values go hand in hand; pass another seed=",
                options.get("seed"),
            )

    # ---- what happens to expanded configurations ---------------------------------------------

    def modify(self, modifier: Modifier) -> ExpManager:
        """Change every configuration.

        Args:
            modifier: changes its argument in place and returns ``None``, or returns another dict.

        Raises:
            TypeError: it cannot be called; from :meth:`build` where it returns something else.

        Example:
            >>> ExpManager({"lr": 1}).modify(lambda c: {**c, "warmup": c["lr"] / 10}).build()
            [{'lr': 1, 'warmup': 0.1}]
        """
        if not callable(modifier):
            raise TypeError(f"modify() needs a function of one configuration, not {modifier!r}")
        self._modifiers.append(modifier)
        return self

    def where(self, predicate: Predicate, name: str | None = None) -> ExpManager:
        """Keep the configurations for which ``predicate`` returns something true.

        Args:
            predicate: is asked of every configuration.
            name: what a plan calls the rule (since 2.0); by default the function's name, or the
                line at which a lambda stands.

        Raises:
            TypeError: it cannot be called, or the name is no text.

        Example:
            >>> ExpManager().grid({"lr": [0.1, 0.01]}).where(lambda c: c["lr"] < 0.05).build()
            [{'lr': 0.01}]
        """
        self._rules.append(Rule.of(predicate, name))
        return self

    def exclude_completed(
        self, results_root: str | Path, ignore_keys: Sequence[str] | None = None
    ) -> ExpManager:
        """Leave out what has succeeded already.

        Args:
            results_root: folder of earlier runs; it need not exist. Called again, a further one.
            ignore_keys: keys that do not count in the comparison, dotted for nested ones.

        Raises:
            ConfigError: from :meth:`build`, a value that cannot be compared; it names its key.
        """
        self._excluded.append((Path(results_root), _keys(ignore_keys)))
        return self

    def shuffle(self, seed: int | None = None) -> ExpManager:
        """Put the result in random order.

        Args:
            seed: gives one order, always (since 2.0); ``None`` takes one from Python's ``random``.
        """
        self._shuffle_seed = random.getrandbits(64) if seed is None else seed
        return self

    # ---- results -----------------------------------------------------------------------------

    def build(self) -> list[Config]:
        """Carry out all stages.

        Returns:
            The configurations; they share nothing with each other, nor with the manager.

        Raises:
            TypeError: a modifier returned neither a dict nor ``None``.
            ConfigError: a value that cannot be copied or compared.
        """
        return self.build_account().configs

    def build_account(self, snapshot: Snapshot | None = None) -> Account:
        """Carry out all stages, as :meth:`build` does, and say where each went (since 2.0).

        What an expander drops by itself is not in the account.

        Args:
            snapshot: the runs of a root that were read already.
        """
        account = Account(self._rules, snapshot)
        account.configs.extend(self._kept([{}], account))
        for root, ignore_keys in self._excluded:
            account.exclude_completed(root, ignore_keys)
        if self._shuffle_seed is not None:
            random.Random(self._shuffle_seed).shuffle(account.configs)
        return account

    def keys_ignored(self, root: Path) -> tuple[str, ...] | None:
        """Return the keys that count in no comparison with a root; ``None`` without a comparison.

        Where ``exclude_completed`` was called several times, those that each call ignores.
        """
        calls = [keys for excluded, keys in self._excluded if excluded == root]
        return tuple(k for k in calls[0] if all(k in keys for keys in calls)) if calls else None

    def expand_configs(self, configs: Iterable[Config]) -> Iterator[Config]:
        """Yield what the expansions, modifiers and predicates make of given configurations.

        The keys of the base configuration are set over each of them first. Neither
        ``exclude_completed`` nor ``shuffle`` counts here.
        """
        return self._kept(configs, None)

    def _kept(self, configs: Iterable[Config], account: Account | None) -> Iterator[Config]:
        made: Iterable[Config] = ({**copy_config(c), **copy_config(self._base)} for c in configs)
        for plugin, options in self._steps:
            made = _results(plugin, plugin.call(configs=made, options=options))
        for config in made:
            changed = self._modified(config) if self._modifiers else config
            for rule in self._rules:
                if not rule.predicate(changed):
                    if account is not None:
                        account.refuse(rule, changed)
                    break
            else:
                # A modifier may have put the same object into every configuration.
                fresh = changed is config and (not self._modifiers or is_flat(changed))
                yield changed if fresh else copy_config(changed)

    def _modified(self, config: Config) -> Config:
        for modifier in self._modifiers:
            result = modifier(config)
            if isinstance(result, dict):
                config = result
            elif result is not None:
                raise TypeError(
                    f"the modifier {getattr(modifier, '__name__', modifier)!r} returned a "
                    f"{type(result).__name__}; it has to return a dict, or None after changing the "
                    "configuration in place"
                )
        return config

    # ---- the names of 0.1 --------------------------------------------------------------------

    def add_grid_search(self, param_grid: Mapping[str, Sequence[Any]]) -> ExpManager:
        """Older name of :meth:`grid`."""
        return self.grid(param_grid)

    def add_variants(
        self, variant_space: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]
    ) -> ExpManager:
        """Older name of :meth:`variants`."""
        return self.variants(variant_space)

    def add_random_search(
        self, space: Mapping[str, Any], n_trials: int, seed: int = 42
    ) -> ExpManager:
        """Older name of :meth:`random_search`."""
        return self.random_search(space, n_trials, seed)

    def add_modifier(self, modifier_func: Modifier) -> ExpManager:
        """Older name of :meth:`modify`."""
        return self.modify(modifier_func)

    def add_filter(self, filter_func: Predicate) -> ExpManager:
        """Older name of :meth:`where`."""
        return self.where(filter_func)

    def filter_completed(
        self, results_path: str | Path, ignore_keys: Sequence[str] | None = None
    ) -> ExpManager:
        """Older name of :meth:`exclude_completed`."""
        return self.exclude_completed(results_path, ignore_keys)

    def get_configs(self) -> list[Config]:
        """Older name of :meth:`build`."""
        return self.build()


def _results(plugin: Plugin, results: Any) -> Iterator[Config]:
    """Yield what an expander has made, held against its contract."""
    if not isinstance(results, Iterable):
        raise PluginContractError(
            f"{plugin.ref} returned {results!r}; its hook has to return or yield configurations",
            plugin.ref.kind,
            plugin.ref.name,
        )
    shared = "independent" not in plugin.supports
    for config in results:
        if not isinstance(config, dict):
            raise PluginContractError(
                f"{plugin.ref} made a {type(config).__name__}; every configuration is a dict",
                plugin.ref.kind,
                plugin.ref.name,
            )
        yield copy_config(config) if shared else config


def _base(base_config: Any) -> Config:
    if base_config is None:
        return {}
    if isinstance(base_config, argparse.Namespace):
        return copy_config(vars(base_config))
    if isinstance(base_config, Mapping):
        return copy_config(base_config)
    raise TypeError(
        f"base_config is a {type(base_config).__name__}; pass a dict, an argparse.Namespace or None"
    )


def _keys(ignore_keys: Sequence[str] | None) -> tuple[str, ...]:
    return (ignore_keys,) if isinstance(ignore_keys, str) else tuple(ignore_keys or ())
