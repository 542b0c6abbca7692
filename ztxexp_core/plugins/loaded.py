"""An executor or expander in use: what it can do, its settings, its hook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pluggy

from ztxexp_core.errors import OptionError
from ztxexp_core.plugins.checks import HOOKS, PluginRef, check_declaration, listing, texts
from ztxexp_core.plugins.options import checked


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
        check_declaration(ref, self.options_class)

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings, checked and with defaults filled in, by name.

        Raises:
            OptionError: an unknown name, a missing one, a value of another type than declared, or
                one that the plugin refuses.
        """
        if self.options_class is None:
            if options and self.ref.kind == "executor":
                raise OptionError(f"{self.ref} takes no options; leave out {listing(options)}")
            return dict(options)
        return checked(self.ref, self.options_class, options)

    def call(self, **kwargs: Any) -> Any:
        """Call the plugin's hook, and no other plugin's, with the arguments that it asks for."""
        others = [p for p in self._manager.get_plugins() if p is not self.plugin]
        return self._manager.subset_hook_caller(HOOKS[self.ref.kind], others)(**kwargs)
