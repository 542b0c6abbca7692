"""Experiment sweeps: write one function, start a sweep, never lose a run.

Names are imported when they are first used, so ``import ztxexp`` stays light.
"""

import sys

# ``python -m ztxexp`` looks into the current folder first: not unless ztxexp lies there.
if (
    sys.argv[:1] == ["-m"]
    and "-m ztxexp" in " ".join(sys.orig_argv)
    and __file__ != f"{sys.path[0]}/ztxexp/__init__.py"
    and not getattr(sys.flags, "safe_path", sys.flags.isolated)
):
    del sys.path[0]

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ztxexp.analyzer import ResultAnalyzer as ResultAnalyzer
    from ztxexp.configs.distributions import choice as choice
    from ztxexp.configs.distributions import integers as integers
    from ztxexp.configs.distributions import loguniform as loguniform
    from ztxexp.configs.distributions import uniform as uniform
    from ztxexp.configs.keys import literal as literal
    from ztxexp.environment import init_torch_env as init_torch_env
    from ztxexp.environment import set_process_priority as set_process_priority
    from ztxexp.manager import ExpManager as ExpManager
    from ztxexp.pipeline import ExperimentPipeline as ExperimentPipeline
    from ztxexp.replay import SyncReport as SyncReport
    from ztxexp.replay import sync as sync
    from ztxexp.results.summary import RunSummary as RunSummary
    from ztxexp.runner import ExpRunner as ExpRunner
    from ztxexp.targets import call_by_name as call_by_name
    from ztxexp_core.context import RunContext as RunContext
    from ztxexp_core.contracts import Tracker as Tracker
    from ztxexp_core.errors import CommandFailed as CommandFailed
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
    from ztxexp_core.records import MetricEvent as MetricEvent
    from ztxexp_core.records import RunMetadata as RunMetadata
    from ztxexp_core.records import SkipRun as SkipRun
    from ztxexp_core.run.current import log as log
    from ztxexp_trackers.jsonl import JsonlTracker as JsonlTracker
    from ztxexp_trackers.mlflow import MlflowTracker as MlflowTracker
    from ztxexp_trackers.tensorboard import TensorboardTracker as TensorboardTracker
    from ztxexp_trackers.wandb import WandbTracker as WandbTracker

__version__ = "2.0.0.dev0"

_NAMES = {
    "ztxexp.analyzer": "ResultAnalyzer",
    "ztxexp.configs.distributions": "choice integers loguniform uniform",
    "ztxexp.configs.keys": "literal",
    "ztxexp.environment": "init_torch_env set_process_priority",
    "ztxexp.manager": "ExpManager",
    "ztxexp.pipeline": "ExperimentPipeline",
    "ztxexp.replay": "SyncReport sync",
    "ztxexp.results.summary": "RunSummary",
    "ztxexp.runner": "ExpRunner",
    "ztxexp.targets": "call_by_name",
    "ztxexp_core.context": "RunContext",
    "ztxexp_core.contracts": "Tracker",
    "ztxexp_core.errors": "CommandFailed ConfigError ExecutorError MetricError OptionError "
    "PluginContractError PluginError PluginImportError RunEndedError StoreError "
    "UnknownPluginError ZtxexpError",
    "ztxexp_core.records": "MetricEvent RunMetadata SkipRun",
    "ztxexp_core.run.current": "log",
    "ztxexp_trackers.jsonl": "JsonlTracker",
    "ztxexp_trackers.mlflow": "MlflowTracker",
    "ztxexp_trackers.tensorboard": "TensorboardTracker",
    "ztxexp_trackers.wandb": "WandbTracker",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [  # noqa: RUF022 - the documented names of 1.0.3, in the documented order
    "ExpManager",
    "ExpRunner",
    "ResultAnalyzer",
    "ExperimentPipeline",
    "RunContext",
    "RunMetadata",
    "MetricEvent",
    "RunSummary",
    "SkipRun",
    "Tracker",
    "JsonlTracker",
    "MlflowTracker",
    "WandbTracker",
    "init_torch_env",
    "set_process_priority",
]


# Modules that ``import ztxexp`` of 1.0.3 loads: ``ztxexp.utils.save_json`` works without an import.
_MODULES = {
    *("analyzer", "constants", "environment", "manager", "pipeline", "runner"),
    *("tracking", "types", "utils"),
}


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(import_module(_MODULE_OF[name]), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return import_module(f"ztxexp.{name}")
    raise AttributeError(f"module 'ztxexp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF})
