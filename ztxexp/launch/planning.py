"""Decides what a launch does with each configuration: run it, go on with it, leave it out.

Earlier runs are read, nothing is written: what is found dead is closed by the launch itself.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ztxexp.configs.rules import Account
from ztxexp.launch.plan import NOT_COMPARED, Action, Plan, PlannedRun, identity_in
from ztxexp.manager import ExpManager
from ztxexp.results.history import PastRun, read_history
from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp.text.terminal import bar
from ztxexp_core.records import RUN_STATUS_RUNNING, RUN_STATUS_SKIPPED, Config

_MESSAGE_WIDTH = 100


def plan_sweep(
    manager: ExpManager,
    root: str | Path,
    *,
    resume: bool = False,
    only_failed: Collection[str] | None = None,
    allow_duplicates: bool = False,
) -> Plan:
    """Plan the launch of what a manager builds.

    Without ``exclude_completed`` for this root, ``resume`` and ``only_failed``, earlier runs are
    not looked at and everything is new. With ``allow_duplicates`` and without ``only_failed``,
    what is to be run is what :meth:`ExpManager.build` returns, in that order.

    Args:
        manager: makes the configurations.
        root: the results root; it need not exist, and is not made.
        resume: configurations whose last run failed go on in its folder; includes
            ``exclude_completed``.
        only_failed: run no others than these; reasons or error types as ``run.json`` has them,
            none for every failure.
        allow_duplicates: run a configuration as often as it stands in the list.

    Raises:
        TypeError, ConfigError: as :meth:`ExpManager.build`.
    """
    root = Path(root)
    if (resume or only_failed is not None) and manager.keys_ignored(root) is None:
        manager = copy.copy(manager).exclude_completed(root)
    ignore_keys = manager.keys_ignored(root)
    if ignore_keys is None:
        return make_plan(manager.build_account(), None, root, allow_duplicates=allow_duplicates)
    with bar("reading runs") as told:
        history = read_history(root, ignore_keys, told=told)
    return make_plan(
        manager.build_account({(root, ignore_keys): history}),
        history,
        root,
        ignore_keys=ignore_keys,
        resume=resume,
        only_failed=only_failed,
        allow_duplicates=allow_duplicates,
    )


def make_plan(
    account: Account,
    history: Mapping[str, PastRun] | None,
    root: Path,
    *,
    ignore_keys: Collection[str] = (),
    resume: bool = False,
    only_failed: Collection[str] | None = None,
    allow_duplicates: bool = False,
) -> Plan:
    """Decide on every configuration of an account.

    Args:
        account: what a manager has built, what it has left out.
        history: identity without the ignored keys to run; ``None`` where none is to be looked at.
        root: the results root.
        ignore_keys: the keys that do not count in the comparison with ``history``.
        resume, only_failed, allow_duplicates: as for :func:`plan_sweep`.
    """
    decisions = _Decisions(history, resume, only_failed)
    compares, items, first = history is not None, [], dict[str, int]()
    for index, config in enumerate(account.configs):
        keys = _keys(account.configs, index, compares, ignore_keys)
        earlier = first.setdefault(keys[0], index)
        if earlier != index and not allow_duplicates:
            why = f"the same as configuration {earlier} of the list, counted from 0"
            items.append(PlannedRun(config, *keys, Action.DUPLICATE, why, None, 0))
        else:
            action, why, past, attempt = decisions.on(keys[1])
            items.append(PlannedRun(config, *keys, action, why, past, attempt))
    done = [config for config, _ in account.reused]
    for index, (config, past) in enumerate(account.reused):
        keys = _keys(done, index, compares, ignore_keys)
        items.append(PlannedRun(config, *keys, Action.REUSE, _success(past), past, 0))
    return Plan(root, items, account.filtered_out, compares)


def _keys(
    configs: Sequence[Config], index: int, compares: bool, ignore_keys: Collection[str]
) -> tuple[str, str | None]:
    """Return identity and claim key of one of some configurations."""
    identity = identity_in(configs, index)
    if not compares:
        return identity, None
    return identity, identity_in(configs, index, ignore_keys) if ignore_keys else identity


_Decision = tuple[Action, str, "PastRun | None", int]


class _Decisions:
    """What the last run of a configuration means for this launch."""

    def __init__(
        self,
        history: Mapping[str, PastRun] | None,
        resume: bool,
        only_failed: Collection[str] | None,
    ):
        self.history = history
        self.resume = resume or only_failed is not None
        self.only_failed = only_failed
        self.gone_on_in: set[str] = set()

    def on(self, key: str | None) -> _Decision:
        """Return action, reason, the run that counts, number of the next attempt."""
        if self.history is None or key is None:
            return Action.NEW, NOT_COMPARED, None, 1
        past = self.history.get(key)
        if past is None:
            return self._unless_limited(Action.NEW, "no run of it is known", None)
        if past.succeeded:
            return Action.REUSE, _success(past), past, 0
        if past.status == RUN_STATUS_SKIPPED:
            return self._unless_limited(
                Action.NEW, f"skipped in {sanitize_for_terminal(past.run_id)}", past
            )
        if past.status == RUN_STATUS_RUNNING:
            return self._unless_limited(Action.BUSY, _under_way(past), past)
        return self._on_failure(past)

    def _on_failure(self, past: PastRun) -> _Decision:
        why = _failure(past)
        if not self.resume:
            return Action.NEW, f"{why}; begun anew", past, 1
        if self.only_failed and not {past.reason, past.error_type} & set(self.only_failed):
            return Action.LEFT_OUT, f"{why}; not asked for", past, 0
        if past.run_id in self.gone_on_in:
            why = f"{why}; another one of the list goes on there"
            return self._unless_limited(Action.NEW, why, past)
        self.gone_on_in.add(past.run_id)
        action = Action.RESUME if self.only_failed is None else Action.RETRY
        return action, why, past, past.attempt + 1

    def _unless_limited(self, action: Action, why: str, past: PastRun | None) -> _Decision:
        if self.only_failed is None:
            return action, why, past, 1
        return Action.LEFT_OUT, f"{why}; failures only were asked for", past, 0


def _success(past: PastRun) -> str:
    return f"succeeded in {sanitize_for_terminal(past.run_id)}"


def _under_way(past: PastRun) -> str:
    name = sanitize_for_terminal(past.run_id)
    if past.owner_alive:
        return f"under way in {name}"
    return f"{name} says that it is under way; whether it is cannot be told from here"


def _failure(past: PastRun) -> str:
    cause = sanitize_for_terminal(past.error_type or str(past.reason))
    lines = (past.error_message or "").strip().splitlines()
    message = cut(sanitize_for_terminal(lines[0]), _MESSAGE_WIDTH) if lines else ""
    told = f"{cause}: {message}" if message else cause
    return f"failed in {sanitize_for_terminal(past.run_id)} with {told} (attempt {past.attempt})"
