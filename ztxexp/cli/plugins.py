"""``ztxexp plugins``: what is installed and whether it works; one plugin with its options."""

from __future__ import annotations

from dataclasses import asdict

import click

from ztxexp.cli.shared import (
    Cell,
    complete_plugin,
    json_option,
    print_json,
    print_line,
    print_table,
    timeout_option,
)
from ztxexp.plugin_tools.plugin_states import IMPORT_SEC, PluginState, plugin_states
from ztxexp.plugin_tools.probing import READY

_STYLES = {READY: "green", "missing": "yellow", "blocked": "dim"}
_BAD = "bold red"


@click.command("plugins")
@click.argument("name", required=False, shell_complete=complete_plugin)
@json_option
@timeout_option(IMPORT_SEC, "the import of a plugin")
def command(name: str | None, as_json: bool, timeout: float) -> int:
    """List the installed plugins, or show the plugin NAME with its options.

    The exit code is 1 if the plugin NAME does not work.
    """
    plugins = plugin_states(name, timeout)
    if as_json:
        print_json([asdict(plugin) for plugin in plugins])
    elif name is None:
        _list(plugins)
    else:
        for plugin in plugins:
            _show(plugin)
    return int(name is not None and any(plugin.state != READY for plugin in plugins))


def _list(plugins: list[PluginState]) -> None:
    rows: list[list[Cell]] = [[p.kind, p.name, _origin(p), p.source, _state(p)] for p in plugins]
    print_table(["kind", "name", "from", "source", "state"], rows)
    problems = [plugin for plugin in plugins if plugin.problem]
    if problems:
        click.echo()
    for plugin in problems:
        print_line((f"{plugin.kind} {plugin.name}", "bold"), f": {_problem(plugin)}")


def _show(plugin: PluginState) -> None:
    name = (f"{plugin.kind} {plugin.name}", "bold")
    print_line(name, f": {plugin.about or '(no description)'}")
    rows: list[list[Cell]] = [
        ["  from", _origin(plugin)],
        ["  source", plugin.source],
        ["  state", _state(plugin)],
        ["  supports", ", ".join(plugin.supports) or "-"],
    ]
    print_table(["", ""], rows)
    if plugin.problem:
        print_line(f"  {_problem(plugin)}")
    if plugin.options:
        click.echo()
        header = ["  option", "type", "default", "what it does"]
        print_table(header, map(_option, plugin.options))
    elif plugin.state == READY:
        print_line("  no options")
    click.echo()


def _option(option: dict[str, str | None]) -> list[Cell]:
    name, kind, default = option["name"], option["type"], option["default"]
    shown: Cell = ("required", "yellow") if default is None else default
    return [f"  {name}", kind or "", shown, option["help"] or ""]


def _origin(plugin: PluginState) -> str:
    return f"{plugin.distribution} {plugin.version}"


def _state(plugin: PluginState) -> Cell:
    return plugin.state, _STYLES.get(plugin.state, _BAD)


def _problem(plugin: PluginState) -> str:
    return "; ".join(filter(None, (plugin.problem, plugin.hint)))
