"""What a script sets at its top, outside of its functions: workers would not know it.

A worker does not import the script. So the launcher captures the settings that change figures or
logs, each only where it differs from a new process, and a worker applies them once, before the
initializer and the first run. The same list is put back after each run. Random states are left out
on purpose: every worker would draw the same numbers.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ztxexp_core.pickling import load_by_value, pickle_by_value


class _Setting(NamedTuple):
    """How a setting of a module is read and written, and its value in a new process."""

    module: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], object]
    default: Any


def _attribute(module: str, name: str, default: Any) -> _Setting:
    return _Setting(
        module, lambda m: getattr(m, name), lambda m, value: setattr(m, name, value), default
    )


def _decimal(module: Any) -> tuple[Any, ...]:
    context = module.getcontext()
    traps = sorted(signal.__name__ for signal, on in context.traps.items() if on)
    limits = (context.Emin, context.Emax, context.capitals, context.clamp)
    return (context.prec, context.rounding, *limits, tuple(traps))


def _set_decimal(module: Any, value: tuple[Any, ...]) -> None:
    traps = [getattr(module, name) for name in value[6]]
    module.setcontext(module.Context(*value[:6], flags=[], traps=traps))


_PRINT_OPTIONS = {
    "edgeitems": 3,
    "threshold": 1000,
    "floatmode": "maxprec",
    "precision": 8,
    "suppress": False,
    "linewidth": 75,
    "nanstr": "nan",
    "infstr": "inf",
    "sign": "-",
}
_FILE_BACKENDS = {"agg", "cairo", "pdf", "pgf", "ps", "svg", "template"}


def _rc(matplotlib: Any) -> dict[str, Any]:
    """Return the parameters that the script has changed; of backends those that draw to files."""
    present, before = dict.items(matplotlib.rcParams), matplotlib.rcParamsOrig
    changed = {k: v for k, v in present if k != "backend" and v != dict.get(before, k)}
    backend = dict.get(matplotlib.rcParams, "backend")
    if isinstance(backend, str) and backend.lower() in _FILE_BACKENDS:
        changed["backend"] = backend
    return changed


def _set_rc(matplotlib: Any, value: dict[str, Any]) -> None:
    matplotlib.rcParams.update({k: v for k, v in value.items() if k != "backend"})
    if "backend" in value:
        matplotlib.use(value["backend"])


_LOCALE = dict.fromkeys(("LC_NUMERIC", "LC_TIME", "LC_COLLATE", "LC_MONETARY"), "C")


def _locale(module: Any) -> dict[str, str]:
    return {name: module.setlocale(getattr(module, name, module.LC_NUMERIC)) for name in _LOCALE}


def _set_locale(module: Any, value: dict[str, str]) -> None:
    for name, text in value.items():
        module.setlocale(getattr(module, name, module.LC_NUMERIC), text)


_SETTINGS: dict[str, _Setting] = {
    "decimal context": _Setting(
        "decimal",
        _decimal,
        _set_decimal,
        (
            *(28, "ROUND_HALF_EVEN", -999999, 999999, 1, 0),
            ("DivisionByZero", "InvalidOperation", "Overflow"),
        ),
    ),
    "recursion limit": _Setting(
        "sys", lambda m: m.getrecursionlimit(), lambda m, v: m.setrecursionlimit(v), 1000
    ),
    "locale": _Setting("locale", _locale, _set_locale, _LOCALE),
    "numpy errstate": _Setting(
        "numpy",
        lambda m: m.geterr(),
        lambda m, v: m.seterr(**v),
        {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
    ),
    "numpy print options": _Setting(
        "numpy",
        lambda m: {k: v for k, v in m.get_printoptions().items() if k in _PRINT_OPTIONS},
        lambda m, v: m.set_printoptions(**v),
        _PRINT_OPTIONS,
    ),
    "torch default dtype": _Setting(
        "torch",
        lambda m: str(m.get_default_dtype()),
        lambda m, v: m.set_default_dtype(getattr(m, v.rpartition(".")[2])),
        "torch.float32",
    ),
    "torch default device": _Setting(
        "torch",
        lambda m: str(m.get_default_device()),
        lambda m, v: m.set_default_device(None if v == "cpu" else v),
        "cpu",
    ),
    "torch matmul precision": _Setting(
        "torch",
        lambda m: m.get_float32_matmul_precision(),
        lambda m, v: m.set_float32_matmul_precision(v),
        "highest",
    ),
    "torch deterministic algorithms": _Setting(
        "torch",
        lambda m: (
            m.are_deterministic_algorithms_enabled(),
            m.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda m, v: m.use_deterministic_algorithms(v[0], warn_only=v[1]),
        (False, False),
    ),
    "torch grad mode": _Setting(
        "torch", lambda m: m.is_grad_enabled(), lambda m, v: m.set_grad_enabled(v), True
    ),
    "torch anomaly detection": _Setting(
        "torch",
        lambda m: m.is_anomaly_enabled(),
        lambda m, v: m.autograd.set_detect_anomaly(v),
        False,
    ),
    "cudnn benchmark": _attribute("torch.backends.cudnn", "benchmark", False),
    "cudnn deterministic": _attribute("torch.backends.cudnn", "deterministic", False),
    "cudnn allow_tf32": _attribute("torch.backends.cudnn", "allow_tf32", True),
    "matplotlib parameters": _Setting("matplotlib", _rc, _set_rc, {}),
}
_NOT_PUT_BACK = ("matplotlib parameters", "recursion limit")  # slow to compare; not of figures


# ---- carried over to workers ---------------------------------------------------------------------


def captured_settings() -> dict[str, Any]:
    """Return what the present process has set differently from a new one, ready to be sent.

    Example:
        >>> decimal.getcontext().prec = 6
        >>> captured_settings()["decimal context"][0]
        6
    """
    settings: dict[str, Any] = {
        name: value
        for name, value in present_settings().items()
        if value != _SETTINGS[name].default
    }
    if rc := _read("matplotlib parameters"):
        settings["matplotlib parameters"] = _sealed(rc)
    limit = sys.getrecursionlimit()
    if limit != _SETTINGS["recursion limit"].default:
        settings["recursion limit"] = limit
    settings["warning filters"] = _warning_filters()
    settings["logging"] = _logging()
    return settings


def apply_settings(settings: Mapping[str, Any]) -> None:
    """Set in a new process what :func:`captured_settings` has returned in another one.

    A module that is needed is imported: the script has imported it, too.
    """
    for name, value in settings.items():
        if name in _SETTINGS:
            with contextlib.suppress(Exception):  # such as another version, in another environment
                module = importlib.import_module(_SETTINGS[name].module)
                _SETTINGS[name].write(module, _opened(value))
    if "warning filters" in settings:
        _apply_filters(settings["warning filters"])
    if "logging" in settings:
        _apply_logging(settings["logging"])


def _sealed(thing: Any) -> bytes | None:
    """Return what is sent of an object that may be of a package which a worker lacks."""
    try:
        return pickle_by_value(thing)
    except Exception:  # it cannot be pickled
        return None


def _opened(value: Any) -> Any:
    """Return the object; ``None`` where its package is missing here."""
    if not isinstance(value, bytes):
        return value
    try:
        return load_by_value(value)
    except Exception:  # whatever its modules raise
        return None


# ---- put back after a run ------------------------------------------------------------------------


def present_settings() -> dict[str, Any]:
    """Return the present value of each setting whose module is loaded."""
    names = [name for name in _SETTINGS if name not in _NOT_PUT_BACK]
    return {name: value for name in names if (value := _read(name)) is not None}


def put_back_settings(before: Mapping[str, Any]) -> None:
    """Set again what has changed since :func:`present_settings`."""
    for name, value in present_settings().items():
        wanted = before.get(name, _SETTINGS[name].default)
        if value != wanted:
            with contextlib.suppress(Exception):
                _SETTINGS[name].write(sys.modules[_SETTINGS[name].module], wanted)


def _read(name: str) -> Any:
    setting = _SETTINGS[name]
    module = sys.modules.get(setting.module)
    if module is None:
        return None
    try:
        return setting.read(module)
    except Exception:  # it is being imported, or of a version without it
        return None


def _warning_filters() -> list[tuple[Any, ...]]:
    """Return the filters, classes by name: a worker imports no module for a filter of it."""
    warnings = sys.modules.get("warnings")
    return [
        (action, message, (category.__module__, category.__qualname__), module, line)
        for action, message, category, module, line in getattr(warnings, "filters", ())
    ]


def _apply_filters(filters: list[tuple[Any, ...]]) -> None:
    import warnings

    known: list[Any] = []
    for action, message, (home, name), module, line in filters:
        category = getattr(sys.modules.get(home), name, None)
        if category is not None:
            known.append((action, message, category, module, line))
    present: Any = warnings.filters
    present[:] = [*known, *(item for item in present if item not in known)]


def _logging() -> dict[str, Any]:
    """Return levels and handlers; of each logger's handlers one remains, which writes to run.log.

    Loggers of libraries keep their own handlers, which they make when they are imported.
    """
    loggers: dict[str, Any] = {}
    for name, logger in named_loggers().items():
        handlers = [h for h in logger.handlers if type(h) is not logging.NullHandler]
        state: dict[str, Any] = {"level": logger.level, "propagate": logger.propagate}
        if handlers and not (name and _of_a_library(name)):
            formatter = next((h.formatter for h in handlers if h.formatter is not None), None)
            console = [h for h in handlers if isinstance(h, logging.StreamHandler)]
            level = min(h.level for h in console or handlers)
            state["handler"] = level, _sealed(formatter)
        if state != {"level": logging.NOTSET, "propagate": True}:
            loggers[name] = state
    captures = getattr(logging, "_warnings_showwarning", None) is not None
    return {"loggers": loggers, "disabled": logging.root.manager.disable, "captures": captures}


def named_loggers() -> dict[str, logging.Logger]:
    """Return all loggers by name, the root's being empty; those of ztxexp are left out."""
    known = list(logging.root.manager.loggerDict.items())
    loggers = {
        name: logger
        for name, logger in known
        if isinstance(logger, logging.Logger) and name.partition(".")[0] != "ztxexp"
    }
    return {"": logging.root, **loggers}


def _of_a_library(name: str) -> bool:
    file = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None) or ""
    return any(folder in file for folder in ("site-packages", "dist-packages"))


def _apply_logging(state: Mapping[str, Any]) -> None:
    for name, settings in state["loggers"].items():
        logger = logging.getLogger(name or None)
        logger.setLevel(settings["level"])
        logger.propagate = settings["propagate"]
        if "handler" in settings and not logger.handlers:
            level, formatter = settings["handler"]
            logger.addHandler(_ToRunLog(level, _opened(formatter)))
    logging.disable(state["disabled"])
    logging.captureWarnings(state["captures"])


class _ToRunLog(logging.StreamHandler[Any]):
    """Writes to whatever ``sys.stderr`` is: in a worker the log of the present run."""

    def __init__(self, level: int, formatter: logging.Formatter | None):
        logging.Handler.__init__(self, level)
        self.setFormatter(formatter)

    @property
    def stream(self) -> Any:
        return sys.stderr
