"""What a docstring says of a plugin, and of each of its settings."""

from __future__ import annotations

import inspect
import re
from typing import Any

_SECTION = re.compile(r"^(Args|Arguments|Attributes|Parameters):\s*$")
_ANY_SECTION = re.compile(r"^[A-Z][A-Za-z ]*:\s*$")
_ITEM = re.compile(r"^(?:``)?(\w+)(?:``)?(?: \([^)]*\))?:(?:\s+(.*))?$")


def first_paragraph(thing: Any) -> str:
    """Return the first paragraph of a docstring in one line; empty where there is none.

    Example:
        >>> first_paragraph(str.upper)
        'Return a copy of the string converted to uppercase.'
    """
    doc = inspect.cleandoc(_doc(thing))
    return " ".join(doc.partition("\n\n")[0].split())


def help_by_name(thing: Any) -> dict[str, str]:
    """Return what the sections ``Args:`` and ``Attributes:`` say of each name, in one line each.

    Lines that begin with a name in double backticks count outside of sections too. What stands in
    the docstring of a class and in that of its ``__init__`` is put together.

    Args:
        thing: a class, a function or a module.
    """
    found: dict[str, str] = {}
    docs = [_doc(thing)]
    if isinstance(thing, type):
        docs.append(_doc(vars(thing).get("__init__")))
    for doc in docs:
        found |= _items(inspect.cleandoc(doc))
    return found


def _doc(thing: Any) -> str:
    doc = getattr(thing, "__doc__", None)
    if not isinstance(doc, str):
        return ""
    # A dataclass without a docstring is given its own signature as one.
    written_by_dataclass = isinstance(thing, type) and doc.startswith(f"{thing.__name__}(")
    return "" if written_by_dataclass else doc


def _items(doc: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name, inside, depth = "", False, 0
    for line in doc.splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if _ANY_SECTION.match(line):
            name, inside, depth = "", bool(_SECTION.match(line)), 0
            continue
        inside = inside and (not text or indent > 0)
        item = _ITEM.match(text)
        in_place = indent == (depth or indent) if inside else not indent and text.startswith("``")
        if not text:
            name = name if inside else ""
        elif item and in_place:
            name, depth = item[1], indent
            found[name] = item[2] or ""
        elif name:
            found[name] = f"{found[name]} {text}".strip()
    return found
