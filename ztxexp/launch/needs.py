"""What runs need of the machines that an executor places them on."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ztxexp.sweeps.options import seconds
from ztxexp_core.errors import ConfigError, OptionError, closest
from ztxexp_core.plugins.registry import Plugin
from ztxexp_core.records import Config
from ztxexp_core.values.codec import is_number
from ztxexp_core.values.copying import lookup

ANY = "*"
"""In the ``needs`` of an executor: it also takes numbers by names of its own."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

Needs = Mapping[str, Any]


def size(text: str) -> int | None:
    """Return the bytes of ``16GiB``, ``16G`` (the same) or ``16GB``; ``None`` for another text.

    Example:
        >>> size("1.5GiB")
        1610612736
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    number, unit, ending = match.groups()
    base = 1000 if (ending or "").lower() == "b" and unit else 1024
    factor: int = base ** _POWERS[unit.lower()]
    return math.ceil(float(number) * factor)


_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")


def _time(text: str) -> float | None:
    """Return the seconds of ``90s``, ``2h``, or ``1-02:30:00`` as batch systems have it."""
    if match := _CLOCK.fullmatch(text.strip()):
        days, hours, minutes, rest = (int(part or 0) for part in match.groups())
        return float(86_400 * days + 3600 * hours + 60 * minutes + rest)
    try:
        return seconds(text)
    except ConfigError:
        return None


_TEXTS: dict[str, Callable[[str], float | None]] = {"memory": size, "time": _time}
_MAY_BE_ZERO = ("gpus",)
_NAMED = ("cpus", "gpus", "memory", "time")  # resources of an engine have other names
_FORMS = {"memory": 'size such as "16GiB", and no ', "time": 'time such as "2h", and no '}


def check_needs(needs: Any, executor: Plugin) -> None:
    """Check that an executor observes what runs are said to need.

    Raises:
        TypeError: it is no mapping from names.
        OptionError: the executor does not observe one of them.
    """
    if not isinstance(needs, Mapping) or not all(isinstance(name, str) for name in needs):
        raise TypeError(f'needs must map names to values, such as {{"cpus": 4}}, got {needs!r}')
    known = executor.needs
    for name in needs:
        if name in known or (ANY in known and name not in _NAMED):
            continue
        if name == "time" and ANY in known:
            raise OptionError(
                f"{executor.ref} has no jobs with a time; for a limit of each run write timeout="
            )
        if not known:
            raise OptionError(
                f"{executor.ref} does not place runs, so it takes no needs ({name!r}); for GPUs of "
                "this machine write gpus=, for a time limit timeout="
            )
        listed = ", ".join(sorted(known))
        hint = closest(name, known)
        raise OptionError(
            f"{executor.ref} does not observe the need {name!r}{hint}; it observes {listed}"
        )


def needs_of(needs: Needs, config: Config, attempt: int) -> dict[str, float]:
    """Return what one attempt needs, as numbers; what is ``None`` is not needed.

    Raises:
        ValueError: a value that is no number, or a function that raises.
    """
    numbers = {}
    for name, given in needs.items():
        value = _value_of(name, given, config, attempt)
        if value is not None:
            numbers[name] = _number(name, value)
    return numbers


def change_with_attempts(needs: Needs) -> bool:
    """Return whether a further attempt may need something else."""
    return any(callable(value) for value in needs.values())


def check_keys(needs: Needs, found: Sequence[Mapping[str, float]]) -> None:
    """Check that each key of a need is one of some configuration.

    Raises:
        ValueError: no configuration has it.
    """
    for name, given in needs.items():
        is_key = isinstance(given, str) and _as_text(name, given) is None
        if is_key and found and not any(name in numbers for numbers in found):
            raise ValueError(
                f"needs: {name!r} is {given!r}, which is no {_FORMS.get(name, '')}key of any "
                "configuration"
            )


def _value_of(name: str, given: Any, config: Config, attempt: int) -> Any:
    if callable(given):
        try:
            return given(dict(config), attempt) if _takes_two(given) else given(dict(config))
        except Exception as exc:
            cause = f"{type(exc).__name__}: {exc}"
            raise ValueError(f"the function given as needs[{name!r}] raised {cause}") from exc
    if isinstance(given, str) and _as_text(name, given) is None:
        return lookup(config, given)
    return given


def _takes_two(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError):
        return False
    return True


def _as_text(name: str, text: str) -> float | None:
    return _TEXTS[name](text) if name in _TEXTS else None


def _number(name: str, value: Any) -> float:
    number: Any = _as_text(name, value) if isinstance(value, str) else value
    if is_number(number) and 0 <= number < math.inf and (number or name in _MAY_BE_ZERO):
        return int(number) if float(number).is_integer() else float(number)
    kinds = {"memory": 'bytes or a text such as "16GiB"', "time": 'seconds or "2h"'}
    kind = kinds.get(name, "a number")
    raise ValueError(f"needs[{name!r}] must be {kind}, over 0, got {value!r}")
