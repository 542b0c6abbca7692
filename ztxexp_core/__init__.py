"""The core of ztxexp: what plugin authors may import.

Markers, contracts, records, errors, and the few helpers of the store that plugins share. Everything
else in this package is private to ztxexp and free to move. A name is imported when it is first
used, so that a worker process starts with what it needs and no more.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ztxexp_core.context import RunContext
    from ztxexp_core.contracts import Received, Tracker, hookimpl
    from ztxexp_core.errors import (
        ConfigError,
        ExecutorError,
        MetricError,
        OptionError,
        PluginContractError,
        PluginError,
        PluginImportError,
        RunEndedError,
        StoreError,
        UnknownPluginError,
        ZtxexpError,
        importing,
    )
    from ztxexp_core.machine.cores import available_cores, control_groups
    from ztxexp_core.machine.gpus import GpuMemory
    from ztxexp_core.pickling import pickle_by_value
    from ztxexp_core.records import (
        Config,
        MetricEvent,
        RunMetadata,
        RunOutcome,
        RunSpec,
        SkipRun,
        TrackerSpec,
    )
    from ztxexp_core.run.output import output_before_runs
    from ztxexp_core.store.files import JsonlWriter, read_jsonl, utc_now
    from ztxexp_core.values.codec import encode as encode_json
    from ztxexp_core.values.codec import is_number, plain
    from ztxexp_core.values.copying import flat

__all__ = [
    "WORKER_MODULE",
    "Config",
    "ConfigError",
    "ExecutorError",
    "GpuMemory",
    "JsonlWriter",
    "MetricError",
    "MetricEvent",
    "OptionError",
    "PluginContractError",
    "PluginError",
    "PluginImportError",
    "Received",
    "RunContext",
    "RunEndedError",
    "RunMetadata",
    "RunOutcome",
    "RunSpec",
    "SkipRun",
    "StoreError",
    "Tracker",
    "TrackerSpec",
    "UnknownPluginError",
    "ZtxexpError",
    "available_cores",
    "control_groups",
    "encode_json",
    "flat",
    "hookimpl",
    "importing",
    "is_number",
    "output_before_runs",
    "pickle_by_value",
    "plain",
    "read_jsonl",
    "utc_now",
]

WORKER_MODULE = "ztxexp_core.run.run"
"""What a worker needs first: an executor may have it imported before the first run comes."""

_HOMES = {
    "Config": "records",
    "ConfigError": "errors",
    "ExecutorError": "errors",
    "GpuMemory": "machine.gpus",
    "JsonlWriter": "store.files",
    "MetricError": "errors",
    "MetricEvent": "records",
    "OptionError": "errors",
    "PluginContractError": "errors",
    "PluginError": "errors",
    "PluginImportError": "errors",
    "Received": "contracts",
    "RunContext": "context",
    "RunEndedError": "errors",
    "RunMetadata": "records",
    "RunOutcome": "records",
    "RunSpec": "records",
    "SkipRun": "records",
    "StoreError": "errors",
    "Tracker": "contracts",
    "TrackerSpec": "records",
    "UnknownPluginError": "errors",
    "ZtxexpError": "errors",
    "available_cores": "machine.cores",
    "control_groups": "machine.cores",
    "encode_json": "values.codec:encode",
    "flat": "values.copying",
    "hookimpl": "contracts",
    "importing": "errors",
    "is_number": "values.codec",
    "output_before_runs": "run.output",
    "pickle_by_value": "pickling",
    "plain": "values.codec",
    "read_jsonl": "store.files",
    "utc_now": "store.files",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ztxexp_core' has no attribute {name!r}")
    module, _, original = home.partition(":")
    value = getattr(import_module(f"ztxexp_core.{module}"), original or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
