"""Whether installed packages are of the versions that others ask for."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # only who lists plugins needs it
    from packaging.requirements import Requirement


class Mismatch(NamedTuple):
    """A requirement that is not met.

    Attributes:
        wanted: the requirement, such as ``"ztxexp<2"``.
        found: name and version of what is there; ``None`` where nothing is.
    """

    wanted: str
    found: str | None


def version_of(name: str) -> str | None:
    """Return the version of an installed distribution; ``None`` where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except Exception:  # also whatever damaged metadata bring about
        return None


def requirements_of(name: str) -> list[str]:
    """Return what an installed distribution asks for, a line each, as its metadata have it."""
    try:
        return importlib.metadata.requires(name) or []
    except Exception:  # not installed, or damaged
        return []


def extras_of(name: str) -> list[str]:
    """Return the extras of an installed distribution."""
    try:
        return importlib.metadata.metadata(name).get_all("Provides-Extra") or []
    except Exception:  # not installed, or damaged
        return []


def names_in(required: Iterable[str], extra: str = "") -> list[str]:
    """Return the packages that requirements name, of those that count as for :func:`unmet`."""
    return [found.name for found in _parsed(required) if _counts(found, extra)]


def unmet(required: Iterable[str], extra: str = "", of: str | None = None) -> list[Mismatch]:
    """Return the requirements that are not met.

    A pre-release counts as the release that it becomes too, so that plugins can be tried with it.

    Args:
        required: lines as they stand in metadata under ``Requires-Dist``.
        extra: only what this extra asks for; empty for what is asked for without any.
        of: only the requirements on this package.

    Example:
        >>> unmet(["numpy", "ztxexp<2"], of="ztxexp")
        [Mismatch(wanted='ztxexp<2', found='ztxexp 2.0.0')]
    """
    from packaging.utils import canonicalize_name

    found = []
    for requirement in _parsed(required):
        name = requirement.name
        other = of is not None and canonicalize_name(name) != canonicalize_name(of)
        if other or not _counts(requirement, extra):
            continue
        installed = version_of(name)
        if installed is None or not _meets(requirement, installed):
            wanted = f"{name}{requirement.specifier}"
            found.append(Mismatch(wanted, installed and f"{name} {installed}"))
    return found


def _parsed(lines: Iterable[str]) -> Iterator[Requirement]:
    from packaging.requirements import InvalidRequirement, Requirement

    for line in lines:
        try:
            yield Requirement(line)
        except InvalidRequirement:  # whoever installed it had no use for it either
            continue


def _counts(requirement: Requirement, extra: str) -> bool:
    if requirement.marker is None:
        return not extra
    without = requirement.marker.evaluate({"extra": ""})
    return not without and requirement.marker.evaluate({"extra": extra}) if extra else without


def _meets(requirement: Requirement, version: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        base = Version(version).base_version
    except InvalidVersion:  # a package of old
        return True
    return any(requirement.specifier.contains(v, prereleases=True) for v in (version, base))
