"""For files that run in a process of their own, where engines may be imported."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_engine_is_imported():
    """Replace the one of all other tests."""
