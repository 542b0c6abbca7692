"""Plugins by name: one registry per kind, from entry points to a checked, loaded plugin.

Listing reads metadata only. A plugin is imported when its name is asked for, and what is wrong with
it is told then, in one sentence; a broken plugin that nobody asks for does no harm.
"""

from __future__ import annotations

import functools
import importlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import pluggy

from ztxexp_core import contracts
from ztxexp_core.contracts import Tracker
from ztxexp_core.errors import PluginImportError, UnknownPluginError, closest
from ztxexp_core.plugins.checks import (
    BLOCKING_VARIABLE,
    PluginRef,
    blockable,
    blocking_words,
    blocks,
    cause,
    check_arguments,
    check_carrier,
    check_factory,
    check_hooks,
    check_tracker,
    clash,
    extra_line,
    installed,
    listing,
    misfit,
    ref_of,
    target_of,
    texts,
)
from ztxexp_core.plugins.discovery import scan
from ztxexp_core.plugins.loaded import LoadedPlugin
from ztxexp_core.specs import TrackerSpec

__all__ = [
    "LoadedPlugin",
    "PluginRef",
    "Registry",
    "check_tracker",
    "executors",
    "expanders",
    "is_local",
    "load_executor",
    "load_expander",
    "make_tracker",
    "name_of",
    "refresh",
    "tracker_spec",
    "trackers",
]

if TYPE_CHECKING:  # takes long, and workers need no metadata
    from importlib.metadata import EntryPoint

_log = logging.getLogger("ztxexp")
_GROUPS = {kind: f"ztxexp.{kind}s" for kind in ("tracker", "executor", "expander")}


class Registry:
    """The plugins of one kind.

    The entry points are listed once, when they are first needed. Left out, before anything else is
    judged, is what the environment variable ``ZTXEXP_DISABLE_PLUGINS`` names, whenever it is set:
    comma-separated names of plugins, names of distributions (all plugins of theirs), or
    ``distribution:name`` (since 2.0).

    Args:
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        group: the entry-point group.
        find: returns the entry points; the installed distributions are asked by default.

    Example:
        >>> Registry("tracker", "ztxexp.trackers").names()
        ['jsonl', 'mlflow', 'wandb']
    """

    def __init__(
        self, kind: str, group: str, find: Callable[[], Iterable[EntryPoint]] | None = None
    ):
        self.kind = kind
        self.group = group
        self._find = find or (lambda: scan((group,))[group])
        self._lock = threading.RLock()
        self._plugins: dict[tuple[str, str], Any] = {}
        self._manager = pluggy.PluginManager(contracts.PROJECT_NAME)
        self._manager.add_hookspecs(contracts)

    @functools.cached_property
    def entries(self) -> list[EntryPoint]:
        """The entry points, those of blocked plugins too; read when they are first needed."""
        return list(self._find())

    def names(self) -> list[str]:
        """Return the known names, sorted, without the blocked ones; imports nothing."""
        return sorted({entry.name for entry in self._enabled()})

    def refs(self) -> list[PluginRef]:
        """Return where each enabled plugin comes from, sorted by name; imports nothing."""
        found = {self._ref(entry) for entry in self._enabled()}
        return sorted(found, key=lambda ref: (ref.name, ref.distribution, ref.target))

    def resolve(self, name: str) -> PluginRef:
        """Return the one plugin of that name; imports nothing.

        Raises:
            UnknownPluginError: no plugin has that name, or all that have it are blocked.
            PluginContractError: two distributions claim it for different objects.
        """
        return self._ref(self._entry(name))

    def load(self, name: str) -> Any:
        """Import a plugin and hold it against the contract of its kind.

        Returns:
            A tracker's class or factory; the module or instance that carries the hook otherwise.

        Raises:
            UnknownPluginError: see :meth:`resolve`.
            PluginImportError: its module cannot be imported, or lacks the attribute.
            PluginContractError: it does not fit the contract, or its name is claimed twice.
        """
        entry = self._entry(name)
        with self._lock:
            key = (name, target_of(entry))  # another one may be blocked the next time
            if key not in self._plugins:
                ref = self._ref(entry)
                plugin = _import_plugin(ref, entry)
                self._check(ref, plugin)
                self._plugins[key] = plugin
            return self._plugins[key]

    def load_hook(self, name: str) -> LoadedPlugin:
        """Load an executor or expander, ready to be called.

        Raises:
            UnknownPluginError, PluginImportError, PluginContractError: see :meth:`load`.
        """
        plugin = self.load(name)
        return LoadedPlugin(self.resolve(name), plugin, self._manager)

    def missing_requirements(self, name: str) -> list[str]:
        """Return the import names in a plugin's ``requires`` that are not installed."""
        ref, plugin = self.resolve(name), self.load(name)
        requires = getattr(plugin, "requires", ())
        return [item for item in texts(ref, "requires", requires) if not installed(item)]

    def install_hint(self, name: str) -> str:
        """Return the pip line of the extra named like a plugin; empty where there is none."""
        return extra_line(self._entry(name))

    def _enabled(self) -> list[EntryPoint]:
        words = blocking_words()
        if not words:  # the names of distributions need not be read
            return self.entries
        self._tell_unmatched(words)
        return [e for e in self.entries if not any(blocks(word, self._ref(e)) for word in words)]

    def _tell_unmatched(self, words: Iterable[str]) -> None:
        """Log, once in a process, what the blocking variable names in vain, whatever its kind."""
        fresh = set(words) - _judged_words
        if not fresh:
            return
        _judged_words.update(fresh)
        refs = [self._ref(entry) for entry in self.entries]
        refs += [ref_of(kind, e) for kind, g in _GROUPS.items() for e in _entries_by_group()[g]]
        for word in sorted(fresh):
            if not any(blocks(word, ref) for ref in refs):
                _log.warning(
                    "%s names %r, which is no installed plugin or distribution of plugins%s",
                    BLOCKING_VARIABLE,
                    word,
                    closest(word, blockable(refs)),
                )

    def _entry(self, name: str) -> EntryPoint:
        claims = {target_of(entry): entry for entry in self._enabled() if entry.name == name}
        if len(claims) > 1:
            raise clash([self._ref(entry) for entry in claims.values()])
        for entry in claims.values():
            return entry
        raise self._unknown(name)

    def _blocked(self, refs: list[PluginRef]) -> UnknownPluginError:
        words = [word for word in blocking_words() if any(blocks(word, ref) for ref in refs)]
        return UnknownPluginError(
            f"{' and '.join(map(str, refs))} {'is' if len(refs) == 1 else 'are'} blocked by the "
            f"environment variable {BLOCKING_VARIABLE}; take {listing(words)} out of there"
            + ("" if len(refs) == 1 else ", or name the one to block as 'distribution:name'"),
            self.kind,
            refs[0].name,
        )

    def _unknown(self, name: str) -> UnknownPluginError:
        blocked = sorted({self._ref(e) for e in self.entries if e.name == name}, key=str)
        if blocked:
            return self._blocked(blocked)
        known = self.names()
        kind = "executor (mode)" if self.kind == "executor" else self.kind
        return UnknownPluginError(
            f"unknown {kind} {name!r}{closest(name, known)}; known: {', '.join(known) or 'none'}; "
            f"others come with packages that register under {self.group!r}",
            self.kind,
            str(name),
        )

    def _ref(self, entry: EntryPoint) -> PluginRef:
        return ref_of(self.kind, entry)

    def _check(self, ref: PluginRef, plugin: Any) -> None:
        if self.kind == "tracker":
            check_factory(ref, plugin)
            return
        check_carrier(ref, plugin)
        check_hooks(ref, plugin, self._manager)
        LoadedPlugin(ref, plugin, self._manager)
        self._register(ref, plugin)

    def _register(self, ref: PluginRef, plugin: Any) -> None:
        if self._manager.is_registered(plugin):  # one object under two names
            return
        name = f"{ref.name} = {ref.target}"
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except Exception as exc:  # whatever the plugin's attributes raise, too
            self._manager.unregister(name=name)
            reason = " ".join(str(exc).split())
            raise misfit(ref, f"is refused by pluggy: {reason}; mend the plugin") from exc


# ---- the registries of this process ----------------------------------------------------------


@functools.cache
def _entries_by_group() -> Mapping[str, list[EntryPoint]]:
    """One look at what is installed, for all kinds."""
    return scan(_GROUPS.values())


def _registry(kind: str) -> Registry:
    group = _GROUPS[kind]
    return Registry(kind, group, lambda: _entries_by_group()[group])


@functools.cache
def trackers() -> Registry:
    """Return the registry of trackers."""
    return _registry("tracker")


@functools.cache
def executors() -> Registry:
    """Return the registry of executors."""
    return _registry("executor")


@functools.cache
def expanders() -> Registry:
    """Return the registry of expanders."""
    return _registry("expander")


def refresh() -> None:
    """Look again for what is installed when it is next asked for (since 2.0).

    For a process in which a package was installed or removed after the first look, such as a
    notebook or a test. Plugins that are at work stay what they are.
    """
    importlib.invalidate_caches()  # also of what importlib.metadata has seen
    for cached in (_entries_by_group, trackers, executors, expanders):
        cached.cache_clear()
    _made_well.clear()


def load_executor(name: str) -> LoadedPlugin:
    """Load the executor of that name; raises as :meth:`Registry.load` does."""
    return executors().load_hook(name)


def load_expander(name: str) -> LoadedPlugin:
    """Load the expander of that name; raises as :meth:`Registry.load` does."""
    return expanders().load_hook(name)


def tracker_spec(
    name: str, kwargs: Mapping[str, Any] | None = None, registry: Registry | None = None
) -> TrackerSpec:
    """Check that a tracker can be made with these arguments, without making it.

    Args:
        name: the exact name.
        kwargs: keyword arguments of its class or factory.
        registry: where to look it up; the installed trackers by default.

    Raises:
        UnknownPluginError, PluginImportError, PluginContractError: as :meth:`Registry.load`; a
            package named in ``requires`` that is missing is an import error too.
        OptionError: an argument that the tracker does not know, or one that it lacks.

    Example:
        >>> tracker_spec("mlflow", {"experiment_name": "demo"}).target
        'ztxexp_trackers.mlflow:MlflowTracker'
    """
    registry = registry or trackers()
    ref, factory = registry.resolve(name), registry.load(name)
    missing = registry.missing_requirements(name)
    if missing:
        hint = registry.install_hint(name) or f"pip install {' '.join(missing)}"
        raise PluginImportError(
            f"{ref} needs {listing(missing)}, which is not installed: {hint}", ref.kind, name
        )
    check_arguments(ref, factory, kwargs or {})
    return TrackerSpec(name, ref.target, dict(kwargs or {}))


def name_of(tracker: Tracker) -> str:
    """Return the name under which an instance's class is installed, else that of the class.

    So that a tracker is known as the same, whether it was given by name or made by hand.
    """
    cls = type(tracker)
    target = f"{cls.__module__}:{cls.__qualname__}"
    known = (ref.name for ref in trackers().refs() if ref.target == target)
    return next(known, cls.__name__)


def is_local(spec: TrackerSpec) -> bool:
    """Tell whether a tracker only writes into the run's folder (``local = True``).

    Raises:
        PluginImportError: its target cannot be imported here.
    """
    return bool(getattr(_factory(spec), "local", False))


def make_tracker(spec: TrackerSpec) -> Tracker:
    """Make a tracker in whichever process this is; reads no metadata.

    Raises:
        PluginImportError: its target cannot be imported here.
        PluginContractError: what was made lacks one of the three methods.
        Exception: whatever the tracker's own factory raises.
    """
    tracker = _factory(spec)(**spec.kwargs)
    if spec.target not in _made_well:  # once in a process: the check costs a tenth of an empty run
        check_tracker(tracker, f"tracker {spec.name!r} ({spec.target})")
        _made_well.add(spec.target)
    return cast(Tracker, tracker)


def _factory(spec: TrackerSpec) -> Any:
    try:
        return _import_target(spec.target)
    except (Exception, SystemExit) as exc:
        raise PluginImportError(
            f"tracker {spec.name!r} ({spec.target}) cannot be imported in this process "
            f"({cause(exc)}); install its package there too",
            "tracker",
            spec.name,
        ) from exc


_made_well: set[str] = set()
_judged_words: set[str] = set()  # of the blocking variable


# ---- importing -------------------------------------------------------------------------------


def _import_plugin(ref: PluginRef, entry: EntryPoint) -> Any:
    try:
        return _import_target(ref.target)
    except (Exception, SystemExit) as exc:
        importlib.invalidate_caches()  # a repair on disk is seen at the next try
        hint = extra_line(entry) or f"mend or reinstall {ref.distribution}"
        raise PluginImportError(
            f"{ref} cannot be imported ({cause(exc)}): {hint}", ref.kind, ref.name
        ) from exc


def _import_target(target: str) -> Any:
    module, _, attributes = target.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        found = getattr(found, attribute)
    return found
