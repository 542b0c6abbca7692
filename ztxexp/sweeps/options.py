"""Options of a sweep besides its keys: as they are typed, as files have them, and checked."""

from __future__ import annotations

import dataclasses
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ztxexp.configs.distributions import Distribution
from ztxexp.sweeps.values import as_text, quoted, read_call
from ztxexp.text.expression import Expression
from ztxexp.text.pieces import pieces, scalar, short
from ztxexp_core.errors import ConfigError, closest
from ztxexp_core.values.codec import is_number

_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3_600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604_800.0),
}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?\s*[a-z]+\s*)+")


def seconds(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``30min``, ``1h``, ``1h30m`` or ``2d``.

    Raises:
        ConfigError: it is none of these.

    Example:
        >>> seconds("1h30min")
        5400.0
    """
    lower = text.strip().lower()
    number = scalar(lower)
    if isinstance(number, (int, float)) and 0 <= number < math.inf:
        return float(number)
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)", lower)
    if _DURATION.fullmatch(lower) and all(unit in _UNITS for _, unit in parts):
        return sum(float(count) * _UNITS[unit] for count, unit in parts)
    raise ConfigError(f"{short(text)} is no time; write 90s, 30min, 1h, 1h30m or 2d")


@dataclass(frozen=True)
class Step:
    """Something that is called by its name with options: an expander, a tracker.

    Attributes:
        name: by which it is installed.
        options: its options, as a file has them; a distribution is a text.

    Example:
        >>> Step.of("latin_hypercube(n=20, seed=1)")
        Step(name='latin_hypercube', options={'n': 20, 'seed': 1})
    """

    name: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, given: Any) -> Step:
        """Take it from ``NAME``, ``NAME(option=value)`` or a mapping of the name to the options.

        Raises:
            ConfigError: it is something else.
        """
        if isinstance(given, Step):
            return given
        if isinstance(given, str):
            name, args, options = read_call(given)
            if args:
                raise ConfigError(
                    f"{short(given)}: options are written with their names: {name}(n=20)"
                )
            return cls(name, {key: _as_file(value) for key, value in options.items()})
        if isinstance(given, Mapping) and len(given) == 1:
            ((name, options),) = given.items()
            if options is None or isinstance(options, Mapping):
                return cls(str(name), dict(options or {}))
        raise ConfigError(
            f"{short(repr(given))} is no NAME, NAME(option=value) or {{NAME: {{option: value}}}}"
        )

    def in_file(self) -> Any:
        """Return it as a file has it."""
        return {self.name: dict(self.options)} if self.options else self.name

    def __str__(self) -> str:
        listed = ", ".join(f"{key}={quoted(value)}" for key, value in self.options.items())
        return f"{self.name}({listed})" if listed else self.name


def _as_file(value: Any) -> Any:
    if isinstance(value, Distribution):
        return as_text(value)
    if isinstance(value, dict):
        return {key: _as_file(item) for key, item in value.items()}
    return value


# ---- kinds of options ------------------------------------------------------------------------


def text(value: Any) -> str:
    """Return a text; a whole number in a file may be one."""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        in_quotes = f'; write it in quotes: "{value}"' if isinstance(value, float) else ""
        raise ConfigError(f"must be a text, got {value!r}{in_quotes}")
    return str(value)


def flag(value: Any) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"must be true or false, got {value!r}")
    return value


def whole(least: int) -> Callable[[Any], int]:
    """Return the check for a whole number."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"must be a whole number from {least}, got {value!r}")
        return value

    return check


def workers(value: Any) -> int:
    """Return a number of workers; ``auto`` is -1, for all cores."""
    if value in (-1, "auto") and not isinstance(value, bool):
        return -1
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"must be a whole number from 1, or -1 for all cores, got {value!r}")
    return value


def number(value: Any) -> float:
    """Return a number over 0."""
    if not is_number(value) or not 0 < value < math.inf:
        raise ConfigError(f"must be a number over 0, got {value!r}")
    result: float = value
    return result


def duration(value: Any) -> Any:
    """Return a time as it was given: seconds, or a text such as ``1h``."""
    if isinstance(value, str):
        seconds(value)
        return value
    if not is_number(value) or not 0 <= value < math.inf:
        raise ConfigError(f"must be seconds, or a text such as 90s, 30min or 1h, got {value!r}")
    return value


def time_limit(value: Any) -> Any:
    """Return a time limit as it was given; a name is the key of a configuration that holds it."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w.]*", value):
        return value
    if value in (0, "0") and not isinstance(value, bool):
        raise ConfigError("must be over 0; leave it out for no limit")
    return duration(value)


def retry(value: Any) -> Any:
    """Return how often failures are tried again: a number, or a mapping."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return whole(0)(value)
    if not isinstance(value, Mapping):
        raise ConfigError(f"must be a number, or times, on, delay, backoff, got {value!r}")
    kinds: dict[str, Callable[[Any], Any]] = {
        "times": whole(0),
        "on": texts,
        "delay": duration,
        "backoff": number,
    }
    for key in value:
        if key not in kinds:
            raise ConfigError(f"has no {key!r}{closest(key, kinds)}; it has {', '.join(kinds)}")
    checked = {key: kinds[key](item) for key, item in value.items()}
    return {key: list(v) if isinstance(v, tuple) else v for key, v in checked.items()}


def texts(value: Any) -> tuple[str, ...]:
    """Return texts; one is one, and those of one text stand between commas."""
    if isinstance(value, str):
        return tuple(str(piece) for piece in pieces(value) if piece)
    if isinstance(value, (list, tuple)):
        return tuple(text(item) for item in value)
    raise ConfigError(f"must be a text or a list of texts, got {value!r}")


def whole_texts(value: Any) -> tuple[str, ...]:
    """Return texts that may hold commas: one, or several."""
    if isinstance(value, str) and value:
        return (value,)
    return texts(value)


def conditions(value: Any) -> tuple[str, ...]:
    """Return the texts of conditions: one, or several."""
    texts_given = whole_texts(value)
    for one in texts_given:
        Expression(one)
    return texts_given


def bases(value: Any) -> tuple[Any, ...]:
    """Return base files; a mapping among them is one that stands in the sweep itself."""
    listed = value if isinstance(value, (list, tuple)) else [value]
    if not listed or not all(item and isinstance(item, (str, Mapping)) for item in listed):
        raise ConfigError(f"must be a file or a list of files, got {value!r}")
    return tuple(dict(i) if isinstance(i, Mapping) else i.removeprefix("@") for i in listed)


def tags(value: Any) -> Any:
    """Return tags: a list of texts, or a mapping where each is ``key=value``."""
    if isinstance(value, Mapping):
        return {str(key): text(item) for key, item in value.items()}
    listed = texts(value)
    if listed and all("=" in item for item in listed):
        return dict(item.split("=", 1) for item in listed)
    return list(listed)


def metrics(value: Any) -> dict[str, str]:
    """Return which value of each metric is the best: ``accuracy=max``, or a mapping."""
    if not isinstance(value, Mapping):
        given = texts(value)
        pairs = [re.split(r"[=:]", item, maxsplit=1) for item in given]
        if not all(len(pair) == 2 for pair in pairs):
            raise ConfigError(f"must be NAME=max or NAME=min, got {', '.join(given)!r}")
        value = {pair[0].strip(): pair[1].strip() for pair in pairs}
    for name, direction in value.items():
        if direction not in ("max", "min"):
            raise ConfigError(f"{name} must be max or min, what is the best, got {direction!r}")
    return dict(value)


def mapping(value: Any) -> dict[str, Any]:
    """Return a mapping; in one text ``a=1,b=2``, or in several."""
    if isinstance(value, (tuple, list)):
        return {key: item for each in value for key, item in mapping(each).items()}
    if isinstance(value, str):
        _, args, options = read_call(f"options({value})")
        if args:
            raise ConfigError(f"must be NAME=VALUE, got {value!r}")
        return {key: _as_file(item) for key, item in options.items()}
    if not isinstance(value, Mapping):
        raise ConfigError(f"must be a mapping, got {value!r}")
    return dict(value)


def gpus(value: Any) -> Any:
    """Return ``auto``, or a list of GPUs; a number is the only one of a list."""
    if value == "auto":
        return value
    if isinstance(value, str):
        value = [scalar(piece) for piece in pieces(value)]
    listed: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value]
    if not listed or not all(type(one) in (int, str) and one != "" for one in listed):
        raise ConfigError(f"must be auto or a list such as [0, 1], got {value!r}")
    return listed


def command(value: Any) -> tuple[str, ...]:
    """Return the words of a command, of a list or of a text as a shell splits it."""
    if isinstance(value, str):
        try:
            value = shlex.split(value)
        except ValueError as exc:
            raise ConfigError(f"cannot be split into words: {exc}") from exc
    if not isinstance(value, (list, tuple)) or not value:
        raise ConfigError(f"must be a command, got {value!r}")
    return tuple(str(word) for word in value)


def steps(value: Any) -> tuple[Step, ...]:
    """Return what is called by name: one, or several."""
    given = value if isinstance(value, (list, tuple)) else [value]
    return tuple(Step.of(one) for one in given)


def groups(value: Any) -> tuple[tuple[str, ...], ...]:
    """Return groups of keys: ``a,b``, several of those, lists of lists, or one list.

    Raises:
        ConfigError: a group of fewer than two keys.

    Example:
        >>> groups(["a,b", "c,d"]), groups([["a", "b"]]), groups(["a", "b"])
        ((('a', 'b'), ('c', 'd')), (('a', 'b'),), (('a', 'b'),))
    """
    listed: Any = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)):
        raise ConfigError(f"must be keys such as a,b, got {value!r}")
    plain = all(isinstance(one, str) and "," not in one for one in listed)
    found = (texts(listed),) if plain and listed else tuple(texts(one) for one in listed)
    for group in found:
        if len(group) < 2 or len(set(group)) < len(group):
            raise ConfigError(f"takes two or more keys together, such as a,b; got {group!r}")
    return found


def seed_or_flag(value: Any) -> int | bool:
    """Return a seed, or whether there is any order at random."""
    return value if isinstance(value, bool) else whole(-(2**63))(value)


def retry_arguments(value: Any) -> dict[str, Any]:
    """Return what :meth:`ExperimentPipeline.retry` takes for an option ``retry``.

    Example:
        >>> retry_arguments({"times": 2, "on": ["WorkerDied"]})
        {'max_attempts': 3, 'retry_on': ('WorkerDied',)}
    """
    given: dict[str, Any] = {"times": value} if isinstance(value, int) else dict(value)
    arguments: dict[str, Any] = {"max_attempts": given.get("times", 1) + 1}
    if "on" in given:
        arguments["retry_on"] = tuple(texts(given["on"]))
    if "delay" in given:
        delay: Any = given["delay"]
        arguments["delay"] = seconds(delay) if isinstance(delay, str) else delay
    if "backoff" in given:
        arguments["backoff"] = given["backoff"]
    return arguments


OPTIONS: dict[str, Callable[[Any], Any]] = {
    "run": text,
    "command": command,
    "base": mapping,
    "base_files": bases,
    "zip": groups,
    "where": conditions,
    "without": texts,
    "expand": steps,
    "draws": whole(1),
    "draw_seed": whole(-(2**63)),
    "shuffle": seed_or_flag,
    "name": text,
    "group": text,
    "tags": tags,
    "version": text,
    "code": text,
    "metrics": metrics,
    "table": mapping,
    "root": text,
    "mode": text,
    "workers": workers,
    "options": mapping,
    "timeout": time_limit,
    "retry": retry,
    "gpus": gpus,
    "runs_per_gpu": whole(1),
    "gpus_per_run": whole(1),
    "gpu_memory_free": number,
    "fresh_process": flag,
    "max_failures": whole(1),
    "max_failures_in_a_row": whole(1),
    "flush_sec": duration,
    "workdir": text,
    "pass_env": texts,
    "needs": mapping,
    "detach": flag,
    "track": steps,
    "tracker_timeout": duration,
    "record_diff": flag,
    "progress": flag,
    "allow_duplicates": flag,
    "ignore_keys": texts,
    "metric_pattern": text,
}
"""The keys of a sweep file besides ``sweep``, with what checks their values."""
