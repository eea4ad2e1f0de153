"""The author's own modules, imported from verified bytes that never lie on the import path."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any, TypeAlias

from bedside_runtime.errors import ModelMismatch

Transform: TypeAlias = Callable[[list[dict[str, Any]]], Any]


class Author(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds and loads exactly the modules whose source it was given.

    It stays on ``sys.meta_path`` for the life of the process: a model may import one of them while it
    predicts.
    """

    def __init__(self, sources: Mapping[str, bytes]) -> None:
        self._sources = dict(sources)

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules' names, in import order."""
        return tuple(self._sources)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol hands it over
        target: ModuleType | None = None,  # noqa: ARG002 - the protocol hands it over
    ) -> importlib.machinery.ModuleSpec | None:
        """Find one of the author's modules, nothing else."""
        return importlib.util.spec_from_loader(fullname, self) if fullname in self._sources else None

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's source."""
        name = module.__name__
        exec(compile(self._sources[name], f"<{name}.py of the release>", "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the release's own code, its digest verified

    def transform(self) -> Transform | None:
        """Import all modules in order and return the ``transform`` that one of them defines.

        Raises:
            ModelMismatch: A module cannot be imported, or two of them define ``transform``.
        """
        found: Transform | None = None
        for name in self._sources:
            candidate = getattr(_imported(name), "transform", None)
            if not callable(candidate) or candidate.__module__ != name:
                continue
            if found is not None:
                raise ModelMismatch(
                    "two of the author's modules define transform(rows)",
                    remedy="Keep transform(rows) in one of the modules under [model] code.",
                )
            found = candidate
        return found


def install(code: Mapping[str, bytes]) -> Author:
    """Make the author's modules importable.

    Args:
        code: Path in the release to source; the module's name is the file's name without ``.py``.

    Raises:
        ModelMismatch: A name is no module name, stands twice, or is that of an installed module.
    """
    sources: dict[str, bytes] = {}
    for path, source in code.items():
        name = _module_name(path)
        if name in sources:
            raise ModelMismatch(f"two modules are named {name}", remedy="Rename one of them under [model] code.")
        sources[name] = source
    author = Author(sources)
    _forget_former()
    taken = [name for name in sources if _is_taken(name)]
    if taken:
        raise ModelMismatch(
            f"the author's module {taken[0]} has the name of one that is installed here",
            remedy="Rename the module, and save the model again if it refers to it.",
        )
    sys.meta_path.insert(0, author)
    return author


def _forget_former() -> None:
    """Take out the modules of a release opened before in this process: they are not this one's."""
    for finder in [item for item in sys.meta_path if isinstance(item, Author)]:
        sys.meta_path.remove(finder)
        for name in finder.modules:
            sys.modules.pop(name, None)


def _is_taken(name: str) -> bool:
    return name in sys.stdlib_module_names or name in sys.modules or importlib.util.find_spec(name) is not None


def _module_name(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.suffix != ".py" or not pure.stem.isidentifier() or pure.stem.startswith("__"):
        raise ModelMismatch(
            f"{pure.name} cannot be imported as a module",
            remedy="List plain modules under [model] code, each a .py file named like an identifier.",
        )
    return pure.stem


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ModelMismatch(
            f"the author's module {name} cannot be imported: {type(error).__name__}: {error}",
            remedy="Mend the module, or add what it imports to requirements.in.",
        ) from error
