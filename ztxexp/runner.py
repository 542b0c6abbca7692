"""Module path of 1.0.3; the same objects as in ``ztxexp``."""

from ztxexp_core.sweeps.runner import ExpRunner, SkipRun

__all__ = ["ExpRunner", "SkipRun"]
