"""``ztxexp init``: write a first sweep file, or translate one of another tool."""

from __future__ import annotations

import os
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
        text = first_sweep_file(target or "train.py:train", _base_of(target), path.name)
        path.write_text(text, encoding="utf-8")
    elif target is None:
        raise click.UsageError(f"name the file to translate: ztxexp init --from {tool} FILE")
    else:
        spec, left_out = translate(tool, target)
        spec.save(output)
        for sentence in left_out:
            click.echo(f"note: {sentence}", err=True)
    click.echo(f"written: {output}; next: ztxexp plan {output}", err=True)
    return 0


def _base_of(target: str | None) -> dict[str, Any]:
    """Return the defaults of a function, and first values for some parameters without one."""
    from ztxexp.targets import load_target

    if target is None or not os.path.isfile(target.rpartition(":")[0]):
        return {}
    function = load_target(target)
    first = {"lr": 1e-3, "learning_rate": 1e-3, "seed": 0}
    needed = {key: value for key, value in first.items() if key in function.required}
    return {**needed, **function.base}
