"""Module path of 1.0.3; the same objects as in ``ztxexp``."""

from ztxexp.results.summary import RunSummary
from ztxexp_core.context import RunContext
from ztxexp_core.records import MetricEvent, RunMetadata

__all__ = ["MetricEvent", "RunContext", "RunMetadata", "RunSummary"]
