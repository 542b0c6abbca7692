"""``ztxexp sync``: :func:`ztxexp.sync` from the command line."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ztxexp.cli.shared import (
    complete_plugin,
    json_option,
    new_root_option,
    print_json,
    timeout_option,
)
from ztxexp.replay import SYNC_TIMEOUT_SEC, sync
from ztxexp_core.errors import OptionError
from ztxexp_core.plugins import registry
from ztxexp_core.plugins.options import Option


@click.command("sync")
@click.argument(
    "tracker", nargs=-1, metavar="TRACKER [KEY=VALUE]...", shell_complete=complete_plugin
)
@new_root_option
@json_option
@timeout_option(SYNC_TIMEOUT_SEC, "one call of the tracker")
@click.option("--force", is_flag=True, help="Send everything, as if nothing had been received.")
def command(tracker: Sequence[str], root: Path, as_json: bool, timeout: float, force: bool) -> int:
    """Upload what TRACKER is missing of the runs in the results root.

    KEY=VALUE are options of the tracker, as for .track(); `ztxexp plugins TRACKER` lists them. The
    exit code is 1 if something could not be sent. The results root may also stand before TRACKER.
    """
    names = [word for word in tracker if "=" not in word or os.path.isdir(word)]
    options = [word for word in tracker if word not in names]
    if len(names) > 1:
        root = Path(names.pop(0))
    if len(names) > 1:
        options.append(names[-1])  # it is told there
    if not names:
        raise click.UsageError("name one tracker, such as mlflow; `ztxexp plugins` lists them")
    with contextlib.redirect_stdout(sys.stderr):  # client libraries like to print
        name = names[0].lower()
        known = registry.trackers().load(name).options()
        given = dict(_parse(options, known))
        report = sync(root, name, tracker_timeout=timeout, force=force, **given)
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(str(report))
    return int(bool(report.failed or report.not_tried))


def _parse(pairs: Sequence[str], known: Sequence[Option]) -> Iterator[tuple[str, Any]]:
    by_name = {option.name: option for option in known}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            raise OptionError(f"{pair!r} is not an option; write key=value, as run_name=baseline")
        yield name, _value(text, by_name.get(name, Option(name)))


def _value(text: str, option: Option) -> Any:
    """Return JSON or a Python value if the option accepts that, else the string."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if option.takes(value):
            return value
    return text
