"""The command line: ``ztxexp COMMAND ...``, the same as ``python -m ztxexp COMMAND ...``.

Results go to standard output, everything else to standard error. A command is a click command
called ``command`` in the module of its name, listed in :data:`SECTIONS`, and returns its exit code.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from ztxexp.cli.third_party import load, third_party
from ztxexp.text.wording import for_shell
from ztxexp_core.errors import (
    ConfigError,
    OptionError,
    UnknownPluginError,
    ZtxexpError,
    closest,
)

FAILURE, USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes besides 0."""

SECTIONS = {
    "Run": {
        "run": "Run a sweep of a function or a command, or what is left of it.",
        "plan": "Say what run would do with each configuration, and why.",
        "status": "Show launches, what runs now, and what has failed.",
        "stop": "End a launch, or one of its runs, from another terminal.",
        "resume": "Run what the last sweep lacks.",
        "retry": "Run only what failed in the last sweep.",
        "complete": "Run the cells and seeds that a table lacks.",
        "init": "Write a first sweep file, or translate one of another tool.",
    },
    "Read": {
        "list": "List runs with what varies and their metrics.",
        "show": "Show a run: configuration, metrics, curves, code.",
        "logs": "Print what a run has printed; -f follows it.",
        "diff": "Show what differs between runs.",
        "best": "Rank configurations over seeds, or runs.",
    },
    "Publish": {
        "table": "Mean and spread over seeds, by rows and columns.",
        "curves": "Draw a metric by step, or write its points.",
        "bars": "Means with intervals, as a table or bars.",
        "scatter": "A metric against a parameter.",
        "effects": "How much each key moves a metric.",
        "parallel": "A line for each setting through its values.",
        "ranks": "Mean ranks, and what cannot be told apart.",
        "report": "Write one HTML page with everything, to hand on.",
        "ui": "Show the report as a live page; stop and tag runs from it.",
        "export": "Write runs as CSV, JSON, Parquet or Excel.",
    },
    "Look after": {
        "tag": "Set tags of runs, or remove them.",
        "check": "Find what is damaged in the results root.",
        "repair": "Close dead runs, and set damaged ones aside.",
        "gc": "Delete runs, checkpoints or artifacts by rule.",
        "sync": "Upload what a tracker is missing.",
        "doctor": "Check this machine, its packages and a results folder.",
    },
    "Plugins and shell": {
        "plugins": "List the installed plugins, or show one with its options.",
        "plugin": "Write a plugin package of your own.",
        "completion": "Print what a shell needs to complete commands and runs.",
    },
}
"""Commands by section, with their help texts, so that ``ztxexp --help`` imports no command."""

COMMANDS = {name: text for section in SECTIONS.values() for name, text in section.items()}

ALIASES = {"ls": "list", "ps": "status", "top": "best"}
"""Short names that the help does not list."""


class LazyGroup(click.Group):
    """Imports a command when it is asked for, and turns exceptions into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands; those of other packages are the last."""
        return [*COMMANDS, *(name for name in third_party() if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name in COMMANDS:
            command: click.Command = import_module(f"ztxexp.cli.{name}").command
            return command
        return load(name) if name in third_party() else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names; an unknown one tells the nearest."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            hint = closest(name, self.list_commands(ctx))
            ctx.fail(f"there is no command {name!r}{hint}; ztxexp --help lists them")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing one."""
        width = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])
        others = {n: f"From {refs[0].distribution}." for n, refs in third_party().items()}
        if others:
            with formatter.section("Commands of other packages"):
                formatter.write_dl(list(others.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; its return value is the exit code."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # spell out what the terminal cannot show
                stream.reconfigure(errors="backslashreplace")
        try:
            with for_shell():
                code = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = INTERRUPTED
        except FileNotFoundError:
            if _has_working_folder():
                raise
            click.echo("ztxexp: the working folder has been deleted; cd to another one", err=True)
            code = FAILURE
        except ZtxexpError as exc:
            click.echo(f"ztxexp: {exc}", err=True)
            typed_wrong = isinstance(exc, (UnknownPluginError, OptionError, ConfigError))
            code = USAGE if typed_wrong else FAILURE
        ctx.exit(code or 0)


def _has_working_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 success, 1 failure, 2 usage error, 130 interrupted. NO_COLOR=1 switches "
    "colors off.",
)
@click.version_option(package_name="ztxexp", message="ztxexp %(version)s")
def main() -> None:
    """Run experiment sweeps and look after their results."""
