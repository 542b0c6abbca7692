"""probing: what docstrings say of a plugin and of its options."""

from __future__ import annotations

from dataclasses import dataclass

from ztxexp.plugin_tools.probing import first_paragraph, option_help


@dataclass
class Settings:
    """Settings.

    Attributes:
        rate: how fast it goes,
            in hertz: never mind where.
        name (str): of the thing

    Example:
        >>> Settings(rate=1.0)
    """

    rate: float
    name: str = "x"


@dataclass
class Undocumented:
    rate: float


class Tracker:
    """Sends.

    Args:
        url: where to.
    """

    def __init__(self, url: str, tries: int = 3):
        """And tries again.

        Args:
            tries: how often.
        """


class Short:
    """``space``: key to list of values, all
    equally long.
    """


def test_the_help_of_an_option_is_found_in_docstrings():
    assert option_help(Settings, "rate") == "how fast it goes, in hertz: never mind where."
    assert option_help(Settings, "name") == "of the thing"
    assert [option_help(Tracker, name) for name in ("url", "tries")] == ["where to.", "how often."]
    assert option_help(Short, "space") == "key to list of values, all equally long."
    assert option_help(Settings, "nothing") == option_help(Undocumented, "rate") == ""


def test_a_plugin_is_described_by_the_first_paragraph():
    assert first_paragraph(Tracker) == "Sends."
    assert first_paragraph(Undocumented) == ""  # what dataclass writes is no description
