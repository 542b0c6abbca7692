"""What is wrong with a plugin, in one sentence: the checks a registry makes when it loads one.

Every message names the plugin (kind, name, distribution and version, target), the cause, and the
way out.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from ztxexp_core import contracts
from ztxexp_core.errors import OptionError, PluginContractError, closest
from ztxexp_core.plugins.options import (
    check_types,
    checked,
    is_declaration,
    options_of,
    signature_of,
)

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

BLOCKING_VARIABLE = "ZTXEXP_DISABLE_PLUGINS"
OWN_DISTRIBUTION = "ztxexp"
HOOKS = {"executor": "ztxexp_execute", "expander": "ztxexp_expand"}
_TRACKER_CALLS = {"on_run_start": "meta", "on_metric": "event", "on_run_end": "summary"}
OPTIONAL_MEMBERS = (
    *("requires", "Options", "local", "destination", "on_metrics", "on_params", "on_artifact"),
    *("in_run", "received"),
)
"""What a tracker may carry beside its three methods, see :mod:`ztxexp_core.contracts`."""
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


def ref_of(kind: str, entry: EntryPoint) -> PluginRef:
    """Return where an entry point comes from; imports nothing."""
    return PluginRef(kind, entry.name, target_of(entry), *_origin(entry))


def target_of(entry: EntryPoint) -> str:
    """Return the entry's value without blanks and without the obsolete ``[extra]``."""
    return entry.value.partition("[")[0].replace(" ", "")


def _origin(entry: EntryPoint) -> tuple[str, str]:
    if entry.dist is None:
        return "unknown distribution", "?"
    # Not dist.name and dist.version: these raise where the metadata is damaged.
    metadata = _metadata(entry)
    return metadata.get("Name", "unknown distribution"), metadata.get("Version", "?")


def _metadata(entry: EntryPoint) -> Any:
    return {} if entry.dist is None else metadata_of(entry.dist)


@functools.lru_cache  # parsed once for all plugins of a distribution
def metadata_of(distribution: Distribution) -> Any:
    """Return the metadata of a distribution; empty where they are damaged."""
    try:
        return distribution.metadata or {}
    except (OSError, LookupError):  # a damaged installation must not hide the others
        return {}


def extra_line(entry: EntryPoint) -> str:
    """Return the pip line of the extra named like a plugin; empty where there is none."""
    metadata = _metadata(entry)
    extras = (metadata.get_all("Provides-Extra") or []) if hasattr(metadata, "get_all") else []
    for extra in extras:
        if extra.replace("_", "-").lower() == entry.name.replace("_", "-").lower():
            return f'pip install "{_origin(entry)[0]}[{extra}]"'
    return ""


# ---- names ---------------------------------------------------------------------------------


def blocking_words() -> list[str]:
    """Return what the environment variable ``ZTXEXP_DISABLE_PLUGINS`` holds, word by word."""
    words = (word.strip() for word in os.environ.get(BLOCKING_VARIABLE, "").split(","))
    return [word for word in words if word]


def blocks(word: str, ref: PluginRef) -> bool:
    """Tell whether a word is the plugin's name, its distribution's, or ``distribution:name``."""
    distribution, colon, name = (part.strip() for part in word.rpartition(":"))
    same_distribution = _normal(distribution or name) == _normal(ref.distribution)
    if colon:
        return same_distribution and name == ref.name
    return same_distribution or name == ref.name


def blockable(refs: Iterable[PluginRef]) -> list[str]:
    """Return all words that block any of some plugins."""
    words = ((ref.name, ref.distribution, f"{ref.distribution}:{ref.name}") for ref in refs)
    return sorted({word for three in words for word in three})


def _normal(distribution: str) -> str:
    """Return a distribution's name in the one spelling that installers compare."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def clash(claims: Sequence[PluginRef]) -> PluginContractError:
    """Make the error that says who claims one name, and how to leave all of them out but one."""
    first, both = claims[0], " and ".join(sorted(map(str, claims)))
    return PluginContractError(
        f"the {first.kind} name {first.name!r} is claimed {_times(len(claims))}, by {both}; "
        f"{_way_out_of_clash(claims)}",
        first.kind,
        first.name,
    )


def _way_out_of_clash(claims: Sequence[PluginRef]) -> str:
    foreign = {r.distribution for r in claims if _normal(r.distribution) != OWN_DISTRIBUTION}
    if len({ref.distribution for ref in claims}) == 1:
        return f"reinstall {claims[0].distribution}"
    words = [f"{distribution}:{claims[0].name}" for distribution in sorted(foreign)]
    if len(foreign) < len(claims):  # what ztxexp brings itself is the one to keep
        return (
            f"leave the other out with {BLOCKING_VARIABLE}={','.join(words)}, or uninstall "
            f"{' and '.join(sorted(foreign))}"
        )
    return (
        f"leave all but one out with {BLOCKING_VARIABLE}={' or '.join(words)}, or uninstall "
        f"{' or '.join(sorted(foreign))}"
    )


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count} times"


# ---- trackers ------------------------------------------------------------------------------


def check_tracker(tracker: object, label: str) -> None:
    """Check that an object has the three methods of a tracker, each for two arguments.

    Args:
        tracker: the object.
        label: what to call it in the message, such as ``"tracker 'mlflow'"``.

    Raises:
        PluginContractError: it has not; a ``TypeError``.
    """
    if tracker is None or isinstance(tracker, type):
        raise PluginContractError(_no_instance(tracker, label), "tracker")
    for method in _TRACKER_CALLS:
        _check_call(label, method, getattr(tracker, method, None), bound=True)


def _no_instance(tracker: type | None, label: str) -> str:
    unnamed = label == type(tracker).__name__  # the caller had no better name for it
    if isinstance(tracker, type):
        name = tracker.__qualname__
        if unnamed:
            return f"{name} is a class; pass {name}(), or its registered name"
        return f"{label} is the class {name}; pass an instance of it"
    methods = f"an instance with {', '.join(_TRACKER_CALLS)}"
    if unnamed:
        return f"a tracker is needed, got None; pass a name such as 'jsonl' or {methods}"
    return f"{label} is None; return {methods}"


def check_factory(ref: PluginRef, plugin: Any) -> None:
    """Check a tracker's class or factory; the product of a factory is checked when it is made."""
    if not callable(plugin):
        raise misfit(
            ref,
            f"is {_description(plugin)}, but has to be a class or a factory; let the entry name "
            "one, as in 'module:MyTracker'",
        )
    check_declaration(ref, getattr(plugin, "Options", None))
    if isinstance(plugin, type):
        for method in _TRACKER_CALLS:
            static = inspect.getattr_static(plugin, method, None)
            bound = isinstance(static, (staticmethod, classmethod))
            _check_call(str(ref), method, getattr(plugin, method, None), bound)


def optional_members(tracker: Any) -> list[str]:
    """Return which optional members a tracker, or its class, has."""
    return [name for name in OPTIONAL_MEMBERS if hasattr(tracker, name)]


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
    """Check that a tracker's factory takes these arguments, without calling it.

    Raises:
        OptionError: it does not know one, lacks one, or one is of another type.
    """
    declared = getattr(factory, "Options", None)
    if declared is not None:
        checked(ref, declared, kwargs)
    signature = signature_of(factory)
    if signature is None:
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
    check_types(ref, options_of(factory), kwargs)


def check_declaration(ref: PluginRef, options: Any) -> None:
    """Refuse an ``Options`` that is no dataclass; ``None`` for a plugin without one."""
    if options is not None and not is_declaration(options):
        raise misfit(ref, "has an Options that is no dataclass; decorate it with @dataclass")


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


def installed(name: str) -> bool:
    """Tell whether a module can be found; it is not imported, but the packages it is in are."""
    if name in sys.modules:
        return sys.modules[name] is not None
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # a parent package is missing
        return False


# ---- words -----------------------------------------------------------------------------------


def misfit(ref: PluginRef, problem: str) -> PluginContractError:
    """Make the error that says who does not fit, and why."""
    return PluginContractError(f"{ref} {problem}", ref.kind, ref.name)


def listing(names: Iterable[str]) -> str:
    """Return names in quotes, with commas."""
    return ", ".join(repr(name) for name in names) or "none"


def cause(exc: BaseException) -> str:
    """Return class and text of an exception."""
    return f"{type(exc).__name__}: {exc}"


def _description(plugin: Any) -> str:
    return "a module" if inspect.ismodule(plugin) else f"a {type(plugin).__qualname__} object"
