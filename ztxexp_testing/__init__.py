"""Test suites for authors of plugins, and packages that are installed only while a test runs.

A plugin is tested by a class of a few lines: :class:`TrackerSuite`, :class:`ExecutorSuite`,
:class:`SubmittingSuite`, :class:`ExpanderSuite`. They need pytest; :class:`FakeDistribution` does
not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ztxexp_testing.contents import Contents, Point
    from ztxexp_testing.distributions import FakeDistribution
    from ztxexp_testing.executors import ExecutorSuite
    from ztxexp_testing.expanders import ExpanderSuite
    from ztxexp_testing.submitting import SubmittingSuite
    from ztxexp_testing.trackers import TrackerSuite

__all__ = [
    "Contents",
    "ExecutorSuite",
    "ExpanderSuite",
    "FakeDistribution",
    "Point",
    "SubmittingSuite",
    "TrackerSuite",
]

_MODULES = {
    "Contents": "contents",
    "ExecutorSuite": "executors",
    "ExpanderSuite": "expanders",
    "FakeDistribution": "distributions",
    "Point": "contents",
    "SubmittingSuite": "submitting",
    "TrackerSuite": "trackers",
}


# Imported when first used: a worker process that carries out a test's run needs no pytest.
def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'ztxexp_testing' has no attribute {name!r}")
    if name.endswith("Suite"):
        _show_values_of_assertions()
    value = globals()[name] = getattr(import_module(f"ztxexp_testing.{_MODULES[name]}"), name)
    return value


def _show_values_of_assertions() -> None:
    """Let a failing assertion show its values in the author's project, as in its own tests."""
    import pkgutil
    import sys

    import pytest

    names = [f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)]
    pytest.register_assert_rewrite(*(name for name in names if name not in sys.modules))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
