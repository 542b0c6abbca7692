"""Sweep files as text: YAML, TOML, JSON."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from ztxexp.sweeps.files import SUFFIXES
from ztxexp.text.pieces import scalar
from ztxexp_core.errors import ConfigError

_HEAD = "# ztxexp run {name}        (ztxexp plan {name} shows what it would run)\n"
_WIDTH = 90
_LONGEST_KEY = 900  # characters; a longer one has to be marked as a key in YAML


def document_text(name: str, content: Mapping[str, Any]) -> str:
    """Return the text of a sweep file.

    Args:
        name: the path; its suffix says which kind.
        content: what the file holds.

    Raises:
        ConfigError: another suffix, or a value that has no form there.
    """
    suffix = os.path.splitext(name)[1].lower()
    head = _HEAD.format(name=name if name.isprintable() else "FILE")
    if suffix in (".yaml", ".yml"):
        return head + "".join(_yaml_lines(content))
    if suffix == ".toml":
        return head + _toml(content)
    if suffix == ".json":
        try:
            return json.dumps(content, indent=2) + "\n"
        except (TypeError, ValueError) as exc:
            raise ConfigError(f"{name} cannot be written as JSON: {exc}") from exc
    raise ConfigError(f"{name} must end with one of {', '.join(SUFFIXES)}")


# ---- YAML ------------------------------------------------------------------------------------


def _yaml_lines(content: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in content.items():
        start = f"{indent}{_yaml_key(key)}"
        flow = yaml_flow(value)
        is_long = indent == "" or len(flow) > _WIDTH
        if isinstance(value, dict) and value and is_long and "? " not in map(_mark, value):
            lines += [f"{start}\n", *_yaml_lines(value, f"{indent}  ")]
        elif key == "sweep" and isinstance(value, list):
            lines.append(f"{start}\n")
            lines += [f"{indent}  - {yaml_flow(block)}\n" for block in value]
        else:
            if isinstance(value, str):
                flow = _yaml_text(value, line=True)
            lines.append(f"{start} {flow}\n")
    return lines


def yaml_flow(value: Any) -> str:
    """Return a value as YAML on one line, as it may stand in brackets.

    Raises:
        ConfigError: it has no form in YAML.
    """
    if isinstance(value, Mapping):
        pairs = (f"{_yaml_key(k)} {yaml_flow(v)}" for k, v in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(yaml_flow, value))}]"
    if isinstance(value, str):
        return _yaml_text(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _number(value, {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"})


def _yaml_key(key: Any) -> str:
    text = _yaml_text(str(key), key=True)
    return f"{_mark(key)}{text} :" if _mark(key) else f"{text}:"


def _mark(key: Any) -> str:
    """Return what stands before a long key; there it has to be in braces."""
    return "? " if len(_yaml_text(str(key), key=True)) > _LONGEST_KEY else ""


def _yaml_text(text: str, key: bool = False, line: bool = False) -> str:
    """Return a text as YAML; without quotes where it can only be that text.

    Args:
        text: the text.
        key: it is a key.
        line: it is the rest of a line, where commas mean nothing.
    """
    if not key and re.fullmatch(r"[0-9]+(?:\.\.[0-9]+(?::[0-9]+)?|[a-z]+)", text):
        return text
    simple = r"\+?[A-Za-z_/][\w./+-]*" if key else r"[A-Za-z_/][\w./+()=*-]*"
    longer = r"[A-Za-z_/](?:[\w./+()=*,<>\"'-]|:(?=\S)| (?=\S))*"
    fits = re.fullmatch(longer if line else simple, text, re.ASCII) is not None
    if not line and text.count("(") > text.count(")"):  # it looks like a call that a comma has cut
        fits = False
    return text if fits and (key or isinstance(scalar(text), str)) else _double(text)


def _double(text: str) -> str:
    """Return a text in double quotes, with all that is not printable spelt out."""
    letters = [c if c.isprintable() and c not in '"\\' else _escape(c) for c in text]
    return f'"{"".join(letters)}"'


def _escape(letter: str) -> str:
    short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(letter)
    code = ord(letter)
    return short or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")


def _number(value: Any, others: Mapping[str, str]) -> str:
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        text = float.__repr__(value)
        return others.get(text, text)
    raise ConfigError(f"a {type(value).__name__} cannot be written in a sweep file: {value!r}")


# ---- TOML ------------------------------------------------------------------------------------


def _toml(content: Mapping[str, Any]) -> str:
    tables = {key: value for key, value in content.items() if isinstance(value, Mapping)}
    lines = [
        f"{_toml_key(key)} = {_toml_value(value, key)}\n"
        for key, value in content.items()
        if key not in tables and not _is_blocks(key, value)
    ]
    for key, value in content.items():
        blocks = value if _is_blocks(key, value) else [value] if key in tables else []
        header = f"[[{key}]]" if _is_blocks(key, value) else f"[{_toml_key(key)}]"
        for block in blocks:
            lines.append(f"\n{header}\n")
            lines += [f"{_toml_key(k)} = {_toml_value(v, k)}\n" for k, v in block.items()]
    return "".join(lines)


def _is_blocks(key: str, value: Any) -> bool:
    return key == "sweep" and isinstance(value, list)


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key, re.ASCII) else _toml_text(key)


def _toml_value(value: Any, key: str) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_toml_key(k)} = {_toml_value(v, f'{key}.{k}')}" for k, v in value.items())
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml_value(item, key) for item in value)}]"
    if isinstance(value, str):
        return _toml_text(value)
    if value is None:
        raise ConfigError(f"{key} is null, which TOML does not have; save a .yaml")
    if isinstance(value, bool):
        return "true" if value else "false"
    return _number(value, {})


def _toml_text(text: str) -> str:
    if re.search("[\ud800-\udfff]", text):
        raise ConfigError(f"the text {text!r} has no form in TOML; save a .yaml")
    return _double(text)
