"""What :mod:`ztxexp.doctor.doctor` says of a thing that it has looked at."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, BAD = "ok", "warn", "bad"


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
        level: ``"ok"``; ``"warn"`` for what may do harm; ``"bad"`` for what does.
        subject: what was looked at, in one or two words.
        what: how it is.
        way_out: what to do about it; empty where all is well.
    """

    level: str
    subject: str
    what: str
    way_out: str = ""
