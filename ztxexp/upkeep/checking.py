"""Find what is wrong with the entries of a results root: :func:`check`. Nothing here writes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ztxexp.provenance.provenance import (
    PACKAGES,
    PATCH,
    SHARED_FIELDS,
    SHARED_FILE,
    read_shared,
)
from ztxexp.text.format import plural, sanitize_for_terminal
from ztxexp.text.report import Report, shown_path
from ztxexp.text.terminal import watched
from ztxexp.text.wording import either
from ztxexp.upkeep.inspecting import (
    DAMAGE,
    NOTE,
    WARNING,
    Finding,
    Inspected,
    Kind,
    inspect_run,
    is_unread,
)
from ztxexp_core.store.files import (
    asked_again,
)

_HELD = {PATCH: "what was not committed", PACKAGES: "the list of packages"}


class StoreReport(Report[Finding]):
    """What ``check()`` has found: a sequence of :class:`Finding`, worst first.

    Attributes:
        root: the results root as it was given.
        items: the findings; those of one severity in the order of the entries' names.
        runs: how many runs there are, damaged ones included.

    Example:
        >>> report = ResultAnalyzer("./results").check()
        >>> print(report)
        ./results: 24 runs; 1 damaged, 1 note
        damage   damaged run: repair() moves it to .ztxexp/damaged; its configuration can be ...
                   20260301_101500_5f0c/run.json: holds a list, not an object
        note     foreign entry: not a run, and left alone; keep it or move it away
                   table.csv: holds no file of a run
    """

    WORDS = ("kind", "severity")

    def __init__(self, root: Path, items: list[Finding], runs: int):
        order = (DAMAGE, WARNING, NOTE)
        super().__init__(root, sorted(items, key=lambda finding: order.index(finding.severity)))
        self.runs = runs

    @property
    def ok(self) -> bool:
        """Whether there is no damage and no warning; notes do not count."""
        return all(finding.severity == NOTE for finding in self.items)

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each severity that occurs, worst first."""
        return dict(Counter(finding.severity for finding in self.items))

    def one_line(self) -> str:
        """Return the counts, as in ``'./results: 24 runs; 1 damaged, 2 warnings'``."""
        counts = [
            f"{self._damaged()} damaged" if severity == DAMAGE else plural(n, severity)
            for severity, n in self.counts.items()
        ]
        found = ", ".join(counts) or "no problems found"
        return f"{sanitize_for_terminal(str(self.root))}: {plural(self.runs, 'run')}; {found}"

    def _damaged(self) -> int:
        """Return how many entries below the root are damaged; one may have several findings."""
        paths = [one.path for one in self.items if one.severity == DAMAGE]
        inside = [path.relative_to(self.root) for path in paths if path.is_relative_to(self.root)]
        return len({path.parts[:1] for path in inside}) + len(paths) - len(inside)

    def lines(self) -> Iterator[str]:
        """Yield the findings by kind, the first few of each."""
        for findings, rest in self.groups("kind"):
            first = findings[0]
            hint = first.hint.replace("repair()", either("repair()", "ztxexp repair"))
            yield f"{first.severity:<7}  {first.kind}: {hint}"
            for finding in findings:
                yield f"           {shown_path(self.root, finding.path)}: {finding.what}"
            if rest:
                yield f"           {rest}"


def check(root: Path, lines: bool = True) -> StoreReport:
    """Look at every entry of a results root; see ``ResultAnalyzer.check``."""
    findings: list[Finding] = []
    runs = 0
    referring: dict[tuple[str, str], list[str]] = {}  # runs by kind and name of a shared file
    try:
        with os.scandir(root) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as exc:
        unlisted = Inspected(root)
        unlisted.fail(root, Kind.UNREADABLE, exc, "cannot be listed")
        findings += unlisted.findings
        ordered = []
    for entry in watched("checking runs", ordered):
        path = root / entry.name
        if entry.name.startswith("."):
            continue
        inspected = None
        try:
            inspected = inspect_run(path, lines) if entry.is_dir() else None
        except OSError as exc:
            if is_unread(exc):  # not so a loop of links
                inspected = Inspected(path)
                inspected.fail(str(path), Kind.UNREADABLE, exc)
        if entry.is_symlink():
            target = os.path.realpath(path)
            findings.append(Finding.of(path, Kind.LINK, f"is a link to {target}"))
        elif inspected is None:
            findings.append(Finding.of(path, Kind.FOREIGN, "holds no file of a run"))
        if inspected is not None:
            runs += 1
            findings += inspected.findings
            for field, kind in SHARED_FIELDS.items():
                named = (inspected.meta or {}).get(field)
                if isinstance(named, str) and not entry.is_symlink():
                    referring.setdefault((kind, named), []).append(entry.name)
    findings += _lost_files(root, referring)
    return StoreReport(root, findings, runs)


def _lost_files(
    root: Path, referring: Mapping[tuple[str, str], Sequence[str]]
) -> Iterator[Finding]:
    """Yield the patches and lists of packages that runs refer to and that cannot be read."""
    for (kind, name), runs in referring.items():
        path = root / kind.format(name)
        if not SHARED_FILE.fullmatch(kind.format(name)):
            path, state = root / runs[0] / "meta.json", "names no file that a launch writes"
        elif read_shared(root, name, kind) is None:
            state = "is damaged" if os.path.lexists(path) else "is gone"
            others = f" and {plural(len(runs) - 1, 'other run')}" if len(runs) > 1 else ""
            state += f", and with it {_HELD[kind]} of {runs[0]}{others}"
        else:
            continue
        yield Finding.of(path, Kind.LOST_PROVENANCE, state)


def age_of(path: str | Path, now: float) -> float | None:
    """Return the seconds since an entry was last changed; ``None`` where it is gone.

    One that cannot be asked may have changed just now.
    """
    try:
        return now - asked_again(os.lstat, path).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return 0.0
