"""Module path of 1.0.3; the same objects as in ``ztxexp``."""

from ztxexp_trackers.jsonl import JsonlTracker

__all__ = ["JsonlTracker"]
