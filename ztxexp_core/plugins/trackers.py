"""Trackers: checked against their contract, and made from a :class:`TrackerSpec` in any process."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from ztxexp_core.errors import OptionError, PluginContractError, PluginImportError, ZtxexpError
from ztxexp_core.plugins.entries import PluginRef, cause, contract_error
from ztxexp_core.records import TrackerSpec

if TYPE_CHECKING:  # it needs pluggy, which workers do not
    from ztxexp_core.contracts import Tracker

_METHODS = {"on_run_start": "meta", "on_metric": "event", "on_run_end": "summary"}
OPTIONAL_MEMBERS = (
    *("requires", "Options", "check_options", "local", "destination"),
    *("on_metrics", "on_params", "on_artifact", "in_run", "received", "knows"),
)
"""What a tracker may have beside its three methods, see :mod:`ztxexp_core.contracts`."""

checked_targets: set[str] = set()


def make_tracker(spec: TrackerSpec) -> Tracker:
    """Make a tracker in whichever process this is; reads no metadata.

    Raises:
        PluginImportError: its target cannot be imported here.
        PluginContractError: the factory's product lacks one of the three methods.
        Exception: whatever the tracker's own factory raises.
    """
    try:
        factory = import_target(spec.target)
    except (Exception, SystemExit) as exc:
        raise PluginImportError(
            f"tracker {spec.name!r} ({spec.target}) cannot be imported in this process "
            f"({cause(exc)}); install its package there too",
            "tracker",
            spec.name,
        ) from exc
    tracker = factory(**spec.kwargs)
    if spec.target not in checked_targets:  # the check costs a tenth of an empty run
        check_tracker(tracker, f"tracker {spec.name!r} ({spec.target})")
        checked_targets.add(spec.target)
    return cast("Tracker", tracker)


def import_target(target: str) -> Any:
    """Import what ``module:attribute``, or ``module`` alone, names."""
    module, _, attributes = target.partition(":")
    value: Any = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        value = getattr(value, attribute)
    return value


def check_tracker(tracker: object, label: str | None = None) -> None:
    """Check that an object has the three methods of a tracker, each for two arguments.

    Args:
        tracker: the object.
        label: what to call it in the message, such as ``"tracker 'mlflow'"``; the name of its
            class by default.

    Raises:
        PluginContractError: a method is missing or takes other arguments; a ``TypeError``.
    """
    if isinstance(tracker, type):
        name = tracker.__qualname__
        problem = f"{label} is the class {name}; pass an instance of it"
        raise PluginContractError(
            problem if label else f"{name} is a class; pass {name}(), or its registered name",
            "tracker",
        )
    if tracker is None:
        methods = f"an instance with {', '.join(_METHODS)}"
        problem = f"a tracker is needed, got None; pass a name such as 'jsonl' or {methods}"
        raise PluginContractError(
            f"{label} is None; return {methods}" if label else problem, "tracker"
        )
    for method in _METHODS:
        _check_method(label or type(tracker).__name__, method, getattr(tracker, method, None), 2)


def check_instance(tracker: object) -> None:
    """Check a tracker that the user has made: its methods and its options.

    Its options are the attributes that are named as the arguments of its constructor; where one is
    missing, they are not known and not checked.

    Raises:
        PluginContractError: as :func:`check_tracker`.
        ConfigError, OptionError: its ``check_options`` refuses them.
    """
    check_tracker(tracker)
    check = getattr(type(tracker), "check_options", None)
    if check is not None:
        options: dict[str, Any] = {}
        for name, parameter in inspect.signature(type(tracker)).parameters.items():
            value = getattr(tracker, name, parameter.empty)
            further = parameter.kind is parameter.VAR_KEYWORD
            if value is parameter.empty or parameter.kind is parameter.VAR_POSITIONAL:
                return
            options |= value if further and isinstance(value, dict) else {name: value}
        refuse_options(type(tracker).__name__, check, options)


def refuse_options(label: str, check: Any, options: Mapping[str, Any]) -> None:
    """Call a tracker's ``check_options``; what it raises is an error of ours."""
    try:
        check(**options)
    except ZtxexpError:
        raise
    except (TypeError, ValueError) as exc:
        raise OptionError(f"{label} refuses its options: {exc}") from exc


def check_factory(ref: PluginRef, factory: Any) -> None:
    """Check a tracker's class or factory; a factory's product is checked when it is made."""
    if not callable(factory):
        what = "a module" if inspect.ismodule(factory) else f"a {type(factory).__qualname__} object"
        raise contract_error(
            ref,
            f"is {what}, but must be a class or a factory; let the entry point name one, as in "
            "'module:MyTracker'",
        )
    if isinstance(factory, type):
        for method in _METHODS:
            static = inspect.getattr_static(factory, method, None)
            count = 2 if isinstance(static, (staticmethod, classmethod)) else 3
            _check_method(str(ref), method, getattr(factory, method, None), count)


def _check_method(label: str, method: str, function: Any, arguments: int) -> None:
    wanted = f"{method}(self, ctx, {_METHODS[method]})"
    if not callable(function):
        raise PluginContractError(f"{label} lacks a method: define {wanted}", "tracker")
    try:
        signature = inspect.signature(function)
    except ValueError:  # written in C, without a signature
        return
    try:
        signature.bind(*[None] * arguments)
    except TypeError as exc:
        raise PluginContractError(
            f"{label} has {method}{signature}, which cannot be called with two arguments; "
            f"define {wanted}",
            "tracker",
        ) from exc
