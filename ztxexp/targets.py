"""What a sweep runs: a plain function, called by its parameters, or a command.

:func:`load_target` and :func:`command_target` make an ``exp_fn(ctx)`` out of what is typed in a
shell, :func:`call_by_name` out of a function.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from ztxexp.configs.keys import check_config
from ztxexp.provenance.programs import files_among, missing_script
from ztxexp.text.labels import differing_keys
from ztxexp_core.errors import ConfigError, OptionError, closest
from ztxexp_core.pickling import no_launches
from ztxexp_core.run.command import PYTHON, Command, lacks
from ztxexp_core.run.current import CONFIG
from ztxexp_core.run.launch import ExperimentFn, place_of, text_of
from ztxexp_core.run.plain import CONTEXT, ByName
from ztxexp_core.run.printed import METRIC_LINE
from ztxexp_core.values.copying import lookup
from ztxexp_core.values.identity import config_identity

_log = logging.getLogger("ztxexp")
_WHOLE = frozenset(["config", "cfg", "conf", "params", "hparams", "args", "opt", "opts", "options"])
_MISSING = object()


@dataclass(frozen=True)
class Target:
    """What a sweep runs.

    Attributes:
        function: an ``exp_fn(ctx)``.
        name: as a person would type it: ``train.py:train``, the words of a command.
        base: defaults of the function's signature.
        keys: names that configurations may hold; ``None`` for any.
        required: names that they must hold.
    """

    function: ExperimentFn
    name: str
    base: Mapping[str, Any] = field(default_factory=dict)
    keys: frozenset[str] | None = None
    required: frozenset[str] = frozenset()


# ---- functions ----------------------------------------------------------------------------------


def load_target(text: str) -> Target:
    """Return the function that ``FILE.py:FUNCTION`` or ``package.module:FUNCTION`` names.

    The module is imported, so what stands under ``if __name__ == "__main__"`` is not run. Its
    folder is put first on ``sys.path``, of a module the working folder; workers get it too.

    Raises:
        ConfigError: there is no such file, module or function, or it cannot be called.

    Example:
        >>> load_target("train.py:train").base
        {'lr': 0.001, 'hidden': 32}
    """
    where, _, name = text.rpartition(":")
    if not where or not name:
        raise ConfigError(
            f"{text!r} names no function: write FILE.py:FUNCTION or package.module:FUNCTION, or "
            "-- and a command"
        )
    module = _load_file(where) if where.endswith(".py") else _load_module(where)
    function: Any = module
    for part in name.split("."):
        if not hasattr(function, part):
            known = [each for each, value in vars(module).items() if inspect.isfunction(value)]
            raise ConfigError(f"{where} has no {name!r}{closest(name, known)}")
        function = getattr(function, part)
    return target_of(function, text)


def target_of(function: Callable[..., Any], name: str | None = None) -> Target:
    """Return the target that a function is.

    Args:
        function: takes ``ctx``, or the values of a configuration by their names.
        name: for messages; that of the function by default.

    Raises:
        ConfigError: it cannot be called so.
    """
    name = name or str(getattr(function, "__qualname__", repr(function)))
    if isinstance(function, Command):
        return Target(function, function.text)
    if not isinstance(function, ByName):
        made = _by_name(function, name)
        if made is None:
            return Target(function, name)
        function = made
    keys = None if function.keys is None else frozenset(function.keys)
    return Target(function, name, function.base, keys, function.required)


def call_by_name(function: Callable[..., Any]) -> ExperimentFn:
    """Return an ``exp_fn(ctx)`` that calls a plain function by the names of its parameters.

    Each parameter gets the value of its key in the configuration; defaults of the signature are the
    base of every configuration; a parameter ``ctx`` gets the context. What the function returns are
    the metrics, what a generator yields are steps, and :func:`ztxexp.log` logs from inside. (Since
    2.0.)

    Raises:
        ConfigError: it cannot be called by names, or a default that no configuration can hold.

    Example:
        >>> def train(lr, hidden=32):
        ...     return {"accuracy": 0.9}
        >>> pipeline.grid({"lr": [1e-3, 1e-2]}).run(call_by_name(train))
    """
    return target_of(function).function


def _by_name(function: Any, name: str) -> ByName | None:
    """Return the caller of a plain function; ``None`` for one that takes the context alone."""
    if isinstance(function, type):
        raise ConfigError(f"{name} is a class; name a function that makes one and returns metrics")
    if not callable(function):
        raise ConfigError(f"{name} is no function but a {type(function).__name__}")
    if inspect.isasyncgenfunction(function):
        raise ConfigError(f"{name} is an async generator; use a generator, or ztxexp.log()")
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"the parameters of {name} are not known ({exc}); wrap it") from exc
    named: dict[str, inspect.Parameter] = {}
    is_open = False
    for key, parameter in parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"parameter {key!r} of {name} is positional-only, so it has no name to be called "
                "by; take the / out of its signature"
            )
        if parameter.kind is parameter.VAR_KEYWORD:
            is_open = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            named[key] = parameter
    takes_context = named.pop(CONTEXT, None) is not None
    plain_context = takes_context and not named and not is_open
    if plain_context and not _is_special(function):
        return None
    base = {key: p.default for key, p in named.items() if p.default is not p.empty}
    for key, value in base.items():
        _check_default(name, key, value)
    keys = None if is_open or plain_context else frozenset(named)
    return ByName(function, base, keys, frozenset(named.keys() - base.keys()), takes_context)


def _is_special(function: Any) -> bool:
    """Return whether calling it is not enough: a generator, a coroutine."""
    return inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function)


def _check_default(name: str, key: str, value: Any) -> None:
    try:
        check_config({key: value})
        config_identity({key: value})
    except ConfigError as exc:
        raise ConfigError(
            f"the default of parameter {key!r} of {name} is a {type(value).__qualname__}, which no "
            "configuration can hold; use a name or a number, and make the object in the function"
        ) from exc


def _load_file(text: str) -> ModuleType:
    """Import a file, as a module of the name that others in its folder would import it by."""
    path = Path(text).expanduser()
    if not path.is_file():
        folder = path.parent
        others = (
            [str(folder / each.name) for each in folder.glob("*.py")] if folder.is_dir() else []
        )
        raise ConfigError(f"there is no file {text}{closest(text, others)}")
    path = path.resolve()
    _put_first(str(path.parent))
    name = re.sub(r"\W", "_", path.stem)
    present = sys.modules.get(name)
    if present is not None and _is_same(getattr(present, "__file__", None), path):
        return present
    if present is not None or name in sys.stdlib_module_names:
        name = f"{name}_py"  # the file of another module's name
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{text} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importing(text):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _load_module(name: str) -> ModuleType:
    _put_first(os.getcwd())
    with _importing(name):
        return importlib.import_module(name)


def _put_first(folder: str) -> None:
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)


def _is_same(one: str | None, other: Path) -> bool:
    return one is not None and os.path.realpath(one) == str(other)


@contextlib.contextmanager
def _importing(text: str) -> Iterator[None]:
    """Say what went wrong in the user's module; it sees no arguments of ours meanwhile."""
    arguments = sys.argv
    sys.argv = [text]
    try:
        with no_launches():
            yield
    except SystemExit as exc:
        raise ConfigError(
            f"{text} ends when it is imported (sys.exit); put what it runs under "
            f'if __name__ == "__main__":, or run it as a command: -- python {text}'
        ) from exc
    except ModuleNotFoundError as exc:
        if exc.name is not None and (text == exc.name or text.startswith(f"{exc.name}.")):
            raise ConfigError(f"there is no module {text!r} here or installed") from exc
        raise ConfigError(_cannot(text, exc)) from exc
    except Exception as exc:
        raise ConfigError(_cannot(text, exc)) from exc
    finally:
        sys.argv = arguments


def _cannot(text: str, exc: BaseException) -> str:
    place = place_of(exc)
    where = f" ({place})" if place else ""
    return f"{text} cannot be imported: {type(exc).__name__}: {text_of(exc)}{where}"


# ---- commands -----------------------------------------------------------------------------------


def command_target(words: Sequence[str], metric_pattern: str | None = METRIC_LINE) -> Target:
    """Return the target that a command is, see ``command`` of :meth:`ExperimentPipeline.run`.

    Raises:
        ConfigError: there is no such program or script, or a brace that names no key.
        OptionError: a pattern that cannot be used.
    """
    if isinstance(words, str) or not all(isinstance(word, (str, os.PathLike)) for word in words):
        raise OptionError(
            'command must be a list of words, such as ["python", "train.py", "--lr", "{lr}"]; '
            f"got {words!r}"
        )
    texts = [os.fspath(word) for word in words]
    if not texts or not texts[0]:
        raise OptionError("command is empty; it begins with the program to run")
    command = Command(texts, _checked_pattern(metric_pattern), files_among(texts, os.getcwd()))
    _check_program(texts[0])
    script = missing_script(texts, os.getcwd())
    if script is not None:
        folder, end = os.path.split(script)[0] or os.curdir, os.path.splitext(script)[1]
        raise ConfigError(f"there is no file {script}{closest(script, _files(folder, end))}")
    return Target(command, command.text)


def experiment(
    function: ExperimentFn | None, command: Sequence[str] | None, metric_pattern: str | None
) -> ExperimentFn | None:
    """Return what a pipeline runs, of the two ways to say it.

    Raises:
        OptionError: both are given.
    """
    if command is None:
        return function
    if function is not None:
        raise OptionError("give a function or command=[...], not both")
    return command_target(command, metric_pattern).function


def _checked_pattern(pattern: str | None) -> str | None:
    if not pattern:
        return None
    try:
        groups = re.compile(pattern).groupindex
    except (re.error, TypeError) as exc:
        raise OptionError(f"metric_pattern {pattern!r} is no regular expression: {exc}") from exc
    if not {"name", "value"} <= groups.keys():
        raise OptionError(
            "metric_pattern needs the groups name and value, such as "
            r"'(?P<name>\w+)=(?P<value>\S+)'; got " + repr(pattern)
        )
    return pattern


def _check_program(program: str) -> None:
    if "{" in program or program in PYTHON:
        return
    if shutil.which(program) is None:
        near = "" if os.sep in program else closest(program, _programs())
        if os.path.isfile(program):
            near = f" (did you mean './{program}'?)"
            if not os.access(program, os.X_OK):
                near = "; it is a file that cannot be run: chmod +x, or name its language before it"
        raise ConfigError(f"there is no program {program!r}{near}")


def _files(folder: str, end: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield from (each for each in os.listdir(folder) if each.endswith(end))


def _programs() -> Iterator[str]:
    for folder in os.get_exec_path():
        with contextlib.suppress(OSError):
            yield from os.listdir(folder)


# ---- what every configuration needs -------------------------------------------------------------


def base_of(function: Any) -> Mapping[str, Any]:
    """Return the defaults under every configuration of a function."""
    return function.base if isinstance(function, ByName) else {}


def check_configs(function: Any, configs: Sequence[Mapping[str, Any]]) -> None:
    """Check configurations against what a function or a command takes; before any run begins.

    Raises:
        ConfigError: a key that it does not take, or one that it needs is missing.
    """
    if isinstance(function, ByName):
        for config in configs:
            _check_names(function, config)
    elif isinstance(function, Command):
        for config in configs:
            for key in function.keys:
                if lookup(config, key, _MISSING) is _MISSING:
                    raise ConfigError(lacks(key, config))
        _warn_unused(function, configs)


def _check_names(function: ByName, config: Mapping[str, Any]) -> None:
    name = getattr(function, "__name__", "the function")
    if function.keys is not None and (extra := _first(config.keys() - function.keys)) is not None:
        names = ", ".join(sorted(function.keys)) or "nothing"
        raise ConfigError(
            f"{name}() takes no {extra!r}{closest(extra, function.keys)}; it takes {names}"
            + _whole_hint(function)
        )
    missing = _first(function.required - config.keys())
    if missing is not None:
        hint = _whole_hint(function)
        raise ConfigError(f"{name}() needs {missing!r}, which the configuration lacks{hint}")


def _whole_hint(function: ByName) -> str:
    """Return what to write where the only parameter is meant to get the whole configuration."""
    if len(function.keys or ()) == 1 and function.required <= _WHOLE and function.required:
        return "; for the whole configuration call the parameter ctx and read ctx.config"
    return ""


def _first(names: Collection[Any]) -> Any:
    return min(names, key=str, default=None)


def _warn_unused(command: Command, configs: Sequence[Mapping[str, Any]]) -> None:
    """Say that runs will not differ in a key that the command does not use."""
    if command.mentions_config or any(map(_reads_config, command.files.values())):
        return
    used = command.keys
    unused = [
        key
        for key in differing_keys(configs)
        if not any(key == name or key.startswith(f"{name}.") for name in used)
    ]
    if unused:
        names = ", ".join(unused)
        _log.warning(
            "the command does not use what differs between its runs: %s; write {%s} among its "
            "words, or read the file that $%s names",
            names,
            unused[0],
            CONFIG,
        )


def _reads_config(path: str) -> bool:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return CONFIG.encode() in file.read()
    return False
