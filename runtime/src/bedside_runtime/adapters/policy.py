"""Which globals a pickled model may name, and what the file may do with each, judged before any of them is called.

A pickle is a program. What it may reach is an allow-list (``state_types``), and four rules make it one:

1. An object of a library is made without its ``__init__``, and takes its state once. So a class is admitted where
   making it runs nothing that the file chose: scikit-learn's estimators and their subclasses in other libraries,
   and the types that fitted estimators are known to hold.
2. Only reconstructors are called with arguments, each known by module and name.
3. What stays in the model to be called later is a plain type or a function that calculates from arrays alone.
4. The author's own modules are part of the release, and may do what they like.

Everything else is refused: a name that stands in no table needs no reason to be.
"""

import importlib
import importlib.metadata
import re
import sys
from collections.abc import Iterable
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from msgspec import Struct

from bedside_runtime.adapters.state_types import CONTAINERS, LIBRARIES, PLAIN, PUBLIC_CALCULATIONS, REBUILDERS, Library
from bedside_runtime.contract import Global
from bedside_runtime.environment import normalized
from bedside_runtime.errors import ForbiddenGlobal

JOBLIB_ARRAY = Global(module="joblib.numpy_pickle", name="NumpyArrayWrapper")
"""joblib's stand-in for an array. It is never joblib's own class that is used for it."""

_NEVER_IMPORTED = frozenset(
    {"__main__", "_test", "_testing", "conftest", "distutils", "externals", "f2py", "setup", "testing", "tests"}
)
"""Rooms of libraries that do something when they are imported, or hold what was never meant to be."""

_IF_YOURS = (
    "If the file is yours, save the model without it: plain arrays and numbers in its place, a function or class of "
    "your own in a module under [model] code, or a format without code. If it is not, do not load it."
)
_REMEDIES = (
    ("scipy.stats", "If the file is yours, save the search's best_estimator_ alone."),
    (
        "builtins",
        (
            "If the file is yours, look for a bound method or a time zone in the model (early stopping leaves one: "
            "del model._raw_predict), take it out, and save the model again. If it is not, do not load it."
        ),
    ),
    ("joblib.memory", "If the file is yours, call set_params(memory=None) and save the model again."),
)
"""What stands in for an honest model's commonest refusals."""


class Use(Struct, frozen=True):
    """What a file may do with a global that it may name.

    Attributes:
        kept: Leave it in the model as it is, to be called later.
        made: Have an object of it made without ``__init__``.
        called: Call it, with arguments.
        filled: Give its objects items.
        slots: Set its objects' attributes one by one, which may run a property's setter.
        attributes: Give its objects attributes, and no state of another kind.
    """

    kept: bool = False
    made: bool = False
    called: bool = False
    filled: bool = False
    slots: bool = False
    attributes: bool = False


ANYTHING = Use(kept=True, made=True, called=True, filled=True, slots=True)
"""What the author's own modules are for."""

_DTYPE = Global(module="numpy", name="dtype")


def admit(found: Global, author: frozenset[str]) -> Use:
    """Decide what a pickle may do with ``found``.

    Args:
        found: What the pickle names, Python 2 names translated.
        author: The modules of the author's own code.

    Raises:
        ForbiddenGlobal: It may not be named.
    """
    if not all(part.isidentifier() for part in found.module.split(".")) or not found.name.isidentifier():
        raise refused(found, "names inside names are refused")
    if found.module in author:
        return ANYTHING
    if found == JOBLIB_ARRAY:
        return Use(made=True)
    if found.module in {"__main__", "__mp_main__"}:
        raise ForbiddenGlobal(
            f"the model refers to {found.name} of the script that saved it, which is nowhere to be found here",
            remedy="Move it into a module, list the module under [model] code, and save the model again.",
        )
    if found.name in PLAIN.get(found.module, ()):
        return Use(kept=True, made=True, called=True, filled=found.name in CONTAINERS)
    if found.name in REBUILDERS.get(found.module, ()):
        resolved(found)
        return Use(called=True, slots=True)
    return _of_library(found)


def refused(found: Global, why: str) -> ForbiddenGlobal:
    """Return the refusal of ``found``, with what the author of an honest file does about it."""
    known = (remedy for room, remedy in _REMEDIES if found.module == room or found.module.startswith(f"{room}."))
    return ForbiddenGlobal(f"the model reaches for {found.module}.{found.name}: {why}", remedy=next(known, _IF_YOURS))


def resolved(found: Global) -> Any:  # noqa: ANN401 - a class, a function or a constant
    """Import what ``found`` names.

    Raises:
        ForbiddenGlobal: It is not there, or is another package's own under a second name: a namespace also holds
            what its module imported.
    """
    try:
        value = getattr(importlib.import_module(found.module), found.name)
    except (ImportError, AttributeError):
        raise refused(found, "the version installed here does not have it") from None
    origin = getattr(value, "__module__", None)
    top = origin.split(".")[0] if isinstance(origin, str) else found.module.split(".")[0]
    if top == found.module.split(".")[0]:
        return value
    whose = "a part of Python itself" if top in sys.stdlib_module_names else f"a part of {top}"
    raise refused(found, f"it is another name for {whose}")


def _of_library(found: Global) -> Use:
    top = found.module.split(".")[0]
    if top in sys.stdlib_module_names:
        raise refused(found, "it belongs to Python itself")
    if top not in LIBRARIES and not _has_estimators(top):
        raise refused(found, "no installed model library has it")
    if _NEVER_IMPORTED & set(found.module.split(".")):
        raise refused(found, "a fitted model has no need of it")
    value = resolved(found)
    use = _use(value, LIBRARIES.get(top, Library()))
    if use is not None and found != _DTYPE and _is_followed(value):
        use = Use(kept=True)
    if use is None:
        raise refused(found, "a fitted model has no need of it")
    return use


def _use(value: Any, library: Library) -> Use | None:  # noqa: ANN401 - a class, a function or a constant
    if not isinstance(value, type):
        return Use(kept=True) if _is_kept(value, library) else None
    filled, slots = issubclass(value, dict | list | set), hasattr(value, "__setstate__")
    if issubclass(value, _named(library.values)):
        return Use(kept=True, made=True, called=True)
    if issubclass(value, _named(library.native)):
        return Use(made=True, called=True, slots=slots)
    if _is_estimator(value):
        return Use(made=True, filled=filled, slots=slots, attributes=True)
    if _is_one_of(value, _named(library.states)):
        return Use(made=True, filled=filled, slots=slots)
    return None


def _is_followed(value: object) -> bool:
    """Say whether ``value`` makes what only ``numpy.dtype`` may, or hands back the very object that it is given."""
    followed = _named(("numpy.dtype", "numpy.object_"))
    return isinstance(value, type) and issubclass(value, followed)


def _is_one_of(value: type, states: tuple[type, ...]) -> bool:
    return value in states or (issubclass(value, states) and not isinstance(value.__new__, FunctionType))


def _is_estimator(value: type) -> bool:
    """Say whether ``value`` is an estimator that is made, given its state and thrown away by no code of its own."""
    base = _named(("sklearn.base.BaseEstimator",))  # whose deprecated ones warn in their ``__new__``
    restores = next((kind for kind in value.__mro__ if "__setstate__" in vars(kind)), object)
    return (
        issubclass(value, base)
        and _top(value.__new__) in {"", *LIBRARIES}
        and not hasattr(value, "__del__")
        and _top(restores) in {"builtins", *LIBRARIES}
    )


def _top(value: object) -> str:
    """Return the package that ``value`` was written in; none for what is Python's own way of making an object."""
    return (getattr(value, "__module__", None) or "").split(".")[0]


def _is_kept(value: object, library: Library) -> bool:
    if any(value is constant for constant in _found(library.values)):
        return True
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ufunc):
        return True
    named = (f"{module}.{name}" for module, names in library.calculations.items() for name in names)
    return any(value is known for known in (*_found(named), *_published(library)))


def _published(library: Library) -> Iterable[object]:
    if library is not LIBRARIES["sklearn"]:
        return ()
    modules = [importlib.import_module(name) for name in PUBLIC_CALCULATIONS]
    return [vars(module).get(name) for module in modules for name in module.__all__]


def _named(dotted: Iterable[str]) -> tuple[type, ...]:
    return tuple(value for value in _found(dotted) if isinstance(value, type))


def _found(dotted: Iterable[str]) -> list[Any]:
    """Return what of ``dotted`` the versions installed here have."""
    return [value for value in map(_look_up, dotted) if value is not None]


@cache
def _look_up(dotted: str) -> Any:  # noqa: ANN401 - a class, a function or a constant
    module, _, name = dotted.rpartition(".")
    try:
        room: ModuleType = importlib.import_module(module)
    except ImportError:
        return None
    return getattr(room, name, None)


@cache
def _has_estimators(top: str) -> bool:
    """Say whether ``top`` comes from a distribution that builds on scikit-learn."""
    names = {normalized(name) for name in importlib.metadata.packages_distributions().get(top, [])}
    return bool(names) and all(map(_depends_on_sklearn, names))


def _depends_on_sklearn(name: str) -> bool:
    requirements = importlib.metadata.requires(name) or []
    plain = (item for item in requirements if "extra ==" not in item.replace("extra==", "extra =="))
    return any(re.match(r"scikit[-_]learn\b", item) for item in plain)
