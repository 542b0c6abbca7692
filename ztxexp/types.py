"""Module path of 1.0.3; the same objects as in ``ztxexp``."""

from ztxexp_core.context import RunContext
from ztxexp_core.summary import RunSummary
from ztxexp_core.types import MetricEvent, RunMetadata

__all__ = ["MetricEvent", "RunContext", "RunMetadata", "RunSummary"]
