"""The command line: ``ztxexp COMMAND ...``, the same as ``python -m ztxexp COMMAND ...``.

Results go to standard output, everything else to standard error. A command is a click command
called ``command`` in the module of its name, listed in :data:`COMMANDS`, and returns its exit code.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from ztxexp_core.errors import ConfigError, OptionError, UnknownPluginError, ZtxexpError

FAILURE, USAGE, INTERRUPTED = 1, 2, 130
"""Exit codes besides 0."""

COMMANDS = {
    "plugins": "List the installed plugins, or show one with its options.",
    "plugin": "Write a plugin package of your own.",
    "sync": "Upload what a tracker is missing.",
    "doctor": "Check this machine, its packages and a results folder.",
}
"""Name to help text, so that ``ztxexp --help`` imports no command."""


class LazyGroup(click.Group):
    """Imports a command when it is asked for, and turns exceptions into exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"ztxexp.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; its return value is the exit code."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # spell out what the terminal cannot show
                stream.reconfigure(errors="backslashreplace")
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            code = INTERRUPTED
        except ZtxexpError as exc:
            click.echo(f"ztxexp: {exc}", err=True)
            typed_wrong = isinstance(exc, (UnknownPluginError, OptionError, ConfigError))
            code = USAGE if typed_wrong else FAILURE
        ctx.exit(code or 0)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 success, 1 failure, 2 usage error. NO_COLOR=1 switches colors off. "
    'Shell completion: eval "$(_ZTXEXP_COMPLETE=bash_source ztxexp)"; also zsh_source and '
    "fish_source.",
)
@click.version_option(package_name="ztxexp", message="ztxexp %(version)s")
def main() -> None:
    """Run experiment sweeps and look after their results."""
