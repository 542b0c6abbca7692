"""What all suites share: abilities that are declared with a reason, tests that nobody deletes."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ztxexp_core.plugins import registry
from ztxexp_core.plugins.registry import Plugin
from ztxexp_testing.distributions import install_object

Ability = bool | str
"""``True``, or the reason why not."""


class Suite:
    """A suite whose tests are inherited; what a plugin cannot do is declared, never left out.

    A subclass may set an ability to the reason why the plugin lacks it, or override one test with
    its reason: a docstring, or a mark such as ``pytest.mark.skip(reason=...)``.

    Raises:
        TypeError: when the subclass is made: a test is deleted, or overridden without a reason.
    """

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name in dir(cls):
            if name.startswith("test_"):
                owners = [base for base in cls.__mro__ if name in vars(base)]
                if any(map(_is_ours, owners)) and not _is_ours(owners[0]):
                    _check_override(f"{cls.__name__}.{name}", vars(owners[0])[name])

    @classmethod
    def abilities(cls) -> list[str]:
        """Return the names of all abilities: attributes that are annotated as such."""
        annotations = [inspect.get_annotations(base) for base in cls.__mro__ if _is_ours(base)]
        return [name for each in annotations for name in each if "[Ability]" in str(each[name])]

    def check_abilities(self) -> None:
        """Check that every ability is ``True`` or a reason; raises TypeError."""
        for name in self.abilities():
            value: object = getattr(self, name)
            if value is not True and not (isinstance(value, str) and value.strip()):
                raise TypeError(f"{name} = {value!r}: give the reason in its place, as a string")

    def needs(self, *abilities: str) -> None:
        """Skip a test, or the rest of it, where the plugin lacks an ability."""
        for name in abilities:
            reason: Ability = getattr(self, name)
            if reason is not True:
                pytest.skip(f"{name}: {reason}")


def _is_ours(cls: type) -> bool:
    return cls.__module__.startswith(f"{__package__}.")


def _check_override(label: str, value: object) -> None:
    if not callable(value):
        raise TypeError(
            f"{label} = {value!r} deletes a test of the suite; set the ability that is lacking to "
            "the reason, or override the test with @pytest.mark.skip(reason=...)"
        )
    if not (value.__doc__ or getattr(value, "pytestmark", None)):
        raise TypeError(
            f"{label} overrides a test of the suite without a reason; give it in its docstring, or "
            "as the reason of a mark"
        )


class PluginSuite(Suite):
    """A suite for a plugin that is installed under a name, or given as a module or instance."""

    kind: ClassVar[str]
    name: ClassVar[str | None] = None
    plugin: ClassVar[Any] = None
    options: ClassVar[Mapping[str, Any]] = {}
    patience: ClassVar[float] = 60.0

    place: Path
    script_line: str  # the first line of scripts: it makes the given plugin known there

    @property
    def plugin_name(self) -> str:
        """The name under which the plugin is installed."""
        return self.name or "given-to-the-suite"

    def load(self) -> Plugin:
        """Load the plugin."""
        plugins = registry.executors() if self.kind == "executor" else registry.expanders()
        return plugins.load(self.plugin_name)

    @contextlib.contextmanager
    def plugin_installed(self) -> Iterator[None]:
        """Install the plugin while a test runs, if it was given as an object."""
        self.check_abilities()
        plugin = inspect.getattr_static(self, "plugin")
        if self.name is None and plugin is None:
            raise TypeError(f"{type(self).__name__} lacks name = ..., or plugin = ...")
        with contextlib.ExitStack() as stack:
            self.script_line = "pass"
            if plugin is not None:
                given = install_object(self.kind, self.plugin_name, plugin, self.place)
                self.script_line = stack.enter_context(given)
            yield
