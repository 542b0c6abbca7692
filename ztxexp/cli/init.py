"""``ztxexp init``: write a first sweep file, or translate one of another tool."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import click

from ztxexp_core.errors import ConfigError

TOOLS = ("hydra", "wandb", "guild")


@click.command("init")
@click.argument("target", required=False)
@click.option(
    "--from", "tool", type=click.Choice(TOOLS), help="Translate TARGET, a file of this tool."
)
@click.option("-o", "--output", default="sweep.yaml", metavar="FILE", help="sweep.yaml by default.")
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
def command(target: str | None, tool: str | None, output: str, force: bool) -> int:
    """Write a sweep file to start from.

    TARGET is the function to run, such as train.py:train; with --from the file to translate.
    """
    from ztxexp.sweeps.translating import first_sweep_file, translate

    path = Path(output)
    if path.exists() and not force:
        raise ConfigError(f"there is a file {output} already; give -o FILE, or --force")
    if tool is None:
        base, lacking = _base_of(target)
        text = first_sweep_file(_runs(target), base, path.name)
        path.write_text(text, encoding="utf-8")
        if lacking:
            click.echo(f"note: give values for {', '.join(lacking)} in {output} first", err=True)
    elif target is None:
        raise click.UsageError(f"name the file to translate: ztxexp init --from {tool} FILE")
    else:
        spec, left_out = translate(tool, target)
        spec.save(output)
        for sentence in left_out:
            click.echo(f"note: {sentence}", err=True)
    click.echo(f"written: {output}; next: ztxexp plan {output}", err=True)
    return 0


def _runs(target: str | None) -> str:
    """Return what is run: a function, or the command of a script with some of its options."""
    if target is None or ":" in target or not target.endswith(".py"):
        return target or "train.py:train"
    try:
        text = Path(target).read_text(encoding="utf-8", errors="replace")
    except OSError as exc:
        raise ConfigError(f"{target} cannot be read: {exc.strerror or exc}") from exc
    options = re.findall(r"add_argument\(\s*[\"']--([\w-]+)[\"']", text)
    swept = [name for name in options if name in ("lr", "seed")] or ["lr"]
    return " ".join(["python", target, *(f"--{name} {{{name}}}" for name in swept)])


def _base_of(target: str | None) -> tuple[dict[str, Any], list[str]]:
    """Return defaults of a function, first values for others, and parameters without either."""
    from ztxexp.targets import load_target

    if target is None or not os.path.isfile(target.rpartition(":")[0]):
        return {}, []
    function = load_target(target)
    first = {"lr": 1e-3, "learning_rate": 1e-3, "seed": 0}
    needed = {key: value for key, value in first.items() if key in function.required}
    lacking = [key for key in function.required if key not in first]
    return {**needed, **function.base}, lacking
