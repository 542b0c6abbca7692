"""Sweeps of other tools as sweep files, and a first sweep file for a beginning."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ztxexp.sweeps.from_guild import from_guild
from ztxexp.sweeps.from_hydra import from_hydra
from ztxexp.sweeps.from_wandb import from_wandb
from ztxexp.sweeps.spec import SweepSpec
from ztxexp.sweeps.writing import yaml_flow
from ztxexp_core.errors import ConfigError, closest

TOOLS: dict[str, Callable[[str], tuple[dict[str, Any], list[str]]]] = {
    "hydra": from_hydra,
    "wandb": from_wandb,
    "guild": from_guild,
}


class Translation(NamedTuple):
    """A sweep of another tool.

    Attributes:
        spec: as far as it could be taken over.
        notes: what could not, or means something else here; each a sentence.
    """

    spec: SweepSpec
    notes: list[str]


def translate(tool: str, path: str | os.PathLike[str]) -> Translation:
    """Return a sweep of Hydra, of W&B or of Guild as one of ours.

    Args:
        tool: ``hydra``, ``wandb`` or ``guild``.
        path: a ``config.yaml`` with ``hydra.sweeper.params`` or a ``multirun.yaml``; the YAML of a
            W&B sweep; a ``guild.yml``, with ``:OPERATION`` after it for another than the first.

    Raises:
        ConfigError: another tool, or the file cannot be read or holds no sweep.

    Example:
        >>> spec, notes = translate("wandb", "sweep.yaml")
        >>> spec.save("digits.yaml")
    """
    if tool not in TOOLS:
        raise ConfigError(
            f"there is no translation from {tool!r}{closest(tool, TOOLS)}; known: "
            f"{', '.join(TOOLS)}"
        )
    content, notes = TOOLS[tool](os.fspath(path))
    return Translation(SweepSpec.from_dict(content, f"the translation of {os.fspath(path)}"), notes)


_FIRST = """\
# A sweep: ztxexp plan {name} shows what it would run, ztxexp run {name} runs what is not done yet.
{runs}

# What every run starts from; {start}.
base: {{{base}}}

# What is varied: all combinations. A list of such blocks is their union:
#   - {{opt: adam, lr: [1e-4, 1e-3]}}
#   - {{opt: sgd, lr: [1e-2, 1e-1], momentum: [0, 0.9]}}
sweep:
{sweep}
# More ways to write values:
#   lr: logspace(1e-5, 1e-1, 5)       five values, evenly spaced orders of magnitude
#   lr: loguniform(1e-5, 1e-1)        drawn at random, as often as draws says
#   prompt: "@prompts.txt"            a value for each line of a file
#   layers: [[64, 64], [128]]         lists as values
#   model.lr: [1e-3, 1e-2]            a nested key

# draws: 20                           how often what is drawn is drawn
# where: not (opt == "sgd" and lr < 1e-3)      keep only these
# zip: [[width, depth]]               values of these keys go together

workers: 2                            # runs at a time; -1 for all cores
# timeout: 1h                         # a run that takes longer is stopped
# retry: 1                            # failed runs are tried again so often
# track: [mlflow]                     # send the runs there as well
metrics: {{accuracy: max, loss: min}}   # what is the best
"""


def first_sweep_file(
    target: str = "train.py:train", base: Mapping[str, Any] | None = None, name: str = "sweep.yaml"
) -> str:
    """Return the text of a first sweep file, with comments, for somebody to edit.

    Args:
        target: the function, or a command with ``{key}``.
        base: defaults of the function; the sweep varies some of them.
        name: what the file will be called.

    Example:
        >>> print(first_sweep_file("train.py:train", {"lr": 1e-3, "seed": 0}))
    """
    known = dict(base or {})
    varied = {key: guess for key, value in known.items() if (guess := _guess(key, value))}
    if not known:
        varied = {"lr": "[1e-3, 1e-2]", "seed": "0..2"}
    elif not varied:
        numbers = [key for key, value in known.items() if type(value) in (int, float) and value]
        varied = {key: f"[{known[key]!r}, {known[key] * 2!r}]" for key in numbers[:1]}
    rest = {key: value for key, value in known.items() if key not in varied}
    pairs = [f"{_line({key: value})[1:-1]}" for key, value in rest.items() if _line({key: value})]
    sweep = "".join(f"  {key}: {text}\n" for key, text in varied.items())
    return _FIRST.format(
        name=name,
        runs=_runs(target),
        start="defaults of the function, to be changed here" if known else "add keys here",
        base=", ".join(pairs),
        sweep=sweep or "  {}\n",
    )


def _runs(target: str) -> str:
    if " " not in target.strip():
        return f"run: {target}            # or  command: python train.py --lr {{lr}}"
    plain = re.fullmatch(r"[A-Za-z_./](?:[\w./=,+{}'\"-]|:(?! )| (?!#))*", target)
    return f"command: {target if plain else json.dumps(target)}"


def _guess(key: str, value: Any) -> str | None:
    """Return values that are worth a try beside a default; ``None`` for a key that stays."""
    if "seed" in key and type(value) is int:
        return "0..2                         # 0, 1 and 2"
    if key in ("lr", "learning_rate") and isinstance(value, float) and value > 0:
        return f"[{value!r}, {float(f'{value * 10:.6g}')!r}]"
    return None


def _line(value: Any) -> str:
    """Return a value as YAML on a line; nothing where it has no form or is long."""
    try:
        text = yaml_flow(value)
    except ConfigError:
        return ""
    return text if len(text) < 70 else ""
