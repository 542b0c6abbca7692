"""Blocks of a sweep: keys with their values, as words and as files have them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ztxexp.configs.distributions import Distribution
from ztxexp.sweeps.files import Document
from ztxexp.sweeps.options import Step, conditions, groups, steps, whole
from ztxexp.sweeps.values import is_plain, read_values
from ztxexp.text.pieces import pieces, short
from ztxexp_core.errors import ConfigError

_KINDS: dict[str, Callable[[Any], Any]] = {
    "draws": whole(1),
    "draw_seed": whole(-(2**63)),
    "zip": groups,
    "where": conditions,
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
            if text.startswith("="):
                raise ConfigError(f"{word!r} has two equals signs; write {key}{text}")
            if key in keys:
                raise ConfigError(
                    f"the key {key!r} is there twice; write {key}=1,2 for two values, or a + "
                    "between two blocks"
                )
            try:
                keys[key] = _in_file(text)
            except ConfigError as exc:
                shown = short(word)[1:-1]
                raise ConfigError(f"{shown}: {exc}".replace("~KEY", f"~{key}")) from exc
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
        _check_foreign(own, lambda *path: place(*start, *path))
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


_OF_WANDB = frozenset({"value", "values", "min", "max", "distribution", "probabilities", "q"})


def _check_foreign(given: Mapping[str, Any], place: Callable[..., str]) -> None:
    """Refuse ``lr: {values: [...]}``, as W&B writes it: nested keys are not meant.

    Raises:
        ConfigError: a key is written so.
    """
    for key, value in given.items():
        if isinstance(value, Mapping) and value and set(value) <= _OF_WANDB:
            ends = (value.get("min"), value.get("max"))
            shown = value.get("values", value.get("value"))
            if shown is None and None not in ends:
                shown = f"loguniform({ends[0]}, {ends[1]})"
            if shown is not None:
                raise ConfigError(
                    f"{place(key)}: {key} is written as W&B does; write {key}: {shown}, or "
                    f"{key}.{next(iter(value))}: for a nested key; ztxexp init --from wandb FILE "
                    "translates a whole sweep"
                )


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
    return entry_of(values)


def entry_of(values: list[Any]) -> Any:
    """Return what a file has for some values: a list, or a single one where that can only be it.

    Example:
        >>> entry_of([0.1]), entry_of([1, 2]), entry_of(["a,b"]), entry_of([[64, 64]])
        (0.1, [1, 2], ['a,b'], [[64, 64]])
    """
    value = values[0]
    if len(values) > 1 or isinstance(value, (list, dict)):
        return values
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


def blocks_of(value: Any, document: Document) -> tuple[Block, ...]:
    """Return the blocks that a file has below ``sweep``: one, or a list.

    Raises:
        ConfigError: there is none, or one is wrong; with the line.
    """
    given = value if isinstance(value, list) else [value]
    blocks = []
    for number, one in enumerate(given):
        start = ("sweep", str(number)) if isinstance(value, list) else ("sweep",)
        at = len(start)
        empty = {path[at:] for path in document.empty if path[:at] == start}

        def place(*keys: str, start: tuple[str, ...] = start) -> str:
            return document.place(*start, *keys)

        if one is None:
            raise ConfigError(f"{place()}: sweep is empty; write for instance lr: [1e-3, 1e-2]")
        blocks.append(Block.of_mapping(one, place, empty))
    return tuple(blocks)


def overridden(block: Block, words: Block, removed: Collection[str]) -> Block:
    """Return a block with the keys of some words set over its own."""
    keys = {key: value for key, value in block.keys.items() if key not in removed}
    changed = replace(block, keys={**keys, **words.keys}, new=block.new | words.new)
    if is_drawn(block) and not is_drawn(changed):
        changed = replace(changed, draws=None, draw_seed=None)
    return changed


def is_drawn(block: Block) -> bool:
    """Return whether a block has a key that is drawn at random; files of values are not read."""
    return any(
        isinstance(value, str)
        and not _names_files(value)
        and isinstance(read_entry(value), Distribution)
        for value in block.keys.values()
    )
