"""Module path of 1.0.3; the same objects as in ``ztxexp_core.records``."""

from ztxexp_core.records import (
    RUN_SCHEMA_VERSION,
    RUN_STATUS_FAILED,
    RUN_STATUS_RUNNING,
    RUN_STATUS_SKIPPED,
    RUN_STATUS_SUCCEEDED,
    VALID_RUN_STATUSES,
)

__all__ = [
    "RUN_SCHEMA_VERSION",
    "RUN_STATUS_FAILED",
    "RUN_STATUS_RUNNING",
    "RUN_STATUS_SKIPPED",
    "RUN_STATUS_SUCCEEDED",
    "VALID_RUN_STATUSES",
]
