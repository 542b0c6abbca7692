"""The builder of configurations: :class:`ExpManager`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ztxexp.configs.builder import ConfigBuilder, Modifier, Predicate, Variants
from ztxexp_core.store.run_folder import root_path

if TYPE_CHECKING:
    from typing_extensions import Self


class ExpManager(ConfigBuilder):
    """Builds the configurations of a sweep, step by step; see :class:`ConfigBuilder` for the rules.

    Args:
        base_config: what all configurations start from.

    Example:
        >>> manager = ExpManager({"seed": 1}).grid({"lr": [0.1, 0.01]}).variants([{"depth": 2}])
        >>> manager.build()
        [{'seed': 1, 'lr': 0.1, 'depth': 2}, {'seed': 1, 'lr': 0.01, 'depth': 2}]
    """

    def modify(self, modifier: Modifier) -> Self:
        """Change every configuration, see :meth:`ConfigBuilder.modify`."""
        return super().modify(modifier)

    def where(self, predicate: Predicate, name: str | None = None) -> Self:
        """Keep the configurations that meet a predicate, see :meth:`ConfigBuilder.where`."""
        return super().where(predicate, name)

    def exclude_completed(
        self, results_root: str | Path, ignore_keys: Sequence[str] | None = None
    ) -> Self:
        """Leave out what has succeeded below a results root when :meth:`build` is called.

        Args:
            results_root: folder of earlier runs; it need not exist. Called again, a further one.
            ignore_keys: keys that do not count in the comparison, dotted for nested ones.

        Raises:
            ConfigError: from :meth:`build`, a value that cannot be compared; it names its key.
        """
        return self.exclude_root(root_path(results_root), ignore_keys)

    # ---- the names of 0.1 --------------------------------------------------------------------

    add_grid_search = ConfigBuilder.grid
    add_random_search = ConfigBuilder.random_search
    get_configs = ConfigBuilder.build

    def add_variants(self, variant_space: Variants) -> Self:
        """Older name of :meth:`variants`."""
        return self.variants(variant_space)

    def add_modifier(self, modifier_func: Modifier) -> Self:
        """Older name of :meth:`modify`."""
        return self.modify(modifier_func)

    def add_filter(self, filter_func: Predicate) -> Self:
        """Older name of :meth:`where`."""
        return self.where(filter_func)

    def filter_completed(
        self, results_path: str | Path, ignore_keys: Sequence[str] | None = None
    ) -> Self:
        """Older name of :meth:`exclude_completed`."""
        return self.exclude_completed(results_path, ignore_keys)
