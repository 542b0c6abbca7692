"""Packages that are installed only while a test runs: :class:`FakeDistribution`."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from ztxexp_core.plugins.registry import Registry, refresh

__all__ = ["FakeDistribution"]

_PATH = "PYTHONPATH"


class FakeDistribution:
    """A package with plugins that is installed as long as the context lasts, in a millisecond.

    What pip would have written stands in a folder of its own: the modules, and a ``.dist-info``
    with ``METADATA``, ``WHEEL``, ``entry_points.txt`` and ``RECORD``. The folder is the first on
    ``sys.path`` and in the variable ``PYTHONPATH``, so that worker processes and scripts that a
    test starts find it as well. Afterwards folder, path, variable and imported modules are as they
    were, and its plugins are unknown. Several may be installed at a time.

    It is found by name, so a distribution that is named like an installed one stands in for it.

    Args:
        name: of the distribution.
        modules: name of each module, ``"package.module"`` for one in a package, to its source.
        trackers: entry points: the name that users type, to ``"module:attribute"``.
        executors: likewise.
        expanders: likewise.
        version: of the distribution.
        requires: what it depends on, such as ``"ztxexp>=2,<3"``; nothing looks whether it is there.
        extras: names of its extras, for the pip line that a missing import is answered with.

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
        self._hidden: dict[str, ModuleType] = {}

    def __enter__(self) -> FakeDistribution:
        self.folder = Path(tempfile.mkdtemp(prefix="ztxexp-fake-"))
        for name, content in self.files().items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._hidden = self._take_modules()
        sys.path.insert(0, str(self.folder))
        paths = [str(self.folder), *filter(None, [os.environ.get(_PATH)])]
        os.environ[_PATH] = os.pathsep.join(paths)
        refresh()
        return self

    def __exit__(self, *exc: object) -> None:
        folder = str(self.folder)
        with contextlib.suppress(ValueError):  # somebody has set it anew
            sys.path.remove(folder)
        left = [path for path in os.environ.get(_PATH, "").split(os.pathsep) if path != folder]
        os.environ[_PATH] = os.pathsep.join(left)
        if not os.environ[_PATH]:
            del os.environ[_PATH]
        self._take_modules()
        sys.modules.update(self._hidden)
        sys.path_importer_cache.pop(folder, None)
        refresh()
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = None

    def files(self) -> dict[str, bytes]:
        """Return what pip would write for it; as a zip file it is a wheel.

        Returns:
            Path of each file, relative to the folder on ``sys.path``, to its content.
        """
        found = {_path_of(module, self._modules): text for module, text in self._modules.items()}
        info = f"{self.name.replace('-', '_')}-{self.version}.dist-info"
        found[f"{info}/METADATA"] = "\n".join(self._metadata()) + "\n"
        found[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        found[f"{info}/entry_points.txt"] = "\n".join(self._tables()) + "\n"
        content = {name: text.encode() for name, text in found.items()}
        rows = [f"{name},{_digest(data)},{len(data)}\n" for name, data in content.items()]
        record = f"{info}/RECORD"
        return {**content, record: "".join([*rows, f"{record},,\n"]).encode()}

    def registry(self, kind: str) -> Registry:
        """Return a registry that knows the plugins of this distribution and no others.

        Args:
            kind: ``"tracker"``, ``"executor"`` or ``"expander"``.

        Raises:
            RuntimeError: the distribution is not installed at the moment.
        """
        if self.folder is None:
            raise RuntimeError(f"{self.name} is not installed: use it in a with statement")
        path, group = [str(self.folder)], f"ztxexp.{kind}s"
        found = [
            entry
            for distribution in metadata.distributions(path=path)
            for entry in distribution.entry_points
            if entry.group == group
        ]
        return Registry(kind, group, lambda: found)

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
        """Take the modules of these names, and what is in them, out of ``sys.modules``."""
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
