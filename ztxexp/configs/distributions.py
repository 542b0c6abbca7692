"""What the value of a key is drawn from: lists of values, and distributions for random_search."""

from __future__ import annotations

import math
import numbers
import operator
import random
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ztxexp_core.errors import ConfigError
from ztxexp_core.values.copying import ATOMS, copy_value


class Distribution:
    """What ``random_search`` draws the value of a key from."""

    def draw(self, rng: random.Random) -> Any:
        """Return one value."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Interval(Distribution):
    low: float
    high: float

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise ConfigError(f"{self}: {name} must be a finite number")
            object.__setattr__(self, name, float(value))
        if self.low >= self.high:
            raise ConfigError(f"{self} is empty; give the smaller bound first")


@dataclass(frozen=True)
class uniform(_Interval):
    """Any float from ``low`` to ``high``, all equally likely.

    Example:
        >>> ExpManager().random_search({"dropout": uniform(0.0, 0.5)}, n_trials=10)
    """

    def draw(self, rng: random.Random) -> float:
        return rng.uniform(self.low, self.high)


@dataclass(frozen=True)
class loguniform(_Interval):
    """Any float from ``low`` (above 0) to ``high``, every order of magnitude equally likely.

    Example:
        >>> ExpManager().random_search({"lr": loguniform(1e-5, 1e-1)}, n_trials=10)
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise ConfigError(f"{self} starts at or below 0; choose a low above 0")

    def draw(self, rng: random.Random) -> float:
        value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return min(max(value, self.low), self.high)  # exp(log(x)) may miss x by a bit


@dataclass(frozen=True)
class integers(Distribution):
    """Any integer from ``low`` to ``high``, both included.

    Example:
        >>> ExpManager().random_search({"layers": integers(2, 8)}, n_trials=10)
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        for name, value in (("low", self.low), ("high", self.high)):
            object.__setattr__(self, name, integer(f"integers: {name}", value))
        if self.low > self.high:
            raise ConfigError(f"{self} is empty; give the smaller bound first")

    def draw(self, rng: random.Random) -> int:
        return rng.randint(self.low, self.high)


@dataclass(frozen=True)
class choice(Distribution):
    """One of ``values``; as likely as its weight, or all equally likely.

    Example:
        >>> ExpManager().random_search({"opt": choice(["adam", "sgd"], weights=[3, 1])}, n_trials=4)
    """

    values: Sequence[Any]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        values = tuple(values_of("choice", "values", self.values))
        if not values:
            raise ConfigError("choice: there are no values; give at least one")
        object.__setattr__(self, "values", values)
        if self.weights is not None:
            weights = tuple(values_of("choice", "weights", self.weights))
            usable = all(isinstance(w, numbers.Real) and 0 <= float(w) < math.inf for w in weights)
            if len(weights) != len(values) or not usable or not sum(weights):
                raise ConfigError(
                    f"choice: weights={list(weights)!r} do not fit {len(values)} value(s); give "
                    "one number from 0 upwards for each, not all 0"
                )
            object.__setattr__(self, "weights", weights)

    def draw(self, rng: random.Random) -> Any:
        if self.weights is None:
            return rng.choice(self.values)
        return rng.choices(self.values, self.weights)[0]


@dataclass(frozen=True)
class scipy_like(Distribution):
    """A distribution in the manner of SciPy: an object with ``rvs(random_state=...)``."""

    frozen: Any

    def draw(self, rng: random.Random) -> Any:
        value = self.frozen.rvs(random_state=rng.getrandbits(32))
        return value.tolist() if hasattr(value, "tolist") else value


def integer(what: str, value: Any) -> int:
    """Return an integer of any type as Python's; ``what`` names it in the message."""
    try:
        return operator.index(value)
    except TypeError as exc:
        raise ConfigError(f"{what} must be an integer, not {value!r}") from exc


def values_of(expander: str, key: object, values: Any) -> list[Any]:
    """Return the values of one key as a list of our own, copied.

    Raises:
        ConfigError: a string, a mapping, a distribution or a single value where a list of values
            belongs, or a distribution among the values.
    """
    reject_distribution(expander, key, values)
    if isinstance(values, Mapping):
        raise ConfigError(
            f"{expander}: key {key!r} holds a mapping where a list of values belongs; write "
            f'[{{...}}] to choose among mappings, or keys with dots, such as "{key}.name"'
        )
    if isinstance(values, (set, frozenset)):
        by_size = all(isinstance(value, (int, float)) for value in values)
        values = sorted(values, key=None if by_size else repr)
    elif hasattr(values, "tolist"):  # arrays, tensors, series
        values = values.tolist()
    if isinstance(values, (str, bytes, bytearray)) or not isinstance(values, Iterable):
        shown = reprlib.repr(values)
        other = ", or variants([{...}]) for one variant with several keys"
        raise ConfigError(
            f"{expander}: key {key!r} holds the single value {shown} where a list of values "
            f"belongs; write [{shown}]{other if expander == 'variants' else ''}"
        )
    copied = []
    for value in values:
        reject_distribution(expander, key, value)
        copied.append(copy_value(value, key))
    return copied


def reject_distribution(expander: str, key: object, value: Any) -> None:
    """Raise ``ConfigError`` for a distribution in place of a value or of a list of values."""
    if type(value) in ATOMS or not is_distribution(value):
        return
    shown = reprlib.repr(value)
    hint = "write the distribution itself where a key's list would stand, not inside of it"
    if expander not in ("random_search", "choice"):
        example = f"random_search({{{key!r}: {shown}}}, n_trials=10)"
        hint = f"distributions belong in random_search, as in {example}"
    raise ConfigError(f"{expander}: key {key!r} holds the distribution {shown}; {hint}")


def is_distribution(value: Any) -> bool:
    """Return whether values are drawn from it: one of ours, or a frozen one of SciPy."""
    # The class is asked for the method of SciPy: an object may answer to any name.
    kind = type(value)
    return issubclass(kind, Distribution) or callable(getattr(kind, "rvs", None))
