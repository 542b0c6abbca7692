"""What it takes to reproduce a run, as a record that prints: :class:`Reproduction`."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp.text.labels import label

_SHOWN = 10  # differences; the record holds them all
_WIDTH = 160


class Difference(NamedTuple):
    """Something that is not today as it was when a run was launched.

    Attributes:
        what: such as ``commit``, ``Python``, ``function`` or ``package numpy``.
        then: as it was.
        today: as it is.
    """

    what: str
    then: str
    today: str


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """What is known of how a run came about, what differs today, and how to get there.

    ``None`` stands for what was not recorded. Printed, it is a text for people.

    Attributes:
        run_id: the run.
        folder: its folder.
        config: its configuration.
        commit: that was checked out in the working folder.
        branch: likewise.
        dirty: whether anything was not committed.
        patch: what was not committed, as a text.
        patch_path: the file that holds it, for ``git apply`` at the top of the repository.
        patch_note: what the patch lacks, or why there is none.
        working_folder: where the command was given, below the top of the repository.
        command: the line that started the launch, secrets masked.
        function: the experiment function, ``module:name``.
        function_file: its file, below the top of the repository or absolute.
        python_version: for example ``3.12.1``.
        packages: version of each installed package by its name; empty where not recorded.
        not_recorded: what is not known, in words.
        differences: what is not today as it was then, as far as both are known.
        steps: lines for a shell that bring today's state back to that of the run, and start it.
    """

    run_id: str
    folder: Path
    config: dict[str, Any] | None
    commit: str | None
    branch: str | None
    dirty: bool | None
    patch: str | None
    patch_path: Path | None
    patch_note: str | None
    working_folder: str | None
    command: str | None
    function: str | None
    function_file: str | None
    python_version: str | None
    packages: Mapping[str, str]
    not_recorded: tuple[str, ...]
    differences: tuple[Difference, ...]
    steps: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Reproduction of {self.run_id}: {len(self.differences)} differences today>"

    def __str__(self) -> str:
        return "\n".join(map(sanitize_for_terminal, self._lines()))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _lines(self) -> Iterator[str]:
        yield f"run {self.run_id}"
        for name, value in self._known():
            if value:
                yield f"  {name:<14} {cut(value, _WIDTH)}"
        if self.not_recorded:
            yield f"  {'not recorded':<14} {', '.join(self.not_recorded)}"
        yield "what differs today"
        for what, then, today in self.differences[:_SHOWN]:
            yield f"  {what}: {then} -> {today}"
        if len(self.differences) > _SHOWN:
            yield f"  and {len(self.differences) - _SHOWN} more, see .differences"
        if not self.differences:
            yield "  nothing of what was recorded"
        yield "to get there"
        for step in self.steps:
            yield f"  {step}"

    def _known(self) -> Iterator[tuple[str, str | None]]:
        yield "configuration", label(self.config, width=_WIDTH) if self.config else None
        on_branch = f" on {self.branch}" if self.branch else ""
        yield "commit", self.commit and f"{self.commit}{on_branch}"
        yield "not committed", self._changes()
        yield "folder", self.working_folder
        yield "command", self.command
        file = f" in {self.function_file}" if self.function_file else ""
        yield "function", self.function and f"{self.function}{file}"
        yield "Python", self.python_version
        yield "packages", f"{len(self.packages)}" if self.packages else None

    def _changes(self) -> str | None:
        told = [str(self.patch_path)] if self.patch_path else []
        if self.dirty is False and not self.patch_note:
            told.append("nothing")
        return "; ".join([*told, *([self.patch_note] if self.patch_note else [])]) or None
