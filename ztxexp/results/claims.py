"""Which of several launches runs a configuration: :class:`Claims`.

Before a launch runs a configuration it makes a file for it below ``<root>/.ztxexp/claims``, its
claim (:mod:`ztxexp.results.claim_files`). When the run has ended, the claim says so and stays. A
claim is taken over when its launch has died, or when its run failed before this launch or was
deleted.

Guarantee: of the launches that ask, one gets the configuration. It runs again only if that launch
died before the end was recorded, or sent no heartbeat from another host for so long that it looked
dead: at least once, and exactly once otherwise. No launch waits for a dead one.

Not covered: launches that make no claims, such as those of versions before 2.0. The records of
their runs are looked at instead (see :mod:`ztxexp.launch.queue`), unless both begin at the same
moment.

What cannot be read is not known: the configuration is held, and asked for again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ztxexp.results.claim_files import DAMAGED, GIVEN_UP, Claim, ClaimFiles
from ztxexp.results.jobs import use_engines
from ztxexp_core.errors import StoreError
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
    was_cut_short,
)
from ztxexp_core.store.complete import INCOMPLETE, as_complete
from ztxexp_core.store.files import (
    CLAIMS,
    RunFiles,
    is_there,
    known_record,
    read_record,
    shared_folder,
)
from ztxexp_core.store.heartbeat import (
    LATE_SEC,
    SILENT_SEC,
    beating,
    file_system_now,
    modified,
    stamp,
)
from ztxexp_core.store.liveness import owner_is_dead, process_is_dead, this_process
from ztxexp_core.store.run_folder import LOST

_log = logging.getLogger("ztxexp")
_T = TypeVar("_T")

_TRIES = 100  # losing this many races is a fault


@dataclass(frozen=True, slots=True)
class Claimed:
    """This launch runs the configuration."""


@dataclass(frozen=True, slots=True)
class Completed:
    """Another launch has run the configuration: its run, and how that ended."""

    run_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Held:
    """Another launch is running the configuration; ask again later.

    Attributes:
        run_id: the run, empty where it is not known (yet).
        owner: the process that runs it, as ``liveness.this_process`` describes it.
        unread: what cannot be read, and why, where that keeps the answer from being known.
    """

    run_id: str
    owner: Mapping[str, Any]
    unread: str = ""


Verdict = Claimed | Completed | Held

_open: set[str] = set()  # tokens of claims that launches of this process hold


class Claims(contextlib.AbstractContextManager["Claims"]):
    """The claims of one launch on the configurations below a root.

    Safe to use from several threads. Beats (``heartbeat.beating``) until it is closed.

    Args:
        root: the results root, absolute; it exists.
        known: identities that had a run at the snapshot of this launch, with the last run's id. A
            failure or skip that came later, or was not in the snapshot, is not tried again.
        since: when the snapshot was taken, by ``heartbeat.stamp(root)``; now by default.
        own: ids of all runs of this launch. Some continue in folders of earlier runs: the end of
            such a run belongs to the launch that claims it now, not to the one before.

    Raises:
        StoreError: claims cannot be written below the root.

    Example:
        >>> with Claims(root, known) as claims:
        ...     if claims.claim(spec.identity, spec.run_id) == Claimed():
        ...         outcome = run_one(spec)
        ...         claims.release(spec.identity, spec.run_id, outcome.status)
    """

    def __init__(
        self,
        root: str | Path,
        known: Mapping[str, str],
        since: float | None = None,
        own: Collection[str] = (),
    ):
        self._root = str(root)
        self._known = known
        self._own = frozenset(own)
        self._since = stamp(root) if since is None else since
        self._held: dict[str, list[Claim]] = {}  # by identity: the chain up to our own claim
        self._made: set[str] = set()  # tokens of ours
        self._lock = threading.Lock()
        self._warned = False
        self._pid = os.getpid()
        try:
            self._files = ClaimFiles(root)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        self._beat = contextlib.ExitStack()
        self._beat.enter_context(beating(root))
        self._owner = this_process()
        use_engines()

    # -- asking

    def claim(self, identity: str, run_id: str) -> Verdict:
        """Claim a configuration for the run that this launch would make of it.

        Returns:
            :class:`Claimed` until :meth:`release` or :meth:`give_up`, :class:`Completed` or
            :class:`Held`.

        Raises:
            StoreError: claims cannot be written (any more).
        """
        with self._lock:
            held = self._held.get(identity)
            if held is not None and held[-1].run_id != run_id:
                return Held(held[-1].run_id, held[-1].owner)
            try:
                try:
                    if held is not None:
                        chain = _known(self._files.chain, identity)
                        if not chain or chain[-1].token == held[-1].token:
                            return Claimed()
                        del self._held[identity]  # this process was taken for dead
                    return self._claim(identity, run_id)
                except FileNotFoundError:  # somebody has deleted the claims
                    self._files.prepare()
                    return self._claim(identity, run_id)
            except _UnreadError as exc:
                return Held("", {}, str(exc))
            except OSError as exc:
                raise self._unwritable(exc) from exc

    def _claim(self, identity: str, run_id: str) -> Verdict:
        mine = Claim(os.urandom(8).hex(), run_id, RUN_STATUS_RUNNING, self._owner)
        _open.add(mine.token)  # before others can see it
        try:
            return self._claim_by(mine, identity, run_id)
        finally:
            if mine.token not in self._made:
                _open.discard(mine.token)

    def _claim_by(self, mine: Claim, identity: str, run_id: str) -> Verdict:
        chain = _known(self._files.chain, identity)
        for _ in range(_TRIES):
            last = chain[-1] if chain else None
            if last and last.token in self._made and last.run_id == run_id and last.is_held:
                self._held[identity] = chain  # made before, when the chain could not be read
                return Claimed()
            verdict = _known(self._verdict, identity, run_id, last) if last else None
            if verdict is not None:
                return verdict
            after = last.token if last else ""
            made = self._files.make(identity, mine, after)
            if made:
                self._made.add(mine.token)
            # Read again unless it is the first: over NFS a file can be made although the call
            # reports an error, and another launch may have folded the claim before ours.
            chain = [mine] if made and not chain else _known(self._files.chain, identity)
            if chain and chain[-1].token == mine.token:
                self._held[identity] = chain
                return Claimed()
            if made and mine.token not in [claim.token for claim in chain]:
                self._files.discard(identity, after)
        return Held(chain[-1].run_id, chain[-1].owner) if chain else Held("", {})

    def look(self, identity: str, run_id: str) -> Verdict | None:
        """Return who has a configuration; nothing is claimed.

        Args:
            identity: of the configuration.
            run_id: the run that this launch would make of it.

        Returns:
            As :meth:`claim`; ``None`` where it is free.
        """
        try:
            chain = _known(self._files.chain, identity)
            return _known(self._verdict, identity, run_id, chain[-1]) if chain else None
        except _UnreadError as exc:
            return Held("", {}, str(exc))

    # -- whose it is

    def _verdict(self, identity: str, run_id: str, claim: Claim) -> Verdict | None:
        """Return who has a configuration by its last claim; ``None`` where it is free."""
        if claim.status == GIVEN_UP:
            return None
        if claim.status == DAMAGED:
            at = modified(claim.path)
            young = at is not None and abs(file_system_now(self._root) - at) < SILENT_SEC
            dead = process_is_dead(claim.owner, self._root, [claim.path])
            if dead is False:
                return Held("", claim.owner)
            if young and dead is None:
                return Held("", {}, f"{claim.path} is cut off or damaged")
            _log.warning("the claim %s is damaged; it is taken over", claim.path)
            return None
        held, files = claim.is_held, RunFiles(f"{self._root}/{claim.run_id}")
        # One of an earlier launch of this process could not be given back.
        left_over = claim.owner == self._owner and claim.token not in _open
        if held and not left_over:
            signs = [claim.path]
            if "closed_by" not in (read_record(files.run) or {}):  # else another process wrote them
                signs += [files.run, files.curve, files.events]
            if not process_is_dead(claim.owner, self._root, signs):
                return Held(claim.run_id, claim.owner)
        if claim.run_id != run_id and claim.run_id in self._own:
            return None
        try:
            verdict = self._verdict_by_run(identity, claim.run_id, held)
            if verdict is None and not held and self._may_show_late(claim):
                return Held(claim.run_id, claim.owner, f"{files.base} does not show yet")
            return verdict
        except OSError:
            if claim.status == RUN_STATUS_SUCCEEDED:  # as the launch that ran it has written
                return Completed(claim.run_id, claim.status)
            raise

    def _may_show_late(self, claim: Claim) -> bool:
        """Return whether a run that has just ended elsewhere may be there without showing."""
        if claim.owner.get("host") == self._owner["host"]:
            return False
        if is_there(f"{self._root}/{claim.run_id}"):
            return False
        os.scandir(self._root).close()  # makes an NFS client ask its server
        at = modified(claim.path)
        return at is not None and abs(file_system_now(self._root) - at) < LATE_SEC

    def _verdict_by_run(self, identity: str, run_id: str, died: bool) -> Verdict | None:
        """Return what became of the run of a claim whose launch has died or ended."""
        run_dir = f"{self._root}/{run_id}"
        path = RunFiles(run_dir).run
        run = known_record(path)
        run = run and as_complete(run, run_dir)
        if run is None:  # it never started, or its folder was deleted
            return None
        status = run.get("status")
        if status == RUN_STATUS_SUCCEEDED:
            return Completed(run_id, RUN_STATUS_SUCCEEDED)
        if status == RUN_STATUS_RUNNING and owner_is_dead(run, run_dir) is False:
            return Held(run_id, run["owner"])  # a worker that outlives its launch
        if status not in (RUN_STATUS_FAILED, RUN_STATUS_SKIPPED):
            return None
        reason = run.get("reason")
        # Written by a later launch, or by one on its way out, not by the run itself.
        if died and (reason == LOST or was_cut_short(reason, run.get("error_type"))):
            return None
        if "closed_by" in run or run.get("reason") == INCOMPLETE:  # its end is not all there
            return None
        # By date, for the file system has one clock: ids bear the time of the host that made them.
        if identity in self._known and (modified(path) or 0.0) <= self._since:
            return None
        return Completed(run_id, status)

    # -- giving back

    def release(
        self, identity: str, run_id: str, status: str, owner: Mapping[str, Any] | None = None
    ) -> None:
        """Record that a run has ended; then no other launch runs its configuration.

        Never raises: other launches see the end in the run's folder too, once this process is gone.
        """
        with self._lock:
            chain = self._held.get(identity)
            if chain is None or chain[-1].run_id != run_id or os.getpid() != self._pid:
                return
            del self._held[identity]
            end = dataclasses.replace(chain[-1], status=status, owner=owner or chain[-1].owner)
            try:
                if not self._files.end(identity, chain, end):
                    _log.debug("the claim of run %s was taken over by another launch", run_id)
            except OSError as exc:
                if not self._warned:
                    self._warned = True
                    folder = self._files.folder
                    _log.warning("claims below %s cannot be given back: %s", folder, exc)
            finally:
                _open.discard(chain[-1].token)

    def give_up(self, identity: str, run_id: str) -> None:
        """Let any launch have a configuration whose run did not begin or was interrupted."""
        self.release(identity, run_id, GIVEN_UP)

    def hand_over(self, identity: str, run_id: str, owner: Mapping[str, Any]) -> None:
        """Leave a claim to the process that is still at work on its run."""
        self.release(identity, run_id, RUN_STATUS_RUNNING, owner)

    def close(self) -> None:
        """Give up what is still held; the launch is over."""
        for identity, chain in list(self._held.items()):
            self.give_up(identity, chain[-1].run_id)
        _open.difference_update(self._made)
        if os.getpid() == self._pid:  # a forked child may also reach this at exit
            self._beat.close()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _unwritable(self, exc: OSError) -> StoreError:
        return StoreError(
            exc.errno,
            f"claims cannot be written ({exc.strerror}), without which launches that share this "
            "root would do each other's work",
            shared_folder(self._root, CLAIMS),
        )


class _UnreadError(Exception):
    """Something cannot be read that would say who has a configuration."""


def _known(look: Callable[..., _T], *args: Any) -> _T:
    try:
        return look(*args)
    except OSError as exc:
        raise _UnreadError(f"{exc.filename} cannot be read ({exc.strerror})") from exc
