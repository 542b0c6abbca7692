"""What is wrong with a plugin, in one sentence: the checks a registry makes when it loads one.

Every message names the plugin (kind, name, distribution and version, target), the cause, and the
way out.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import pluggy

from ztxexp_core import contracts
from ztxexp_core.errors import OptionError, PluginContractError

HOOKS = {"executor": "ztxexp_execute", "expander": "ztxexp_expand"}
_TRACKER_CALLS = {"on_run_start": "meta", "on_metric": "event", "on_run_end": "summary"}
_STARS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclasses.dataclass(frozen=True)
class PluginRef:
    """Where a plugin comes from, known without importing it.

    Attributes:
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        name: what users type.
        target: ``module:attribute``, or ``module`` alone.
        distribution: the installed package that registers it.
        version: that package's version.
    """

    kind: str
    name: str
    target: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} ({self.distribution} {self.version}, {self.target})"


# ---- trackers ------------------------------------------------------------------------------


def check_tracker(tracker: object, label: str) -> None:
    """Check that an object has the three methods of a tracker, each for two arguments.

    Args:
        tracker: the object.
        label: what to call it in the message, such as ``"tracker 'mlflow'"``.

    Raises:
        PluginContractError: it has not; a ``TypeError``.
    """
    if isinstance(tracker, type):
        raise PluginContractError(
            f"{label} is the class {tracker.__qualname__}; pass an instance of it", "tracker"
        )
    for method in _TRACKER_CALLS:
        _check_call(label, method, getattr(tracker, method, None), bound=True)


def check_factory(ref: PluginRef, plugin: Any) -> None:
    """Check a tracker's class or factory; the product of a factory is checked when it is made."""
    if not callable(plugin):
        raise misfit(
            ref,
            f"is {_description(plugin)}, but has to be a class or a factory; let the entry name "
            "one, as in 'module:MyTracker'",
        )
    if isinstance(plugin, type):
        for method in _TRACKER_CALLS:
            static = inspect.getattr_static(plugin, method, None)
            bound = isinstance(static, (staticmethod, classmethod))
            _check_call(str(ref), method, getattr(plugin, method, None), bound)


def _check_call(label: str, method: str, function: Any, bound: bool) -> None:
    wanted = f"{method}(self, ctx, {_TRACKER_CALLS[method]})"
    if not callable(function):
        raise PluginContractError(f"{label} lacks a method: define {wanted}", "tracker")
    try:
        signature = inspect.signature(function)
    except ValueError:  # built in C; it does not tell
        return
    try:
        signature.bind(*[None] * (2 if bound else 3))
    except TypeError as exc:
        raise PluginContractError(
            f"{label} has {method}{signature}, which cannot be called with two arguments; "
            f"define {wanted}",
            "tracker",
        ) from exc


def check_arguments(ref: PluginRef, factory: Any, kwargs: Mapping[str, Any]) -> None:
    """Check that a tracker's factory takes these arguments, without calling it."""
    try:
        signature = inspect.signature(factory)
    except ValueError:
        return
    try:
        signature.bind(**kwargs)
    except TypeError as exc:
        named = [p.name for p in signature.parameters.values() if p.kind not in _STARS]
        unknown = [name for name in kwargs if name not in named]
        near = closest(unknown[0], named) if unknown else ""
        raise OptionError(
            f"{ref} cannot be made: {exc}{near}; its arguments are {listing(named)}"
        ) from exc


# ---- executors and expanders ----------------------------------------------------------------


def check_carrier(ref: PluginRef, plugin: Any) -> None:
    """Refuse what cannot carry a hook: a class, the function itself, an unhashable instance."""
    if isinstance(plugin, type):
        raise misfit(
            ref,
            "is a class where an instance or a module is needed; let the entry name an instance, "
            f"as in 'plugin = {plugin.__name__}()'",
        )
    if inspect.isroutine(plugin):
        module = ref.target.partition(":")[0]
        raise misfit(ref, f"is a function; let the entry name the module that holds it, {module!r}")
    try:
        hash(plugin)
    except TypeError as exc:
        raise misfit(
            ref, "cannot be hashed, which pluggy needs; write @dataclass(eq=False) or __hash__"
        ) from exc


def check_hooks(ref: PluginRef, plugin: Any, manager: pluggy.PluginManager) -> None:
    """Check that a module or instance has the hook of its kind, under its name, well-formed."""
    wanted = HOOKS[ref.kind]
    found = _marked(ref, plugin, manager)
    for name, options in found.items():
        if name not in HOOKS.values() and not options.get("optionalhook"):
            raise misfit(
                ref, f"implements {name!r}, which is no hook{closest(name, [wanted])}; rename it"
            )
    if wanted in found:
        if found[wanted].get("wrapper") or found[wanted].get("hookwrapper"):
            raise misfit(ref, f"has a {wanted} that is only a wrapper; drop that from @hookimpl")
        _check_parameters(ref, wanted, found[wanted]["function"])
        return
    for kind, hook in HOOKS.items():
        if hook in found:
            raise misfit(
                ref, f"is an {kind}: it has {hook}; register it in the group 'ztxexp.{kind}s'"
            )
    if callable(getattr(plugin, wanted, None)):
        raise misfit(ref, f"has a {wanted} without a mark; decorate it with @hookimpl")
    raise misfit(ref, f"has no hook; define {wanted} and decorate it with @hookimpl")


def _marked(ref: PluginRef, plugin: Any, manager: pluggy.PluginManager) -> dict[str, Any]:
    """Return the options of every function marked with ``hookimpl``, by the hook's name."""
    found: dict[str, Any] = {}
    try:
        for attribute in dir(plugin):
            options = manager.parse_hookimpl_opts(plugin, attribute)
            if options is not None:
                function = getattr(plugin, attribute)
                found[options.get("specname") or attribute] = {**options, "function": function}
    except Exception as exc:
        raise misfit(ref, f"cannot be looked into ({cause(exc)}); mend the plugin") from exc
    return found


def _check_parameters(ref: PluginRef, hook: str, function: Any) -> None:
    allowed = list(inspect.signature(getattr(contracts, hook)).parameters)
    wanted = f"ask for any of {', '.join(allowed)}"
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in _STARS or parameter.kind is parameter.KEYWORD_ONLY:
            # pluggy would leave these out without a word.
            kind = "a star" if parameter.kind in _STARS else "a keyword-only"
            raise misfit(
                ref, f"has a {hook} with {kind} parameter, {parameter.name!r}; {wanted} by position"
            )
        if parameter.name not in allowed:
            near = closest(parameter.name, allowed)
            raise misfit(ref, f"has a {hook} asking for {parameter.name!r}{near}; {wanted}")


def texts(ref: PluginRef, attribute: str, value: Any) -> list[str]:
    """Return a plugin's attribute that has to be a collection of texts."""
    if isinstance(value, (list, tuple, set, frozenset)):
        items = list(value)
        if all(isinstance(item, str) for item in items):
            return items
    raise misfit(ref, f"has {attribute} = {value!r}; write a set or tuple of texts")


# ---- words -----------------------------------------------------------------------------------


def misfit(ref: PluginRef, problem: str) -> PluginContractError:
    """Make the error that says who does not fit, and why."""
    return PluginContractError(f"{ref} {problem}", ref.kind, ref.name)


def closest(name: object, known: Iterable[str]) -> str:
    """Return a question with the nearest known name; empty where none is near."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def listing(names: Iterable[str]) -> str:
    """Return names in quotes, with commas."""
    return ", ".join(repr(name) for name in names) or "none"


def cause(exc: BaseException) -> str:
    """Return class and text of an exception."""
    return f"{type(exc).__name__}: {exc}"


def _description(plugin: Any) -> str:
    return "a module" if inspect.ismodule(plugin) else f"a {type(plugin).__qualname__} object"
