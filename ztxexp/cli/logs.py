"""``ztxexp logs``: what a run has printed and logged, also while it is at work."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from ztxexp.cli.completing import complete_run
from ztxexp.cli.filters import placed
from ztxexp.cli.output import say, write_text
from ztxexp.cli.shared import root_option
from ztxexp.results.to_type import line_to_type
from ztxexp_core.errors import ZtxexpError

_BLOCK = 1 << 16  # bytes
_LOOK_EVERY = 0.2  # seconds
_RECORD_EVERY = 5  # looks


@click.command("logs")
@click.argument("named", metavar="RUN", default="@last", shell_complete=complete_run)
@root_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--error", is_flag=True, help="The traceback of its failure.")
@click.option("-n", "limit", type=click.IntRange(min=1), help="Only the last lines.")
@click.option("--raw", is_flag=True, help="As it is: a terminal obeys what stands there.")
def command(named: str, root: Path, follow: bool, error: bool, limit: int | None, raw: bool) -> int:
    """Print what RUN (the last one by default) has printed and logged.

    Escape sequences are taken out unless --raw is given.
    """
    from ztxexp.results.names import NamedRuns
    from ztxexp_core.store.files import RunFiles

    root, names = placed(root, [named])
    runs = NamedRuns.of(root)
    at = runs.one(names[0] if names else "@last")
    files = RunFiles(root / runs.folders[at])
    path = files.error if error else files.log
    short, status = runs.short[at], runs.statuses[at]
    if not follow or status != "running":
        if not _has_content(path):
            return _nothing(root, path, short, str(status), error)
        blocks = _read(path)
    else:
        say(f"{runs.name(at)}: following until it ends (Ctrl-C leaves it alone)")
        blocks = _follow(path, root / runs.folders[at])
    _print(blocks, limit, raw, follow)
    status = _status(root / runs.folders[at]) if follow else status
    if status == "failed" and not error and os.path.lexists(files.error):
        say(f"it failed: {line_to_type(root, 'logs', short, '--error')}")
    return 0


def _has_content(path: str) -> bool:
    try:
        return os.lstat(path).st_size > 0
    except OSError:
        return False


def _nothing(root: Path, path: str, short: str, status: str, error: bool) -> int:
    if error:
        raise ZtxexpError(f"{short} has no error.log: its status is {status}")
    line = line_to_type(root, "show", short)
    say(
        f"{short} has printed nothing to its log ({os.path.basename(path)}); what a run in "
        f"sequential mode prints goes to the terminal of its launch; {line} has more"
    )
    return 0


def _read(path: str) -> Iterator[bytes]:
    """Yield the content of a log."""
    from ztxexp_core.store.files import open_regular

    try:
        with open(open_regular(path), "rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except (OSError, ValueError) as exc:
        raise ZtxexpError(f"{path} cannot be read: {exc}") from exc


def _follow(path: str, folder: Path) -> Iterator[bytes]:
    """Yield the content of a log, and what is added to it until its run has ended."""
    from ztxexp_core.store.files import open_regular

    position, looks, ended = 0, 0, False
    while True:
        with contextlib.suppress(OSError, ValueError), open(open_regular(path), "rb") as file:
            if os.fstat(file.fileno()).st_size < position:
                position = 0  # it was written anew
            file.seek(position)
            while block := file.read(_BLOCK):
                position += len(block)
                yield block
        if ended:
            return
        yield b""
        looks += 1
        ended = looks % _RECORD_EVERY == 0 and _status(folder) != "running"
        if not ended:
            time.sleep(_LOOK_EVERY)


def _status(folder: Path) -> object:
    """Return the status of a run as it is now; ``None`` where it has none."""
    from ztxexp_core.store.files import read_record
    from ztxexp_core.store.run_folder import effective_record

    record = read_record(f"{folder}/run.json")
    return None if record is None else effective_record(record, folder).get("status")


def _print(blocks: Iterator[bytes], limit: int | None, raw: bool, follow: bool) -> None:
    if raw:
        for block in blocks:
            _write_bytes(block)
        return
    if limit is None or follow:
        for line in _lines(blocks):
            write_text(f"{line}\n")
        return
    from collections import deque

    for line in deque(_lines(blocks), maxlen=limit):
        write_text(f"{line}\n")


def _write_bytes(block: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        buffer = getattr(sys.stdout, "buffer", None)
        if buffer is None:
            sys.stdout.write(block.decode(errors="replace"))
        else:
            sys.stdout.flush()
            buffer.write(block)
        sys.stdout.flush()


def _lines(blocks: Iterator[bytes]) -> Iterator[str]:
    """Yield lines that a terminal does not obey; of a progress bar the last state of each line."""
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield _safe(line)
        if len(rest) > _BLOCK:  # a line without an end
            yield _safe(rest)
            rest = b""
    if rest:
        yield _safe(rest)


def _safe(line: bytes) -> str:
    from ztxexp.cli.output import spelt_out

    return spelt_out(line.decode(errors="replace").rstrip("\r").rpartition("\r")[2].expandtabs())
