"""Read a fragment of HTML that an object shows in a notebook, and refuse what could do harm."""

from __future__ import annotations

import re
from html.parser import HTMLParser

ALLOWED = frozenset(
    (
        *("a", "b", "br", "code", "details", "div", "em", "figcaption", "figure", "i", "img", "p"),
        *("pre", "progress", "small", "span", "strong", "summary", "table", "tbody", "td", "tfoot"),
        *("th", "thead", "tr", "u"),
    )
)
ATTRIBUTES = frozenset(
    ("alt", "colspan", "href", "max", "rel", "rowspan", "src", "style", "target", "title", "value")
)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.comments = [], [], []

    def handle_starttag(self, tag, attrs):
        assert tag in ALLOWED, f"<{tag}>"
        for name, value in attrs:
            assert name in ATTRIBUTES, f"{name}={value!r} of <{tag}>"
            if name == "src":
                assert value.startswith("data:image/png;base64,"), value[:60]
            if name == "href":
                assert value.startswith("file:///"), value
            if name == "style":
                assert "url(" not in value and "expression" not in value
        if tag not in ("br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text.append(data)

    def handle_comment(self, data):
        self.comments.append(data)

    def handle_decl(self, decl):
        raise AssertionError(decl)

    def unknown_decl(self, data):
        raise AssertionError(data)

    def handle_pi(self, data):
        raise AssertionError(data)


def text_of_fragment(fragment: str) -> str:
    """Return the text of a fragment, whose elements all are known, harmless and closed."""
    reader = _Reader()
    reader.feed(fragment)
    reader.close()
    assert not reader.open, f"never closed: {reader.open}"
    text = "".join(reader.text)
    assert not CONTROLS.search(fragment), CONTROLS.search(fragment)
    return text
