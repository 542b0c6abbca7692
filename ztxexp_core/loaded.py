"""An executor or expander in use: what it can do, its settings, its hook."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import pluggy

from ztxexp_core.errors import OptionError, ZtxexpError, closest
from ztxexp_core.plugin_checks import HOOKS, PluginRef, listing, misfit, texts


class LoadedPlugin:
    """An executor or expander that passed its checks.

    Attributes:
        ref: where it comes from.
        plugin: the module or instance itself.
        supports: names of its capabilities.
        options_class: the dataclass of its settings, ``None`` where it has none.
    """

    def __init__(self, ref: PluginRef, plugin: Any, manager: pluggy.PluginManager):
        self.ref = ref
        self.plugin = plugin
        self.supports = frozenset(texts(ref, "supports", getattr(plugin, "supports", ())))
        self.options_class: type[Any] | None = getattr(plugin, "Options", None)
        self._manager = manager
        if self.options_class is not None and not (
            isinstance(self.options_class, type) and dataclasses.is_dataclass(self.options_class)
        ):
            raise misfit(ref, "has an Options that is no dataclass; decorate it with @dataclass")

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings, checked and with defaults filled in, by name.

        Raises:
            OptionError: an unknown name, a missing one, or a value that the plugin refuses.
        """
        if self.options_class is None:
            if options and self.ref.kind == "executor":
                raise OptionError(f"{self.ref} takes no options; leave out {listing(options)}")
            return dict(options)
        fields = [f for f in dataclasses.fields(self.options_class) if f.init]
        self._check_names(options, fields)
        try:
            values = self.options_class(**options)
        except ZtxexpError:
            raise
        except (TypeError, ValueError) as exc:
            raise OptionError(f"{self.ref} refuses its options: {exc}") from exc
        # Not asdict: it would copy every value.
        return {f.name: getattr(values, f.name) for f in dataclasses.fields(self.options_class)}

    def _check_names(
        self, options: Mapping[str, Any], fields: Iterable[dataclasses.Field[Any]]
    ) -> None:
        known = {f.name: _has_default(f) for f in fields}
        for name in options:
            if name not in known:
                raise OptionError(
                    f"{self.ref} has no option {name!r}{closest(name, known)}; "
                    f"known: {listing(known)}"
                )
        missing = [name for name, optional in known.items() if not optional and name not in options]
        if missing:
            raise OptionError(f"{self.ref} needs the option {listing(missing)}; pass a value")

    def call(self, **kwargs: Any) -> Any:
        """Call the plugin's hook, and no other plugin's, with the arguments that it asks for."""
        others = [p for p in self._manager.get_plugins() if p is not self.plugin]
        return self._manager.subset_hook_caller(HOOKS[self.ref.kind], others)(**kwargs)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing
