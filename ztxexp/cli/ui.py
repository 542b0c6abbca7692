"""``ztxexp ui``: the report as a live page of this machine."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ztxexp.cli.output import say
from ztxexp.cli.shared import checked_root, new_root_option
from ztxexp.results.to_type import line_to_type
from ztxexp.text.format import short_path
from ztxexp_core.errors import ConfigError

if TYPE_CHECKING:
    from ztxexp.server.serving import Address

_PACKAGES = ("starlette", "uvicorn")
_PORTS = 65_535


@click.command("ui")
@new_root_option
@click.option(
    "--port",
    type=click.IntRange(0, _PORTS),
    metavar="N",
    help="0: any free one; by default 8417, or the next free one.",
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Another address lets other machines in, with the token, unencrypted.",
)
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option(
    "--idle",
    default="12h",
    show_default=True,
    metavar="AGE",
    help="End after so long without a page that is open; 0: never.",
)
@click.option("--access-log", is_flag=True, help="Write a line for each request.")
def command(
    root: Path, port: int | None, host: str, no_browser: bool, idle: str, access_log: bool
) -> int:
    """Show the report as a page that is live while a sweep runs; stop and tag runs from it.

    Only this machine is answered, and only who has the address that is printed. Over ssh: open the
    tunnel that is printed, and the address on your own machine. Where there is no results root
    yet, the page waits for the first run.
    """
    seconds = _seconds(idle)
    if any(importlib.util.find_spec(name) is None for name in _PACKAGES):
        return _report_instead(checked_root(root), not no_browser)
    from ztxexp.server.guard import Keys
    from ztxexp.server.serving import Options, can_open_browser, listen, serve

    root, waits = _found(root)
    address = listen(host, port)
    keys = Keys(address.port)
    with address.sock:
        if waits:
            say(waits)
        _explain(root, host, address)
        click.echo(address.url(keys.token))
        sys.stdout.flush()
        options = Options(
            idle=seconds,
            open_browser=not no_browser and can_open_browser(),
            access=say if access_log else None,
        )
        if serve(root, str(root), address, keys, options):
            say(f"nobody came for {idle}; ended")
    return 0


def _found(root: Path) -> tuple[Path, str]:
    """Return the absolute path of the root, and what is to be said where it is not there yet."""
    try:
        return checked_root(root), ""
    except ConfigError as exc:
        problem = str(exc).partition(";")[0]
        if os.path.lexists(root):
            raise
        return Path(os.path.abspath(root)), f"{problem} yet: the page waits for the first run"


def _explain(root: Path, host: str, address: Address) -> None:
    """Say what is served where, and how to end it; the address comes after it."""
    tunnel = f"ssh -L {address.port}:localhost:{address.port} {socket.gethostname()}"
    if not address.is_loopback:
        say(
            f"warning: --host {host} lets every machine that reaches this one ask; who has the "
            "address below can read all runs, stop and tag them, and nothing is encrypted. "
            f"Better: {tunnel}"
        )
    elif os.environ.get("SSH_CONNECTION"):
        say(f"from your own machine: {tunnel}   and open the address there")
    place = f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    only = " only" if address.is_loopback else ""
    say(f"{short_path(str(root))} on {place}{only}; Ctrl-C ends it; open")


def _seconds(idle: str) -> float:
    from ztxexp.upkeep.rules import seconds_of

    try:
        return seconds_of(float(idle) if idle.replace(".", "", 1).isdigit() else idle)
    except ConfigError:
        problem = f"--idle takes an age such as 30min or 12h, or 0 for never; not {idle!r}"
        raise ConfigError(problem) from None


def _report_instead(root: Path, show: bool) -> int:
    """Write the report, where the packages of the live page are missing."""
    from ztxexp.analysis.run_table import RunTable
    from ztxexp.report.payload import payload
    from ztxexp.report.report import Report

    say('the live page needs two packages: pip install "ztxexp[ui]"; here is the report instead')
    path = "report.html"
    report = Report.of(payload(RunTable.read(root)))
    report.save(path)
    say(f"wrote {path}: {report.summary()}")
    if show and report.open():
        return 0
    say(f"next: open it in a browser, or {line_to_type(root, 'report', '--open')}")
    return 0
