"""Base configurations of other kinds as dicts: OmegaConf, Namespace, dataclass, pydantic, attrs."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any

from ztxexp_core.errors import ConfigError
from ztxexp_core.records import Config
from ztxexp_core.values.copying import ATOMS


def as_config(base: Any) -> Config:
    """Return a base configuration as a dict, each kind by its own means.

    The values of a mapping or a namespace stay what they are, but for those of OmegaConf, which
    become dicts and lists.

    Raises:
        ConfigError: it is of another kind.

    Example:
        >>> as_config(argparse.Namespace(lr=0.1))
        {'lr': 0.1}
    """
    if _is_omegaconf(base):
        base = _container(base)
    elif isinstance(base, (argparse.Namespace, types.SimpleNamespace)):
        base = vars(base)
    elif dataclasses.is_dataclass(base) and not isinstance(base, type):
        base = dataclasses.asdict(base)
    elif hasattr(type(base), "model_dump"):
        base = base.model_dump()
    elif hasattr(type(base), "__attrs_attrs__"):
        base = sys.modules["attr"].asdict(base)
    if not isinstance(base, Mapping):
        raise ConfigError(
            f"base_config is a {type(base).__qualname__}; give a dict, such as vars(args), "
            "dataclasses.asdict(settings), settings.model_dump() or settings.to_dict()"
        )
    return {key: _inside(value) for key, value in base.items()}


def closed_nodes(base: Any, path: str = "", inside: bool = False) -> Iterator[tuple[str, str]]:
    """Yield the parts of a base to which no key can be added by their own means.

    These are dataclasses, objects of attrs, those of pydantic that do not allow extra values, and
    what OmegaConf calls a struct.

    Args:
        base: what a user gives as the base configuration, or a part of it.
        path: its dotted path.
        inside: whether it lies in one of these objects, the parts of which become dicts too.

    Yields:
        The dotted path and the name of the type.
    """
    fields: Mapping[Any, Any] = {}
    closed, kind = True, type(base).__qualname__
    if _is_omegaconf(base):
        of = sys.modules["omegaconf"].OmegaConf
        keys = base.keys() if of.is_dict(base) else range(len(base))
        hidden = {key for key in keys if of.is_missing(base, key) or of.is_interpolation(base, key)}
        fields = {key: None if key in hidden else base[key] for key in keys}
        is_typed = of.is_dict(base) and of.get_type(base) is not dict
        closed = of.is_dict(base) and (of.is_struct(base) or is_typed)
        kind = of.get_type(base).__qualname__ if is_typed else f"{kind} (a struct)"
    elif dataclasses.is_dataclass(base) and not isinstance(base, type):
        fields = {field.name: getattr(base, field.name) for field in dataclasses.fields(base)}
    elif hasattr(type(base), "model_dump"):
        fields = {**dict.fromkeys(getattr(type(base), "model_fields", ())), **vars(base)}
        closed = getattr(type(base), "model_config", {}).get("extra") != "allow"
    elif hasattr(type(base), "__attrs_attrs__"):
        fields = {field.name: getattr(base, field.name) for field in type(base).__attrs_attrs__}
    else:
        closed = False
        if isinstance(base, (argparse.Namespace, types.SimpleNamespace)) and not path:
            fields = vars(base)
        elif isinstance(base, Mapping):
            fields = base
        elif inside and isinstance(base, (list, tuple)):
            fields = dict(enumerate(base))
    if closed:
        yield path, kind
    inside = inside or closed
    for key, value in fields.items():
        nested = inside and type(value) not in ATOMS
        if nested or _is_omegaconf(value) or type(value) is dict:
            yield from closed_nodes(value, f"{path}.{key}" if path else str(key), inside)


def _inside(value: Any) -> Any:
    if _is_omegaconf(value):
        return _container(value)
    return {k: _inside(v) for k, v in value.items()} if type(value) is dict else value


def _is_omegaconf(value: Any) -> bool:
    omegaconf: Any = sys.modules.get("omegaconf")  # who has one has imported it, to the end
    return hasattr(omegaconf, "OmegaConf") and omegaconf.OmegaConf.is_config(value)


def _container(value: Any) -> Any:
    return sys.modules["omegaconf"].OmegaConf.to_container(value, resolve=False)


def has_interpolations(base: Any) -> bool:
    """Return whether OmegaConf would put in values for ``${...}``, or misses one (``???``)."""
    nodes = (base, *(base.values() if type(base) is dict else ()))
    if not any(map(_is_omegaconf, nodes)):
        return False
    return any(True for _ in _references(as_config(base), ()))


def resolved(config: Config) -> Config:
    """Put in the values of OmegaConf's interpolations, after those of a sweep are set.

    Raises:
        ConfigError: a value is missing, or what an interpolation names is not there.
    """
    omegaconf: Any = sys.modules["omegaconf"]
    tree = omegaconf.OmegaConf.create(config, flags={"allow_objects": True})
    for path in list(_references(config, ())):
        name = ".".join(map(str, path))
        node, target = tree, config
        try:
            for step in path[:-1]:
                node, target = node[step], target[step]
            value = node[path[-1]]
        except omegaconf.errors.OmegaConfBaseException as exc:
            first = str(exc).partition("\n")[0]
            raise ConfigError(f"key {name!r} of base_config cannot be resolved: {first}") from exc
        target[path[-1]] = _container(value) if _is_omegaconf(value) else value
    return config


def _references(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, str):
        if "${" in node or node == "???":
            yield path
    elif isinstance(node, (dict, list)):
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in pairs:
            yield from _references(value, (*path, key))
