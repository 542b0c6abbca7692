"""Which plugins are installed, as their entry points say; imports no plugin.

Only the entry-point files that name a group are parsed, and a file that cannot be read costs only
its own distribution: ``importlib.metadata.entry_points`` parses all files, and one bad line in any
of them costs all plugins.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ztxexp_core.errors import PluginContractError

if TYPE_CHECKING:  # slow to import, and workers need no metadata
    from importlib.metadata import Distribution, EntryPoint

_log = logging.getLogger("ztxexp")

BLOCKING_VARIABLE = "ZTXEXP_DISABLE_PLUGINS"
OWN_DISTRIBUTION = "ztxexp"
_FILE = "entry_points.txt"


@dataclass(frozen=True)
class PluginRef:
    """Where a plugin comes from, known without importing it.

    Attributes:
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        name: what users type.
        target: ``module:attribute``, or ``module`` alone.
        distribution: the installed package that registers it.
        version: that package's version.
    """

    kind: str
    name: str
    target: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} ({self.distribution} {self.version}, {self.target})"


def ref_of(kind: str, entry: EntryPoint) -> PluginRef:
    """Return where an entry point comes from."""
    metadata = {} if entry.dist is None else metadata_of(entry.dist)
    # Not dist.name and dist.version: these raise where the metadata is damaged.
    distribution = metadata.get("Name", "unknown distribution")
    return PluginRef(kind, entry.name, target_of(entry), distribution, metadata.get("Version", "?"))


def target_of(entry: EntryPoint) -> str:
    """Return the entry's value without blanks and without the obsolete ``[extra]``."""
    return entry.value.partition("[")[0].replace(" ", "")


@functools.lru_cache  # parsed once for all plugins of a distribution
def metadata_of(distribution: Distribution) -> Any:
    """Return the metadata of a distribution; empty where they are damaged."""
    try:
        return distribution.metadata or {}
    except (OSError, LookupError):  # a damaged installation must not hide the others
        return {}


def pip_line(entry: EntryPoint) -> str:
    """Return the pip line of the extra that is named like the plugin; empty without one."""
    metadata = {} if entry.dist is None else metadata_of(entry.dist)
    extras = (metadata.get_all("Provides-Extra") or []) if hasattr(metadata, "get_all") else []
    wanted = entry.name.replace("_", "-").lower()
    for extra in extras:
        if extra.replace("_", "-").lower() == wanted:
            return f'pip install "{metadata.get("Name")}[{extra}]"'
    return ""


# ---- installed distributions -----------------------------------------------------------------


def scan(groups: Iterable[str]) -> Mapping[str, list[EntryPoint]]:
    """Return the installed entry points of some groups, by group.

    Of two distributions with the same name the first on ``sys.path`` counts, as for an import.

    Args:
        groups: names of entry-point groups.
    """
    from importlib.metadata import distributions

    by_group: dict[str, list[EntryPoint]] = {group: [] for group in groups}
    for distribution in distributions():
        try:
            text = distribution.read_text(_FILE) or ""
        except Exception:  # not UTF-8, not readable, or a finder of somebody else that fails
            continue
        if not any(group in text for group in by_group) or not _is_first(distribution, text):
            continue
        try:
            entries = list(distribution.entry_points)
        except Exception as exc:
            name = metadata_of(distribution).get("Name", "a distribution without a name")
            _log.warning(
                "the entry points of %s cannot be read (%s), so its plugins are unknown; "
                "reinstall it",
                name,
                cause(exc),
            )
            continue
        for entry in entries:
            if entry.group in by_group:
                by_group[entry.group].append(entry)
    return by_group


def _is_first(distribution: Distribution, text: str) -> bool:
    from importlib.metadata import distribution as first_of_name

    name = metadata_of(distribution).get("Name")
    if not name:  # damaged
        return True
    try:
        return first_of_name(name).read_text(_FILE) == text
    except Exception:  # a finder of somebody else that fails
        return True


# ---- blocked plugins, and names that are claimed twice ---------------------------------------


def disabled_patterns() -> list[str]:
    """Return what the environment variable ``ZTXEXP_DISABLE_PLUGINS`` lists."""
    patterns = (text.strip() for text in os.environ.get(BLOCKING_VARIABLE, "").split(","))
    return [pattern for pattern in patterns if pattern]


def matches(pattern: str, ref: PluginRef) -> bool:
    """Return whether a pattern names the plugin, its distribution, or ``distribution:name``."""
    from packaging.utils import canonicalize_name  # rarely needed, and not in workers

    distribution, colon, name = (part.strip() for part in pattern.rpartition(":"))
    same = canonicalize_name(distribution or name) == canonicalize_name(ref.distribution)
    return (same and name == ref.name) if colon else (same or name == ref.name)


def clash_error(claims: Sequence[PluginRef]) -> PluginContractError:
    """Return the error for a name that several distributions claim for different objects."""
    first, origins = claims[0], " and ".join(sorted(map(str, claims)))
    times = "twice" if len(claims) == 2 else f"{len(claims)} times"
    distributions = {ref.distribution for ref in claims}
    others = sorted(distributions - {OWN_DISTRIBUTION})
    words = [f"{distribution}:{first.name}" for distribution in others]
    hint = f"reinstall {first.distribution}"
    if len(distributions) > 1:  # a plugin of ztxexp itself is the one to keep
        comma, last = (",", " and ") if OWN_DISTRIBUTION in distributions else (" or ", " or ")
        hint = f"set {BLOCKING_VARIABLE}={comma.join(words)}, or uninstall {last.join(others)}"
    return PluginContractError(
        f"the {first.kind} name {first.name!r} is claimed {times}, by {origins}; {hint}",
        first.kind,
        first.name,
    )


# ---- messages --------------------------------------------------------------------------------


def contract_error(ref: PluginRef, problem: str) -> PluginContractError:
    """Return the error for a plugin that does not fit the contract of its kind."""
    return PluginContractError(f"{ref} {problem}", ref.kind, ref.name)


def listing(names: Iterable[str]) -> str:
    """Return names in quotes, with commas."""
    return ", ".join(repr(name) for name in names) or "none"


def cause(exc: BaseException) -> str:
    """Return class and text of an exception."""
    return f"{type(exc).__name__}: {exc}"
