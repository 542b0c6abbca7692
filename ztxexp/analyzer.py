"""Module path of 1.0.3; the same objects as in ``ztxexp``."""

from ztxexp_core.analysis.analyzer import ResultAnalyzer

__all__ = ["ResultAnalyzer"]
