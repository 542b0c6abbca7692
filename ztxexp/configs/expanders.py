"""The built-in expanders: grid, variants, random_search, zip and chain.

They are plugins like any other (entry-point group ``ztxexp.expanders``); each is an instance with
one hook. Configurations that come in are not modified, and those that go out share nothing.

A list of values may be any iterable but a string or a mapping. An array gives Python numbers; a set
is put in order (numbers by size, anything else by ``repr``), so that a sweep is the same in every
process.
"""

from __future__ import annotations

import itertools
import logging
import random
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

from ztxexp.configs.distributions import (
    Distribution,
    choice,
    integer,
    reject_distribution,
    scipy_like,
    values_of,
)
from ztxexp.configs.keys import assign_all
from ztxexp_core.contracts import hookimpl
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import Config
from ztxexp_core.values.copying import ATOMS, copy_config
from ztxexp_core.values.identity import config_identity

_log = logging.getLogger("ztxexp")
_REDRAWS = 100

_Columns = dict[Any, list[Any]]
_Space = Mapping[Any, Distribution]
_Expansion = Callable[[Iterable[Config]], Iterable[Config]]


class _Expander:
    """An expander whose options are the keyword arguments of its method ``expand``."""

    supports = frozenset({"independent"})  # what comes out need not be copied once more
    expand: Callable[..., Iterable[Config]]

    @hookimpl
    def ztxexp_expand(
        self, configs: Iterable[Config], options: Mapping[str, Any]
    ) -> Iterable[Config]:
        return self.expand(configs, **options)


class _Grid(_Expander):
    """Every combination of the values, the first key varying slowest."""

    @dataclass
    class Options:
        """``param_grid``: key to list of values; an empty one changes nothing."""

        param_grid: Any

        def __post_init__(self) -> None:
            self.param_grid = _columns("grid", self.param_grid)

    def expand(self, configs: Iterable[Config], param_grid: _Columns) -> Iterator[Config]:
        rows = list(itertools.product(*param_grid.values()))
        return _set_rows(configs, list(param_grid), rows)


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
                listed = ", ".join(f"{key!r} has {length}" for key, length in lengths.items())
                raise ConfigError(f"zip: the lists differ in length: {listed}; make them equal")

    def expand(self, configs: Iterable[Config], space: _Columns) -> Iterator[Config]:
        rows = list(zip(*space.values(), strict=True)) if space else [()]
        return _set_rows(configs, list(space), rows)


def _mapping(expander: str, space: Any) -> dict[Any, Any]:
    if not isinstance(space or {}, Mapping):
        raise ConfigError(
            f'{expander} needs a mapping of keys to values, such as {{"lr": [0.1, 0.01]}}, '
            f"not {reprlib.repr(space)}"
        )
    return dict(space or {})


def _columns(expander: str, space: Any) -> _Columns:
    """Return the list of values of each key, copied; warn where a list is empty."""
    items = _mapping(expander, space).items()
    columns = {
        key: list(values)
        if type(values) is list and ATOMS.issuperset(map(type, values))
        else values_of(expander, key, values)
        for key, values in items
    }
    if empty := ", ".join(repr(key) for key, values in columns.items() if not values):
        message = "%s: an empty list gives no configuration; add values for %s or leave it out"
        _log.warning(message, expander, empty)
    return columns


def _set_rows(
    configs: Iterable[Config], keys: Sequence[Any], rows: Sequence[Sequence[Any]]
) -> Iterator[Config]:
    """Yield each configuration once for each row, with that row's values set; outermost first."""
    simple = not any(isinstance(key, str) and "." in key for key in keys)
    simple = simple and all(type(value) in ATOMS for row in rows for value in row)
    for config in configs:
        for row in rows:
            if simple:
                made = copy_config(config)
                made.update(zip(keys, row))  # noqa: B905 - equal lengths; strict costs a tenth
                yield made
            else:
                yield _with(config, dict(zip(keys, row, strict=True)))


def _with(config: Config, values: Config) -> Config:
    """Return a copy of a configuration with copies of some values set."""
    changed = copy_config(config)
    assign_all(changed, values)
    return changed


class _Variants(_Expander):
    """Each variant by itself, set over the configuration."""

    @dataclass
    class Options:
        """``variants``: mappings, or key to list of values for variants of one key each."""

        variants: Any

        def __post_init__(self) -> None:
            given = self.variants or [{}]
            if isinstance(given, Mapping):
                columns = _columns("variants", given)
                given = [{key: value} for key, values in columns.items() for value in values]
            if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
                raise ConfigError(
                    'variants needs a list of mappings, such as [{"model": "tiny"}], not '
                    f"{reprlib.repr(given)}"
                )
            self.variants = [_variant(index, item) for index, item in enumerate(given)]

    def expand(self, configs: Iterable[Config], variants: list[Config]) -> Iterator[Config]:
        return (_with(config, variant) for config in configs for variant in variants)


def _variant(index: int, item: Any) -> Config:
    if not isinstance(item, Mapping):
        raise ConfigError(
            f"variants: item {index} is {reprlib.repr(item)}, not a mapping; write each "
            'variant as {"key": value}'
        )
    for key, value in item.items():
        reject_distribution("variants", key, value)
    return copy_config(item)


class _RandomSearch(_Expander):
    """Values drawn at random, ``n_trials`` times for each configuration."""

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
            space = _mapping("random_search", self.space)
            drawn_from = {key: _distribution(key, values) for key, values in space.items()}
            self.space = {key: values for key, values in drawn_from.items() if values is not None}
            self.n_trials = max(0, integer("random_search: n_trials", self.n_trials))
            self.seed = integer("random_search: seed", self.seed)
            if not space:
                self.n_trials = 0
            if left_out := ", ".join(repr(key) for key in space if key not in self.space):
                _log.warning("random_search: no value for %s; left out", left_out)

    def expand(
        self, configs: Iterable[Config], space: _Space, n_trials: int, seed: int
    ) -> Iterator[Config]:
        if not n_trials:
            yield from map(copy_config, configs)
            return
        rng = random.Random(seed)
        warned = False
        for config in configs:
            known: set[str] = set()
            for trial in range(n_trials):
                exhausted = len(known) < trial
                tries = 1 if exhausted else _REDRAWS + 10 * trial
                yield _with(config, _new_draw(space, rng, known, tries))
            if len(known) < n_trials and not warned:
                warned = True
                _log.warning(
                    "random_search: n_trials=%d, but only %d distinct draws were found; the others "
                    "repeat them",
                    n_trials,
                    len(known),
                )


def _distribution(key: object, values: Any) -> Distribution | None:
    """Return what the value of a key is drawn from; ``None`` for an empty list."""
    if isinstance(values, Distribution):
        return values
    if callable(getattr(values, "rvs", None)):
        return scipy_like(values)
    listed = values_of("random_search", key, values)
    return choice(listed) if listed else None


def _new_draw(space: _Space, rng: random.Random, known: set[str], tries: int) -> Config:
    """Draw until the identity of a draw is not known yet, or there were enough tries."""
    count = len(known)
    for _ in range(tries):
        draw = {key: distribution.draw(rng) for key, distribution in space.items()}
        known.add(config_identity(draw))
        if len(known) > count:
            break
    return draw


class _Chain(_Expander):
    """The results of several spaces, one space after the other."""

    @dataclass
    class Options:
        """``spaces``: mappings (grids), lists of mappings (variants), ``ExpManager`` objects."""

        spaces: Any

        def __post_init__(self) -> None:
            spaces = self.spaces
            if isinstance(spaces, (str, bytes, Mapping)) or not isinstance(spaces, Iterable):
                raise ConfigError(f"chain needs a list of spaces, not {reprlib.repr(spaces)}")
            self.spaces = [_expansion(index, space) for index, space in enumerate(spaces)]

    def expand(self, configs: Iterable[Config], spaces: list[_Expansion]) -> Iterator[Config]:
        for config in configs:
            for expansion in spaces or [partial(map, copy_config)]:
                yield from expansion([config])


def _expansion(index: int, space: Any) -> _Expansion:
    """Return the function that makes the configurations of one space of a chain."""
    if callable(getattr(space, "expand_configs", None)):
        branch: Any = copy(space)  # as it is now, whatever is added to it later
        return partial(branch.expand_configs)
    if isinstance(space, Mapping):
        return partial(grid.expand, **vars(grid.Options(space)))
    if isinstance(space, Sequence) and not isinstance(space, (str, bytes)):
        return partial(variants.expand, **vars(variants.Options(space)))
    raise ConfigError(
        f"chain: space {index} is {reprlib.repr(space)}; give a mapping (a grid), a list of "
        "mappings (variants) or an ExpManager"
    )


def keys_of(options: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the keys that a step sets, as far as its checked options say them."""
    for name in ("param_grid", "space", "variants", "spaces"):
        given = options.get(name)
        for space in given if isinstance(given, list) else [given]:
            if isinstance(space, Mapping):
                yield from space
            elif isinstance(space, partial):
                yield from keys_of(space.keywords)


def branches_of(options: Mapping[str, Any]) -> list[Any]:
    """Return the managers and pipelines that are spaces of a chain."""
    spaces = options.get("spaces")
    functions = [s.func for s in spaces if isinstance(s, partial)] if type(spaces) is list else []
    owners = [getattr(function, "__self__", None) for function in functions]
    return [owner for owner in owners if hasattr(owner, "keys_set")]


grid = _Grid()
variants = _Variants()
random_search = _RandomSearch()
zip_ = _Zip()
chain = _Chain()
