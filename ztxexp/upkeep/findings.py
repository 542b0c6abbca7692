"""What can be wrong with a results root: the kinds of findings, in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ztxexp.text.format import cut, sanitize_for_terminal
from ztxexp_core.store.shared import DAMAGED, FOLDER

NOTE, WARNING, DAMAGE = "note", "warning", "damage"

ASIDE = f"{FOLDER}/{DAMAGED}"  # the folder below a root into which repair() moves things

_WIDTH = 160


class Kind(NamedTuple):
    """A kind of finding: how bad it is, and what can be done."""

    name: str
    severity: str
    remedy: str


_MOVED = f"repair() moves the run's folder into {ASIDE}, and its configuration can be run again"

DAMAGED_RUN = Kind("damaged run.json", DAMAGE, _MOVED)
MISSING_RUN = Kind("missing run.json", DAMAGE, _MOVED)
DAMAGED_CONFIG = Kind("damaged config.json", DAMAGE, _MOVED)
DAMAGED_METRICS = Kind("damaged metrics.json", DAMAGE, _MOVED)
LOST_METRICS = Kind("lost metrics.json", DAMAGE, "repair() writes it anew from events.jsonl")
DAMAGED_META = Kind("damaged meta.json", DAMAGE, "no table needs it; delete it or leave it")
UNREADABLE = Kind("unreadable", DAMAGE, "mend its permissions or its disk")
UNKNOWN_SCHEMA = Kind(
    "unknown schema version", WARNING, "read it with the version of ztxexp that wrote it"
)
STALE = Kind("stale running record", WARNING, "repair(), or the next launch, closes it as failed")
NOT_CLOSED = Kind("lost run not closed", WARNING, "repair() closes it")
DAMAGED_LINES = Kind("damaged lines", WARNING, "readers leave them out; delete them or leave them")
IDENTITY = Kind(
    "identity differs",
    WARNING,
    "exclude_completed goes by run.json: put config.json back, or delete the run to have it anew",
)
NAME = Kind("folder renamed", WARNING, "give the folder the name that run.json says")
COPY = Kind("copy of a run", WARNING, "tables count it twice: move one of the two elsewhere")
MISSING_CONFIG = Kind(
    "missing config.json", WARNING, "readers take it for empty; put it back, or delete the run"
)
LINK = Kind("link", WARNING, "readers follow it, repair and deletions never do; put the files here")
LEFT_OVER = Kind("left over", WARNING, f"repair() moves it into {ASIDE}")
MAYBE_IN_USE = Kind("perhaps in use", NOTE, "left over if it is still there in an hour")
UNKNOWN_OWNER = Kind(
    "owner unknown", NOTE, "if nothing works on it, clean_results or a further launch ends it"
)
TORN_LINE = Kind("torn last line", NOTE, "readers leave it out, the next writer closes it off")
NO_METRICS = Kind("no metrics.json", NOTE, "as it should be if the function returned None")
MISSING_META = Kind("missing meta.json", NOTE, "no table needs it")
NOT_READ = Kind("too large to be checked", NOTE, "look at it yourself")
FOREIGN_FOLDER = Kind("foreign folder", NOTE, "no run, and left alone; keep it or move it away")
FOREIGN_FILE = Kind("foreign file", NOTE, "no run, and left alone; keep it or move it away")
SAME = Kind("same configuration", NOTE, "as allow_duplicates makes them; the first one counts")
DAMAGED_CLAIM = Kind("damaged claim", NOTE, "the next launch takes it over; or delete it")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or worth knowing, about an entry of a results root.

    Attributes:
        path: the entry, below the root as that was given.
        kind: one of a few words, such as ``"damaged run.json"``, the same for all its like.
        severity: ``"note"``, ``"warning"`` or ``"damage"``.
        what: what is wrong with this one, in words.
        remedy: what can be done about it, one sentence.
    """

    path: Path
    kind: str
    severity: str
    what: str
    remedy: str

    @classmethod
    def of(cls, path: str | Path, kind: Kind, what: str) -> Finding:
        """Make one of a kind; the words are made fit for a terminal."""
        return cls(
            Path(path),
            kind.name,
            kind.severity,
            cut(sanitize_for_terminal(what), _WIDTH),
            kind.remedy,
        )

    def __str__(self) -> str:
        return f"{sanitize_for_terminal(self.path.as_posix())}: {self.what}"
