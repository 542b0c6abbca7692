"""Executors and expanders checked against the hook specification of their kind."""

from __future__ import annotations

import inspect
from typing import Any

import pluggy

from ztxexp_core import contracts
from ztxexp_core.errors import closest
from ztxexp_core.plugins.entries import PluginRef, cause, contract_error

HOOKS = {"executor": "ztxexp_execute", "expander": "ztxexp_expand"}
OPTIONAL_HOOKS = {
    "executor": ("ztxexp_capacity", "ztxexp_jobs", "ztxexp_submit", "ztxexp_cancel"),
    "expander": (),
}
SUBMITTING = ("ztxexp_submit", "ztxexp_jobs", "ztxexp_cancel")
"""What an executor may have in the place of ``ztxexp_execute``."""
_OF_SUBMITTING = frozenset({"ztxexp_submit", "ztxexp_cancel"})  # no other executor has them
_STARS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def register(ref: PluginRef, carrier: Any, manager: pluggy.PluginManager) -> frozenset[str]:
    """Check a module or instance that carries a hook, and register it with pluggy.

    Returns:
        The names of the hooks that it implements.

    Raises:
        PluginContractError: it does not fit; nothing stays registered.
    """
    _check_carrier(ref, carrier)
    marked = _marked(ref, carrier, manager)
    _check_hooks(ref, marked, carrier)
    hooks = frozenset(marked)
    if manager.is_registered(carrier):  # one object under two names
        return hooks
    name = f"{ref.name} = {ref.target}"
    try:
        manager.register(carrier, name)
        manager.check_pending()
    except Exception as exc:  # also whatever the plugin's attributes raise
        manager.unregister(name=name)
        reason = " ".join(str(exc).split())
        raise contract_error(ref, f"is refused by pluggy: {reason}; fix the plugin") from exc
    return hooks


def _check_carrier(ref: PluginRef, carrier: Any) -> None:
    """Refuse a class, the function itself, and an instance that cannot be hashed."""
    if isinstance(carrier, type):
        raise contract_error(
            ref,
            "is a class where an instance or a module is needed; let the entry point name an "
            f"instance, as in 'plugin = {carrier.__name__}()'",
        )
    if inspect.isroutine(carrier):
        module = ref.target.partition(":")[0]
        raise contract_error(
            ref, f"is a function; let the entry point name the module that holds it, {module!r}"
        )
    try:
        hash(carrier)
    except TypeError as exc:
        raise contract_error(
            ref, "cannot be hashed, which pluggy needs; write @dataclass(eq=False) or __hash__"
        ) from exc


def _check_hooks(ref: PluginRef, marked: dict[str, Any], carrier: Any) -> None:
    """Check that the hook of this kind is there, under its name and well-formed."""
    wanted, optional = HOOKS[ref.kind], OPTIONAL_HOOKS[ref.kind]
    for name, options in marked.items():
        if name in optional:
            _check_parameters(ref, name, options["function"])
        elif name not in HOOKS.values() and not options.get("optionalhook"):
            near = closest(name, [wanted, *optional])
            raise contract_error(ref, f"implements {name!r}, which is not a hook{near}; rename it")
    if ref.kind == "executor" and marked.keys() & _OF_SUBMITTING:
        _check_submitting(ref, marked, carrier)
        return
    if wanted in marked:
        _refuse_wrapper(ref, wanted, marked)
        _check_parameters(ref, wanted, marked[wanted]["function"])
        return
    for kind, hook in HOOKS.items():
        if hook in marked:
            group = f"ztxexp.{kind}s"
            raise contract_error(
                ref, f"is an {kind}: it has {hook}; register it in the group {group!r}"
            )
    for hook in (wanted, *optional):
        if callable(getattr(carrier, hook, None)) and hook not in marked:
            raise contract_error(ref, f"has a {hook} without a mark; decorate it with @hookimpl")
    hooks = f"{wanted} (or {', '.join(SUBMITTING)})" if ref.kind == "executor" else wanted
    raise contract_error(ref, f"has no hook; define {hooks} and decorate it with @hookimpl")


def _check_submitting(ref: PluginRef, marked: dict[str, Any], carrier: Any) -> None:
    """Check that an executor that submits jobs has all that it needs, and nothing else."""
    wanted = HOOKS["executor"]
    one = next(name for name in SUBMITTING if name in marked and name in _OF_SUBMITTING)
    if wanted in marked:
        raise contract_error(
            ref,
            f"has {wanted} and {one}; keep {wanted} if it carries out runs, or "
            f"{', '.join(SUBMITTING)} if it submits jobs",
        )
    for name in SUBMITTING:
        if name not in marked:
            has_it = callable(getattr(carrier, name, None))
            way = "decorate it with @hookimpl" if has_it else "define it"
            mark = " with a mark" if has_it else ""
            raise contract_error(ref, f"has {one}, but no {name}{mark}; {way}")
        _refuse_wrapper(ref, name, marked)


def _refuse_wrapper(ref: PluginRef, hook: str, marked: dict[str, Any]) -> None:
    if marked[hook].get("wrapper") or marked[hook].get("hookwrapper"):
        raise contract_error(ref, f"has a {hook} that is only a wrapper; drop that from @hookimpl")


def _marked(ref: PluginRef, carrier: Any, manager: pluggy.PluginManager) -> dict[str, Any]:
    """Return the options of every function marked with ``hookimpl``, by the hook's name."""
    marked: dict[str, Any] = {}
    try:
        for attribute in dir(carrier):
            options = manager.parse_hookimpl_opts(carrier, attribute)
            if options is not None:
                function = getattr(carrier, attribute)
                marked[options.get("specname") or attribute] = {**options, "function": function}
    except Exception as exc:
        raise contract_error(ref, f"cannot be inspected ({cause(exc)}); fix the plugin") from exc
    return marked


def _check_parameters(ref: PluginRef, hook: str, function: Any) -> None:
    allowed = list(inspect.signature(getattr(contracts, hook)).parameters)
    wanted = f"ask for any of {', '.join(allowed)}"
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in _STARS or parameter.kind is parameter.KEYWORD_ONLY:
            # pluggy would leave these out in silence.
            kind = "a star" if parameter.kind in _STARS else "a keyword-only"
            raise contract_error(
                ref, f"has a {hook} with {kind} parameter, {parameter.name!r}; {wanted} by position"
            )
        if parameter.name not in allowed:
            near = closest(parameter.name, allowed)
            raise contract_error(ref, f"has a {hook} asking for {parameter.name!r}{near}; {wanted}")
