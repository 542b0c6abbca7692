"""Test suites for authors of plugins; needs pytest.

A tracker is tested by a class of a few lines, see :class:`TrackerSuite`.
"""

import pytest

# Before they are imported: so that a failing assertion shows its values in the author's project.
pytest.register_assert_rewrite("ztxexp_core.testing._behaviour", "ztxexp_core.testing._faults")

from ztxexp_core.testing.contents import Contents, Point  # noqa: E402
from ztxexp_core.testing.trackers import TrackerSuite  # noqa: E402

__all__ = ["Contents", "Point", "TrackerSuite"]
