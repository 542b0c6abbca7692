"""What all suites share: abilities that are declared with a reason, tests that nobody deletes."""

from __future__ import annotations

from typing import Any

import pytest

Ability = bool | str
"""``True``, or the reason why not."""


class Suite:
    """A suite whose tests are inherited; what a plugin cannot do is said, never left out.

    A subclass may set an ability to the reason why the plugin lacks it, or override one test with
    its reason: a docstring, or that of a mark such as ``pytest.mark.skip(reason=...)``.

    Raises:
        TypeError: when the subclass is made: a test is deleted, or overridden without a reason.
    """

    _abilities: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name in dir(cls):
            if name.startswith("test_"):
                holders = [base for base in cls.__mro__ if name in vars(base)]
                if any(map(_is_ours, holders)) and not _is_ours(holders[0]):
                    _check_override(f"{cls.__name__}.{name}", vars(holders[0])[name])

    def check_abilities(self) -> None:
        """Hold every ability against what may be said of one.

        Raises:
            TypeError: it is neither ``True`` nor a reason.
        """
        for name in self._abilities:
            reason: object = getattr(self, name)
            if reason is not True and not (isinstance(reason, str) and reason.strip()):
                raise TypeError(f"{name} = {reason!r}: give the reason in its place, as a text")

    def needs(self, *abilities: str) -> None:
        """Skip a test, or what is left of it, where the plugin lacks an ability."""
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
            f"{label} overrides a test of the suite without a reason; say why in its docstring, or "
            "as the reason of a mark"
        )
