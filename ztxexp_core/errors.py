"""The exceptions of ztxexp.

Each one also derives from the built-in class that callers of 1.0.3 catch: ``ValueError`` for a
misspelt mode, ``ImportError`` for a missing package. A number out of range or an argument of a
wrong type is a plain ``ValueError`` or ``TypeError``. A message names the plugin, key or file, what
is wrong, and what to do.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from numbers import Integral
from typing import Any

from ztxexp_core.terminal import sanitize_lines

_LOGIN = re.compile(r"//[^/\s]*@")
_SECRET_PARAMETER = re.compile(
    r"([?&;][\w.-]*(?:passw|pwd|token|secret|key|auth|credential|sig)[\w.-]*=)[^&;\s'\"]*", re.I
)


class ZtxexpError(Exception):
    """Base class of the exceptions of ztxexp; their texts are safe to show on a terminal."""

    def __str__(self) -> str:
        return sanitize_lines(super().__str__())


class ConfigError(ZtxexpError, ValueError):
    """A configuration, or a description of configurations, that cannot be used."""


class OptionError(ZtxexpError, ValueError):
    """A setting that a plugin does not take, or a function that cannot be sent to workers."""


class MetricError(ZtxexpError, ValueError):
    """A metric event that no reader could use; it is lost, the run goes on."""


class RunEndedError(ZtxexpError, RuntimeError):
    """Something was logged to a run that has already ended."""


class StoreError(ZtxexpError, OSError):
    """The results root, or a file in it, cannot be written or read."""


class ExecutorError(ZtxexpError, RuntimeError):
    """An executor cannot start any more runs, for a reason other than a run."""


class CommandFailed(ZtxexpError, RuntimeError):
    """The command of a run ended with another exit code than 0, or by a signal.

    Attributes:
        exit_code: the code; ``None`` after a signal.
        signal: number of the signal; ``None`` after an exit code.
        out_of_memory: the kernel has killed something for lack of memory meanwhile.
    """

    def __init__(
        self,
        message: str,
        exit_code: int | None = None,
        signal: int | None = None,
        out_of_memory: bool = False,
    ):
        super().__init__(message)
        self.exit_code = exit_code
        self.signal = signal
        self.out_of_memory = out_of_memory


class PluginError(ZtxexpError):
    """A plugin that cannot be used; carries ``kind`` and ``plugin``.

    Attributes:
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        plugin: the name the user asked for.
    """

    def __init__(self, message: str, kind: str = "", plugin: str = ""):
        super().__init__(message)
        self.kind = kind
        self.plugin = plugin


class UnknownPluginError(PluginError, ValueError):
    """No installed (and enabled) plugin of that kind has that name."""


class PluginImportError(PluginError, ImportError):
    """The plugin's module, or a package that it needs, cannot be imported."""


class PluginContractError(PluginError, TypeError):
    """The plugin was imported but does not fit the contract of its kind."""


@contextlib.contextmanager
def importing(package: str, kind: str, name: str, install: str) -> Iterator[None]:
    """Say what to install if a package that a plugin needs is missing.

    Args:
        package: what is imported.
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        name: the plugin's name, as users type it.
        install: the line that installs the package.

    Raises:
        PluginImportError: an import in the block failed; the cause is chained.

    Example:
        >>> with importing("mlflow", "tracker", "mlflow", 'pip install "ztxexp[mlflow]"'):
        ...     import mlflow
    """
    try:
        yield
    except ImportError as exc:
        raise PluginImportError(
            f"{kind} {name!r} needs the package {package}; install it with: {install}", kind, name
        ) from exc


def closest(word: object, known: Iterable[object]) -> str:
    """Return a question with the nearest known name, for the end of a message; or nothing.

    Example:
        >>> closest("wanbd", ["mlflow", "wandb"])
        " (did you mean 'wandb'?)"
    """
    import difflib  # not above, because workers import this module

    near = difflib.get_close_matches(str(word), sorted(map(str, known)), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def check_count(name: str, value: Any, kind: type[Exception] = ValueError) -> None:
    """Raise an exception of a kind unless a value is a whole number from 1; True is none."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise kind(f"{name} must be a whole number from 1, got {value!r}")


def without_secrets(text: str) -> str:
    """Return a text without the logins and tokens of the addresses in it.

    Example:
        >>> without_secrets("GET http://me:pw@host/api?token=abc&page=2 failed")
        'GET http://host/api?token=***&page=2 failed'
    """
    if "//" not in text:
        return text
    return _SECRET_PARAMETER.sub(r"\1***", _LOGIN.sub("//", text))
