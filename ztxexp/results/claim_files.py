"""The files of claims: for each configuration a chain of small files, made without a lock.

The first claim on a configuration is ``<root>/.ztxexp/claims/<identity>.json``. A launch that takes
a claim over makes the file ``<identity>.after-<token>.json``, named after the claim before it, and
so on; the last of the chain counts. A file is made exclusively and whole, a token is never used
twice, and only the launch that made a claim writes its end. So one of any number of launches wins,
and no end hides another launch's claim. There is no lock: a process that holds one can be stopped,
or its host lost, and then every launch would wait. When the last claim ends, the chain is folded
into its first file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp_core.store.files import CLAIMS, read_json, shared_folder, write_bytes, write_new
from ztxexp_core.store.liveness import modified, remove_old
from ztxexp_core.values.codec import encode

DAMAGED = "damaged"  # the status of a claim that cannot be read

_TEMPORARY = ".tmp"  # ends the names of write_bytes likewise
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


class ClaimFiles:
    """The claims below one root.

    Args:
        root: the results root, absolute.
    """

    def __init__(self, root: str | Path):
        self._root = root
        self.folder = shared_folder(root, CLAIMS)
        self._links = hasattr(os, "link")

    def prepare(self) -> None:
        """Make the folder, never the root, and remove temporary files of killed processes."""
        shared_folder(self._root, CLAIMS, make=True)
        remove_old(self._root, CLAIMS, _TEMPORARY)

    def path(self, identity: str, after: str = "") -> str:
        """Return the path of the first claim on a configuration, or of the one after a token."""
        name = identity.replace(":", "-")  # no colon in names on Windows
        return f"{self.folder}/{name}{after and f'.after-{after}'}.json"

    def chain(self, identity: str) -> list[Claim]:
        """Return the claims on a configuration, first to last; the last one counts."""
        chain: list[Claim] = []
        claim = _read(self.path(identity))
        while claim is not None and claim.token not in [earlier.token for earlier in chain]:
            chain.append(claim)
            claim = _read(self.path(identity, claim.token))
        return chain

    def make(self, identity: str, claim: Claim, after: str = "") -> bool:
        """Make a claim's file; false where another launch has made it first.

        Raises:
            OSError: it cannot be written.
        """
        path, data = self.path(identity, after), _document(identity, claim)
        if self._links:
            temporary = f"{self.folder}/.{os.urandom(8).hex()}{_TEMPORARY}"
            try:
                write_new(temporary, data)
                os.link(temporary, path)
                return True
            except FileExistsError:
                return False
            except OSError as exc:
                if exc.errno not in _NO_LINKS:
                    raise
                self._links = False
            finally:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
        try:
            write_new(path, data)
        except FileExistsError:
            return False
        return True

    def fold(self, identity: str, chain: list[Claim], end: Claim) -> bool:
        """Write the end of a chain's last claim into its first file; the others go.

        Args:
            identity: of the configuration.
            chain: the chain as it stood when the last claim was made, that one included.
            end: the last claim, with its new status.

        Returns:
            False, with nothing changed, where the claim was taken over by another launch.

        Raises:
            OSError: it cannot be written.
        """
        path = self.path(identity)
        first = _read(path)
        if first is None or first.token != chain[0].token:
            return False  # whoever took over has ended
        if os.path.exists(self.path(identity, end.token)):
            return False  # whoever took over is at work
        write_bytes(path, _document(identity, end))
        for earlier in chain[:-1]:
            self.discard(identity, earlier.token)
        return True

    def discard(self, identity: str, after: str) -> None:
        """Remove the claim after a token, if there is one."""
        with contextlib.suppress(OSError):
            os.unlink(self.path(identity, after))


def _document(identity: str, claim: Claim) -> bytes:
    fields = {"identity": identity, "run_id": claim.run_id, "status": claim.status}
    return encode({**fields, "token": claim.token, "owner": claim.owner})


def _read(path: str) -> Claim | None:
    """Read a claim; ``None`` where there is none."""
    try:
        value = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):
        value = None
    if isinstance(value, dict) and isinstance(owner := value.get("owner"), dict):
        token, run_id, status = (str(value.get(n, "")) for n in ("token", "run_id", "status"))
        kinds = (("host", str), ("pid", int), ("beat", str))
        known = all(isinstance(owner.get(name), kind) for name, kind in kinds)
        if known and all(_NAMES.fullmatch(text) for text in (token, run_id, status)):
            return Claim(token, run_id, status, owner, path)
    date = modified(path) or 0.0  # the only thing that tells a damaged claim from a later one
    return Claim(f"{DAMAGED}-{int(date * 1e6):x}", "", DAMAGED, {}, path)
