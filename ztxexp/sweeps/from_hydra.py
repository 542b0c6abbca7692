"""Sweeps of Hydra: ``hydra.sweeper.params`` of a configuration, or a ``multirun.yaml``."""

from __future__ import annotations

import fnmatch
import math
import os
import re
from collections.abc import Mapping
from typing import Any

from ztxexp.sweeps.blocks import entry_of
from ztxexp.sweeps.files import read_document
from ztxexp.sweeps.foreign import DRAWS, all_drawn, is_drawn
from ztxexp.sweeps.values import quoted, read_values
from ztxexp.text.pieces import pieces, scalar
from ztxexp_core.errors import ConfigError

_CALL = re.compile(r"([A-Za-z_]\w*)\((.*)\)", re.DOTALL)


def from_hydra(path: str) -> tuple[dict[str, Any], list[str]]:
    """Return the content of a sweep file, and what could not be taken over.

    The sweep calls the program as Hydra's users do, ``python train.py lr={lr}``: what is not swept
    stays with Hydra and its files.

    Raises:
        ConfigError: the file cannot be read or holds no sweep.
    """
    document = read_document(path)
    config = document.value if isinstance(document.value, Mapping) else {}
    hydra = config.get("hydra", config)
    if not isinstance(hydra, Mapping):
        raise ConfigError(f"{path} holds no configuration of Hydra")
    notes: list[str] = []
    sweeper = _mapping(hydra.get("sweeper"))
    overrides = _overrides(hydra, sweeper)
    if not overrides:
        raise ConfigError(
            f"{path} holds no sweep: there is neither hydra.sweeper.params nor "
            "hydra.overrides.task; write the keys as words: ztxexp run lr=1e-3,1e-2 -- python "
            "train.py lr={lr}"
        )
    keys: dict[str, Any] = {}
    passed: list[str] = []
    for override, given in overrides.items():
        if override.startswith("~"):
            passed.append(override)
            continue
        prefix = "++" if override.startswith("++") else "+" if override.startswith("+") else ""
        key = override[len(prefix) :]
        name = key.partition("@")[0].replace("/", ".")
        if any(other.lstrip("+").startswith(f"{name}.") for other in overrides):
            name = f"{name}_choice"  # of a group, the values of which are overridden as well
        value = _values(key, given, os.path.dirname(path), notes)
        if value is not None:
            keys[name] = value
            passed.append(f"{prefix}{key}={{{name}}}")
    program = _program(path, hydra, notes)
    content: dict[str, Any] = {"command": ["python", program, *passed], "sweep": keys}
    _add_sweeper(content, sweeper, keys, notes)
    workers = _mapping(hydra.get("launcher")).get("n_jobs")
    if isinstance(workers, int) and (workers == -1 or workers > 0):
        content["workers"] = workers
    job = _mapping(hydra.get("job")).get("name")
    if isinstance(job, str) and "${" not in job:
        content["name"] = job
    tops = {key.partition(".")[0] for key in keys}
    rest = [key for key in config if key not in ("hydra", "defaults", *tops)]
    if rest and "hydra" in config:
        notes.append(
            f"{', '.join(map(str, rest[:5]))}{', ...' if len(rest) > 5 else ''}: what is not swept "
            "stays with Hydra and is not in the runs' configurations; pass it in the command and "
            "set it below base to record it"
        )
    if config.get("defaults"):
        notes.append("defaults: the program composes them, as before; sweep a group by its name")
    notes.append(
        "to keep what Hydra writes in each run's folder add hydra.run.dir=. and "
        "hydra.output_subdir=null to the command, and workdir: run"
    )
    return content, notes


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _overrides(hydra: Mapping[str, Any], sweeper: Mapping[str, Any]) -> dict[str, Any]:
    """Return key to text, of the params of the sweeper or of the words of a multirun."""
    params = {**_mapping(sweeper.get("search_space")), **_mapping(sweeper.get("params"))}
    found: dict[str, Any] = {str(key): value for key, value in params.items()}
    task = _mapping(hydra.get("overrides")).get("task")
    for word in task if isinstance(task, list) else []:
        key, equals, text = str(word).partition("=")
        found[key if equals else str(word)] = text
    return found


def _values(key: str, given: Any, folder: str, notes: list[str]) -> Any:
    """Return what our sweep file has for an override; ``None`` where it is left out."""
    if not isinstance(given, str):
        if isinstance(given, Mapping) and "type" in given:
            notes.append(f"{key}: the search_space of an old sweeper is left out; write its values")
            return None
        return entry_of([given])
    try:
        parts = pieces(given)
    except ConfigError as exc:
        notes.append(f"{key}: left out: {exc}")
        return None
    values: list[Any] = []
    for part in parts:
        match = _CALL.fullmatch(part)
        if match is None:
            values += _read(part)
            continue
        result = _call(key, match[1], match[2], folder, notes)
        if result is None or isinstance(result, str):
            return result
        values += result
    return entry_of(values) if values else None


def _read(part: str) -> list[Any]:
    try:
        values = read_values(part)
    except ConfigError:
        return [part]
    return values if isinstance(values, list) and len(values) == 1 else [part]


def _call(key: str, name: str, inner: str, folder: str, notes: list[str]) -> Any:
    """Return values, or the text of a distribution; ``None`` where it is left out."""
    args = [part for part in pieces(inner, inner=True) if part] if inner.strip() else []
    plain = [part for part in args if not re.match(r"\w+\s*=", part)]
    named = dict(re.split(r"\s*=\s*", part, maxsplit=1) for part in args if part not in plain)
    if name == "choice":
        return [value for part in plain for value in _read(part)]
    if name in ("sort", "shuffle", "str", "int", "float", "bool", "json_str") and plain:
        inside = [_CALL.fullmatch(part) for part in plain]
        if name == "shuffle":
            notes.append(f"{key}: the order of one key is not shuffled; write shuffle: 1 for all")
        if inside[0] is not None:
            return _cast(name, _call(key, inside[0][1], inside[0][2], folder, notes))
        values = [value for part in plain for value in _read(part)]
        return sorted(values) if name == "sort" and "reverse" not in named else values
    if name == "tag":
        match = _CALL.fullmatch(plain[-1]) if plain else None
        if match is None:
            return _read(plain[-1]) if plain else None
        result = _call(key, match[1], match[2], folder, notes)
        if "log" in plain[:-1] and isinstance(result, str):
            return result.replace("uniform(", "loguniform(", 1)
        return result
    if name == "range":
        return _range(plain, named)
    if name == "interval":
        ends = [scalar(part) for part in (*plain, *named.values())]
        return f"uniform({quoted(ends[0])},{quoted(ends[1])})" if len(ends) == 2 else None
    if name == "glob":
        return _glob(key, plain, named, folder, notes)
    notes.append(f"{key}: {name}(...) is not known; left out")
    return None


def _cast(name: str, result: Any) -> Any:
    if name == "int" and isinstance(result, str):
        return result.replace("loguniform(", "integers(", 1).replace("uniform(", "integers(", 1)
    return result


def _range(plain: list[str], named: Mapping[str, str]) -> list[Any] | str | None:
    numbers = [scalar(part) for part in plain]
    start = scalar(named["start"]) if "start" in named else 0
    if len(numbers) == 1:
        numbers = [start, numbers[0]]
    elif not numbers:
        numbers = [start, scalar(named.get("stop", "0"))]
    if "step" in named:
        numbers = [*numbers[:2], scalar(named["step"])]
    first, stop, step = (*numbers, 1)[:3]
    if not all(isinstance(number, (int, float)) for number in (first, stop, step)) or not step:
        return None
    count = math.ceil(round((stop - first) / step, 9))
    return [_tidy(first + index * step) for index in range(min(count, 100_000))]


def _tidy(number: float) -> Any:
    return number if isinstance(number, int) else float(f"{number:.12g}")


def _glob(
    key: str, plain: list[str], named: Mapping[str, str], folder: str, notes: list[str]
) -> Any:
    group = os.path.join(folder, *key.partition("@")[0].split("/"))
    names = sorted(
        os.path.splitext(entry)[0]
        for entry in (os.listdir(group) if os.path.isdir(group) else ())
        if entry.endswith((".yaml", ".yml"))
    )
    patterns = [p.strip("[] '\"") for p in ",".join(plain).split(",")] or ["*"]
    excluded = named.get("exclude", "").strip("[] '\"")
    chosen = [
        name
        for name in names
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        and not (excluded and fnmatch.fnmatchcase(name, excluded))
    ]
    if not chosen:
        notes.append(f"{key}: glob(...): there are no such files below {group}; left out")
        return None
    notes.append(f"{key}: glob(...) is the list of files of today")
    return chosen


def _program(path: str, hydra: Mapping[str, Any], notes: list[str]) -> str:
    """Return the program: of the job, or the only one near the file that uses Hydra."""
    job = _mapping(hydra.get("job")).get("name")
    folder = os.path.dirname(path)
    near = [folder, os.path.join(folder, "..")]
    candidates = []
    for place in dict.fromkeys(os.path.normpath(one or ".") for one in near):
        for entry in sorted(os.listdir(place)) if os.path.isdir(place) else ():
            if entry.endswith(".py") and _uses_hydra(os.path.join(place, entry)):
                candidates.append(os.path.normpath(os.path.join(place, entry)))
    named = [one for one in candidates if os.path.basename(one) == f"{job}.py"]
    found = named or candidates
    if len(found) == 1:
        return found[0]
    program = f"{job}.py" if isinstance(job, str) and "${" not in job else "train.py"
    notes.append(f"the program is not known for certain; the command runs {program}: change it")
    return program


def _uses_hydra(path: str) -> bool:
    try:
        with open(path, encoding="utf-8") as file:
            return "hydra.main" in file.read(1_000_000)
    except (OSError, UnicodeDecodeError):
        return False


def _add_sweeper(
    content: dict[str, Any], sweeper: Mapping[str, Any], keys: Mapping[str, Any], notes: list[str]
) -> None:
    drawn = is_drawn(keys)
    trials = sweeper.get("n_trials", sweeper.get("max_trials"))
    if drawn:
        if trials is not None:
            content["sweep"] = all_drawn(keys)
        known = isinstance(trials, int) and trials > 0
        content["draws"] = trials if known else DRAWS
        if not known:
            notes.append(f"n_trials is not given: draws is {DRAWS}")
    sampler = _mapping(sweeper.get("sampler"))
    seed = sampler.get("seed", sweeper.get("seed"))
    if drawn and isinstance(seed, int):
        content["draw_seed"] = seed
    target = str(sampler.get("_target_", ""))
    searches = target and not target.endswith(("RandomSampler", "GridSampler"))
    if searches or any(word in str(sweeper.get("_target_", "")) for word in ("nevergrad", "ax")):
        notes.append(
            f"the sweeper ({target or sweeper.get('_target_')}) learns from earlier runs; here "
            "values are drawn at random"
        )
    direction = sweeper.get("direction")
    if isinstance(direction, str):
        mode = {"maximize": "max", "minimize": "min"}.get(direction, direction)
        notes.append(
            f"direction: {direction}: write the metric's name, as in metrics: {{accuracy: {mode}}}"
        )
