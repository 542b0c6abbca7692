"""Who carries out which configuration, where several launches share one folder: :class:`Claims`.

A launch that wants to carry out a configuration makes a file for it below
``<root>/.ztxexp/claims``: its claim. When the run has ended, the claim says so and stays. A claim
whose launch died, or whose run failed in an earlier launch or was deleted, is taken over. How the
files keep takers apart is told in ``claim_files``.

What is guaranteed: of the launches that ask, one gets a configuration. It is carried out again only
if that launch died before the end of the run was recorded, or was silent on another host for so
long that it looked dead (see ``heartbeat``): at least once, and exactly once but for that. Nobody
ever waits for a launch that has died. Not covered are launches that do not ask, such as those of
versions before 2.0: what they have begun is seen by their runs' records (see ``handout``), unless
both begin at the same moment. On file systems without hard links a claim can be met half-written;
it counts as taken for a few seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztxexp.results.claim_files import DAMAGED, Claim, ClaimFiles
from ztxexp_core.errors import StoreError
from ztxexp_core.records import (
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
)
from ztxexp_core.store.heartbeat import beating, file_system_now, modified, stamp
from ztxexp_core.store.liveness import owner_is_dead, process_is_dead, this_process
from ztxexp_core.store.run_folder import RunFiles, read_record

_log = logging.getLogger("ztxexp")

_GIVEN_UP = "given_up"
_WRITING_SEC = 5.0  # a damaged claim younger than that may be one that is being written
_TRIES = 100  # others are quicker that often only if something is wrong
# Reasons that a later launch writes, or a launch on its way out, not the run itself.
_CUT_SHORT = ("lost", "interrupted")


@dataclass(frozen=True, slots=True)
class Mine:
    """The configuration is this launch's to carry out."""


@dataclass(frozen=True, slots=True)
class Done:
    """Another launch has carried it out.

    Attributes:
        run_id: its run.
        status: how that ended.
    """

    run_id: str
    status: str


@dataclass(frozen=True, slots=True)
class Taken:
    """Somebody is at work on it; ask again later.

    Attributes:
        run_id: the run, empty where that is not known (yet).
        owner: record of the process at work, as of ``liveness.this_process``.
    """

    run_id: str
    owner: Mapping[str, Any]


Verdict = Mine | Done | Taken


class Claims:
    """The claims of one launch on the configurations below a root.

    Safe to use from several threads. Beats (``heartbeat.beating``) until it is closed.

    Args:
        root: the results root, absolute; it exists.
        known: identities of which this launch saw runs when it looked, with the last one's id. A
            failure or skip that came after that look, or was not seen then, is not tried again.
        since: when the look was taken, as of ``heartbeat.stamp(root)``; now, if left out.
        own: ids of all runs of this launch, of which some go on in folders of earlier ones. Such a
            run is the end of the one that claims it, not of another whose claim it was before.

    Raises:
        StoreError: claims cannot be written below the root.

    Example:
        >>> with Claims(root, known) as claims:
        ...     if claims.claim(spec.identity, spec.run_id) == Mine():
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
        self._files = ClaimFiles(root)
        self._known = known
        self._own = frozenset(own)
        self._since = stamp(root) if since is None else since
        self._held: dict[str, list[Claim]] = {}  # by identity: the chain up to our own claim
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._pid = os.getpid()
        try:
            self._files.prepare()
        except OSError as exc:
            raise self._unwritable(exc) from exc
        self._files.tidy()
        self._beat = contextlib.ExitStack()
        self._beat.enter_context(beating(root))

    # -- asking

    def claim(self, identity: str, run_id: str) -> Verdict:
        """Claim a configuration for a run of this launch.

        Args:
            identity: of the configuration.
            run_id: the run that would carry it out.

        Returns:
            ``Mine``: it is this launch's, until :meth:`release` or :meth:`give_up`. ``Done``:
            another launch has carried it out. ``Taken``: another is at work on it.

        Raises:
            StoreError: claims cannot be written (any more).
        """
        with self._lock:
            held = self._held.get(identity)
            if held is not None:
                mine = held[-1].run_id == run_id
                return Mine() if mine else Taken(held[-1].run_id, held[-1].owner)
            try:
                try:
                    return self._claim(identity, run_id)
                except FileNotFoundError:  # somebody has cleared the claims away
                    self._files.prepare()
                    return self._claim(identity, run_id)
            except OSError as exc:
                raise self._unwritable(exc) from exc

    def _claim(self, identity: str, run_id: str) -> Verdict:
        mine = Claim(os.urandom(8).hex(), run_id, RUN_STATUS_RUNNING, this_process())
        chain = self._files.chain(identity)
        for _ in range(_TRIES):
            verdict = self._judged(identity, run_id, chain[-1]) if chain else None
            if verdict is not None:
                return verdict
            after = chain[-1].token if chain else ""
            made = self._files.make(identity, mine, after)
            if made and not chain:
                return self._hold(identity, [mine])
            # Looked at again, made or not: over a network a file can be made and said not to be.
            chain = self._files.chain(identity)
            if chain and chain[-1].token == mine.token:
                return self._hold(identity, chain)
            if made and mine.token not in [claim.token for claim in chain]:
                # What it was to come after has been folded meanwhile: another was quicker.
                self._files.discard(identity, after)
        return Taken(chain[-1].run_id, chain[-1].owner) if chain else Taken("", {})

    def _hold(self, identity: str, chain: list[Claim]) -> Mine:
        self._held[identity] = chain
        return Mine()

    # -- who may have it

    def _judged(self, identity: str, run_id: str, claim: Claim) -> Verdict | None:
        """Return who has a configuration, by the last claim on it; ``None`` where nobody has."""
        if claim.status == _GIVEN_UP:
            return None
        if claim.status == DAMAGED:
            return self._judged_damaged(claim)
        held, files = claim.status == RUN_STATUS_RUNNING, RunFiles(f"{self._root}/{claim.run_id}")
        if held:
            signs = (claim.path, files.run, files.curve, files.events)
            if not process_is_dead(claim.owner, self._root, signs):
                return Taken(claim.run_id, claim.owner)
        if claim.run_id != run_id and claim.run_id in self._own:
            return None
        return self._judged_by_run(identity, claim.run_id, cut_short=_CUT_SHORT if held else ())

    def _judged_by_run(
        self, identity: str, run_id: str, cut_short: tuple[str, ...]
    ) -> Verdict | None:
        """Return what became of the run of a claim that nobody holds any more."""
        run_dir = f"{self._root}/{run_id}"
        path = RunFiles(run_dir).run
        run = read_record(path)
        if run is None:  # it never began, or its folder was deleted
            return None
        status = run.get("status")
        if status == RUN_STATUS_SUCCEEDED:
            return Done(run_id, RUN_STATUS_SUCCEEDED)
        if status == RUN_STATUS_RUNNING and owner_is_dead(run, run_dir) is False:
            return Taken(run_id, run["owner"])  # a worker that outlives its launch
        if status not in (RUN_STATUS_FAILED, RUN_STATUS_SKIPPED) or run.get("reason") in cut_short:
            return None
        # By date, for the file system has one clock: ids bear the time of the host that made them.
        if identity in self._known and (modified(path) or 0.0) <= self._since:
            return None
        return Done(run_id, status)

    def _judged_damaged(self, claim: Claim) -> Verdict | None:
        at = modified(claim.path)
        if at is not None and abs(file_system_now(self._root) - at) < _WRITING_SEC:
            return Taken("", {})
        self._tell(f"the claim {claim.path} is damaged; it is taken over")
        return None

    # -- giving back

    def release(self, identity: str, run_id: str, status: str) -> None:
        """Record that a run has ended; no other launch carries out its configuration then.

        Never raises: other launches see the end in the run's folder too, once this process is gone.

        Args:
            identity: of the configuration.
            run_id: the run for which it was claimed.
            status: ``succeeded``, ``failed`` or ``skipped``.
        """
        with self._lock:
            chain = self._held.get(identity)
            if chain is None or chain[-1].run_id != run_id or os.getpid() != self._pid:
                return
            del self._held[identity]
            end = dataclasses.replace(chain[-1], status=status)
            try:
                if not self._files.fold(identity, chain, end):
                    _log.debug("the claim of run %s was taken over by another launch", run_id)
            except OSError as exc:
                self._tell(f"claims below {self._files.folder} cannot be given back: {exc}")

    def give_up(self, identity: str, run_id: str) -> None:
        """Let any launch have a configuration whose run did not begin or was interrupted."""
        self.release(identity, run_id, _GIVEN_UP)

    def close(self) -> None:
        """Give up what is still held; the launch is over."""
        for identity, chain in list(self._held.items()):
            self.give_up(identity, chain[-1].run_id)
        if os.getpid() == self._pid:  # a forked child may come by here on its way out
            self._beat.close()

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- messages

    def _tell(self, said: str) -> None:
        if said not in self._told:
            self._told.add(said)
            _log.warning("%s", said)

    def _unwritable(self, exc: OSError) -> StoreError:
        return StoreError(
            exc.errno,
            f"claims cannot be written ({exc.strerror}), without which launches that share this "
            "root would do each other's work",
            self._files.folder,
        )
