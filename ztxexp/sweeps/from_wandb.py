"""The YAML of a sweep of Weights & Biases."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ztxexp.sweeps.blocks import entry_of
from ztxexp.sweeps.files import read_document
from ztxexp.sweeps.foreign import DRAWS, is_drawn
from ztxexp.sweeps.values import quoted
from ztxexp_core.errors import ConfigError

_MOST_STEPS = 200  # of a rounded distribution that is written out
_LEFT = {
    "early_terminate": "early_terminate: no run ends early; use timeout, or stop runs by hand",
    "entity": "entity: belongs to W&B; write track: [{wandb: {entity: ...}}] to send runs there",
    "description": "description: there is no such key; keep it as a comment",
    "controller": "controller: there is none; the launcher decides",
    "imageuri": "imageuri: runs are started here, in no image",
    "job": "job: runs are started here, not by W&B Launch",
    "queue": "queue: runs are started here, not by W&B Launch",
}


def from_wandb(path: str) -> tuple[dict[str, Any], list[str]]:
    """Return the content of a sweep file, and what could not be taken over.

    Raises:
        ConfigError: the file cannot be read or holds no sweep.
    """
    document = read_document(path)
    sweep = document.value
    if not isinstance(sweep, Mapping) or not isinstance(sweep.get("parameters"), Mapping):
        raise ConfigError(f"{path} holds no sweep of W&B: there is no mapping called parameters")
    notes: list[str] = []
    method = str(sweep.get("method", "grid"))
    keys: dict[str, Any] = {}
    for key, parameter in _flat(sweep["parameters"], ()):
        keys[key] = _values(key, parameter, method, notes)
    keys = {key: value for key, value in keys.items() if value is not _LEFT_OUT}
    content: dict[str, Any] = {}
    if isinstance(sweep.get("name"), str):
        content["name"] = sweep["name"]
    _add_command(content, sweep, list(keys), notes)
    content["sweep"] = keys
    drawn = is_drawn(keys)
    if method == "bayes":
        notes.append("method: bayes: nothing learns from earlier runs; values are drawn at random")
    elif method not in ("grid", "random"):
        notes.append(f"method: {method} is not known; taken as random")
    cap = sweep.get("run_cap")
    if drawn:
        content["draws"] = cap if isinstance(cap, int) and cap > 0 else DRAWS
        if not isinstance(cap, int):
            notes.append(f"run_cap is not given: draws is {DRAWS}; W&B goes on without end")
    elif cap is not None:
        notes.append(f"run_cap: {cap}: a grid is run as a whole; draw with choice(...) for a part")
    metric = sweep.get("metric")
    if isinstance(metric, Mapping) and isinstance(metric.get("name"), str):
        content["metrics"] = {metric["name"]: "max" if metric.get("goal") == "maximize" else "min"}
        if "target" in metric:
            notes.append("metric.target: a sweep does not end when a value is reached")
    if isinstance(sweep.get("project"), str):
        content["track"] = [{"wandb": {"project": sweep["project"]}}]
        notes.append("project: runs are sent to W&B as well; without the line track they stay here")
    notes += [note for key, note in _LEFT.items() if key in sweep]
    notes += [f"{key}: means nothing here" for key in sweep if key not in (*_LEFT, *_TAKEN)]
    return content, notes


_LEFT_OUT: Any = object()
_TAKEN = (
    "parameters", "method", "name", "program", "command", "run_cap", "metric", "project",
)  # fmt: skip


def _flat(parameters: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for key, parameter in parameters.items():
        if isinstance(parameter, Mapping) and isinstance(parameter.get("parameters"), Mapping):
            yield from _flat(parameter["parameters"], (*path, key))
        else:
            yield ".".join((*path, key)), parameter


def _values(key: str, parameter: Any, method: str, notes: list[str]) -> Any:
    """Return what our sweep file has for a parameter."""
    if not isinstance(parameter, Mapping):
        notes.append(f"{key}: {parameter!r} is no mapping; taken as its value")
        return entry_of([parameter])
    if "value" in parameter:
        return entry_of([parameter["value"]])
    if "values" in parameter:
        return _listed(key, parameter, method, notes)
    return _drawn(key, parameter, method, notes)


def _listed(key: str, parameter: Mapping[str, Any], method: str, notes: list[str]) -> Any:
    values, weights = parameter["values"], parameter.get("probabilities")
    if not isinstance(values, list) or not values:
        notes.append(f"{key}: values is no list of values; left out")
        return _LEFT_OUT
    if method == "grid" or len(values) == 1:
        return entry_of(values)
    after = "" if weights is None else f", weights={quoted(weights)}"
    return f"choice({quoted(values)}{after})"


def _drawn(key: str, parameter: Mapping[str, Any], method: str, notes: list[str]) -> Any:
    low, high = parameter.get("min"), parameter.get("max")
    kind = parameter.get("distribution")
    ends = (low, high)
    if kind == "constant":
        return entry_of([parameter.get("value")])
    if not all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends):
        what = f"distribution: {kind}" if kind else "neither value, values nor min and max"
        notes.append(f"{key}: {what} cannot be drawn here; left out")
        return _LEFT_OUT
    assert low is not None and high is not None
    if kind is None:
        kind = "int_uniform" if all(type(end) is int for end in ends) else "uniform"
    rounded = kind.startswith("q_")
    if kind.startswith("inv_"):
        notes.append(f"{key}: distribution: {kind} is taken as loguniform")
        kind = "log_uniform_values"
    if kind in ("log_uniform", "q_log_uniform"):
        low, high = (float(f"{math.exp(end):.12g}") for end in (low, high))
        kind = "log_uniform_values"
    if kind == "int_uniform":
        if method == "grid":
            return f"{low}..{high}" if all(type(end) is int for end in ends) else _LEFT_OUT
        return f"integers({quoted(low)},{quoted(high)})"
    if kind == "q_uniform":
        step = parameter.get("q", 1)
        steps = _steps(float(low), float(high), step)
        if steps is not None:
            return steps if method == "grid" else f"choice({quoted(steps)})"
    if method == "grid":
        notes.append(f"{key}: a grid needs values; it is drawn at random")
    if rounded:
        notes.append(
            f"{key}: distribution: {parameter.get('distribution')}: values are not rounded"
        )
    if kind in ("log_uniform_values", "q_log_uniform_values"):
        return f"loguniform({quoted(low)},{quoted(high)})"
    if kind not in ("uniform", "q_uniform"):
        notes.append(f"{key}: distribution: {kind} is taken as uniform from min to max")
    return f"uniform({quoted(low)},{quoted(high)})"


def _steps(low: float, high: float, step: Any) -> list[float] | None:
    if not isinstance(step, (int, float)) or step <= 0 or (high - low) / step > _MOST_STEPS:
        return None
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    numbers = [float(f"{index * step:.12g}") for index in range(first, last + 1)]
    if isinstance(step, int):
        return [int(number) for number in numbers]
    return numbers


def _add_command(
    content: dict[str, Any], sweep: Mapping[str, Any], keys: list[str], notes: list[str]
) -> None:
    program = sweep.get("program")
    given = sweep.get("command")
    if isinstance(given, str):
        given = given.split()
    if not given:
        given = ["${env}", "python", "${program}", "${args}"]
    words: list[str] = []
    for word in map(str, given):
        if word == "${env}":
            continue
        if word == "${interpreter}":
            words.append("python")
        elif word == "${program}":
            words.append(str(program or "train.py"))
        elif word == "${args}":
            words += [f"--{key}={{{key}}}" for key in keys]
        elif word == "${args_no_hyphens}":
            words += [f"{key}={{{key}}}" for key in keys]
        elif word == "${args_no_boolean_flags}":
            words += [f"--{key}={{{key}}}" for key in keys]
            notes.append(
                "args_no_boolean_flags: true and false are passed as --key=True, --key=False"
            )
        elif word in ("${args_json}", "${args_json_file}"):
            words.append("{ZTXEXP_CONFIG}")
            notes.append(f"{word}: the program gets the path of a JSON file with the values")
        elif word.startswith("${envvar:") and word.endswith("}"):
            words.append(word)
            notes.append(f"{word}: write the value, or set it in the shell")
        else:
            words.append(word.replace("{", "{{").replace("}", "}}"))
    if not program and "${program}" in map(str, given):
        notes.append("program is not given: the command runs train.py; change it")
    content["command"] = words
    notes.append(
        "values reach the program as arguments; where it reads wandb.config, let it parse them"
    )
