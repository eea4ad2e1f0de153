"""Which globals a pickled model may name at all, judged before any of them is called.

A pickle is a program. What it may reach are classes of numeric libraries (NumPy, joblib's array wrapper,
and what depends on NumPy), a short list of harmless names of the standard library, and the author's own
modules. A library's *function* may be referred to (``FunctionTransformer(np.log1p)``), but the pickle may
call it only where it is one of the few that libraries rebuild their objects with.
"""

import importlib
import importlib.metadata
import re
import sys
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from bedside_runtime.contract import Global
from bedside_runtime.environment import normalized
from bedside_runtime.errors import ForbiddenGlobal

HARMLESS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "builtins": frozenset(
            {"bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object"}
            | {"range", "set", "slice", "str", "tuple"}
        ),
        "collections": frozenset({"OrderedDict", "defaultdict", "deque"}),
        "copyreg": frozenset({"_reconstructor"}),
        "_codecs": frozenset({"encode"}),
        "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
        "decimal": frozenset({"Decimal"}),
        "fractions": frozenset({"Fraction"}),
    }
)
"""Names of the standard library that neither run code given to them nor reach outside the process."""

JOBLIB_ARRAY = Global(module="joblib.numpy_pickle", name="NumpyArrayWrapper")
"""joblib's stand-in for an array. It is never joblib's own class that is used for it."""

_RECONSTRUCTORS = frozenset(
    {
        "_reconstruct",
        "scalar",
        "_frombuffer",
        "_convert_to_ufunc",
        "_unpickle_block",
        "_new_Index",
        "_unpickle_array",
        "__pyx_unpickle_Enum",
        "__randomstate_ctor",
        "__generator_ctor",
        "__bit_generator_ctor",
        "newObj",
    }
)
"""Library functions that a pickle may call, by name: each only rebuilds one object of its own library."""

_CYTHON = re.compile(r"__pyx_unpickle_\w+")
_REFUSED_SEGMENTS = frozenset(
    {"__main__", "conftest", "ctypeslib", "datasets", "distutils", "externals", "f2py", "io", "plotting", "testing"}
    | {"tests", "_testing", "_test", "spark", "dask", "compat_pickle", "npyio", "_npyio_impl", "_datasource"}
    | {"computation", "integrate", "odr", "_differentiable_functions", "_shgo", "_shgo_lib"}
)
"""Rooms of libraries that read, write or run what they are given; classes of the second list call it when made."""

_REFUSED_NAMES = frozenset(
    {"memmap", "DataSource", "NpzFile", "vectorize", "eval", "ExcelFile", "ExcelWriter", "HDFStore"}
)
_REFUSED_DISTRIBUTIONS = frozenset({"cloudpickle", "dill", "numba", "torch", "bedside", "bedside-runtime"})


def admit(found: Global, author: frozenset[str]) -> bool:
    """Decide whether a pickle may name ``found``.

    Args:
        found: What the pickle names, Python 2 names translated.
        author: The modules of the author's own code.

    Returns:
        Whether the pickle may also call it: a class, or one of the known reconstructors.

    Raises:
        ForbiddenGlobal: It may not be named.
    """
    if not all(part.isidentifier() for part in found.module.split(".")) or not found.name.isidentifier():
        raise refused(found, "names inside names are refused")
    if found == JOBLIB_ARRAY or found.module in author:
        return True
    if found.module == "__main__":
        raise ForbiddenGlobal(
            f"the model refers to {found.name} of the script that saved it, which is nowhere to be found here",
            remedy="Move it into a module, list the module under [model] code, and save the model again.",
        )
    top = found.module.split(".")[0]
    if found.module in HARMLESS and found.name in HARMLESS[found.module]:
        return True
    if top in sys.stdlib_module_names:
        raise refused(found, "it belongs to Python itself")
    if not _is_model_library(top):
        raise refused(found, "no installed model library has it")
    if _REFUSED_SEGMENTS & set(found.module.split(".")) or found.name in _REFUSED_NAMES:
        raise refused(found, "a fitted model has no need of it")
    return _may_be_called(found)


def refused(found: Global, why: str) -> ForbiddenGlobal:
    """Return the refusal of ``found``."""
    return ForbiddenGlobal(f"the model reaches for {found.module}.{found.name}: {why}")


def is_pythons_own(value: object) -> bool:
    """Say whether ``value`` comes from the standard library: a namespace also holds what its module imported."""
    origin = getattr(value, "__module__", None)
    return isinstance(origin, str) and origin.split(".")[0] in sys.stdlib_module_names


def _may_be_called(found: Global) -> bool:
    try:
        value = getattr(importlib.import_module(found.module), found.name)
    except (ImportError, AttributeError):
        raise refused(found, "the version installed here does not have it") from None
    if is_pythons_own(value):
        raise refused(found, "it is another name for a part of Python itself")
    if _REFUSED_SEGMENTS & set(str(getattr(value, "__module__", "")).split(".")):
        raise refused(found, "it is another name for what a fitted model has no need of")
    if isinstance(value, type):
        return True
    if not callable(value):
        raise refused(found, "it is neither a class nor a function")
    return found.name in _RECONSTRUCTORS or _CYTHON.fullmatch(found.name) is not None


@cache
def _is_model_library(top: str) -> bool:
    providers = importlib.metadata.packages_distributions().get(top, [])
    names = {normalized(name) for name in providers}
    return bool(names) and not names & _REFUSED_DISTRIBUTIONS and all(map(_depends_on_numpy, names))


def _depends_on_numpy(name: str) -> bool:
    requirements = importlib.metadata.requires(name) or []
    plain = (item for item in requirements if "extra ==" not in item.replace("extra==", "extra =="))
    return name == "numpy" or any(re.match(r"numpy\b", item) for item in plain)
