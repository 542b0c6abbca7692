"""Packages and plugins that are installed only while a test runs: :class:`FakeDistribution`."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from ztxexp_core.pickling import pickle_by_value
from ztxexp_core.plugins.registry import Registry, refresh

__all__ = ["FakeDistribution"]

_PATH = "PYTHONPATH"


class FakeDistribution:
    """A package with plugins that is installed in a ``with`` block, within a millisecond.

    Its modules and its ``.dist-info`` are written to a temporary folder, which is the first on
    ``sys.path`` and in ``PYTHONPATH``, so that worker processes and scripts find it too. Afterwards
    everything is as before. Several can be installed at a time; one with the name of an installed
    distribution takes its place.

    Args:
        name: of the distribution.
        modules: source by name of the module, ``"package.module"`` for one in a package.
        trackers: entry points: ``"module:attribute"`` by the name that users type.
        executors: likewise.
        expanders: likewise.
        version: of the distribution.
        requires: its dependencies, such as ``"ztxexp>=2,<3"``; they are not checked.
        extras: its extras; an error of a missing import suggests to install one.

    Attributes:
        folder: the folder on ``sys.path``, while it is installed.

    Example:
        >>> broken = FakeDistribution(
        ...     "ztxexp-broken", {"broken": "import nowhere"}, executors={"broken": "broken"}
        ... )
        >>> with broken:
        ...     ExpRunner([{}], "results").run(print, mode="broken")
        Traceback (most recent call last):
        ...
        ztxexp_core.errors.PluginImportError: executor 'broken' (ztxexp-broken 1.0, broken) ...
    """

    def __init__(
        self,
        name: str,
        modules: Mapping[str, str] | None = None,
        *,
        trackers: Mapping[str, str] | None = None,
        executors: Mapping[str, str] | None = None,
        expanders: Mapping[str, str] | None = None,
        version: str = "1.0",
        requires: Iterable[str] = (),
        extras: Iterable[str] = (),
    ):
        self.name = name
        self.version = version
        self.folder: Path | None = None
        self._modules = {key: textwrap.dedent(source) for key, source in (modules or {}).items()}
        self._entries = {"tracker": trackers, "executor": executors, "expander": expanders}
        self._requires = tuple(requires)
        self._extras = tuple(extras)
        self._replaced: dict[str, ModuleType] = {}

    def __enter__(self) -> FakeDistribution:
        self.folder = Path(tempfile.mkdtemp(prefix="ztxexp-fake-"))
        for name, content in self.files().items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._replaced = self._take_modules()
        sys.path.insert(0, str(self.folder))
        paths = [str(self.folder), *filter(None, [os.environ.get(_PATH)])]
        os.environ[_PATH] = os.pathsep.join(paths)
        refresh()
        return self

    def __exit__(self, *exc: object) -> None:
        folder = str(self.folder)
        sys.path[:] = [path for path in sys.path if path != folder]
        paths = os.environ.pop(_PATH, "").split(os.pathsep)
        if rest := os.pathsep.join(path for path in paths if path != folder):
            os.environ[_PATH] = rest
        self._take_modules()
        sys.modules.update(self._replaced)
        sys.path_importer_cache.pop(folder, None)
        refresh()
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = None

    def files(self) -> dict[str, bytes]:
        """Return the files that pip would write, by relative path; zipped they are a wheel."""
        texts = {_path_of(module, self._modules): text for module, text in self._modules.items()}
        info = f"{self.name.replace('-', '_')}-{self.version}.dist-info"
        texts[f"{info}/METADATA"] = "\n".join(self._metadata()) + "\n"
        texts[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        texts[f"{info}/entry_points.txt"] = "\n".join(self._tables()) + "\n"
        content = {name: text.encode() for name, text in texts.items()}
        rows = [f"{name},{_digest(data)},{len(data)}\n" for name, data in content.items()]
        record = f"{info}/RECORD"
        return {**content, record: "".join([*rows, f"{record},,\n"]).encode()}

    def registry(self, kind: str) -> Registry:
        """Return a registry of this distribution alone; ``kind`` is ``"tracker"``, say.

        Raises:
            RuntimeError: the distribution is not installed at the moment.
        """
        if self.folder is None:
            raise RuntimeError(f"{self.name} is not installed: use it in a with statement")
        (distribution,) = metadata.distributions(path=[str(self.folder)])
        group = f"ztxexp.{kind}s"
        entries = [entry for entry in distribution.entry_points if entry.group == group]
        return Registry(kind, group, lambda: entries)

    def _metadata(self) -> Iterator[str]:
        yield from ("Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}")
        yield from (f"Requires-Dist: {each}" for each in self._requires)
        yield from (f"Provides-Extra: {each}" for each in self._extras)

    def _tables(self) -> Iterator[str]:
        for kind, entries in self._entries.items():
            if entries:
                yield f"[ztxexp.{kind}s]"
                yield from (f"{name} = {target}" for name, target in entries.items())

    def _take_modules(self) -> dict[str, Any]:
        """Remove the modules of these names, and what is in them, from ``sys.modules``."""
        own = {name.partition(".")[0] for name in self._modules}
        names = [name for name in sys.modules if name.partition(".")[0] in own]
        return {name: sys.modules.pop(name) for name in names}


def _path_of(module: str, modules: Mapping[str, str]) -> str:
    path = module.replace(".", "/")
    is_package = any(other.startswith(f"{module}.") for other in modules)
    return f"{path}/__init__.py" if is_package else f"{path}.py"


def _digest(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()}"


# ---- plugins that are given as objects -------------------------------------------------------

_MODULE = "_ztxexp_given"


@contextlib.contextmanager
def install_object(kind: str, name: str, plugin: Any, folder: Path) -> Iterator[str]:
    """Install a module or an instance as a plugin for a while.

    Args:
        kind: ``"executor"`` or ``"expander"``.
        name: of the plugin.
        plugin: the object.
        folder: for what scripts need to find it.

    Yields:
        The first line of scripts that use it.
    """
    target, line = f"{_MODULE}:plugin", "pass"
    if isinstance(plugin, ModuleType):
        target = plugin.__name__
    else:
        pickled = folder / "plugin.pickle"
        with contextlib.suppress(Exception):  # a script then says that it is missing
            pickled.write_bytes(pickle_by_value(plugin))
        line = f"from {__name__} import load_object; load_object({str(pickled)!r})"
        _put_into_module(plugin)
    entries: dict[str, Any] = {f"{kind}s": {name: target}}
    try:
        with FakeDistribution("given-to-the-suite", **entries):
            yield line
    finally:
        sys.modules.pop(_MODULE, None)


def load_object(path: str) -> None:
    """Make the plugin known in a script; its entry point is found by way of ``PYTHONPATH``."""
    _put_into_module(pickle.loads(Path(path).read_bytes()))


def _put_into_module(plugin: Any) -> None:
    sys.modules[_MODULE] = ModuleType(_MODULE)
    vars(sys.modules[_MODULE])["plugin"] = plugin
