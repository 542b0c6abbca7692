"""The line that runs the configuration of a run again, with the options of its sweep."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ztxexp.results.to_type import where_option

if TYPE_CHECKING:
    from ztxexp.analysis.run_table import RunTable

# What a sweep record can say and no option of ztxexp run does; each changes what a run is or does.
_WITHOUT_OPTION = ("version", "options", "fresh_process", "pass_env", "needs")


def again_line(table: RunTable, at: int, meta: Mapping[str, Any]) -> str | None:
    """Return the line that gives the same run again; ``None`` where none is known.

    Where no line can say all that its sweep has said, it is the line of the whole launch.
    """
    from ztxexp.results.sweep_records import launch_of

    (config,) = table.config.at([at])
    started = table.runs.run.column("started_at")[at]
    launch = launch_of(table.runs.root, meta.get("function"), started) or {}
    sweep = launch.get("sweep") or {}
    target = _target(sweep, meta.get("function"))
    whole = _whole_launch(launch, meta)
    if target is None:
        return f"{whole}  (the whole launch)" if whole else None
    unsaid = [name for name in _WITHOUT_OPTION if sweep.get(name)]
    if unsaid:
        what = f"it sets {', '.join(unsaid)}, for which ztxexp run has no option"
        return f"{whole}  (the whole launch: {what})" if whole else None
    words = [f"{key}={_typed(value)}" for key, value in (config or {}).items()]
    without = [f"~{key}" for key in _texts(sweep.get("without")) if key not in (config or {})]
    options = [word for pair in _options(sweep) for word in pair]
    before = "" if isinstance(target, list) else f"{shlex.quote(target)} "
    after = f" -- {shlex.join(target)}" if isinstance(target, list) else ""
    given = shlex.join([*words, *without, *options, "--force"])
    there = launch.get("cwd")
    elsewhere = isinstance(there, str) and not _same_folder(there, os.getcwd())
    where = where_option(table.runs.root)
    if elsewhere:  # files are named from where the launch worked
        where = f" -C {shlex.quote(os.path.abspath(table.runs.root))}"
    go = f"cd {shlex.quote(str(there))} && " if elsewhere else ""
    return f"{go}ztxexp run{where} {before}{given}{after}"


def _target(sweep: Mapping[str, Any], function: Any) -> str | list[str] | None:
    """Return what ``ztxexp run`` takes: a function's name, or a command's words."""
    run, command = sweep.get("run"), sweep.get("command")
    if isinstance(run, str):
        return run
    if isinstance(command, list) and all(isinstance(word, str) for word in command):
        return command
    return function if isinstance(function, str) and ".py:" in function else None


def _whole_launch(launch: Mapping[str, Any], meta: Mapping[str, Any]) -> str | None:
    line = launch.get("command") or meta.get("command")
    return line if isinstance(line, str) else None


def _options(sweep: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the options of a sweep that count for a single run of it."""
    for name in ("name", "group"):
        if sweep.get(name):
            yield f"--{name}", str(sweep[name])
    tags = sweep.get("tags") or []
    for tag in (f"{k}={v}" for k, v in tags.items()) if isinstance(tags, Mapping) else tags:
        yield "--tag", str(tag)
    for step in sweep.get("track") or ():
        yield "--track", _step(step)
    for name in ("mode", "timeout", "gpus", "gpus_per_run", "workdir", "metric_pattern"):
        value = sweep.get(name)
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"--{name.replace('_', '-')}", text
    retry = sweep.get("retry")
    if type(retry) is int:
        yield "--retry", str(retry)


def _step(step: Any) -> str:
    """Return a tracker as it is typed, ``wandb(project="x")``."""
    from ztxexp.sweeps.options import Step

    return str(Step.of(step))


def _texts(value: Any) -> list[str]:
    return [one for one in value or () if isinstance(one, str)]


def _typed(value: Any) -> str:
    """Return a value as the grammar of sweeps reads it back."""
    words = ("true", "false", "null", "none", "nan", "inf", "infinity")
    if isinstance(value, str) and value[:1].isalpha() and value.isalnum():
        return json.dumps(value) if value.lower() in words else value
    return json.dumps(value)


def _same_folder(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
