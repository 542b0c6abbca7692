"""The built-in expanders: grid, variants, random_search, zip and chain.

They are plugins like any other (entry-point group ``ztxexp.expanders``); each is an instance with
one hook. Configurations that come in are not modified, and those that go out share nothing.

Keys
    A key with dots, such as ``"model.lr"``, sets the nested value where the configuration has the
    mappings on the way (here a dict under ``"model"``). Where it has the very key ``"model.lr"``,
    or lacks such a mapping, the literal key is set.

Values
    A list of values may be any iterable but a text or a mapping. An array gives Python numbers; a
    set is put in order (numbers by size, anything else by ``repr``), so that a sweep is the same in
    every process.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from ztxexp.configs.distributions import (
    Distribution,
    SciPyLike,
    choice,
    integer,
    integers,
    loguniform,
    refuse_distributions,
    uniform,
    values_of,
)
from ztxexp_core.contracts import hookimpl
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import Config
from ztxexp_core.values.copying import ATOMS, assign_all, copy_config
from ztxexp_core.values.identity import config_identity

__all__ = [
    "chain",
    "choice",
    "grid",
    "integers",
    "loguniform",
    "random_search",
    "uniform",
    "variants",
    "zip_",
]

_log = logging.getLogger("ztxexp")


class _Expander:
    # The core need not copy what comes out once more.
    supports = frozenset({"independent"})


class _Grid(_Expander):
    """Every combination of the values, the first key varying slowest."""

    @dataclass
    class Options:
        """``param_grid``: key to list of values; an empty one changes nothing."""

        param_grid: Any

        def __post_init__(self) -> None:
            self.param_grid = _columns("grid", self.param_grid)
            _tell_empty("grid", self.param_grid)

    @hookimpl
    def ztxexp_expand(
        self, configs: Iterable[Config], options: Mapping[str, Any]
    ) -> Iterator[Config]:
        columns = options["param_grid"]
        yield from _spread(configs, list(columns), itertools.product(*columns.values()))


class _Zip(_Expander):
    """The first values together, then the second ones, and so on."""

    @dataclass
    class Options:
        """``space``: key to list of values, all equally long; an empty one changes nothing."""

        space: Any

        def __post_init__(self) -> None:
            self.space = _columns("zip", self.space)
            lengths = {key: len(values) for key, values in self.space.items()}
            if len(set(lengths.values())) > 1:
                told = ", ".join(f"{key!r} has {length}" for key, length in lengths.items())
                raise ConfigError(f"zip: the lists differ in length: {told}; make them equal")
            _tell_empty("zip", self.space)

    @hookimpl
    def ztxexp_expand(
        self, configs: Iterable[Config], options: Mapping[str, Any]
    ) -> Iterator[Config]:
        columns = options["space"]
        rows = zip(*columns.values(), strict=True) if columns else [()]
        yield from _spread(configs, list(columns), rows)


class _Variants(_Expander):
    """Each variant by itself, set over the configuration."""

    @dataclass
    class Options:
        """``variants``: mappings, or key to list of values for variants of one key each."""

        variants: Any

        def __post_init__(self) -> None:
            self.variants = _variants(self.variants)
            for variant in self.variants:
                refuse_distributions("variants", variant)

    @hookimpl
    def ztxexp_expand(
        self, configs: Iterable[Config], options: Mapping[str, Any]
    ) -> Iterator[Config]:
        for config in configs:
            for variant in options["variants"]:
                made = copy_config(config)
                assign_all(made, variant)
                yield made


def _variants(variants: Any) -> list[Config]:
    if isinstance(variants, Mapping) and variants:
        columns = _columns("variants", variants)
        return [{key: value} for key, values in columns.items() for value in values]
    if isinstance(variants, (str, bytes)) or not _iterable(variants or ()):
        raise ConfigError(
            'variants: a list of mappings belongs here, as in [{"model": "tiny"}], not '
            f"{reprlib.repr(variants)}"
        )
    found = list(variants or ())
    for index, item in enumerate(found):
        if not isinstance(item, Mapping):
            raise ConfigError(
                f"variants: item {index} is {reprlib.repr(item)}, not a mapping; write each "
                'variant as {"key": value}'
            )
    return [copy_config(item) for item in found] or [{}]


class _RandomSearch(_Expander):
    """Values drawn at random, ``n_trials`` times for each configuration.

    Draws are made with replacement, but a draw that repeats an earlier one of the same
    configuration is made anew; where the space is exhausted, repeats stand and a warning is logged.
    """

    @dataclass
    class Options:
        """Settings of random_search.

        ``space``: key to list of values or distribution.
        ``n_trials``: how many configurations are made of each one.
        ``seed``: one seed gives one result.
        """

        space: Any
        n_trials: Any
        seed: Any = 42

        def __post_init__(self) -> None:
            axes = {k: _axis(k, v) for k, v in _space("random_search", self.space).items()}
            self.n_trials = max(0, integer("random_search: n_trials", self.n_trials))
            self.seed = integer("random_search: seed", self.seed)
            # An empty space is no trial at all; a key with an empty list is merely left out.
            self.n_trials = self.n_trials if axes else 0
            self.space = {key: axis for key, axis in axes.items() if axis is not None}

    @hookimpl
    def ztxexp_expand(
        self, configs: Iterable[Config], options: Mapping[str, Any]
    ) -> Iterator[Config]:
        if not options["n_trials"]:
            yield from map(copy_config, configs)
            return
        rng = random.Random(options["seed"])
        told = False
        for config in configs:
            trials = _Trials(options["space"], rng)
            for _ in range(options["n_trials"]):
                made = copy_config(config)
                assign_all(made, trials.draw())
                yield made
            if trials.exhausted and not told:
                told = True
                _log.warning(
                    "random_search: n_trials=%d, but only %d distinct draws were found; the others "
                    "repeat them",
                    options["n_trials"],
                    len(trials.seen),
                )


def _axis(key: object, values: Any) -> Distribution | None:
    if isinstance(values, Distribution):
        return values
    if callable(getattr(values, "rvs", None)):
        return SciPyLike(values)
    found = values_of("random_search", key, values)
    return choice(found) if found else None


class _Trials:
    """The draws for one configuration, without repeats as long as there are new ones."""

    _REDRAWS = 100

    def __init__(self, space: Mapping[Any, Distribution], rng: random.Random):
        self.seen: set[str] = set()
        self.exhausted = False
        self._space = space
        self._rng = rng
        self._left: list[Config] = []

    def draw(self) -> Config:
        """Return the next draw."""
        made = self._draw()
        if self.exhausted:
            self.seen.add(config_identity(made))
            return made
        if self._left:
            return self._left.pop()
        for _ in range(self._REDRAWS):
            if self._is_new(made):
                return made
            made = self._draw()
        self._left = self._unseen()
        self.exhausted = not self._left
        return self._left.pop() if self._left else made

    def _draw(self) -> Config:
        return {key: axis.draw(self._rng) for key, axis in self._space.items()}

    def _is_new(self, draw: Config) -> bool:
        before = len(self.seen)
        self.seen.add(config_identity(draw))
        return len(self.seen) > before

    def _unseen(self) -> list[Config]:
        """Return the draws that chance has not found, in random order."""
        supports = [axis.support() for axis in self._space.values()]
        counts = [math.inf if support is None else len(support) for support in supports]
        if math.prod(counts) > 1000 + 100 * len(self.seen):  # not to be listed in a lifetime
            return []
        rows = itertools.product(*[support or () for support in supports])
        draws = [dict(zip(self._space, row, strict=True)) for row in rows]
        left = [draw for draw in draws if self._is_new(draw)]
        self._rng.shuffle(left)
        return left


class _Chain(_Expander):
    """The results of several spaces, one space after the other."""

    @dataclass
    class Options:
        """``spaces``: mappings (grids), lists of mappings (variants), or ``ExpManager`` objects."""

        spaces: Any

        def __post_init__(self) -> None:
            if isinstance(self.spaces, (str, bytes, Mapping)) or not _iterable(self.spaces):
                raise ConfigError(
                    f"chain: a list of spaces belongs here, not {reprlib.repr(self.spaces)}"
                )
            self.spaces = [_part(index, space) for index, space in enumerate(self.spaces)]

    @hookimpl
    def ztxexp_expand(
        self, configs: Iterable[Config], options: Mapping[str, Any]
    ) -> Iterator[Config]:
        for config in configs:
            for space in options["spaces"] or [_Bound(grid, {"param_grid": {}})]:
                yield from map(copy_config, space.expand_configs([copy_config(config)]))


@dataclass(frozen=True)
class _Bound:
    """An expander with its options: a space of :class:`_Chain`."""

    expander: Any
    options: Mapping[str, Any]

    def expand_configs(self, configs: Iterable[Config]) -> Iterable[Config]:
        found: Iterable[Config] = self.expander.ztxexp_expand(configs, self.options)
        return found


def _part(index: int, space: Any) -> Any:
    if callable(getattr(space, "expand_configs", None)):
        return copy(space)  # as it is now, whatever is added to it later
    if isinstance(space, Mapping):
        return _Bound(grid, vars(grid.Options(space)))
    if isinstance(space, Sequence) and not isinstance(space, (str, bytes)):
        _check_list(index, space)
        return _Bound(variants, vars(variants.Options(space)))
    raise ConfigError(
        f"chain: space {index} is {reprlib.repr(space)}; give a mapping (a grid), a list of "
        "mappings (variants) or an ExpManager"
    )


def _check_list(index: int, space: Sequence[Any]) -> None:
    """Look for what a list as a space does not mean: a chain of spaces, a union of grids."""
    for item in space:
        if not isinstance(item, Mapping):
            raise ConfigError(
                f"chain: space {index} is a list that holds {reprlib.repr(item)}, not only "
                "mappings (variants); pass the spaces as separate arguments: chain(a, b)"
            )
    listed = [(key, value) for item in space for key, value in item.items() if type(value) is list]
    if listed:
        key, value = listed[0]
        _log.warning(
            "chain: space %d is a list of mappings, which is taken as variants: %r is set to the "
            "whole list %s; for the union of grids pass each as an argument of its own: "
            "chain({...}, {...})",
            index,
            key,
            reprlib.repr(value),
        )


# ---- what the expanders share --------------------------------------------------------------


def _spread(
    configs: Iterable[Config], keys: Sequence[Any], rows: Iterable[Sequence[Any]]
) -> Iterator[Config]:
    """Yield each configuration once for each row, with that row's values set; outermost first."""
    rows = list(rows)
    simple = not any(isinstance(key, str) and "." in key for key in keys)
    simple = simple and all(type(value) in ATOMS for row in rows for value in row)
    for config in configs:
        for row in rows:
            made = copy_config(config)
            if simple:
                made.update(zip(keys, row))  # noqa: B905 - equal lengths; strict costs a tenth
            else:
                assign_all(made, dict(zip(keys, row, strict=True)))
            yield made


def _space(expander: str, space: Any) -> dict[Any, Any]:
    if space is None:
        return {}
    if not isinstance(space, Mapping):
        raise ConfigError(
            f'{expander}: a mapping of keys to values belongs here, as in {{"lr": [0.1, 0.01]}}, '
            f"not {reprlib.repr(space)}"
        )
    return dict(space)


def _columns(expander: str, space: Any) -> dict[Any, list[Any]]:
    found = _space(expander, space)
    return {key: values_of(expander, key, values) for key, values in found.items()}


def _tell_empty(expander: str, columns: Mapping[Any, Sequence[Any]]) -> None:
    empty = [key for key, values in columns.items() if not values]
    if empty:
        _log.warning(
            "%s: no configuration is left, since there is no value for %s; leave such a key out, "
            "or give it values",
            expander,
            ", ".join(map(repr, empty)),
        )


def _iterable(value: Any) -> bool:
    return isinstance(value, Iterable)


grid = _Grid()
variants = _Variants()
random_search = _RandomSearch()
zip_ = _Zip()
chain = _Chain()
