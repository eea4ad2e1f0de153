"""Whether what a pickle has made is in proportion to the file: its callables, judged by what they make of arguments.

``bytes(10**9)``, ``tuple(range(10**9))`` and ``int(Decimal("1e999999999"))`` are a few bytes of a file. Fitted models
call plain types with what they hold: text, numbers and lists that the stream spelled out, each of them once.
"""

import re
from collections.abc import Sized
from typing import Any

from bedside_runtime.contract import Global

FREE = 1024 * 1024
"""How many elements any file may have copied."""

TIMES = 2
"""How many times its own size, in elements, a file may have copied: honest ones copy what they spell out once."""

_ARRAYS = frozenset({"_reconstruct", "_mareconstruct", "ndarray", "MaskedArray"})
_LONGEST_SHAPE = 64
"""Arrays are made empty, or with one element, and get their size with their bytes."""

_TEXTS = frozenset({"bytes", "bytearray", "bytes_", "str_", "void"})
_NUMBERS = frozenset({"bool", "complex", "float", "int", "range", "str", "Decimal", "object"})
_CONTAINERS = frozenset({"deque", "defaultdict", "dict", "frozenset", "list", "OrderedDict", "set", "tuple"})
_FRACTION = re.compile("-?[0-9]+(/[0-9]+)?")


def fits(found: Global, arguments: tuple[object, ...]) -> bool:
    """Say whether ``found`` makes nothing of ``arguments`` that is larger than they are.

    Args:
        found: What the file calls, or has made.
        arguments: As the stream made them; what is no plain value is a stand-in.
    """
    name = found.name
    if name in _ARRAYS and found.module.startswith("numpy"):
        return all(map(_is_short, arguments))
    if name in _TEXTS:
        return all(isinstance(part, str | bytes | bytearray) or _is_encoded(part) for part in arguments)
    if found.module.startswith("numpy"):
        return True
    if name in _NUMBERS:
        return all(part is None or isinstance(part, int | float | str | bytes) for part in arguments)
    if name in _CONTAINERS and found.module in {"builtins", "collections"}:
        return not any(hasattr(part, "name") for part in arguments)
    if name == "Fraction":
        return all(type(part) is int or (isinstance(part, str) and _FRACTION.fullmatch(part)) for part in arguments)
    return True


def copied(part: object) -> int:
    """Return how many elements are copied where ``part`` is handed over, or is a part of a state."""
    if isinstance(part, tuple):
        return len(part) + sum(len(item) for item in part if isinstance(item, str | bytes | bytearray | list | dict))
    return len(part) if isinstance(part, Sized) else 0


def _is_short(part: Any) -> bool:  # noqa: ANN401 - whatever the stream made
    sizes = part if isinstance(part, tuple) else (part,)
    whole = 1
    for size in sizes:
        whole *= max(size, 1) if isinstance(size, int) else 1
    return whole <= _LONGEST_SHAPE


def _is_encoded(part: Any) -> bool:  # noqa: ANN401 - whatever the stream made
    name = getattr(part, "name", None)
    return getattr(name, "found", None) == Global(module="_codecs", name="encode")
