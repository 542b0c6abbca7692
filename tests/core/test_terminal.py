"""What reaches a terminal from names, errors and messages: in the log, in exceptions, in lines."""

from __future__ import annotations

import io
import logging

import pytest

from ztxexp_core.errors import ConfigError, PluginError, StoreError
from ztxexp_core.terminal import LONGEST_LINE, sanitize_for_terminal, sanitize_lines

HOSTILE = "a\x1b]0;title\x07b\u202ec\x9bd\nforged: line"
RAW = "\x1b\x07\u202e\x9b"


@pytest.fixture
def shown():
    """What a handler of the user's writes."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    log = logging.getLogger("ztxexp")
    log.addHandler(handler)
    yield out
    log.removeHandler(handler)


def test_a_message_shows_what_is_in_its_arguments_as_one_line(shown):
    log = logging.getLogger("ztxexp")
    log.warning("left out %s: %s (%d of %.1f, %r)", HOSTILE, OSError(HOSTILE), 3, 1.5, "x")
    assert not set(RAW) & set(shown.getvalue())
    assert shown.getvalue().count("\n") == 1
    assert shown.getvalue().endswith("(3 of 1.5, 'x')\n")


def test_the_lines_of_a_message_stay(shown):
    logging.getLogger("ztxexp").warning(f"first\n{HOSTILE} 100 %")
    assert not set(RAW) & set(shown.getvalue())
    assert shown.getvalue().splitlines() == ["first", "ab\\u202ec\\x9bd", "forged: line 100 %"]


def test_the_lines_of_a_text_that_is_the_whole_message_stay(shown):
    logging.getLogger("ztxexp").warning("%s", f"first\n{HOSTILE}")
    assert not set(RAW) & set(shown.getvalue())
    assert shown.getvalue().splitlines() == ["first", "ab\\u202ec\\x9bd", "forged: line"]


def test_an_exception_that_is_shown_with_a_message_is_safe_too(shown):
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logging.getLogger("ztxexp").exception("failed")
    assert not set(RAW) & set(shown.getvalue())
    assert "ValueError: ab\\u202ec" in shown.getvalue()


@pytest.mark.parametrize("kind", [ConfigError, PluginError, StoreError])
def test_the_text_of_an_exception_of_ours_is_safe(kind):
    text = str(kind(f"first\n{HOSTILE}"))
    assert not set(RAW) & set(text)
    assert text.startswith("first\nab\\u202e")
    assert "No such file" in str(StoreError(2, "No such file", "/x"))


def test_a_line_is_not_longer_than_stated():
    name = "x" * 100_000
    assert len(sanitize_for_terminal(name)) < LONGEST_LINE + 30
    assert sanitize_for_terminal(name).endswith("... (100,000 characters)")
    assert sanitize_lines(f"{name}\nb").endswith("\nb")
