"""probing: what docstrings say of a plugin and of its options."""

from __future__ import annotations

from dataclasses import dataclass

from ztxexp.plugin_tools.probing import SUBMITS, first_paragraph, option_help, probe


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


SUBMITTING = """
from dataclasses import dataclass
from ztxexp_core import hookimpl

@dataclass
class Options:
    queue: str = "short"

@hookimpl
def ztxexp_submit(request): ...

@hookimpl
def ztxexp_jobs(ids): ...
"""


def test_an_executor_that_submits_jobs_is_described_as_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    cancel = "\n@hookimpl\ndef ztxexp_cancel(ids): ...\n"
    for name, source in (("whole_queue", SUBMITTING + cancel), ("half_queue", SUBMITTING)):
        (tmp_path / f"{name}.py").write_text(source)
    whole, half = (probe("executor", "queue", name) for name in ("whole_queue", "half_queue"))
    assert (whole["state"], whole["supports"]) == ("ready", [SUBMITS])
    assert [option["name"] for option in whole["options"]] == ["queue"]
    assert half["state"] == "broken"
    assert half["problem"] == "has ztxexp_submit, but no ztxexp_cancel; define it"
