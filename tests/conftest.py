"""What all tests share."""

from __future__ import annotations

import pytest
from reading import Root


@pytest.fixture
def root(tmp_path) -> Root:
    """A results root, not made yet."""
    return Root(tmp_path / "results")
