"""Versions and requirements of installed distributions."""

from __future__ import annotations

import contextlib
import importlib.metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported only where requirements are read
    from packaging.requirements import Requirement


def version_of(name: str) -> str | None:
    """Return the version of an installed distribution; ``None`` if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except Exception:  # damaged metadata raise anything
        return None


def extras_of(name: str) -> list[str]:
    """Return the extras of an installed distribution; none if it is not installed."""
    try:
        return importlib.metadata.metadata(name).get_all("Provides-Extra") or []
    except Exception:
        return []


def unmet_requirements(name: str, extra: str = "") -> list[Requirement]:
    """Return what an installed distribution requires and this machine does not have.

    Args:
        name: of the distribution; one that is not installed requires nothing.
        extra: an extra of it; what it adds is required too.

    Example:
        >>> [str(requirement) for requirement in unmet_requirements("ztxexp", "parquet")]
        ['pyarrow>=14; extra == "parquet"']
    """
    from packaging.requirements import InvalidRequirement, Requirement

    unmet = []
    try:
        lines = importlib.metadata.requires(name) or []
    except Exception:
        return []
    for line in lines:
        with contextlib.suppress(InvalidRequirement):
            requirement = Requirement(line)
            applies = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
            if applies and not is_met(requirement):
                unmet.append(requirement)
    return unmet


def is_met(requirement: Requirement) -> bool:
    """Return whether a requirement is installed in a version that it accepts.

    A pre-release counts as its release too, so that plugins can be tried with it.
    """
    from packaging.version import InvalidVersion, Version

    version = version_of(requirement.name)
    if version is None:
        return False
    try:
        base = Version(version).base_version
    except InvalidVersion:  # of an old package
        return True
    return any(requirement.specifier.contains(v, prereleases=True) for v in (version, base))
