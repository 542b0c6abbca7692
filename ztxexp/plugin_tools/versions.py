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


def requirements_of(
    distribution: str | importlib.metadata.Distribution, extra: str = ""
) -> list[Requirement]:
    """Return what an installed distribution requires on this machine.

    Args:
        distribution: the distribution or its name.
        extra: return what this extra adds instead.

    Example:
        >>> [str(requirement) for requirement in requirements_of("ztxexp", "parquet")]
        ['pyarrow>=14; extra == "parquet"']
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        if isinstance(distribution, str):
            distribution = importlib.metadata.distribution(distribution)
        lines = distribution.requires or []
    except Exception:
        return []
    requirements = []
    for line in lines:
        with contextlib.suppress(InvalidRequirement):
            requirements.append(Requirement(line))
    return [requirement for requirement in requirements if _applies(requirement, extra)]


def _applies(requirement: Requirement, extra: str) -> bool:
    if requirement.marker is None:
        return not extra
    without_extra = requirement.marker.evaluate({"extra": ""})
    if not extra:
        return without_extra
    return not without_extra and requirement.marker.evaluate({"extra": extra})


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
