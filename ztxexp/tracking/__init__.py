"""Module path of 1.0.3; the same objects as in ``ztxexp``."""

from ztxexp_core.contracts import Tracker
from ztxexp_trackers.jsonl import JsonlTracker
from ztxexp_trackers.mlflow import MlflowTracker
from ztxexp_trackers.wandb import WandbTracker

__all__ = ["JsonlTracker", "MlflowTracker", "Tracker", "WandbTracker"]
