"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from reading import Root

# How long it takes to make an example says how busy the machine is, and nothing of the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture
def root(tmp_path) -> Root:
    """A results root, not made yet."""
    return Root(tmp_path / "results")
