"""The command line that makes a table again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ztxexp.results.keys import seed_keys
from ztxexp.text.format import text_of

_NAMES = {"statuses": "status", "order": "order", "labels": "label", "tags": "tag"}
_FLAGS = ("percent", "transpose")


def words_of(source: Mapping[str, Any]) -> list[str]:
    """Return the options of ``ztxexp table`` that make a table again, quoted for a shell.

    Example:
        >>> words_of(table.source)
        ['--rows', 'hidden', '--cols', 'lr', '--metric', 'accuracy']
    """
    words: list[str] = []
    order: dict[str, Sequence[Any]] = {}
    for name, value in {**source["options"], **source["filters"]}.items():
        if isinstance(value, Mapping) and name in ("rows", "cols", "order"):
            order |= {key: values for key, values in value.items() if values}
            value = ",".join(value) if name != "order" else None
        if name == "over" and value and seed_keys(value) == value:
            continue  # as usual
        if name == "mode":
            words += [f"--{value}"] if isinstance(value, str) else []
        elif value is True and name in _FLAGS:
            words.append(f"--{name}")
        elif name == "averages" and value is True:
            words += ["--averages", "average,rank"]
        elif name == "labels":
            for key, text in value.items():
                words += ["--label", shlex.quote(f"{key} as {text}")]
        elif name == "groups" and isinstance(value, Mapping):
            for title, members in value.items():
                words += ["--groups", shlex.quote(f"{title}: {_joined(members)}")]
        elif name == "against" and isinstance(value, Mapping):
            pairs = ",".join(f"{key}={text_of(one)}" for key, one in value.items())
            words += ["--against", shlex.quote(pairs)]
        elif name in ("tags", "statuses"):
            value = "all" if value is None else value
            for one in [value] if isinstance(value, str) else value:
                words += [f"--{_NAMES[name]}", shlex.quote(str(one))]
        elif value not in (None, ""):
            words += [f"--{_NAMES.get(name, name)}", shlex.quote(_joined(value))]
    for key, values in order.items():
        words += ["--order", shlex.quote(f"{key}={_joined(values)}")]
    return words


def _joined(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(text_of, value)) or "none"
    return text_of(value)
