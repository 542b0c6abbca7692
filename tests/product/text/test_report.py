"""report: what prints as text in a terminal and in a notebook."""

from __future__ import annotations

from fragments import text_of_fragment

from ztxexp.text.report import Printable


class Hostile(Printable):
    def one_line(self):
        return "a\x1b[2J"

    def lines(self):
        return ["<b>\x1b]0;title\x07", "c\u202e"]


def test_no_line_holds_what_a_terminal_obeys():
    assert str(Hostile()) == "a\n<b>\nc\\u202e" and repr(Hostile()) == "<Hostile: a>"


def test_a_notebook_shows_the_same_text():
    assert text_of_fragment(Hostile()._repr_html_()) == "a<b>\nc\\u202e"
