"""What a launch does with each configuration, and why: a :class:`Plan`, as people read it."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ztxexp.configs.expansion import FilteredOut
from ztxexp.launch.other_code import OtherCode
from ztxexp.provenance.code_version import CodeVersion
from ztxexp.results.history import PastRun, Snapshot
from ztxexp.results.summary import place_of
from ztxexp.text import html
from ztxexp.text.format import plural, sanitize_for_terminal, short_path
from ztxexp.text.labels import differing_keys, label
from ztxexp.text.terminal import in_notebook
from ztxexp_core.records import Config
from ztxexp_core.values.copying import lookup

_log = logging.getLogger("ztxexp")

_CONFIG_WIDTH = 84
_KEYS_SHOWN, _FIRST_SHOWN = 8, 5  # in a notebook


class Action(str, Enum):
    """What a launch does with a configuration; the value is the word for it.

    Attributes:
        NEW: it gets a new run.
        RESUME: its last run failed and goes on in its own folder.
        RETRY: likewise, in a launch that is limited to failures.
        BUSY: its run is under way, or not known to have ended; this launch runs it only if no
            other launch is running it by then. With ``resume`` it goes on in the folder of a run
            whose process dies meanwhile.
        REUSE: it has succeeded before and is not run.
        DUPLICATE: it stands in the list once more and is not run again.
        LEFT_OUT: it has not failed, and the launch is limited to failures.
        FILTERED: a rule took it out.
    """

    NEW = "new"
    RESUME = "resumed"
    RETRY = "retried"
    BUSY = "under way"
    REUSE = "reused"
    DUPLICATE = "duplicate"
    LEFT_OUT = "left out"
    FILTERED = "filtered out"


_RUNS = (Action.NEW, Action.RESUME, Action.RETRY, Action.BUSY)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One configuration of a plan.

    Attributes:
        config: the configuration.
        identity: its identity, all keys counted: what is written into ``run.json``.
        claim_key: its identity without the ignored keys, by which concurrent launches agree on
            who runs it; ``None`` if this launch looks at no other run. Items that differ in ignored
            keys only have the same one.
        action: what is done with it.
        why: one sentence.
        past: the run that counts for this configuration so far, if there is one.
        attempt: number of the attempt that is made next; 0 where none is made.
    """

    config: Config
    identity: str
    claim_key: str | None
    action: Action
    why: str
    past: PastRun | None = None
    attempt: int = 1

    @property
    def run_id(self) -> str | None:
        """The run that is reused, resumed, retried, under way or left as it is, if any."""
        return None if self.past is None or self.action is Action.NEW else self.past.run_id

    @property
    def folder(self) -> Path | None:
        """The folder to go on in, below the root as that was given; ``None`` for a new one."""
        goes_on = self.action in (Action.RESUME, Action.RETRY) or (
            self.action is Action.BUSY and self.attempt > 1
        )
        return self.past.folder if goes_on and self.past is not None else None


class Plan:
    """What a launch would do, and why; ``print(plan)`` shows it.

    Attributes:
        root: the results root as it was given; ``None`` where there is none yet.
        items: one for each configuration that passed the rules: first the list that
            ``exclude_completed`` has left, in its order, then what is reused.
        filtered_out: how many each rule took out; none of them is among the items.
        snapshot: the earlier runs that were looked at; ``None`` where none were.
        code: which version of the code the function is; ``None`` where no function was given.
        other_code: which runs other code has made.

    Example:
        >>> plan = pipeline.plan()
        >>> plan.one_line()
        '17 to run (5 new, 12 resumed), 30 reused'
        >>> plan.to_run[0].why
        'failed in 20261124_081503_2c4f1a9d3e07b with ValueError: bad lr (attempt 1)'
    """

    def __init__(
        self,
        root: Path | None,
        items: Iterable[PlannedRun],
        filtered_out: Iterable[FilteredOut] = (),
        snapshot: Snapshot | None = None,
        code: CodeVersion | None = None,
        other_code: OtherCode | None = None,
    ):
        self.root = root
        self.code = code
        self.other_code = other_code or OtherCode(code)
        self.items = tuple(items)
        self.filtered_out = tuple(filtered_out)
        self.snapshot = snapshot
        self._shown_in: object = None

    @property
    def to_run(self) -> list[PlannedRun]:
        """The items that are run, in order."""
        return [item for item in self.items if item.action in _RUNS]

    @property
    def counts(self) -> dict[Action, int]:
        """How many configurations there are of each action that occurs, in the order of actions."""
        counts = Counter([item.action for item in self.items])
        counts[Action.FILTERED] = sum(rule.count for rule in self.filtered_out)
        return {action: counts[action] for action in Action if counts[action]}

    def to_records(self) -> list[dict[str, Any]]:
        """Return a flat dict for each item, for a data frame say.

        It holds the configuration, and ``action``, ``why`` and ``run_id``.

        Example:
            >>> pandas.DataFrame(pipeline.plan().to_records()).groupby("action").size()
        """
        return [
            {**item.config, "action": item.action.value, "why": item.why, "run_id": item.run_id}
            for item in self.items
        ]

    def one_line(self, code: bool = True) -> str:
        """Return the non-zero counts.

        Args:
            code: say how many results another version of the function has made.

        Example:
            >>> plan.one_line()
            '17 to run (5 new, 12 resumed), 30 reused, 2 duplicates, 5 filtered out'
        """

        def note(action: Action) -> str:
            text = self._code_note(action) if code else ""
            return f", {text}" if text else ""

        counts = self.counts
        running = {action: counts.pop(action) for action in _RUNS if action in counts}
        total = sum(running.values())
        parts = [f"{total} to run" if total else "nothing to run"]
        if running and list(running) != [Action.NEW]:
            each = [f"{n} {action.value}{note(action)}" for action, n in running.items()]
            parts[0] += f" ({', '.join(each)})"
        for action, n in counts.items():
            duplicates = action is Action.DUPLICATE
            part = plural(n, "duplicate") if duplicates else f"{n} {action.value}"
            parts.append(f"{part}{note(action)}")
        return ", ".join(parts)

    @property
    def reused_of_other_code(self) -> int:
        """How many of the reused items other code has made, as far as is known."""
        return len(self.other_code.made(self._pasts(Action.REUSE)))

    @property
    def code_warning(self) -> str:
        """What a launch says of other code whose runs it reuses or goes on with; else empty."""
        gone_on_with = {each.value: self._pasts(each) for each in (Action.RESUME, Action.RETRY)}
        return self.other_code.warning(gone_on_with, self._pasts(Action.REUSE))

    def _pasts(self, action: Action) -> list[PastRun | None]:
        return [item.past for item in self.items if item.action is action]

    def _code_note(self, action: Action) -> str:
        """Return what there is to say about the code of the runs of an action."""
        if action is Action.NEW and self.other_code.only_function is not None:
            return self.other_code.note([past for past in self._pasts(action) if past])
        if action not in (Action.RESUME, Action.RETRY, Action.REUSE):
            return ""
        pasts = self._pasts(action)
        unknown = self.other_code.unknown_note(len(pasts)) if action is Action.REUSE else ""
        return self.other_code.note(pasts) or unknown

    def __repr__(self) -> str:
        return f"<Plan: {self.one_line()}>"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def show(self) -> None:
        """Print the plan; in a notebook show it, so that the end of the cell need not again."""
        if not in_notebook():
            sys.stdout.write(f"{self}\n")
            return
        from IPython.display import display

        display({"text/html": self._repr_html_(), "text/plain": str(self)}, raw=True)
        self._shown_in = place_of(sys.stdout)

    def _repr_html_(self) -> str | None:
        if self._shown_in is not None and self._shown_in == place_of(sys.stdout):
            return None
        keys = differing_keys([item.config for item in self.items])[:_KEYS_SHOWN]
        rows = [
            [html.shown(lookup(item.config, key)) for key in keys]
            for item in self.to_run[:_FIRST_SHOWN]
        ]
        actions = [[count, action.value, note] for count, action, note in self._notes()]
        first = [
            html.note("first to run"),
            html.table(keys, rows, noun="configuration", total=len(self.to_run)),
        ]
        return html.block(
            html.title(self._title()),
            html.table([], actions) if actions else "",
            *(first if keys and rows else ()),
        )

    def _title(self) -> str:
        of_root = f" for {sanitize_for_terminal(short_path(self.root))}" if self.root else ""
        total = plural(sum(self.counts.values()), "configuration")
        to_run = f"{len(self.to_run)} of {total} to run" if self.counts else "no configurations"
        return f"Plan{of_root}: {to_run}"

    def _lines(self) -> Iterator[str]:
        yield self._title()
        for count, action, note in self._notes():
            yield f"{count:>7}  {action.value:<12}  {note}".rstrip()
        if self.to_run:
            keys = differing_keys([item.config for item in self.items])
            yield f"first to run: {label(self.to_run[0].config, keys, _CONFIG_WIDTH)}"

    def _notes(self) -> Iterator[tuple[int, Action, str]]:
        """Yield how many configurations each action has, and what is to be said of them."""
        rules = [f"{sanitize_for_terminal(r.rule)!r} ({r.count})" for r in self.filtered_out]
        for action, count in self.counts.items():
            pasts = [item.past for item in self.items if item.action is action and item.past]
            ends = Counter(past.reason or past.status for past in pasts).most_common()
            note = ", ".join(f"{number} {sanitize_for_terminal(end)}" for end, number in ends)
            note = f"before: {note}" if note else ""
            if action is Action.REUSE:
                note = ""
            note = "; ".join(filter(None, [note, self._code_note(action)]))
            if action is Action.FILTERED:
                note = f"by {', '.join(rules)}"
            yield count, action, note
