"""Which configurations a launch runs, and why: :func:`plan_sweep`.

Nothing is written or started here.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from ztxexp.configs.builder import ConfigBuilder
from ztxexp.configs.keys import check_config
from ztxexp.launch.other_code import CodeRule, OtherCode
from ztxexp.launch.plan import Action, Plan, PlannedRun
from ztxexp.provenance.code_version import CodeVersion
from ztxexp.results.history import History, PastRun, Snapshot
from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp.text.terminal import bar
from ztxexp_core.errors import ConfigError
from ztxexp_core.records import RUN_STATUS_FAILED, RUN_STATUS_RUNNING, RUN_STATUS_SKIPPED, Config
from ztxexp_core.store.files import refuse_links
from ztxexp_core.values.identity import config_identity

_log = logging.getLogger("ztxexp")

_MESSAGE_WIDTH = 100
_NOT_COMPARED = "earlier runs are not compared"


def plan_as_given(configs: Sequence[Config]) -> Plan:
    """Return the plan that runs every configuration of a list, whatever ran before.

    Raises:
        ConfigError: a configuration without an identity; the error names its place and key.
    """
    items = []
    for index, config in enumerate(configs):
        with _naming(index, len(configs)):
            check_config(config)
            identity = config_identity(config)
            items.append(PlannedRun(config, identity, None, Action.NEW, _NOT_COMPARED))
    return Plan(None, items)


def plan_sweep(
    builder: ConfigBuilder,
    root: str | Path,
    resume: bool = False,
    only_failed: Collection[str] | None = None,
    allow_duplicates: bool = False,
    code: CodeVersion | None = None,
    code_rule: CodeRule | None = None,
    stated_version: str | None = None,
    from_shell: bool = False,
) -> Plan:
    """Plan the launch of what a builder builds.

    Without ``exclude_completed`` for this root, ``resume`` and ``only_failed``, earlier runs are
    not read and everything is new.

    Args:
        builder: makes the configurations.
        root: the results root; it need not exist, and is not made.
        resume: configurations whose last run failed go on in its folder; includes
            ``exclude_completed``.
        only_failed: run no others than these; reasons or error types as ``run.json`` has them,
            none for every failure.
        allow_duplicates: run a configuration as often as it stands in the list.
        code: which version of the code the function is, where it is known.
        code_rule: ``"same"`` reuses, and goes on with, only what this version has made;
            ``"function"`` only what this function or command has made, in any version; ``"any"``
            says nothing about other code.
        stated_version: the version that the user has stated.
        from_shell: whether messages name options of a command, not methods.

    Raises:
        TypeError, ConfigError: as :meth:`ConfigBuilder.build`.
    """
    asked_by = '.resume(code="{}")' if resume else '.exclude_completed(code="{}")'
    if only_failed is not None:
        asked_by = 'ExperimentPipeline(..., code="{}")'
    asked_by = "--code {}" if from_shell else asked_by
    root = Path(root)
    other_code = OtherCode(code, code_rule, asked_by, stated_version)
    if (resume or only_failed is not None) and builder.keys_ignored(root) is None:
        builder = builder.copy().exclude_root(root)
    ignore_keys = builder.keys_ignored(root)
    snapshot = history = None
    if ignore_keys is not None:
        with bar("reading runs") as on_progress:
            snapshot = Snapshot(root, on_progress)
    code_hash, others, same_code = code and code.hash, None, code_rule == "same"
    function = other_code.only_function
    if snapshot is not None:
        if same_code:
            code_hash = code_hash or ""  # of an unknown one nothing is reused
        if same_code or function:
            others = snapshot.history(ignore_keys or ())
        history = snapshot.history(ignore_keys or (), code_hash, same_code, function)
    report = builder.build_report(snapshot, code_hash, same_code, function)
    decisions = _Decisions(history, resume, only_failed, others, other_code)
    suffix = other_code.claim_suffix
    items: list[PlannedRun] = []
    first: dict[str, int] = {}
    for index, config in enumerate(report.configs):
        with _naming(index, len(report.configs)):
            check_config(config)
            identity = report.identity(config)
            key = None if ignore_keys is None else report.identity(config, ignore_keys)
        earlier = first.setdefault(identity, index)
        if earlier != index and not allow_duplicates:
            why = f"the same as configuration {earlier} of the list, counted from 0"
            items.append(PlannedRun(config, identity, key, Action.DUPLICATE, why, None, 0))
        else:
            claim_key = None if key is None else key + suffix
            items.append(PlannedRun(config, identity, claim_key, *decisions.on(key)))
    for config, past in report.reused:
        identity, key = report.identity(config), report.identity(config, ignore_keys or ())
        items.append(PlannedRun(config, identity, key, Action.REUSE, _success(past), past, 0))
    return Plan(root, items, report.filtered_out, snapshot, code, other_code)


@contextlib.contextmanager
def _naming(index: int, count: int) -> Iterator[None]:
    """Let an error about a configuration name its place in the list."""
    try:
        yield
    except ConfigError as exc:
        raise ConfigError(f"configuration {index} of {count}: {exc}") from exc


_Decision = tuple[Action, str, "PastRun | None", int]  # the last is the number of the next attempt


class _Decisions:
    """What the last run of a configuration means for this launch."""

    def __init__(
        self,
        history: History | None,
        resume: bool,
        only_failed: Collection[str] | None,
        others: History | None = None,
        other_code: OtherCode | None = None,
    ):
        self.history = history
        self.others: Mapping[str, PastRun] = others or {}
        self.other_code = other_code or OtherCode()
        self.resume = resume or only_failed is not None
        self.only_failed = only_failed
        self.resumed_ids: set[str] = set()

    def on(self, key: str | None) -> _Decision:
        """Return action, reason, the run that counts, number of the next attempt."""
        if self.history is None or key is None:
            return Action.NEW, _NOT_COMPARED, None, 1
        past, other = self.history.get(key), self.others.get(key)
        if past is None and other is not None:
            return self._on_other_code(other)
        if past is None:
            return self._unless_limited(Action.NEW, "no run of it is known", None)
        if past.status == RUN_STATUS_SKIPPED:
            why = f"skipped in {sanitize_for_terminal(past.run_id)}"
            return self._unless_limited(Action.NEW, why, past)
        if past.status == RUN_STATUS_RUNNING:
            name = sanitize_for_terminal(past.run_id)
            unknown = f"{name} is recorded as running; its process cannot be checked from this host"
            why = f"under way in {name}" if past.owner_alive else unknown
            if self.resume and past.owner_alive and past.run_id not in self.resumed_ids:
                self.resumed_ids.add(past.run_id)
                return self._unless_limited(Action.BUSY, why, past, past.attempt + 1)
            return self._unless_limited(Action.BUSY, why, past)
        return self._on_failure(past)

    def _on_other_code(self, past: PastRun) -> _Decision:
        """Run it anew: what this other code has made does not count."""
        failed = past.status == RUN_STATUS_FAILED
        end = f"{past.status} in {sanitize_for_terminal(past.run_id)}"
        why = f"{_failure(past) if failed else end}, {self.other_code.maker(past)}"
        if self.other_code.only_function is not None:  # no failure of this function
            return self._unless_limited(Action.NEW, why, past)
        if failed and self._is_asked_for(past):
            return Action.NEW, f"{why}; starts a new run", past, 1
        return self._unless_limited(Action.NEW, why, past)

    def _is_asked_for(self, past: PastRun) -> bool:
        return not self.only_failed or bool({past.reason, past.error_type} & set(self.only_failed))

    def _on_failure(self, past: PastRun) -> _Decision:
        why = _failure(past)
        if not self.resume:
            return Action.NEW, f"{why}; starts a new run", past, 1
        if not self._is_asked_for(past):
            return Action.LEFT_OUT, f"{why}; not asked for", past, 0
        if past.run_id in self.resumed_ids:
            why = f"{why}; another configuration in the list resumes that run"
            return self._unless_limited(Action.NEW, why, past)
        try:
            refuse_links(past.folder)
        except OSError as exc:
            _log.warning("not resumed: %s: %s", exc.filename, exc.strerror)
            return Action.NEW, f"{why}; a new run, because its folder cannot be gone on in", past, 1
        self.resumed_ids.add(past.run_id)
        action = Action.RESUME if self.only_failed is None else Action.RETRY
        return action, why, past, past.attempt + 1

    def _unless_limited(
        self, action: Action, why: str, past: PastRun | None, attempt: int = 1
    ) -> _Decision:
        if self.only_failed is None:
            return action, why, past, attempt
        return Action.LEFT_OUT, f"{why}; only failed runs are retried", past, 0


def _success(past: PastRun) -> str:
    return f"succeeded in {sanitize_for_terminal(past.run_id)}"


def _failure(past: PastRun) -> str:
    cause = sanitize_for_terminal(past.error_type or str(past.reason))
    lines = (past.error_message or "").strip().splitlines()
    message = cut(sanitize_for_terminal(lines[0]), _MESSAGE_WIDTH) if lines else ""
    cause = f"{cause}: {message}" if message else cause
    return f"failed in {sanitize_for_terminal(past.run_id)} with {cause} (attempt {past.attempt})"
