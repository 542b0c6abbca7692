"""What is wrong with the entries of a results root: :class:`StoreReport`. Nothing here writes.

One run's folder is looked at in ``inspecting``; here are the entries that are no runs, what runs
have in common, and the report.
"""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ztxexp.text.format import age, plural, sanitize_for_terminal
from ztxexp.text.terminal import watched
from ztxexp.upkeep.findings import (
    DAMAGE,
    DAMAGED_CLAIM,
    FOREIGN_FILE,
    FOREIGN_FOLDER,
    LEFT_OVER,
    LINK,
    MAYBE_IN_USE,
    NOTE,
    SAME,
    UNREADABLE,
    WARNING,
    Finding,
    Kind,
)
from ztxexp.upkeep.inspecting import (
    TEMPORARY,
    Inspected,
    inspect_run,
    leads_outside,
    left_over,
    read_object,
    said,
)
from ztxexp.upkeep.reporting import SHOWN, Report
from ztxexp_core.records import RUN_STATUS_SUCCEEDED
from ztxexp_core.store.liveness import owner_is_dead
from ztxexp_core.store.run_folder import STAGING_PREFIX, SUBFOLDERS
from ztxexp_core.store.shared import ALIVE, CLAIMS, FOLDER, INDEX, shared_folder

KEPT_SEC = 3600.0  # what is being made is not older than that


_UNFINISHED = "is a file that was not written to its end"
_SEVERITIES = (DAMAGE, WARNING, NOTE)


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
        damage   damaged run.json: repair() moves the run's folder into .ztxexp/damaged, and ...
                   20260301_101500_5f0c/run.json: holds a list, not an object
        note     foreign file: no run, and left alone; keep it or move it away
                   table.csv: is no folder
        >>> [finding.path for finding in report.of("damaged run.json")]
        [PosixPath('results/20260301_101500_5f0c/run.json')]
    """

    def __init__(self, root: Path, items: list[Finding], runs: int):
        super().__init__(root, sorted(items, key=lambda f: _SEVERITIES.index(f.severity)))
        self.runs = runs

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged and there is nothing to warn of; notes do not count."""
        return all(finding.severity == NOTE for finding in self.items)

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each severity that occurs, worst first."""
        found = Counter(finding.severity for finding in self.items)
        return {severity: found[severity] for severity in _SEVERITIES if found[severity]}

    def of(self, word: str) -> list[Finding]:
        """Return the findings of a kind or of a severity.

        Example:
            >>> report.of("warning")[0].remedy
            'repair(), or the next launch, closes it as failed'
        """
        return [finding for finding in self.items if word in (finding.kind, finding.severity)]

    def to_records(self) -> list[dict[str, Any]]:
        """Return a dict for each finding, for a data frame say; paths as texts.

        Example:
            >>> pandas.DataFrame(report.to_records()).value_counts("kind")
        """
        return [
            {
                "path": str(finding.path),
                "kind": finding.kind,
                "severity": finding.severity,
                "what": finding.what,
                "remedy": finding.remedy,
            }
            for finding in self.items
        ]

    def one_line(self) -> str:
        """Return the counts.

        Example:
            >>> report.one_line()
            './results: 24 runs; 1 damaged, 2 warnings'
        """
        told = ", ".join(
            [
                f"{n} damaged" if word == DAMAGE else plural(n, word)
                for word, n in self.counts.items()
            ]
        )
        root = sanitize_for_terminal(str(self.root))
        return f"{root}: {plural(self.runs, 'run')}; {told or 'all well'}"

    def lines(self) -> Iterator[str]:
        """Yield the findings, sorted by kind; of many of one kind the first few."""
        kinds: dict[str, list[Finding]] = {}
        for finding in self.items:
            kinds.setdefault(finding.kind, []).append(finding)
        for kind, found in kinds.items():
            yield f"{found[0].severity:<7}  {kind}: {found[0].remedy}"
            for finding in found[:SHOWN]:
                yield f"           {self.named(finding.path)}: {finding.what}"
            if len(found) > SHOWN:
                yield f"           and {len(found) - SHOWN} more, see .of({kind!r})"


def check_root(root: Path, lines: bool = True) -> StoreReport:
    """Look at every entry of a results root; see ``ResultAnalyzer.check``."""
    findings: list[Finding] = []
    found = 0
    succeeded: dict[str, list[Path]] = {}
    for entry in watched("checking runs", entries_of(root, findings)):
        if entry.name.startswith("."):
            findings += _hidden(entry, time.time())
            continue
        seen = _looked_at(entry, root, lines, findings)
        if seen is None:
            continue
        found += 1
        findings += seen.findings
        findings += _temporary_files(seen)
        if seen.identity is not None and (seen.run or {}).get("status") == RUN_STATUS_SUCCEEDED:
            succeeded.setdefault(seen.identity, []).append(seen.folder)
    findings += _same_configurations(succeeded)
    return StoreReport(root, findings, found)


def entries_of(root: Path, findings: list[Finding]) -> list[os.DirEntry[str]]:
    """Return the entries of a root in the order of their names; none, and a finding, if it has not.

    Args:
        root: the results root.
        findings: where the finding goes that it cannot be listed.
    """
    try:
        with os.scandir(root) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as exc:
        findings.append(Finding.of(root, UNREADABLE, f"cannot be listed ({exc.strerror})"))
        return []


def _looked_at(
    entry: os.DirEntry[str], root: Path, lines: bool, findings: list[Finding]
) -> Inspected | None:
    """Inspect an entry; ``None`` where it is no run, which is a finding."""
    path, link = Path(root, entry.name), os.path.islink(entry)
    if link:
        outside = leads_outside(path, root)
        inside = "is a link to another entry of the root, whose runs count twice"
        findings.append(Finding.of(path, LINK, outside or inside))
    try:
        folder = entry.is_dir()
    except OSError:  # a loop of links
        folder = False
    if not folder:
        if not link:
            kind = LEFT_OVER if TEMPORARY.fullmatch(entry.name) else FOREIGN_FILE
            findings.append(_by_age(path, kind, _what_it_is(entry), time.time()))
        return None
    seen = inspect_run(path, lines)
    if seen is None and not link:
        findings.append(Finding.of(path, FOREIGN_FOLDER, "holds no file of a run"))
    return seen


def _what_it_is(entry: os.DirEntry[str]) -> str:
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError as exc:
        return said(exc)
    kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "a device"))
    special = next((name for test, name in kinds if test(mode)), None)
    if stat.S_ISBLK(mode):
        special = "a device"
    return f"is {special}" if special else "is no folder"


def _by_age(path: Path, kind: Kind, what: str, now: float) -> Finding:
    """Make a finding of something left over, or of something that is perhaps in use."""
    seconds = age_of(path, now)
    if kind is LEFT_OVER and seconds is not None:
        what = f"{what}, {age(seconds)} old"
        kind = LEFT_OVER if seconds > KEPT_SEC else MAYBE_IN_USE
    return Finding.of(path, kind, what)


def age_of(path: str | Path, now: float) -> float | None:
    """Return the seconds since something was last changed; ``None`` where it is gone."""
    try:
        return now - os.lstat(path).st_mtime
    except OSError:
        return None


def _temporary_files(seen: Inspected) -> list[Finding]:
    now = time.time()
    inside = [folder for name in SUBFOLDERS if not os.path.islink(folder := seen.folder / name)]
    folders = (seen.folder, *inside)
    found = [path for folder in folders for path in left_over(folder)]
    return [_by_age(path, LEFT_OVER, _UNFINISHED, now) for path in found]


def _hidden(entry: os.DirEntry[str], now: float) -> Iterator[Finding]:
    """Yield what is wrong with an entry whose name begins with a dot, where readers do not look.

    Such names are those of ztxexp's own folders and caches, and of other programs.
    """
    path = Path(entry.path)
    if entry.name.startswith(STAGING_PREFIX):
        yield from staging_findings(path, now)
    elif entry.name.endswith(".tmp"):
        yield _by_age(path, LEFT_OVER, _UNFINISHED, now)
    elif entry.name == FOLDER and not os.path.islink(entry):
        for part in (ALIVE, CLAIMS, INDEX):
            folder = Path(shared_folder(path.parent, part))
            if os.path.islink(folder):
                continue
            for temporary in left_over(folder):
                yield _by_age(temporary, LEFT_OVER, _UNFINISHED, now)
            if part == CLAIMS:
                yield from _damaged_claims(folder)


def staging_findings(path: Path, now: float) -> Iterator[Finding]:
    """Yield a finding for a folder in which a run was being made, unless its maker is at it.

    Args:
        path: the folder.
        now: the time by which its age is judged, in seconds since 1970.
    """
    run, _ = read_object(f"{path}/run.json")
    dead = owner_is_dead(run, path) if run is not None else None
    what = "is a folder in which a run was being made"
    if dead:
        yield Finding.of(path, LEFT_OVER, f"{what}; its process has ended")
    elif dead is None and age_of(path, now) is not None:
        yield _by_age(path, LEFT_OVER, what, now)


def _damaged_claims(folder: Path) -> Iterator[Finding]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".json"))
    except FileNotFoundError:
        return
    except OSError as exc:
        yield Finding.of(folder, UNREADABLE, f"cannot be listed ({exc.strerror})")
        return
    for name in names:
        problem = read_object(f"{folder}/{name}")[1]
        if problem is not None:
            yield Finding.of(folder / name, DAMAGED_CLAIM, said(problem))


def _same_configurations(succeeded: dict[str, list[Path]]) -> Iterator[Finding]:
    for folders in succeeded.values():
        if len(folders) > 1:
            others = ", ".join(folder.name for folder in folders[1:])
            what = f"has succeeded {len(folders)} times with one configuration: also {others}"
            yield Finding.of(folders[0], SAME, what)
