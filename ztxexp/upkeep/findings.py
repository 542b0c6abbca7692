"""What can be wrong with a results root: the kinds of findings, with what to do about each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp_core.store.files import DAMAGED, SHARED_FOLDER

NOTE, WARNING, DAMAGE = "note", "warning", "damage"

QUARANTINE = f"{SHARED_FOLDER}/{DAMAGED}"  # below the root: where repair() moves things

_WIDTH = 160


class Kind(Enum):
    """The kinds of findings: what each is called, how bad it is, and what to do about it."""

    DAMAGED_RUN = (
        "damaged run",
        DAMAGE,
        f"repair() moves it to {QUARANTINE}; its configuration can be run again",
    )
    LOST_METRICS = ("lost metrics", DAMAGE, "repair() restores metrics.json from events.jsonl")
    UNREADABLE = ("unreadable", DAMAGE, "check the permissions and the disk")
    DEAD_RUN = ("dead run", WARNING, "repair(), or the next launch, closes it as failed")
    PARTLY_DAMAGED = (
        "partly damaged", WARNING, "readers skip the damaged part; delete it or leave it"
    )  # fmt: skip
    CHANGED_CONFIG = (
        "configuration changed",
        WARNING,
        "exclude_completed goes by run.json: restore config.json, or delete the run to repeat it",
    )
    RENAMED = (
        "folder renamed",
        WARNING,
        "rename it to its run_id; move a copy elsewhere, or tables count the run twice",
    )
    UNKNOWN_SCHEMA = (
        "unknown schema version", WARNING, "read it with the version of ztxexp that wrote it"
    )  # fmt: skip
    LINK = (
        "link", WARNING, "readers follow links, repairs and deletions never do; move the files here"
    )  # fmt: skip
    LOST_PROVENANCE = (
        "lost provenance",
        WARNING,
        "copy the file, whose name begins with a dot, from the root that the runs come from",
    )
    LEFT_OVER = ("left over", WARNING, "delete it; the next launch removes folders of this kind")
    UNKNOWN_OWNER = ("owner unknown", NOTE, "if no process works on it any more, delete it")
    FOREIGN = ("foreign entry", NOTE, "not a run, and left alone; keep it or move it away")

    def __init__(self, label: str, severity: str, hint: str):
        self.label = label
        self.severity = severity
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong, or worth knowing, about an entry of a results root.

    Attributes:
        path: the entry, below the root as that was given.
        kind: such as ``"damaged run"``, see ``ResultAnalyzer.check``.
        severity: ``"note"``, ``"warning"`` or ``"damage"``.
        what: what is wrong with this entry.
        hint: what to do about it, the same for all findings of a kind.
    """

    path: Path
    kind: str
    severity: str
    what: str
    hint: str

    @classmethod
    def of(cls, path: str | Path, kind: Kind, what: str) -> Finding:
        """Make a finding of a kind; the text is sanitized for terminals."""
        text = cut(sanitize_for_terminal(what), _WIDTH)
        return cls(Path(path), kind.label, kind.severity, text, kind.hint)
