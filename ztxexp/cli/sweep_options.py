"""The words and options that describe a sweep, for the commands that start or plan one.

An option has the name of the key of a sweep file, so nothing is to be learnt twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from ztxexp.sweeps.spec import SweepSpec

_Command = TypeVar("_Command", bound=Callable[..., Any])

SWEEP_FILES = (".yaml", ".yml", ".toml", ".json")
_COMMAND = "ztxexp.command"  # where the words after -- are kept


class SweepCommand(click.Command):
    """A command that takes ``[TARGET] [KEY=VALUES]... [-- COMMAND ...]``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep what follows the first ``--`` as it is: it is the command of each run."""
        if "--" in args:
            at = args.index("--")
            ctx.meta[_COMMAND] = args[at + 1 :]
            args = args[:at]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the words of the usage line."""
        return ["[OPTIONS] [TARGET] [KEY=VALUES]... [-- COMMAND]"]


def command_words(ctx: click.Context) -> list[str] | None:
    """Return the words after ``--``; ``None`` without it."""
    words: list[str] | None = ctx.meta.get(_COMMAND)
    if words == []:
        raise click.UsageError("no command after --; write it as in: -- python train.py --lr {lr}")
    return words


def spec_of(ctx: click.Context, root: Path, given: dict[str, Any]) -> tuple[SweepSpec, Path]:
    """Return the sweep that words and options describe, and the results root that it means.

    Options of the command line count over those of a sweep file, and these over the project's.
    """
    from ztxexp.project import project
    from ztxexp.sweeps.spec import SweepSpec

    words, save = list(given.pop("words")), given.pop("save")
    command = command_words(ctx)
    target = words.pop(0) if words and _is_target(words[0]) else None
    defaults = SweepSpec.from_dict(dict(project().run), str(project().file))
    if target is not None and target.lower().endswith(SWEEP_FILES):
        spec = SweepSpec.from_file(target)
        for name, value in defaults.to_dict().items():
            if getattr(spec, name) is None:
                spec = spec.with_options(**{name: value})
    else:
        if target is not None and ":" not in target:
            raise click.UsageError(_script_hint(target) or _no_target(target))
        spec = defaults.with_options(run=target)
    if target is not None and command is not None and spec.run is not None:
        raise click.UsageError(f"give a function or a command, not both {target} and --")
    spec = spec.with_words(words).with_options(command=command, **given)
    if save is not None:
        spec.save(save)
        click.echo(f"written: {save} (another time: ztxexp run {save})", err=True)
    asked = ctx.get_parameter_source("root")
    if spec.root is not None and asked is not ParameterSource.COMMANDLINE:
        folder = os.path.dirname(spec.source) if spec.source else ""
        root = Path(folder, spec.root)
    return spec, root


def functions_in(path: str) -> dict[str, list[str]]:
    """Return a file's functions with their parameters, without importing it."""
    import ast

    try:
        tree = ast.parse(Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return {}
    return {
        node.name: [arg.arg for arg in (*node.args.args, *node.args.kwonlyargs)]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def _script_hint(word: str) -> str:
    """Say what to type where a word names a script and no function in it."""
    if not os.path.isfile(word):
        return ""
    names = list(functions_in(word))
    function = f"one of its functions, such as {word}:{names[0]}" if names else "a function in it"
    return f"{word} is a script; name {function}, or run it as it is: -- python {word} --lr {{lr}}"


def _is_target(word: str) -> bool:
    return "=" not in word and word != "+" and not word.startswith("~")


def _no_target(word: str) -> str:
    return (
        f"{word!r} is no KEY=VALUES and names nothing to run; write FILE.py:FUNCTION, a sweep "
        "file, or -- and a command"
    )


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Complete files for the first word, then the parameters of the function that it names."""
    from click.shell_completion import CompletionItem

    words = ctx.params.get("words") or ()
    if not words or not _is_target(words[0]):
        return [CompletionItem(incomplete, type="file")]
    names = _keys_of(words[0])
    return [CompletionItem(f"{name}=") for name in names if name.startswith(incomplete)]


def _keys_of(target: str) -> list[str]:
    """Return the parameters of a function, or the keys of a sweep file; never raises."""
    if not target.lower().endswith(SWEEP_FILES):
        path, _, function = target.rpartition(":")
        return functions_in(path).get(function, [])
    from ztxexp.sweeps.spec import SweepSpec
    from ztxexp_core.errors import ZtxexpError

    try:
        spec = SweepSpec.from_file(target)
    except ZtxexpError:
        return []
    keys = [*(key for block in spec.blocks for key in block.keys), *(spec.base or {})]
    return list(dict.fromkeys([*keys, *(_keys_of(spec.run) if spec.run else [])]))


_CONFIGURATIONS = (
    click.option(
        "-c", "--base", "base_files", multiple=True, metavar="FILE", type=click.Path(),
        help="What every configuration starts from (YAML, TOML, JSON), or a configuration a row "
        "(CSV); of several the later wins.",
    ),
    click.option(
        "--zip", multiple=True, metavar="KEY,KEY", help="Take these keys' values in pairs."
    ),
    click.option(
        "--where", multiple=True, metavar="EXPR",
        help="Keep only configurations for which this is true: 'not (opt==\"sgd\" and lr<1e-3)'.",
    ),
    click.option("-n", "--draws", type=int, metavar="N", help="How often distributions are drawn."),
    click.option("--draw-seed", type=int, metavar="N", help="Equal seeds give equal draws."),
    click.option(
        "--expand", multiple=True, metavar="NAME(...)",
        help="Any installed expander: 'latin_hypercube(n=20)'.",
    ),
    click.option("--shuffle", type=int, metavar="SEED", help="Put configurations in this order."),
)  # fmt: skip

_RECORDED = (
    click.option("--name", metavar="TEXT", help="Name of the experiment."),
    click.option("--group", metavar="TEXT", help="Group within the experiment."),
    click.option("--tag", "tags", multiple=True, metavar="TEXT", help="A tag; repeatable."),
    click.option(
        "--metric", "metrics", multiple=True, metavar="NAME=max|min",
        help="What is the best of a metric; repeatable.",
    ),
    click.option(
        "--track", multiple=True, metavar="NAME[(...)]",
        help="Send the runs to a tracker as well: mlflow, 'wandb(project=\"x\")'; repeatable.",
    ),
)  # fmt: skip

_RUNNING = (
    click.option("-w", "--workers", type=int, metavar="N", help="Runs at a time; -1: all cores."),
    click.option("--mode", metavar="NAME", help="Executor; process_pool by default."),
    click.option(
        "--option", "options", multiple=True, metavar="NAME=VALUE",
        help="A setting of the executor, as partition=gpu; repeatable.",
    ),
    click.option(
        "--needs", multiple=True, metavar="NAME=VALUE",
        help="What a run needs on a cluster: gpus=1, memory=16GiB, time=2h, a key; repeatable.",
    ),
    click.option(
        "--pass-env", multiple=True, metavar="NAME",
        help="A variable that runs on other machines see; repeatable.",
    ),
    click.option(
        "--detach", is_flag=True, default=None,
        help="Return when the jobs are submitted; for executors that submit jobs.",
    ),
    click.option("--timeout", metavar="TIME", help="Stop a run after 90s, 20min, 2h, or a key."),
    click.option("--retry", metavar="N", help="Try a failed run again, N times at most."),
    click.option("--gpus", metavar="LIST", help="auto, or numbers such as 0,1."),
    click.option("--runs-per-gpu", type=int, metavar="N", help="So many runs share a GPU."),
    click.option("--gpus-per-run", type=int, metavar="N", help="So many GPUs for each run."),
    click.option("--gpu-memory-free", type=float, metavar="GIB", help="Wait until that is free."),
    click.option("--max-failures", type=int, metavar="N", help="Stop after so many failures."),
    click.option("--workdir", type=click.Choice(["run"]), help="Run in each run's own folder."),
    click.option(
        "--code", type=click.Choice(["same", "any"]),
        help="Whether results of another version of the code count as done.",
    ),
    click.option(
        "--metric-pattern", metavar="REGEX",
        help="How lines of a command's output name metrics; groups name and value.",
    ),
)  # fmt: skip

_ONCE = (
    click.option("--force", is_flag=True, help="Run also what is done already."),
    click.option("--save", type=click.Path(), metavar="FILE", help="Write this as a sweep file."),
)


def sweep_options(command: _Command) -> _Command:
    """Add the argument WORDS and all options that describe a sweep."""
    for option in reversed((*_CONFIGURATIONS, *_RECORDED, *_RUNNING, *_ONCE)):
        command = option(command)
    return click.argument("words", nargs=-1, shell_complete=_complete)(command)


def running_options(command: _Command) -> _Command:
    """Add the options that say how runs are carried out."""
    for option in reversed(_RUNNING):
        command = option(command)
    return command
