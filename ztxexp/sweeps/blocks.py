"""Blocks of a sweep: keys with their values, and the steps of the builder that they become."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ztxexp.configs.builder import ConfigBuilder
from ztxexp.configs.distributions import Distribution
from ztxexp.sweeps.options import Step, groups, steps, whole, whole_texts
from ztxexp.sweeps.pieces import pieces
from ztxexp.sweeps.values import is_plain, read_values
from ztxexp.text.expression import Expression
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.values.copying import dots_of, lookup

DRAW_SEED = 42  # as in ConfigBuilder.random_search

_KINDS: dict[str, Callable[[Any], Any]] = {
    "draws": whole(1),
    "draw_seed": whole(-(2**63)),
    "zip": groups,
    "where": whole_texts,
    "expand": steps,
}


@dataclass(frozen=True)
class Block:
    """Keys of a sweep with their values: all combinations of them.

    Attributes:
        keys: key to what a file has for it: a text is read as after ``key=``, items of a list are
            values, anything else is one value.
        new: those that are meant although the base does not have them (``+key``).
        draws, draw_seed, zip, where, expand: as the options of the whole sweep, for this block.
    """

    keys: Mapping[str, Any] = field(default_factory=dict)
    new: frozenset[str] = frozenset()
    draws: int | None = None
    draw_seed: int | None = None
    zip: tuple[tuple[str, ...], ...] = ()
    where: tuple[str, ...] = ()
    expand: tuple[Step, ...] = ()

    @classmethod
    def of_words(cls, words: Sequence[str]) -> Block:
        """Take it from words such as ``lr=1e-3,1e-2``.

        Raises:
            ConfigError: a word is something else, or a key is there twice.
        """
        keys: dict[str, Any] = {}
        new: set[str] = set()
        for word in words:
            key, equals, text = word.partition("=")
            if not equals or not key.lstrip("+"):
                raise ConfigError(
                    f"{word!r} is no key=value; write for instance lr=1e-3,1e-2, ~lr to leave a "
                    "key of the base out, or + between two blocks"
                )
            if key.startswith("+"):
                key = key[1:]
                new.add(key)
            if key in keys:
                raise ConfigError(
                    f"the key {key!r} is there twice; write {key}=1,2 for two values, or a + "
                    "between two blocks"
                )
            try:
                keys[key] = _in_file(text)
            except ConfigError as exc:
                raise ConfigError(f"{key}={text}: {exc}".replace("~KEY", f"~{key}")) from exc
        return cls(keys, frozenset(new))

    @classmethod
    def of_mapping(
        cls, given: Any, place: Callable[..., str], empty: Collection[tuple[str, ...]] = ()
    ) -> Block:
        """Take it from a file.

        Args:
            given: keys with values, and options such as ``draws``; where a key has the name of an
                option, all keys stand below ``keys``.
            place: gives file and line of a key, for messages.
            empty: keys after which nothing stands.

        Raises:
            ConfigError: it is no block.
        """
        if not isinstance(given, Mapping):
            raise ConfigError(f"{place()}: a block holds keys and values, got {given!r}")
        start: tuple[str, ...] = ()
        options = dict(given)
        if isinstance(given.get("keys"), Mapping) and set(given) <= {"keys", *_KINDS}:
            own, start = options.pop("keys"), ("keys",)
        else:
            own = {key: options.pop(key) for key in given if key not in _KINDS}
        checked = {}
        for name, value in options.items():
            try:
                checked[name] = _KINDS[name](value)
            except ConfigError as exc:
                raise ConfigError(f"{place(name)}: {name} {exc}") from exc
        keys: dict[str, Any] = {}
        new = set()
        for path, value in _nested(own):
            key = ".".join(path)
            where = place(*start, *path)
            if (*start, *path) in empty:
                raise ConfigError(
                    f"{where}: {key} has no value; write null for nothing, or several in brackets: "
                    f"{path[-1]}: [1, 2]"
                )
            if key.startswith("+"):
                key = key[1:]
                new.add(key)
            if key in keys:
                raise ConfigError(f"{where}: the key {key!r} is there twice; keep one")
            keys[key] = value
            try:
                if not _names_files(value):  # which need not be there yet
                    read_entry(value)
            except ConfigError as exc:
                raise ConfigError(f"{where}: {key}: {exc}") from exc
        return cls(keys, frozenset(new), **checked)

    def in_file(self) -> dict[str, Any]:
        """Return it as a file has it."""
        keys = {_new_key(key, self.new): value for key, value in self.keys.items()}
        options: dict[str, Any] = {}
        if self.draws is not None:
            options["draws"] = self.draws
        if self.draw_seed is not None:
            options["draw_seed"] = self.draw_seed
        if self.zip:
            options["zip"] = [list(group) for group in self.zip]
        if self.where:
            options["where"] = list(self.where)
        if self.expand:
            options["expand"] = [step.in_file() for step in self.expand]
        if not set(keys) & {"keys", *_KINDS}:
            return {**keys, **options}
        return {"keys": keys, **options}

    def moved(self, move: Callable[[str], str]) -> Block:
        """Return it with the paths of its files of values changed."""
        return replace(self, keys={key: _moved(value, move) for key, value in self.keys.items()})

    def entries(self) -> dict[str, list[Any] | Distribution]:
        """Return the values of each key, or what they are drawn from.

        Raises:
            ConfigError: a value cannot be read.
        """
        entries = {}
        for key, value in self.keys.items():
            try:
                entries[key] = read_entry(value)
            except ConfigError as exc:
                raise ConfigError(f"{key}: {exc}") from exc
        return entries


def _new_key(key: str, new: Collection[str]) -> str:
    return f"+{key}" if key in new or key.startswith("+") else key


def _nested(given: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Yield the paths of values; a mapping in a block holds nested keys."""
    for key, value in given.items():
        if isinstance(value, Mapping) and value:
            yield from _nested(value, (*path, key))
        else:
            yield (*path, key), value


def _in_file(text: str) -> Any:
    """Return what a file has for a text after ``key=``.

    A single value that no file would take as something else is itself, several are a list; what
    has a notation of its own stays the text.
    """
    parts = pieces(text) if text.strip() else [""]
    if _names_files(text):
        return text
    values = read_values(text)
    plain = [part[:1] in tuple("\"'[{") or is_plain(part) for part in parts]
    if isinstance(values, Distribution) or not all(plain):
        return text
    if len(values) > 1 or isinstance(values[0], (list, dict)):
        return values
    value = values[0]
    return value if not isinstance(value, str) or _is_itself(value) else values


def _is_itself(text: str) -> bool:
    try:
        return is_plain(text) and text == text.strip()
    except ConfigError:
        return False


def read_entry(value: Any) -> list[Any] | Distribution:
    """Return the values that a file has for a key, or what they are drawn from.

    A text that is one plain word stays a text, also where it looks like a number: the file would
    have the number without quotes.

    Raises:
        ConfigError: there is no value, or a text cannot be read.

    Example:
        >>> read_entry("0..2"), read_entry([1, 2]), read_entry(0.1), read_entry("1e-3")
        ([0, 1, 2], [1, 2], [0.1], ['1e-3'])
    """
    if isinstance(value, str):
        return [value] if is_plain(value) else read_values(value)
    if isinstance(value, (list, tuple)):
        if not value:
            raise ConfigError("the list is empty; give at least one value")
        return list(value)
    return [value]


def _names_files(value: Any) -> bool:
    """Return whether a text names files of values."""
    if not isinstance(value, str) or "@" not in value:
        return False
    return any(_is_file(part) for part in pieces(value))


def _is_file(part: str) -> bool:
    return part[:1] == "@" and len(part) > 1


def _moved(value: Any, move: Callable[[str], str]) -> Any:
    if not _names_files(value):
        return value
    return ",".join(f"@{move(p[1:])}" if _is_file(p) else p for p in pieces(value))


# ---- steps -----------------------------------------------------------------------------------


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
    entries = block.entries()
    drawn = {k: v for k, v in entries.items() if isinstance(v, Distribution)}
    lists = {k: v for k, v in entries.items() if isinstance(v, list)}
    zipped = _zip_groups(block, shared, lists, drawn)
    single = {k: v[0] for k, v in lists.items() if len(v) == 1 and not any(k in g for g in zipped)}
    late = {k for k in single if _below(k, (o for o in entries if o not in single))}
    first = {**_parents(entries, shared.base), **{k: single[k] for k in single if k not in late}}
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


def _parents(keys: Collection[str], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the empty mappings that nested keys need, because nothing else makes them."""
    parents: dict[str, Any] = {}
    for key in keys:
        if key in base:
            continue
        for at in reversed(dots_of(key)):
            parent = key[:at]
            if parent in keys:
                break
            if lookup(base, parent, parents) is parents:
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
        key = next(iter(drawn))
        raise ConfigError(
            f"{key}={block.keys[key]} is drawn at random; say how often: -n 20, or draws: 20 in "
            "a file"
        )
    seed = block.draw_seed if block.draw_seed is not None else shared.draw_seed
    builder.random_search(drawn, n_trials=draws, seed=DRAW_SEED if seed is None else seed)


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
    expression.check_names(set(known))
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
