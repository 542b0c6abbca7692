"""``ztxexp sync``: :func:`ztxexp.sync` from the command line."""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ztxexp.cli._output import add_json, show, show_json
from ztxexp.replay import SYNC_TIMEOUT_SEC, sync
from ztxexp_core.errors import OptionError
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.options import Option


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("root", metavar="ROOT", help="the folder that holds the runs")
    parser.add_argument("tracker", metavar="TRACKER", help="name of an installed tracker")
    parser.add_argument(
        "options",
        metavar="key=value",
        nargs="*",
        help="arguments of the tracker, as for .track; `ztxexp plugins TRACKER` lists them",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=SYNC_TIMEOUT_SEC,
        metavar="SECONDS",
        help="how long one call of the tracker may take (%(default)g)",
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Send what is missing; 1 where something could not be sent."""
    with contextlib.redirect_stdout(sys.stderr):  # client libraries like to print
        name = args.tracker.lower()
        known = registry.trackers().load(name).options()
        given = dict(_pairs(args.options, known))
        report = sync(args.root, name, tracker_timeout=args.timeout, **given)
    if args.json:
        show_json(asdict(report))
    else:
        show(str(report))
    return int(bool(report.failed or report.not_tried))


def _pairs(words: Sequence[str], known: Sequence[Option]) -> Iterator[tuple[str, Any]]:
    types = {option.name: option for option in known}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            raise OptionError(f"{word!r} is no option; write key=value, such as run_name=baseline")
        yield name, _value(text, types.get(name, Option(name)))


def _value(text: str, option: Option) -> Any:
    """Return the value that a text stands for: JSON, Python, or the text itself, as it fits."""
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if option.takes(value):
            return value
    return text
