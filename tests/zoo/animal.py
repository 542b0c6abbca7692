"""What is known of a bad plugin: its code, the tests that catch it, and what they say of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Animal:
    """A package with one bad plugin.

    Attributes:
        source: of its module.
        caught_by: the tests of the suite that fail.
        said: part of what each of them says.
        attribute: of the module, where the entry point names one.
        suite: further lines of the test class, such as a shorter patience.
    """

    source: str
    caught_by: tuple[str, ...]
    said: str
    attribute: str = ""
    suite: str = "pass"


FOUND = ("test_it_is_found_by_its_name_and_fits_the_contract",)
SHORT = "patience = 3.0"
