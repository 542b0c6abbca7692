"""The exceptions that are ztxexp's own.

Each one also derives from the built-in class that callers of 1.0.3 already catch, so ``except
ValueError`` goes on working for a misspelt mode and ``except ImportError`` for a missing package.
A number out of range or an argument of a wrong type needs no class of its own: a plain
``ValueError`` or ``TypeError``. Messages name who (plugin, key, file), what is wrong, and
the way out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator


class ZtxexpError(Exception):
    """Base of the errors that are ztxexp's own; plain built-in ones come beside them."""


class ConfigError(ZtxexpError, ValueError):
    """A configuration, or a description of configurations, that cannot be used."""


class OptionError(ZtxexpError, ValueError):
    """A setting that a plugin does not take, or a function that cannot be sent to workers."""


class MetricError(ZtxexpError, ValueError):
    """A metric event that no reader could use; it costs that event, never the run."""


class RunEndedError(ZtxexpError, RuntimeError):
    """Something was logged to a run that has already ended."""


class StoreError(ZtxexpError, OSError):
    """The results root, or a file in it, cannot be written or read."""


class ExecutorError(ZtxexpError, RuntimeError):
    """An executor failed by itself, not because of a run, and can start nothing more."""


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
    """Say in one sentence what to install where the package that a plugin needs is not there.

    Args:
        package: what is imported.
        kind: ``"tracker"``, ``"executor"`` or ``"expander"``.
        name: of the plugin, as users type it.
        install: the line that installs the package.

    Raises:
        PluginImportError: whatever is imported in the block cannot be; the cause is chained.

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
    """Return a question with the nearest known name, for the end of a message; empty without one.

    Example:
        >>> closest("wanbd", ["mlflow", "wandb"])
        " (did you mean 'wandb'?)"
    """
    import difflib  # the fork server waits for what is imported above

    near = difflib.get_close_matches(str(word), sorted(map(str, known)), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
