"""From a base configuration to the configurations of a sweep: :class:`ConfigBuilder`.

``ExpManager`` and ``ExperimentPipeline`` both are one.
"""

from __future__ import annotations

import functools
import logging
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ztxexp.configs.bases import as_config, closed_nodes, has_interpolations, resolved
from ztxexp.configs.expanders import branches_of, keys_of
from ztxexp.configs.expansion import ExpansionReport
from ztxexp.configs.keys import unknown_keys
from ztxexp.results.history import Snapshot
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.entries import contract_error
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.records import Config
from ztxexp_core.values.copying import copy_config, is_flat

if TYPE_CHECKING:
    from typing_extensions import Self

_log = logging.getLogger("ztxexp")

Modifier = Callable[[Config], "Config | None"]
Predicate = Callable[[Config], object]
Variants = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]


class ConfigBuilder:
    """Builds the configurations of a sweep, step by step.

    Whatever the order of the calls, the stages are: expansions (``grid``, ``variants``,
    ``random_search``, ``zip``, ``chain``, ``expand``, among themselves in the order of the calls),
    modifiers, predicates, ``exclude_completed``, ``shuffle``. Every expansion is checked when it is
    added and carried out in :meth:`build`, which may be called again and gives equal results that
    share nothing.

    In ``grid``, ``variants``, ``random_search`` and ``zip`` a key such as ``"model.lr"`` sets the
    nested value. Where there is nothing that it fits, it is refused, unless the configuration has
    the very key ``"model.lr"``, or it is written ``literal("model.lr")``. Of several keys, parents
    are set before what is in them. A key that the base does not have is a new one; where it is
    close to one that the base has, the log asks which was meant. A base, or a part of it, that is a
    dataclass, of attrs, of pydantic or a struct of OmegaConf takes no new keys.

    ``copy.copy``, ``copy.deepcopy`` and :meth:`copy` all make an independent branch.

    Args:
        base_config: what all configurations start from: a mapping, a namespace, a dataclass, or an
            object of OmegaConf, pydantic or attrs. Interpolations of OmegaConf are resolved in each
            configuration, after the values of the sweep are set and before modifiers.

    Raises:
        ConfigError: it is of another kind, or a value in it cannot be copied.
    """

    results_root: Path  # of a pipeline

    def __init__(self, base_config: Any = None):
        base = {} if base_config is None else base_config
        self._base = copy_config(as_config(base))
        self._interpolated = has_interpolations(base)
        self._closed = dict(closed_nodes(base))
        self._steps: list[tuple[Plugin, dict[str, Any]]] = []
        self._modifiers: list[Modifier] = []
        self._rules: list[tuple[Predicate, str]] = []
        self._excluded: list[tuple[Path | None, tuple[str, ...]]] = []
        self._shuffle_seed: int | None = None
        self._code_version: str | None = None

    def copy(self) -> Self:
        """Return a branch: it has the same steps and settings; what is added to one is not in both.

        Functions and trackers are shared. (Since 2.0.)

        Example:
            >>> base = ExpManager({"seed": 1}).grid({"lr": [0.1, 0.01]})
            >>> small, large = base.copy().grid({"width": [8]}), base.copy().grid({"width": [512]})
        """
        branch = object.__new__(type(self))
        for name, value in vars(self).items():
            changes = isinstance(value, (list, dict, set))
            branch.__dict__[name] = value.copy() if changes else value
        return branch

    def __copy__(self) -> Self:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copy()

    # ---- expansions --------------------------------------------------------------------------

    def grid(self, param_grid: Mapping[str, Sequence[Any]]) -> Self:
        """Take every combination of the values; the first key varies slowest.

        Args:
            param_grid: key to list of values; an empty mapping changes nothing. A key with an
                empty list leaves no configuration, and a warning is logged.

        Raises:
            ConfigError: a string, a single value or a distribution where a list of values belongs.

        Example:
            >>> len(ExpManager().grid({"lr": [0.1, 0.01], "batch_size": [16, 32]}).build())
            4
        """
        return self.expand("grid", param_grid=param_grid)

    def variants(self, variants: Variants) -> Self:
        """Take each variant by itself, set over the configuration.

        Args:
            variants: a list of mappings; or key to list of values (the older form), where each
                value is a variant of one key. An empty one changes nothing.

        Raises:
            ConfigError: an item is not a mapping.

        Example:
            >>> ExpManager().variants([{"model": "tiny"}, {"model": "base", "layers": 12}]).build()
            [{'model': 'tiny'}, {'model': 'base', 'layers': 12}]
        """
        return self.expand("variants", variants=variants)

    def random_search(self, space: Mapping[str, Any], n_trials: int, seed: int = 42) -> Self:
        """Draw values at random, ``n_trials`` times for each configuration.

        A draw that repeats an earlier one is made again. Where the space has fewer than
        ``n_trials`` distinct draws, the others repeat them, and a warning is logged. Two steps need
        different seeds, or their values depend on each other (a warning is logged).

        Args:
            space: key to list of values or to a distribution: ``uniform``, ``loguniform``,
                ``integers`` and ``choice`` of this package, or a frozen one of SciPy. A key
                with an empty list is left out; an empty mapping changes nothing.
            n_trials: number of draws; 0 or fewer changes nothing.
            seed: an integer; equal seeds give equal draws, in every process.

        Raises:
            ConfigError: something else in ``space``, or a number is not an integer.

        Example:
            >>> ExpManager().random_search({"lr": loguniform(1e-5, 1e-1)}, n_trials=20, seed=1)
        """
        return self.expand("random_search", space=space, n_trials=n_trials, seed=seed)

    def zip(self, space: Mapping[str, Sequence[Any]]) -> Self:
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

    def chain(self, *spaces: Any) -> Self:
        """Take the results of several spaces, one space after the other.

        Args:
            spaces: each an argument of its own: a mapping (a grid), a list of mappings (variants:
                a list in one of these is one value), or another manager or pipeline, of which the
                base configuration (set over the present one), expansions, modifiers and
                predicates count.

        Raises:
            ConfigError: a space of another kind.

        Example:
            >>> sgd = ExpManager({"opt": "sgd"}).grid({"momentum": [0.0, 0.9]})
            >>> len(ExpManager().chain(sgd, [{"opt": "adam"}]).build())
            3
        """
        return self.expand("chain", spaces=spaces)

    def expand(self, name: str, /, **options: Any) -> Self:
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
        plugin = registry.expanders().load(name)
        checked = plugin.check_options(options)
        if name == "random_search" and checked["n_trials"]:
            searches = [o for plugin, o in self._steps if plugin.ref.name == name and o["n_trials"]]
            if checked["seed"] in [search["seed"] for search in searches]:
                _log.warning(
                    "random_search: an earlier step has seed=%r too, so both draw the same stream "
                    "of numbers and their values depend on each other; pass another seed=",
                    checked["seed"],
                )
        self._steps.append((plugin, checked))
        return self

    # ---- what happens to expanded configurations ---------------------------------------------

    def modify(self, fn: Modifier) -> Self:
        """Change every configuration.

        Args:
            fn: changes its argument in place and returns ``None``, or returns another dict.

        Raises:
            TypeError: from :meth:`build` where it returns something else.

        Example:
            >>> ExpManager({"lr": 1}).modify(lambda c: {**c, "warmup": c["lr"] / 10}).build()
            [{'lr': 1, 'warmup': 0.1}]
        """
        self._modifiers.append(fn)
        return self

    def where(self, fn: Predicate, name: str | None = None) -> Self:
        """Keep the configurations for which ``fn`` returns something true.

        Args:
            fn: is asked about every configuration.
            name: what a plan calls the rule (since 2.0); by default the function's name, or the
                line at which a lambda stands.

        Example:
            >>> ExpManager().grid({"lr": [0.1, 0.01]}).where(lambda c: c["lr"] < 0.05).build()
            [{'lr': 0.01}]
        """
        self._rules.append((fn, name or _name_of(fn)))
        return self

    def shuffle(self, seed: int | None = None) -> Self:
        """Put the result in random order.

        Args:
            seed: gives one order, always (since 2.0); ``None`` takes one from Python's ``random``.
        """
        self._shuffle_seed = random.getrandbits(64) if seed is None else seed
        return self

    def exclude_root(self, root: Path | None, ignore_keys: Sequence[str] | None = None) -> Self:
        """Leave out what has succeeded below a root; ``None`` is a pipeline's own root."""
        keys = (ignore_keys,) if isinstance(ignore_keys, str) else tuple(ignore_keys or ())
        self._excluded.append((root, keys))
        return self

    # ---- results -----------------------------------------------------------------------------

    def build(self) -> list[Config]:
        """Carry out all stages.

        Returns:
            The configurations; they share nothing with each other, nor with the builder.

        Raises:
            TypeError: a modifier returned neither a dict nor ``None``.
            ConfigError: a value that cannot be copied or compared.
        """
        report = self.build_report()
        if not report.configs and not report.reused and report.filtered_out:
            rules = ", ".join(f"{rule.rule!r} ({rule.count})" for rule in report.filtered_out)
            _log.warning("no configuration is left: where() took out all of them, by %s", rules)
        return report.configs

    def build_report(
        self,
        snapshot: Snapshot | None = None,
        code_hash: str | None = None,
        same_code: bool = False,
        function: str | None = None,
    ) -> ExpansionReport:
        """Carry out all stages, as :meth:`build` does, and say what was left out (since 2.0).

        What an expander drops by itself is not in the report.

        Args:
            snapshot: the runs of a root that were read already.
            code_hash: its successes of this version of the code count before those of others.
            same_code: only these count.
            function: only what this function or command has made counts.
        """
        if misspelt := self.misspelt_keys():
            _log.warning("%s", " ".join(misspelt))
        rules = [name for _, name in self._rules]
        version = self._code_version
        report = ExpansionReport(rules, snapshot, code_hash, same_code, version, function)
        report.configs.extend(self.expand_configs([{}], report.reject))
        for root, ignore_keys in self._excluded:
            report.exclude_completed(self.results_root if root is None else root, ignore_keys)
        if self._shuffle_seed is not None:
            random.Random(self._shuffle_seed).shuffle(report.configs)
        return report

    def keys_set(self) -> Iterator[tuple[str, Any]]:
        """Yield each key that an expansion sets, after the name of its step."""
        for plugin, options in self._steps:
            for key in keys_of(options):
                yield plugin.ref.name, key
            for branch in branches_of(options):
                for key in branch._base:
                    yield plugin.ref.name, key
                yield from branch.keys_set()

    def misspelt_keys(self) -> list[str]:
        """Return a sentence for each key of an expansion that looks misspelt.

        Raises:
            ConfigError: the base, or an object in it that became a dict, takes no such key.
        """
        sentences = unknown_keys(self._base, self._closed, self.keys_set())
        for _, options in self._steps:
            for branch in branches_of(options):
                sentences += branch.misspelt_keys()
        return list(dict.fromkeys(sentences))

    def keys_ignored(self, root: Path) -> tuple[str, ...] | None:
        """Return the keys that count in no comparison with a root; ``None`` without a comparison.

        Where ``exclude_completed`` was called several times, those that each call ignores.
        """
        calls = [keys for excluded, keys in self._excluded if excluded in (None, root)]
        return tuple(k for k in calls[0] if all(k in keys for keys in calls)) if calls else None

    def expand_configs(
        self, configs: Iterable[Config], reject: Callable[[int], object] | None = None
    ) -> Iterator[Config]:
        """Yield what the expansions, modifiers and predicates make of given configurations.

        The keys of the base configuration are set over each of them first. Neither
        ``exclude_completed`` nor ``shuffle`` counts here. ``reject`` gets the number of a predicate
        for each configuration that it takes out.
        """
        base = self._base
        expanded: Iterable[Config] = ({**copy_config(c), **copy_config(base)} for c in configs)
        for plugin, options in self._steps:
            expanded = _checked(plugin, plugin.call(configs=expanded, options=options))
        if self._interpolated:
            expanded = map(resolved, expanded)
        for config in expanded:
            modified = self._modified(config) if self._modifiers else config
            for rule, (predicate, name) in enumerate(self._rules):
                try:
                    kept = predicate(modified)
                except (KeyError, AttributeError) as exc:
                    raise _missing_key("where", name, modified, exc) from exc
                if not kept:
                    if reject is not None:
                        reject(rule)
                    break
            else:
                # A modifier may have put the same object into every configuration.
                own = modified is config and (not self._modifiers or is_flat(modified))
                yield modified if own else copy_config(modified)

    def _modified(self, config: Config) -> Config:
        for modifier in self._modifiers:
            try:
                result = modifier(config)
            except (KeyError, AttributeError) as exc:
                raise _missing_key("modify", _name_of(modifier), config, exc) from exc
            if isinstance(result, dict):
                config = result
            elif result is not None:
                raise TypeError(
                    f"the modifier {_name_of(modifier)!r} returned a {type(result).__name__}; it "
                    "must return a dict, or None after changing the configuration in place"
                )
        return config


def _missing_key(
    call: str, name: str, config: Config, exc: KeyError | AttributeError
) -> ConfigError:
    """Return an error that names a function of the user, the key it lacks, and those there are."""
    keys = ", ".join(map(str, config))
    hint = closest(exc.args[0] if isinstance(exc, KeyError) else exc.name, config)
    return ConfigError(
        f"{call}: {name!r} raised {type(exc).__name__}: {exc}{hint}; the keys are: {keys}"
    )


def _checked(plugin: Plugin, results: Any) -> Iterator[Config]:
    """Yield the configurations that an expander has made, none of which is shared.

    Raises:
        PluginContractError: they are no configurations.
    """
    if not isinstance(results, Iterable):
        problem = f"returned {results!r}; its hook must return or yield configurations"
        raise contract_error(plugin.ref, problem)
    shared = "independent" not in plugin.supports
    for config in results:
        if not isinstance(config, dict):
            problem = f"made a {type(config).__name__}; every configuration is a dict"
            raise contract_error(plugin.ref, problem)
        yield copy_config(config) if shared else config


def _name_of(function: Any) -> str:
    """Return the name by which its author knows a function, a partial or a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", type(function).__qualname__)
    if name == "<lambda>":
        code = function.__code__
        return f"lambda at {os.path.basename(code.co_filename)}:{code.co_firstlineno}"
    return str(name)
