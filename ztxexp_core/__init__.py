"""The core of ztxexp: what plugin authors may import.

Markers, contracts, records, errors, and the few helpers of the store that plugins share. All else
in this package is private and may change. A name is imported when it is first used, so that a
worker process imports what it needs and no more.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ztxexp_core.context import RunContext as RunContext
    from ztxexp_core.contracts import Received as Received
    from ztxexp_core.contracts import Tracker as Tracker
    from ztxexp_core.contracts import hookimpl as hookimpl
    from ztxexp_core.errors import ConfigError as ConfigError
    from ztxexp_core.errors import ExecutorError as ExecutorError
    from ztxexp_core.errors import MetricError as MetricError
    from ztxexp_core.errors import OptionError as OptionError
    from ztxexp_core.errors import PluginContractError as PluginContractError
    from ztxexp_core.errors import PluginError as PluginError
    from ztxexp_core.errors import PluginImportError as PluginImportError
    from ztxexp_core.errors import RunEndedError as RunEndedError
    from ztxexp_core.errors import StoreError as StoreError
    from ztxexp_core.errors import UnknownPluginError as UnknownPluginError
    from ztxexp_core.errors import ZtxexpError as ZtxexpError
    from ztxexp_core.errors import importing as importing
    from ztxexp_core.errors import without_secrets as without_secrets
    from ztxexp_core.machine.cores import available_cores as available_cores
    from ztxexp_core.machine.cores import control_groups as control_groups
    from ztxexp_core.machine.gpus import GpuMemory as GpuMemory
    from ztxexp_core.machine.memory import memory_kills as memory_kills
    from ztxexp_core.pickling import pickle_by_value as pickle_by_value
    from ztxexp_core.records import Config as Config
    from ztxexp_core.records import JobRequest as JobRequest
    from ztxexp_core.records import MetricEvent as MetricEvent
    from ztxexp_core.records import RunMetadata as RunMetadata
    from ztxexp_core.records import RunOutcome as RunOutcome
    from ztxexp_core.records import RunSpec as RunSpec
    from ztxexp_core.records import SkipRun as SkipRun
    from ztxexp_core.records import TrackerSpec as TrackerSpec
    from ztxexp_core.run.output import output_before_runs as output_before_runs
    from ztxexp_core.store.files import lies_within as lies_within
    from ztxexp_core.store.files import utc_now as utc_now
    from ztxexp_core.store.lines import JsonlWriter as JsonlWriter
    from ztxexp_core.store.lines import read_jsonl as read_jsonl
    from ztxexp_core.values.codec import encode_json as encode_json
    from ztxexp_core.values.codec import is_number as is_number
    from ztxexp_core.values.codec import plain as plain
    from ztxexp_core.values.copying import flat as flat

WORKER_MODULE = "ztxexp_core.run.run"
"""The module that a worker needs first; an executor may import it before the first run."""

_NAMES = {
    "context": "RunContext",
    "contracts": "Received Tracker hookimpl",
    "errors": "ConfigError ExecutorError MetricError OptionError PluginContractError PluginError "
    "PluginImportError RunEndedError StoreError UnknownPluginError ZtxexpError importing "
    "without_secrets",
    "machine.cores": "available_cores control_groups",
    "machine.gpus": "GpuMemory",
    "machine.memory": "memory_kills",
    "pickling": "pickle_by_value",
    "records": "Config JobRequest MetricEvent RunMetadata RunOutcome RunSpec SkipRun TrackerSpec",
    "run.output": "output_before_runs",
    "store.files": "lies_within utc_now",
    "store.lines": "JsonlWriter read_jsonl",
    "values.codec": "encode_json is_number plain",
    "values.copying": "flat",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = ["WORKER_MODULE", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'ztxexp_core' has no attribute {name!r}")
    value = getattr(import_module(f"ztxexp_core.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
