"""format: counts, sizes and durations; what goes to a terminal is harmless."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztxexp.text.format import age, cut, duration, plural, sanitize_for_terminal, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain — naïve 漢字 🙂", "plain — naïve 漢字 🙂"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[H\x1b[?25lhidden", "hidden"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r\x1b\\\x1b(Btext\x1bM", "text"),
        ("\x1b]0;no end", "\\x1b]0;no end"),
        ("\x9b31m\x07\x00\x7f", "\\x9b31m\\x07\\x00\\x7f"),
        ("a\tb", "a   b"),
        ("a\nb\r\u2028", "a\\x0ab\\x0d\\u2028"),
        ("\u202etxt.exe\u2066", "\\u202etxt.exe\\u2066"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_would_obey_is_left_out_or_spelt_out(text, shown):
    assert sanitize_for_terminal(text) == shown


@given(st.text(st.characters() | st.sampled_from("\x1b\x9b[]0;mPX\\\x07\x08\r\n\t")))
def test_no_text_gets_through_to_a_terminal(text):
    shown = sanitize_for_terminal(text)
    assert {unicodedata.category(c) for c in shown}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})
    assert sanitize_for_terminal(shown) == shown
    shown.encode()  # no lone surrogate


def test_a_hostile_text_takes_no_time():
    started = time.process_time()
    for piece in ("\x1b]", "\x1b[0", "\x1b[" + "0;" * 50, "\x1bP\x1b", "\x1b   "):
        sanitize_for_terminal(piece * 20_000)
    assert time.process_time() - started < 5


def test_a_long_text_is_cut():
    assert cut("x" * 10, 10) == "x" * 10
    assert cut("abc def ghi", 10) == "abc def..."


# ---- durations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "<0.1 s"),
        (0.049, "<0.1 s"),
        (0.81, "0.8 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (42.3, "42 s"),
        (59.6, "1 min"),
        (192, "3 min 12 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (400_000, "111 h 7 min"),
        (float("nan"), "<0.1 s"),
    ],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


@given(st.floats(10, 1e6))
def test_a_duration_says_about_what_it_took(seconds):
    units = {"s": 1, "min": 60, "h": 3600}
    found = re.findall(r"(\d+) (s|min|h)", duration(seconds))
    told = sum(int(count) * units[unit] for count, unit in found)
    assert abs(told - seconds) <= (0.5 if seconds < 3599 else 30)


def test_counts_sizes_and_ages() -> None:
    assert [plural(count, "run") for count in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    sizes = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 2**20 - 1: "1.0 MiB"}
    assert [size(n_bytes) for n_bytes in sizes] == list(sizes.values())
    assert (size(5 * 2**40), size(2**51)) == ("5.0 TiB", "2048.0 TiB")
    ages = {-5: "0 s", 59.9: "59 s", 60: "1 min", 3600: "1 h", 100 * 86_400: "100 d"}
    assert [age(seconds) for seconds in ages] == list(ages.values())
