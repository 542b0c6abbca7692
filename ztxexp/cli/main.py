"""The command line: ``ztxexp COMMAND ...``, the same as ``python -m ztxexp COMMAND ...``.

Results go to standard output, everything else to standard error. A command is a module of
:mod:`ztxexp.cli` that stands in :data:`COMMANDS`; it is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from ztxexp import cli as commands
from ztxexp.plugin_tools.versions import version_of
from ztxexp_core.errors import ConfigError, OptionError, UnknownPluginError, ZtxexpError

OK, FAILURE, USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141
"""Exit codes; a command returns one of the first three."""

COMMANDS = {
    "plugins": "list the installed plugins, or show one with its options",
    "plugin": "begin a plugin package of your own",
    "sync": "send a tracker what it has not got yet of the runs of a results root",
    "doctor": "look whether this machine, its packages and a results root are in order",
}
"""Name to help; the module of that name has ``add_arguments(parser)`` and ``run(args) -> int``."""

_WHAT_WAS_TYPED = (UnknownPluginError, OptionError, ConfigError)


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line.

    Args:
        argv: the words behind ``ztxexp``; those of this process by default.

    Returns:
        The exit code: 0 where all went well, 1 for a failure, 2 for a command line that makes no
        sense, 130 after Ctrl-C, 141 where nobody reads on.

    Raises:
        SystemExit: from argparse, for ``--help`` and unknown words.

    Example:
        >>> main(["plugins", "--json"])
        0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _let_any_character_pass()
    try:
        args = _parser(words).parse_args(words)
        code = int(args.run(args))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _leave_output_alone()
        return BROKEN_PIPE
    except ZtxexpError as exc:
        sys.stderr.write(f"ztxexp: {exc}\n")
        return USAGE if isinstance(exc, _WHAT_WAS_TYPED) else FAILURE
    return code


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ztxexp",
        description="Experiment sweeps: what is installed, what is going on, what there is.",
        epilog="Exit codes: 0 all well, 1 failure, 2 usage. NO_COLOR switches colours off.",
    )
    version = f"ztxexp {version_of('ztxexp') or '(not installed)'}"
    parser.add_argument("--version", action="version", version=version)
    chosen_from = parser.add_subparsers(metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, told in COMMANDS.items():
        sentence = f"{told[0].upper()}{told[1:]}."
        command = chosen_from.add_parser(name, help=told, description=sentence)
        if name == chosen:
            module = import_module(f"{commands.__name__}.{name}")
            command.set_defaults(run=module.run)
            module.add_arguments(command)
    return parser


def _let_any_character_pass() -> None:
    """Have characters that the terminal cannot show spelt out, instead of an error."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _leave_output_alone() -> None:
    """Let the interpreter flush into nothing when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)
