"""The steps of a builder that the blocks of a sweep become."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp.configs.builder import ConfigBuilder
from ztxexp.configs.distributions import Distribution, choice
from ztxexp.configs.keys import literal
from ztxexp.sweeps.blocks import Block, is_drawn
from ztxexp.sweeps.options import Step
from ztxexp.sweeps.values import is_plain, read_values
from ztxexp.text.expression import Expression
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.values.copying import dots_of, lookup

_MOST = 10_000_000  # configurations
DRAW_SEED = 42  # as in ConfigBuilder.random_search


@dataclass(frozen=True)
class Shared:
    """What the blocks of a sweep share.

    Attributes:
        base: what every configuration starts from.
        zip, draws, draw_seed: options of the whole sweep.
        known: names that a condition may have; ``None`` where an expander may add some.
    """

    base: Mapping[str, Any]
    zip: Sequence[tuple[str, ...]] = ()
    draws: int | None = None
    draw_seed: int | None = None
    known: frozenset[str] | None = None


def add_steps(builder: ConfigBuilder, block: Block, shared: Shared) -> None:
    """Add the steps of a block to a builder: single values, draws, lists, expanders, conditions.

    What is drawn is drawn before lists are combined, so that one draw meets every seed.

    Raises:
        ConfigError: the block cannot be carried out.
    """
    entries = {written(key, shared.base): value for key, value in block.entries().items()}
    drawn = {k: v for k, v in entries.items() if isinstance(v, Distribution)}
    lists = {k: v for k, v in entries.items() if isinstance(v, list)}
    zipped = _zip_groups(block, shared, lists, drawn)
    single = {k: v[0] for k, v in lists.items() if len(v) == 1 and not any(k in g for g in zipped)}
    late = {k for k in single if _below(k, (o for o in entries if o not in single))}
    first = {**parents_of(entries, shared.base), **{k: single[k] for k in single if k not in late}}
    if first:
        builder.variants([first])
    if drawn:
        _add_draws(builder, block, shared, drawn)
    grid: dict[str, list[Any]] = {}
    for key, values in lists.items():
        group = next((group for group in zipped if key in group), None)
        if group is None and key not in single:
            grid[key] = values
        elif group is not None and group[0] == key:
            if grid:
                builder.grid(grid)
                grid = {}
            builder.zip({name: lists[name] for name in group})
    if grid:
        builder.grid(grid)
    if late:
        builder.variants([{key: single[key] for key in single if key in late}])
    for step in block.expand:
        add_expander(builder, step)
    for text in block.where:
        add_condition(builder, text, None if block.expand else shared.known)


def _below(key: str, others: Iterator[str]) -> bool:
    return any(key.startswith(f"{other}.") for other in others)


def written(key: str, base: Mapping[str, Any]) -> str:
    """Return a key as a literal one where the base has its neighbours with dots in their names."""
    top = f"{key.partition('.')[0]}."
    if top == f"{key}." or top[:-1] in base:
        return key
    return literal(key) if any(str(other).startswith(top) for other in base) else key


def parents_of(keys: Collection[str], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the empty mappings that nested keys need, because nothing else makes them."""
    parents: dict[str, Any] = {}
    for key in keys:
        if key in base or isinstance(key, literal):
            continue
        for at in reversed(dots_of(key)):
            parent = key[:at]
            if parent in keys:
                break
            if lookup(base, parent) is None:
                parents.setdefault(parent, {})
    return parents


def _zip_groups(
    block: Block, shared: Shared, lists: Mapping[str, Any], drawn: Mapping[str, Any]
) -> list[tuple[str, ...]]:
    """Return the groups of this block, the keys of each in the order of the block."""
    shared_here = [group for group in shared.zip if set(group) & set(block.keys)]
    found: list[tuple[str, ...]] = []
    for group in (*block.zip, *shared_here):
        for key in group:
            if key in drawn:
                raise ConfigError(f"zip: {key} is drawn, so it has no list to go with others")
            if key not in lists:
                near = closest(key, [k for k in lists if k not in group])
                raise ConfigError(
                    f"zip: {','.join(group)}: the sweep has no {key!r}{near}; give it as many "
                    f"values as {next((k for k in group if k in lists), 'the others')} has"
                )
            if any(key in other for other in found):
                raise ConfigError(f"zip: {key} is in two groups; write one group of all keys")
        found.append(tuple(key for key in lists if key in group))
    return found


def _add_draws(
    builder: ConfigBuilder, block: Block, shared: Shared, drawn: Mapping[str, Distribution]
) -> None:
    draws = block.draws if block.draws is not None else shared.draws
    if draws is None:
        key, distribution = next(iter(drawn.items()))
        each = "; for each of its values write them without choice"
        raise ConfigError(
            f"{key}={block.keys[key]} is drawn at random; say how often: -n 20, or draws: 20 in "
            f"a file{each if isinstance(distribution, choice) else ''}"
        )
    seed = block.draw_seed if block.draw_seed is not None else shared.draw_seed
    builder.random_search(drawn, n_trials=draws, seed=DRAW_SEED if seed is None else seed)


def check_draws(blocks: Sequence[Block], draws: int | None) -> None:
    """Refuse a number of draws where nothing is drawn.

    Raises:
        ConfigError: for the whole sweep, or for one of its blocks.
    """
    drawn = [is_drawn(block) for block in blocks]
    for number, block in enumerate(blocks):
        if block.draws is not None and not drawn[number]:
            raise ConfigError(f"block {number + 1} of the sweep has draws, but {_NOTHING_DRAWN}")
    if draws is not None and not any(drawn):
        raise ConfigError(f"-n {draws} (draws) is given, but {_NOTHING_DRAWN}")


def check_count(sizes: Sequence[Mapping[str, int]], tables: Sequence[Sequence[Any]]) -> None:
    """Refuse a sweep that nobody could run, before it is expanded.

    Raises:
        ConfigError: it stands for more than ten million configurations.
    """
    rows = math.prod(map(len, tables))
    count = rows * max(1, sum(math.prod(size.values()) for size in sizes))
    if count > _MOST:
        listed = ", ".join(f"{key} {size}" for one in sizes for key, size in one.items())
        raise ConfigError(
            f"the sweep stands for {count:,} configurations ({listed}); at most {_MOST:,} are "
            "made: draw some, as in lr=choice(...) -n 1000"
        )


def check_zip(blocks: Sequence[Block], groups: Sequence[tuple[str, ...]]) -> None:
    """Refuse groups of keys that no block has.

    Raises:
        ConfigError: a key of one is swept nowhere.
    """
    swept = dict.fromkeys(key for block in blocks for key in block.keys)
    for group in groups:
        missing = [key for key in group if key not in swept]
        if missing:
            near = closest(missing[0], [key for key in swept if key not in group])
            raise ConfigError(
                f"zip: {','.join(group)}: the sweep has no {missing[0]!r}{near}; it has "
                f"{', '.join(swept) or 'no keys'}"
            )


_NOTHING_DRAWN = (
    "nothing in it is drawn; write for instance lr=loguniform(1e-5,1e-1), or opt=choice(adam,sgd)"
)


def add_condition(builder: ConfigBuilder, text: str, known: frozenset[str] | None) -> None:
    """Keep the configurations that meet a condition.

    Args:
        builder: what it is added to.
        text: the condition.
        known: the names that there are. A configuration that lacks one of these does not meet what
            depends on it. ``None``: a name that is missing in a configuration is an error.
    """
    expression = Expression(text)
    if known is None:
        builder.where(expression, name=text)
        return
    try:
        expression.check_names(set(known))
    except ConfigError as exc:
        raise ConfigError(f"where: {exc}") from exc
    builder.where(functools.partial(expression.matches, missing=False), name=text)


def add_expander(builder: ConfigBuilder, step: Step) -> None:
    """Add an expander; texts such as ``uniform(0,1)`` among its options are distributions."""
    builder.expand(step.name, **{key: _drawn(value) for key, value in step.options.items()})


def _drawn(value: Any) -> Any:
    if isinstance(value, str) and value.endswith(")") and not is_plain(value):
        values = read_values(value)
        return values if isinstance(values, Distribution) else value
    if isinstance(value, Mapping):
        return {key: _drawn(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_drawn(item) for item in value]
    return value
