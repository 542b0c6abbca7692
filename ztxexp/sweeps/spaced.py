"""Numbers at even distances: ranges, ``linspace`` and ``logspace``, without errors of rounding."""

from __future__ import annotations

import math
import re
from decimal import Decimal, localcontext
from typing import Any

from ztxexp_core.errors import ConfigError

_MOST_OF_RANGE = 1_000_000  # values
_MOST_SPACED = 100_000
_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}))?")
_WHOLE = re.compile(r"[-+]?[0-9]+")


def parts_of_range(text: str) -> tuple[str, str, str | None] | None:
    """Return first, last and step of ``0..4`` or ``0..20:5``; ``None`` for any other text."""
    match = _RANGE.fullmatch(text)
    if match is None and re.fullmatch(r"-?\d+\.{3,}-?\d+", text):
        raise ConfigError(f"{text} has too many dots; write {re.sub(r'[.]{3,}', '..', text)}")
    return match and (match[1], match[2], match[3])


def numbers_between(text: str, first: str, last: str, step: str | None) -> list[Any]:
    """Return the numbers of a range, both ends included.

    Raises:
        ConfigError: there are none, too many, or no step where there must be one.

    Example:
        >>> numbers_between("0..1:0.5", "0", "1", "0.5")
        [0.0, 0.5, 1.0]
    """
    whole = all(_WHOLE.fullmatch(part) for part in (first, last, step or "1"))
    if step is None and not whole:
        raise ConfigError(
            f"{text} has no step; write {text}:0.1, or linspace({first},{last},5) for 5 values"
        )
    with localcontext() as context:
        context.prec = 60
        start, stop, by = map(Decimal, (first, last, step or "1"))
        if by == 0:
            raise ConfigError(f"{text} has the step 0; write another, or leave it out")
        if (stop - start) * by < 0:
            other = f"{first}..{last}:{-by}"
            raise ConfigError(
                f"{text} holds no number; write {last}..{first}, or {other} downwards"
            )
        count = int(min((stop - start) / by, Decimal(_MOST_OF_RANGE))) + 1
        if count > _MOST_OF_RANGE:
            raise ConfigError(
                f"{text} stands for more than {_MOST_OF_RANGE:,} values; write a larger step, or "
                f"integers({first},{last}) with -n 20 to draw some"
            )
        numbers = [start + by * index for index in range(count)]
    if whole:
        return [int(number) for number in numbers]
    return [_finite(number, text) for number in numbers]


def linspace(start: Any, stop: Any, num: Any) -> list[float]:
    """Return ``num`` numbers from ``start`` to ``stop``, at even distances.

    Raises:
        ConfigError: an argument is of no use.

    Example:
        >>> linspace(0, 1, 5)
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    low, high, count = _checked("linspace", start, stop, num)
    with localcontext() as context:
        context.prec = 60
        return [float(low + (high - low) * i / max(1, count - 1)) for i in range(count)]


def logspace(start: Any, stop: Any, num: Any) -> list[float]:
    """Return ``num`` numbers from ``start`` to ``stop``, each the same factor from the last.

    The ends are the values themselves, not exponents as in NumPy.

    Raises:
        ConfigError: an argument is of no use.

    Example:
        >>> logspace(1e-3, 1e-1, 3)
        [0.001, 0.01, 0.1]
    """
    low, high, count = _checked("logspace", start, stop, num)
    if low <= 0 or high <= 0:
        meant = f"logspace(1e{start},1e{stop},{num})" if _WHOLE.fullmatch(str(start)) else ""
        raise ConfigError(
            f"the ends of logspace({start},{stop},{num}) are the values, above 0, not exponents"
            + (f"; write {meant}" if meant else "")
        )
    with localcontext() as context:
        context.prec = 40
        low_log, high_log = low.log10(), high.log10()
        step = (high_log - low_log) / max(1, count - 1)
        inner = [Decimal(10) ** (low_log + step * index) for index in range(count)]
        context.prec = 30
        numbers = [float(+number) for number in inner]
    ends = [float(low), float(high)]
    return numbers[:0] + ends[:1] + numbers[1:-1] + ends[1:] if count > 1 else ends[:1]


def _checked(name: str, start: Any, stop: Any, num: Any) -> tuple[Decimal, Decimal, int]:
    for value in (start, stop):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _usable(value):
            raise ConfigError(f"{name} needs two numbers and how many there are, got {value!r}")
    if isinstance(num, bool) or not isinstance(num, int) or not 1 <= num <= _MOST_SPACED:
        raise ConfigError(
            f"{name}: the last argument is how many, 1 to {_MOST_SPACED:,}, got {num!r}"
        )
    return Decimal(repr(start)), Decimal(repr(stop)), num


def _usable(value: float) -> bool:
    return abs(value) < 1e300 and math.isfinite(value)


def _finite(number: Decimal, text: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ConfigError(f"{text} holds numbers that are too large")
    return value
