"""Module path of 1.0.3; the same objects as in ``ztxexp``."""

from ztxexp_core.configs.manager import ExpManager

__all__ = ["ExpManager"]
