"""``ztxexp plugins``: what is installed and whether it works; one plugin with its options."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ztxexp.cli._output import Cell, add_json, show, show_json, show_table
from ztxexp.plugin_tools.plugin_states import IMPORT_SEC, READY, PluginState, plugin_states

_STYLES = {READY: "green", "missing": "yellow", "blocked": "dim"}
_BAD = "bold red"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="show this one, with its options")
    add_json(parser)
    parser.add_argument(
        "--timeout",
        type=float,
        default=IMPORT_SEC,
        metavar="SECONDS",
        help="how long the import of a plugin may take (%(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    """List the plugins; 1 where the one that was asked for is not ready."""
    found = plugin_states(args.name, args.timeout)
    if args.json:
        show_json([asdict(plugin) for plugin in found])
    elif args.name is None:
        _list(found)
    else:
        for plugin in found:
            _show(plugin)
    return int(args.name is not None and any(plugin.state != READY for plugin in found))


def _list(found: list[PluginState]) -> None:
    rows: list[list[Cell]] = [
        [
            plugin.kind,
            plugin.name,
            f"{plugin.distribution} {plugin.version}",
            plugin.source,
            (plugin.state, _STYLES.get(plugin.state, _BAD)),
            _time(plugin),
        ]
        for plugin in found
    ]
    show_table(["kind", "name", "from", "source", "state", "import"], rows)
    wrong = [plugin for plugin in found if plugin.problem]
    if wrong:
        show("")
    for plugin in wrong:
        show((f"{plugin.kind} {plugin.name}", "bold"), f": {_sentence(plugin)}")


def _show(plugin: PluginState) -> None:
    state = (plugin.state, _STYLES.get(plugin.state, _BAD))
    show(
        (f"{plugin.kind} {plugin.name}", "bold"), ": ", plugin.about or "it says nothing of itself"
    )
    rows: list[list[Cell]] = [
        ["  from", f"{plugin.distribution} {plugin.version}"],
        ["  source", plugin.source],
        ["  state", state],
        ["  import", _time(plugin)],
        ["  supports", ", ".join(plugin.supports) or "-"],
    ]
    show_table([], rows)
    if plugin.problem:
        show(f"  {_sentence(plugin)}")
    if plugin.options:
        show("")
        show_table(["  option", "type", "default", "what it does"], map(_option, plugin.options))
    elif plugin.state == READY:
        show("  no options")
    show("")


def _option(option: dict[str, str | None]) -> list[Cell]:
    name, kind, default = option["name"], option["type"], option["default"]
    needed: Cell = ("needed", "yellow") if default is None else default
    return [f"  {name}", kind or "", needed, option["help"] or ""]


def _sentence(plugin: PluginState) -> str:
    return "; ".join(part for part in (plugin.problem, plugin.way_out) if part)


def _time(plugin: PluginState) -> str:
    return "-" if plugin.import_ms is None else f"{plugin.import_ms:.0f} ms"
