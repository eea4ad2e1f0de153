"""Bytecode of what a serving process imports, compiled once for an image instead of at every start.

An image's file system is read-only, so Python could not keep what it compiles: a pipeline on pandas would be compiled
anew, for seconds, in every pod. Only modules that are imported are compiled; the others would be dead weight. Files
are never compared with their source again (PEP 552, unchecked hash): nothing of an image changes.
"""

import importlib
import py_compile
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import bedside_runtime

SITE = Path(bedside_runtime.__file__).parents[1]
"""Where this environment's distributions lie."""


def write(modules: Iterable[str], target: Path, site: Path = SITE) -> int:
    """Compile everything that importing ``modules`` brings, as far as it lies beside this package.

    Args:
        modules: Names to import, beside those that are imported already.
        target: Stands for the root directory of the image.
        site: Where the distributions will lie in the image.

    Returns:
        How many files were written; the same modules give the same bytes, whatever the clock says.

    Raises:
        ImportError: A module cannot be imported.
    """
    for name in modules:
        importlib.import_module(name)
    sources = sorted(set(_imported()))
    for source in sources:
        shown = site / source.relative_to(SITE)
        cached = f"{shown.stem}.{sys.implementation.cache_tag}.pyc"
        py_compile.compile(
            str(source),
            cfile=str(target / shown.parent.relative_to("/") / "__pycache__" / cached),
            dfile=str(shown),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    return len(sources)


def _imported() -> Iterator[Path]:
    for module in tuple(sys.modules.values()):
        file = vars(module).get("__file__")  # not an attribute: a lazy module would import itself
        if isinstance(file, str) and file.endswith(".py") and SITE in Path(file).parents:
            yield Path(file)
