"""Operations of Guild: a ``guild.yml``."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ztxexp.sweeps.blocks import entry_of
from ztxexp.sweeps.files import read_document
from ztxexp.sweeps.foreign import DRAWS, all_drawn, is_drawn
from ztxexp.sweeps.values import quoted
from ztxexp.text.pieces import scalar
from ztxexp_core.errors import ConfigError, closest

_FUNCTION = re.compile(r"([a-z]*)\[([^\]]*)\]")
_LEFT = {
    "requires": "files and operations that it requires are not prepared",
    "steps": "steps are not run one after the other",
    "sourcecode": "code is not copied into runs; its version is recorded",
    "env": "set variables in the shell, or in the command: env NAME=value python ...",
    "output-scalars": "write metric_pattern for lines of another form than key: value",
    "compare": "ztxexp list shows the keys that vary, ztxexp table the means",
    "optimizers": "nothing learns from earlier runs; values are drawn at random",
    "stoppable": "a run that is stopped is a failure",
    "stop-after": "write timeout: 30min",
    "plugins": "there are trackers in their place",
    "notebook": "notebooks are not run",
}


def from_guild(path: str) -> tuple[dict[str, Any], list[str]]:
    """Return the content of a sweep file, and what could not be taken over.

    Args:
        path: of the file, with ``:OPERATION`` after it for another than the default one.

    Raises:
        ConfigError: the file cannot be read, or has no operation of that name.
    """
    name, wanted = path, ""
    if not os.path.exists(path) and ":" in os.path.basename(path):
        name, _, wanted = path.rpartition(":")
    operations = dict(_operations(read_document(name).value))
    if not operations:
        raise ConfigError(f"{name} has no operation of Guild")
    if wanted and wanted not in operations:
        near = closest(wanted, operations)
        raise ConfigError(
            f"{name} has no operation {wanted!r}{near}; it has {', '.join(operations)}"
        )
    notes: list[str] = []
    default = next((key for key, one in operations.items() if one.get("default")), None)
    chosen = wanted or default or next(iter(operations))
    others = [key for key in operations if key != chosen]
    if others:
        notes.append(
            f"only {chosen} is taken over; for another: {os.path.basename(name)}:{others[0]}"
            + (f" ({', '.join(others)})" if len(others) > 1 else "")
        )
    operation = operations[chosen]
    keys: dict[str, Any] = {}
    names: dict[str, str] = {}
    flags = operation.get("flags")
    for key, flag in (flags if isinstance(flags, Mapping) else {}).items():
        if key == "$include":
            notes.append(f"flags: $include: {flag}: write these flags out")
            continue
        value = _values(key, flag, notes)
        if value is not None:
            keys[key] = value
            alias = flag.get("arg-name") if isinstance(flag, Mapping) else None
            names[key] = str(alias or key)
    content: dict[str, Any] = {
        "name": chosen,
        "command": _command(chosen, operation, names, os.path.dirname(name), notes),
        "sweep": keys,
    }
    drawn = is_drawn(keys)
    trials = operation.get("max-trials", operation.get("default-max-trials"))
    if drawn:
        content["sweep"] = all_drawn(keys)
        content["draws"] = trials if isinstance(trials, int) and trials > 0 else DRAWS
    elif trials is not None:
        notes.append(f"trials: {trials}: a grid is run as a whole")
    _add_metrics(content, operation, notes)
    notes += [f"{key}: {note}" for key, note in _LEFT.items() if key in operation]
    if not keys:
        del content["sweep"]
        notes.append("there are no flags; write what to vary below sweep")
    return content, notes


def _operations(content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the operations of a file: of models, or right in it."""
    for part in content if isinstance(content, list) else [content]:
        if not isinstance(part, Mapping) or "config" in part or "package" in part:
            continue
        has_models = "model" in part or "operations" in part
        operations = part.get("operations") if has_models else part
        for key, one in operations.items() if isinstance(operations, Mapping) else ():
            shared = {k: v for k, v in part.items() if k in ("sourcecode",)} if has_models else {}
            if isinstance(one, str):
                one = {"main": one}
            if isinstance(one, Mapping):
                yield key, {**shared, **one}


def _values(key: str, flag: Any, notes: list[str]) -> Any:
    """Return what our sweep file has for a flag; ``None`` where it is left out."""
    if isinstance(flag, Mapping):
        low, high = flag.get("min"), flag.get("max")
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < high:
            if "default" in flag:
                notes.append(f"{key}: drawn from its range; its default {flag['default']!r} is not")
            kind = str(flag.get("distribution", ""))
            if kind == "log-uniform":
                return f"loguniform({quoted(low)},{quoted(high)})"
            if kind not in ("", "uniform"):
                notes.append(f"{key}: distribution: {kind} is taken as uniform")
            whole = type(low) is int and type(high) is int
            return f"{'integers' if whole else 'uniform'}({quoted(low)},{quoted(high)})"
        for name in ("required", "choices"):
            if name in flag and flag.get("default") is None:
                values = flag["choices"] if isinstance(flag.get("choices"), list) else None
                if values:
                    notes.append(f"{key}: all its choices are swept")
                    return [c.get("value") if isinstance(c, Mapping) else c for c in values]
                notes.append(f"{key}: it has no default; write its values below sweep")
                return None
        return _values(key, flag.get("default"), notes)
    if isinstance(flag, str):
        return _function(key, flag, notes)
    return entry_of(flag if isinstance(flag, list) else [flag]) if flag != [] else None


def _function(key: str, text: str, notes: list[str]) -> Any:
    """Return what stands for ``loguniform[1e-5:1e-1]`` and the like; any other text is a value."""
    match = _FUNCTION.fullmatch(text.strip())
    if match is None:
        return entry_of([text])
    name, args = match[1], [scalar(part.strip()) for part in match[2].split(":") if part.strip()]
    if not all(isinstance(arg, (int, float)) for arg in args) or len(args) < 2:
        return entry_of([text])
    shown = ",".join(map(quoted, args[:3]))
    if name in ("", "uniform"):
        return f"uniform({quoted(args[0])},{quoted(args[1])})"
    if name == "loguniform":
        return f"loguniform({quoted(args[0])},{quoted(args[1])})"
    if name == "range":
        step = args[2] if len(args) > 2 else 1
        after = "" if step == 1 else f":{quoted(step)}"
        whole = all(isinstance(arg, int) for arg in args)
        return f"{quoted(args[0])}..{quoted(args[1])}{after if whole else f':{quoted(step)}'}"
    count = args[2] if len(args) > 2 else 5
    if name == "linspace":
        return f"linspace({quoted(args[0])},{quoted(args[1])},{quoted(count)})"
    if name == "logspace":
        base = args[3] if len(args) > 3 else 10
        low, high = (float(f"{float(base) ** float(end):.12g}") for end in args[:2])
        return f"logspace({quoted(low)},{quoted(high)},{quoted(count)})"
    notes.append(f"{key}: {name}[{shown}] is not known; left out")
    return None


def _command(
    name: str,
    operation: Mapping[str, Any],
    names: Mapping[str, str],
    folder: str,
    notes: list[str],
) -> list[str]:
    """Return the words of the command: of ``exec``, or of ``main`` with all flags."""
    args = [word for key, alias in names.items() for word in (f"--{alias}", f"{{{key}}}")]
    given = operation.get("exec")
    if isinstance(given, list):
        given = shlex.join(map(str, given))
    if isinstance(given, str):
        words: list[str] = []
        for word in shlex.split(given):
            if word == "${flag_args}":
                words += args
            else:
                words.append(re.sub(r"\$\{([\w.-]+)\}", _placeholder, word))
        return words
    main = str(operation.get("main", name))
    module, *rest = shlex.split(main) or [name]
    file = module.replace(".", "/") + ".py"
    path = os.path.join(folder, file)
    start = ["python", os.path.normpath(path)] if os.path.isfile(path) else ["python", "-m", module]
    destination = str(operation.get("flags-dest", ""))
    if destination.startswith("globals") or (not destination and not _parses(path)):
        notes.append(
            f"Guild sets flags as global variables, here they are arguments: let {file} parse "
            f"them, or name a function that takes them: run: {file}:train"
        )
    elif destination and destination != "args":
        notes.append(f"flags-dest: {destination}: flags are passed as arguments")
    return [*start, *rest, *args]


def _placeholder(match: re.Match[str]) -> str:
    return "python" if match[1] == "python_exe" else f"{{{match[1]}}}"


def _parses(path: str) -> bool:
    """Return whether a program reads arguments, as far as its text says."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(1_000_000)
        return re.search(r"argparse|click|typer|fire|sys\.argv", text) is not None
    except (OSError, UnicodeDecodeError):
        return True  # it is not known


def _add_metrics(content: dict[str, Any], operation: Mapping[str, Any], notes: list[str]) -> None:
    objective = operation.get("objective")
    if isinstance(objective, str):
        negative = objective.startswith("-")
        content["metrics"] = {objective.lstrip("-"): "max" if negative else "min"}
    elif isinstance(objective, Mapping):
        modes = {"maximize": "max", "minimize": "min"}
        content["metrics"] = {
            str(metric): modes[key] for key, metric in objective.items() if key in modes
        }
