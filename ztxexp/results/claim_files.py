"""The files of claims: how launches are kept apart without a lock.

A stopped process or a lost host would hold a lock for ever. Instead the first claim on a
configuration is ``claims/<shard>/<identity>.jsonl``. A launch that takes a claim over makes
``<identity>.after-<token>.jsonl``, named after the claim before it, and so on; the last of the
chain counts. A file is made exclusively and whole, a token is never used twice, and only the launch
that made a claim adds its end, a line. So one of any number of launches wins, and no end hides
another launch's claim. When the last claim of several ends, the chain is folded into its first
file.

A claim is whole before it has its name. On file systems without hard links, or behind a mount that
answers from memory, it can be seen cut off. Then it is held while its maker is alive, or, where
that is cut off as well, while it is younger than a heartbeat may be old.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp_core.records import RUN_STATUS_RUNNING
from ztxexp_core.store.files import (
    CLAIMS,
    asked_again,
    is_there,
    make_folder,
    open_to_write,
    read_bytes,
    refuse_link,
    shared_folder,
    write_new,
)
from ztxexp_core.store.heartbeat import modified, remove_old
from ztxexp_core.store.jobs import job_of
from ztxexp_core.store.lines import row_of
from ztxexp_core.values.codec import encode

GIVEN_UP, DAMAGED = "given_up", "damaged"  # statuses of claims, beside those of runs
_TEMPORARY = ".tmp"
_OWNER = re.compile(rb'^\{"owner":\s*(\{[^{}]*\})')
_NAMES = re.compile(r"[\w-][\w.-]{0,199}")  # what may become part of a path
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.ENOTSUP}
_NO_LINKS.add(errno.EOPNOTSUPP)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, on disk or about to be.

    Attributes:
        token: unique, never used again.
        run_id: the run for which the configuration is claimed.
        status: ``running``, how the run ended, ``given_up`` or ``damaged``.
        owner: record of the claiming process.
        path: where it was read.
    """

    token: str
    run_id: str
    status: str
    owner: Mapping[str, Any]
    path: str = ""

    @property
    def is_held(self) -> bool:
        """Whether its launch has not written an end of it."""
        return self.status == RUN_STATUS_RUNNING


class ClaimFiles:
    """The claims below one root; what cannot be read or written raises ``OSError``."""

    def __init__(self, root: str | Path):
        self._root = root
        self._links = hasattr(os, "link")
        self.prepare()

    def prepare(self) -> None:
        """Make the folder, never the root, and remove temporary files of killed processes."""
        self.folder = shared_folder(self._root, CLAIMS, make=True)
        with asked_again(os.scandir, self.folder) as entries:
            for shard in entries:
                refuse_link(shard.path)
        remove_old(self._root, CLAIMS, _TEMPORARY)

    def path(self, identity: str, after: str = "") -> str:
        """Return the path of the first claim on a configuration, or of the one after a token."""
        name = identity.replace(":", "-")  # no colon in names on Windows
        shard = identity.partition(":")[2][:1] or "_"  # no folder holds more than a sixteenth
        return f"{self.folder}/{shard}/{name}{after and f'.after-{after}'}.jsonl"

    def chain(self, identity: str) -> list[Claim]:
        """Return the claims on a configuration, first to last; the last one counts."""
        chain: list[Claim] = []
        claim = _read(self.path(identity))
        while claim is not None and claim.token not in [earlier.token for earlier in chain]:
            chain.append(claim)
            claim = _read(self.path(identity, claim.token))
        return chain

    def make(self, identity: str, claim: Claim, after: str = "") -> bool:
        """Make a claim's file; false where another launch has made it first."""
        path, data = self.path(identity, after), _document(identity, claim)
        try:
            return self._make(path, data)
        except FileNotFoundError:  # the first of its shard
            make_folder(os.path.dirname(path))
            return self._make(path, data)

    def _make(self, path: str, data: bytes) -> bool:
        if self._links:
            try:
                with self._temporary(data) as temporary:
                    os.link(temporary, path)
                return True
            except FileExistsError:
                return False
            except OSError as exc:
                if exc.errno not in _NO_LINKS:
                    raise
                self._links = False
        try:
            write_new(path, data)
        except FileExistsError:
            return False
        return True

    @contextlib.contextmanager
    def _temporary(self, data: bytes) -> Iterator[str]:
        """Write a file that is not there any more afterwards."""
        path = f"{self.folder}/.{os.urandom(8).hex()}{_TEMPORARY}"
        try:
            write_new(path, data)
            yield path
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def end(self, identity: str, chain: list[Claim], end: Claim) -> bool:
        """Write the end of a chain's last claim; of several only the first file stays.

        ``chain`` is as it stood when the last claim was made, ``end`` that claim with its new
        status. Returns false, and changes nothing, where another launch has taken the claim over.
        """
        path = self.path(identity)
        if is_there(self.path(identity, end.token)):
            return False  # whoever took over is at work
        if len(chain) == 1:
            return _append_end(path, end)
        first = _read(path)
        if first is None or first.token != chain[0].token:
            return False  # whoever took over has ended
        with self._temporary(_document(identity, end)) as temporary:
            os.replace(temporary, path)
        for earlier in chain[:-1]:
            self.discard(identity, earlier.token)
        return True

    def discard(self, identity: str, after: str) -> None:
        """Remove the claim after a token, if there is one."""
        with contextlib.suppress(OSError):
            os.unlink(self.path(identity, after))


def _append_end(path: str, end: Claim) -> bool:
    """Add the end to a claim's own file; false where the file is another claim's by now."""
    try:
        fd = open_to_write(path, os.O_RDWR | os.O_APPEND, make=False)
    except FileNotFoundError:  # somebody has deleted the claims
        return False
    try:
        data = os.read(fd, os.fstat(fd).st_size)
        claim = _claim(data, path)
        if claim is None or claim.token != end.token:
            return False  # whoever took over has ended
        handed_over = {"owner": end.owner} if end.owner != claim.owner else {}
        os.write(fd, encode({"status": end.status, **handed_over}) + b"\n")
    finally:
        os.close(fd)
    return True


def _document(identity: str, claim: Claim) -> bytes:
    fields = {"identity": identity, "run_id": claim.run_id, "status": claim.status}
    # The owner first, so that a claim that is seen cut off shows it.
    return encode({"owner": claim.owner, **fields, "token": claim.token}) + b"\n"


def _read(path: str) -> Claim | None:
    """Read a claim; ``None`` where there is none.

    Raises:
        OSError: it cannot be read.
    """
    try:
        data = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        data = b""
    claim = _claim(data, path)
    if claim is None:
        date = modified(path) or 0.0  # all that tells a damaged claim from a later one
        owner = _OWNER.search(data)
        known = owner and row_of(owner[1])
        claim = Claim(f"{DAMAGED}-{int(date * 1e6):x}", "", DAMAGED, known or {}, path)
    return claim


def _claim(data: bytes, path: str) -> Claim | None:
    """Return the claim that a file holds; ``None`` where it is damaged."""
    rows = [
        row_of(line, True) or {} for line in data.splitlines(keepends=True) if line.endswith(b"\n")
    ]
    value = {**rows[0], **rows[-1]} if rows else {}  # a later line holds the end
    owner = value.get("owner")
    token, run_id, status = (str(value.get(name, "")) for name in ("token", "run_id", "status"))
    kinds = (("host", str), ("pid", int), ("beat", str))
    if not all(_NAMES.fullmatch(text) for text in (token, run_id, status)):
        return None
    if not isinstance(owner, dict):
        return None
    if all(isinstance(owner.get(name), kind) for name, kind in kinds) or job_of(owner):
        return Claim(token, run_id, status, owner, path)
    return None
