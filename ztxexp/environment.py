"""Module path of 1.0.3; the same objects as in ``ztxexp``."""

from ztxexp_core.environment import init_torch_env, set_process_priority

__all__ = ["init_torch_env", "set_process_priority"]
