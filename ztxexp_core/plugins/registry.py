"""Plugins by name: one registry per kind, from entry points to checked :class:`Plugin` objects.

Listing reads metadata only. A plugin is imported when its name is used; if something is wrong with
it, the error says so then, in one sentence. A broken plugin that nobody uses does no harm.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

from ztxexp_core import contracts
from ztxexp_core.errors import (
    OptionError,
    PluginImportError,
    UnknownPluginError,
    closest,
)
from ztxexp_core.plugins.entries import (
    BLOCKING_VARIABLE,
    PluginRef,
    cause,
    clash_error,
    contract_error,
    disabled_patterns,
    listing,
    matches,
    pip_line,
    ref_of,
    scan,
    target_of,
)
from ztxexp_core.plugins.hooks import HOOKS, SUBMITTING, register
from ztxexp_core.plugins.options import (
    Option,
    check_arguments,
    checked_options,
    is_declaration,
    options_of,
)
from ztxexp_core.plugins.trackers import (
    check_factory,
    checked_targets,
    import_target,
    refuse_options,
)
from ztxexp_core.records import TrackerSpec

if TYPE_CHECKING:  # slow to import
    from importlib.metadata import EntryPoint

_log = logging.getLogger("ztxexp")
_GROUPS = {kind: f"ztxexp.{kind}s" for kind in ("tracker", "executor", "expander")}
_checked_words: set[str] = set()  # of the blocking variable


class Plugin:
    """An installed plugin that has been imported and fits the contract of its kind.

    Attributes:
        ref: where it comes from.
        implementation: a tracker's class or factory; else the module or instance with the hook.
        supports: names of an executor's or expander's capabilities.
        needs: what an executor observes of the needs of runs.
        hooks: names of the hooks that it implements.
        options_class: the dataclass of its options, ``None`` where it has none.
        local: whether a tracker only writes into the run's folder.

    Raises:
        PluginContractError: ``supports`` or ``Options`` is not what it must be.
    """

    def __init__(
        self,
        kind: str,
        entry: EntryPoint,
        implementation: Any,
        manager: pluggy.PluginManager | None = None,
    ):
        self.ref = ref_of(kind, entry)
        self.implementation = implementation
        self.supports = frozenset(self._texts("supports") if kind in HOOKS else ())
        self.needs = frozenset(self._texts("needs") if kind == "executor" else ())
        self.options_class: type[Any] | None = getattr(implementation, "Options", None)
        self.local = bool(getattr(implementation, "local", False))
        self._entry = entry
        self._manager = manager
        self.hooks: frozenset[str] = frozenset()
        if self.options_class is not None and not is_declaration(self.options_class):
            raise contract_error(
                self.ref, "has an Options that is not a dataclass; decorate it with @dataclass"
            )

    @property
    def submits(self) -> bool:
        """Whether it is an executor that only submits jobs, see ``ztxexp_submit``."""
        return SUBMITTING[0] in self.hooks

    def options(self) -> list[Option]:
        """Return the options that it declares."""
        if self.ref.kind == "tracker":
            return options_of(self.implementation)
        return [] if self.options_class is None else options_of(self.options_class)

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of an executor or expander, checked, with defaults filled in.

        Raises:
            OptionError: an unknown name, a missing one, a value of another type than declared, or
                one that the plugin refuses.
        """
        if self.options_class is not None:
            return checked_options(self.ref, self.options_class, options)
        if options and self.ref.kind == "executor":
            raise OptionError(f"{self.ref} takes no options; leave out {listing(options)}")
        return dict(options)

    def call(self, **kwargs: Any) -> Any:
        """Call the plugin's hook, and no other plugin's, with the arguments that it asks for.

        Raises:
            PluginContractError: it is an executor that submits jobs, and carries out no runs.
        """
        hook = HOOKS[self.ref.kind]
        if self.submits:
            raise contract_error(
                self.ref, f"submits jobs and has no {hook}; ask it for {', '.join(SUBMITTING)}"
            )
        return self.ask(hook, **kwargs)

    def ask(self, hook: str, **kwargs: Any) -> Any:
        """Call a hook of the plugin's; ``None`` where it has no such hook."""
        assert self._manager is not None, "a tracker has no hook"
        plugins = self._manager.get_plugins()
        others = [plugin for plugin in plugins if plugin is not self.implementation]
        return self._manager.subset_hook_caller(hook, others)(**kwargs)

    def tracker_spec(self, kwargs: Mapping[str, Any]) -> TrackerSpec:
        """Check that the tracker can be made with these arguments, without making it.

        Raises:
            PluginImportError: a package that it names in ``requires`` is not installed.
            OptionError: an argument that it does not know, one that it lacks, or another type.
            ConfigError: a value that its ``check_options`` refuses.
        """
        missing = self.missing_packages()
        if missing:
            hint = pip_line(self._entry) or f"pip install {' '.join(missing)}"
            raise PluginImportError(
                f"{self.ref} needs {listing(missing)}, which is not installed: {hint}",
                self.ref.kind,
                self.ref.name,
            )
        check_arguments(self.ref, self.implementation, kwargs)
        check = getattr(self.implementation, "check_options", None)
        if check is not None:
            refuse_options(str(self.ref), check, kwargs)
        return TrackerSpec(self.ref.name, self.ref.target, dict(kwargs), self.local)

    def missing_packages(self) -> list[str]:
        """Return the import names in its ``requires`` that are not installed."""
        return [name for name in self._texts("requires") if not _is_installed(name)]

    def _texts(self, attribute: str) -> list[str]:
        value = getattr(self.implementation, attribute, ())
        if isinstance(value, (list, tuple, set, frozenset)):
            items = list(value)
            if all(isinstance(item, str) for item in items):
                return items
        raise contract_error(
            self.ref, f"has {attribute} = {value!r}; write a set or tuple of texts"
        )


class Registry:
    """The plugins of one kind.

    The entry points are listed once, when they are first needed. Plugins that the environment
    variable ``ZTXEXP_DISABLE_PLUGINS`` lists are left out, whenever it is set: comma-separated
    names of plugins, names of distributions (all their plugins), or ``distribution:name`` (since
    2.0).

    Args:
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        group: the entry-point group.
        find: returns the entry points; those of the installed distributions by default.

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
        self._enabled: dict[str, dict[str, dict[str, EntryPoint]]] = {}
        self._plugins: dict[tuple[str, str], Plugin] = {}
        self._manager = pluggy.PluginManager(contracts.PROJECT_NAME)
        self._manager.add_hookspecs(contracts)

    @functools.cached_property
    def entries(self) -> list[EntryPoint]:
        """The entry points, also those of blocked plugins; read when they are first needed."""
        return list(self._find())

    def names(self) -> list[str]:
        """Return the known names, sorted, without the blocked ones; imports nothing."""
        return sorted(self.by_name())

    def resolve(self, name: str) -> PluginRef:
        """Return the one plugin of that name; imports nothing.

        Raises:
            UnknownPluginError: no plugin has that name, or all that have it are blocked.
            PluginContractError: two distributions claim it for different objects.
        """
        return ref_of(self.kind, self._claim(name)[1])

    def load(self, name: str) -> Plugin:
        """Import a plugin, checked against the contract of its kind; later calls give the same.

        Raises:
            UnknownPluginError: see :meth:`resolve`.
            PluginImportError: its module cannot be imported, or lacks the attribute.
            PluginContractError: it does not fit the contract, or its name is claimed twice.
        """
        target, entry = self._claim(name)
        key = (name, target)  # a block may leave another plugin of that name next time
        with self._lock:
            if key not in self._plugins:
                self._plugins[key] = self._load(entry)
            return self._plugins[key]

    def _load(self, entry: EntryPoint) -> Plugin:
        ref = ref_of(self.kind, entry)
        try:
            implementation = import_target(ref.target)
        except (Exception, SystemExit) as exc:
            importlib.invalidate_caches()  # so that the next try sees a repair on disk
            hint = pip_line(entry) or f"fix or reinstall {ref.distribution}"
            raise PluginImportError(
                f"{ref} cannot be imported ({cause(exc)}): {hint}", ref.kind, ref.name
            ) from exc
        if self.kind == "tracker":
            check_factory(ref, implementation)
            return Plugin(self.kind, entry, implementation)
        plugin = Plugin(self.kind, entry, implementation, self._manager)
        plugin.hooks = register(ref, implementation, self._manager)
        return plugin

    def _claim(self, name: str) -> tuple[str, EntryPoint]:
        """Return target and entry point of the one plugin of that name."""
        claims = self.by_name().get(name)
        if not claims:
            raise self._unknown(name)
        if len(claims) > 1:
            raise clash_error([ref_of(self.kind, entry) for entry in claims.values()])
        return next(iter(claims.items()))

    def by_name(self) -> Mapping[str, Mapping[str, EntryPoint]]:
        """Return the entry points that are not blocked, by name and target; imports nothing."""
        blocked = os.environ.get(BLOCKING_VARIABLE, "")
        if blocked not in self._enabled:
            words = disabled_patterns()
            self._warn_unmatched(words)
            by_name: dict[str, dict[str, EntryPoint]] = {}
            for entry in self.entries:
                if not words or not any(matches(w, ref_of(self.kind, entry)) for w in words):
                    by_name.setdefault(entry.name, {})[target_of(entry)] = entry
            self._enabled[blocked] = by_name
        return self._enabled[blocked]

    def _warn_unmatched(self, words: Iterable[str]) -> None:
        """Log, once in a process, which blocking words name no plugin of any kind."""
        new = set(words) - _checked_words
        if not new:
            return
        _checked_words.update(new)
        refs = [ref_of(self.kind, entry) for entry in self.entries]
        refs += [ref_of(kind, e) for kind, g in _GROUPS.items() for e in _entries_by_group()[g]]
        known = [ref.name for ref in refs] + [ref.distribution for ref in refs]
        known += [f"{ref.distribution}:{ref.name}" for ref in refs]
        for word in sorted(new):
            if not any(matches(word, ref) for ref in refs):
                _log.warning(
                    "%s names %r, which is not an installed plugin or distribution of plugins%s",
                    BLOCKING_VARIABLE,
                    word,
                    closest(word, known),
                )

    def _unknown(self, name: str) -> UnknownPluginError:
        refs = sorted({ref_of(self.kind, e) for e in self.entries if e.name == name}, key=str)
        if refs:
            words = [p for p in disabled_patterns() if any(matches(p, ref) for ref in refs)]
            who = " and ".join(map(str, refs)) + (" is" if len(refs) == 1 else " are")
            message = (
                f"{who} blocked by the environment variable {BLOCKING_VARIABLE}; "
                f"take {listing(words)} out of it"
            )
            if len(refs) > 1:
                message += ", or name the one to block as 'distribution:name'"
        else:
            kind = "executor (mode)" if self.kind == "executor" else self.kind
            message = (
                f"unknown {kind} {name!r}{closest(name, self.names())}; known: "
                f"{', '.join(self.names()) or 'none'}; others come with packages that register "
                f"under {self.group!r}"
            )
        return UnknownPluginError(message, self.kind, str(name))


def _is_installed(name: str) -> bool:
    """Return whether a module can be found; imports at most the packages that it is in."""
    if name in sys.modules:
        return sys.modules[name] is not None
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # a parent package is missing
        return False


# ---- the registries of this process ----------------------------------------------------------


@functools.cache
def _entries_by_group() -> Mapping[str, list[EntryPoint]]:
    """Read what is installed, once for all kinds."""
    return scan(_GROUPS.values())


@functools.cache
def _registry(kind: str) -> Registry:
    group = _GROUPS[kind]
    return Registry(kind, group, lambda: _entries_by_group()[group])


def trackers() -> Registry:
    """Return the registry of trackers."""
    return _registry("tracker")


def executors() -> Registry:
    """Return the registry of executors."""
    return _registry("executor")


def expanders() -> Registry:
    """Return the registry of expanders."""
    return _registry("expander")


def refresh() -> None:
    """Look again for what is installed when it is next asked for (since 2.0).

    For a process in which a package was installed or removed after the first look, such as a
    notebook or a test. Plugins in use stay what they are.
    """
    importlib.invalidate_caches()  # also that of importlib.metadata
    _entries_by_group.cache_clear()
    _registry.cache_clear()
    checked_targets.clear()


def tracker_spec(name: str, kwargs: Mapping[str, Any] | None = None) -> TrackerSpec:
    """Check that a tracker can be made with these arguments, without making it.

    Args:
        name: the exact name.
        kwargs: keyword arguments of its class or factory.

    Raises:
        PluginError, OptionError: as :meth:`Registry.load` and :meth:`Plugin.tracker_spec`.

    Example:
        >>> tracker_spec("mlflow", {"experiment_name": "demo"}).target
        'ztxexp_trackers.mlflow:MlflowTracker'
    """
    return trackers().load(name).tracker_spec(kwargs or {})


def name_of(tracker: contracts.Tracker) -> str:
    """Return the name under which an instance's class is installed, else that of the class.

    So that a tracker is known as the same, whether it is given by name or as an instance.
    """
    cls = type(tracker)
    target = f"{cls.__module__}:{cls.__qualname__}"
    names = (name for name, claims in trackers().by_name().items() if target in claims)
    return next(names, cls.__name__)
