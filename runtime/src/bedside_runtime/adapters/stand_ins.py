"""What stands for the objects of a pickle while it is followed: nothing of it is made, everything is noted.

A stand-in does to the stream what the real object would, and refuses what would run something: a call that
``policy`` does not grant, a second state, items for what is no container.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from bedside_runtime.adapters import policy
from bedside_runtime.contract import Global


class Notes:
    """What the recording pass has seen so far, nested streams included."""

    def __init__(self, author: frozenset[str]) -> None:
        self.author = author
        self.globals: set[Global] = set()
        self.versions: set[str] = set()


class Inert:
    """An object that was never made: it takes one state, and items where it is a container, and only holds them."""

    def __init__(self, name: "Name", holds: Iterable[object] = ()) -> None:
        self.name = name
        self.holds = [*holds]
        self.__finished = False

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Refuse: what the file made is the file's, and so would be what runs."""
        raise policy.refused(self.name.found, "the file calls an object that it made itself")

    def __setstate__(self, state: object) -> None:
        # Its own __setstate__ could by now stand in its state, and would then be called with the next one.
        self.__hold(state, may=not self.__finished)
        self.__finished = True
        if isinstance(state, tuple) and len(state) == 2 and state[1] and not self.name.use.slots:
            raise policy.refused(self.name.found, "the file sets attributes that may run code")
        for part in state if isinstance(state, tuple) else (state,):
            version = part.get("_sklearn_version") if isinstance(part, dict) else None
            if isinstance(version, str):
                self.name.notes.versions.add(version)

    def append(self, item: object) -> None:
        """Take an item, as a list, a deque and a set do."""
        self.__hold(item, may=self.name.use.filled and not self.__finished)

    add = append

    def extend(self, items: Iterable[object]) -> None:
        """Take several items."""
        for item in items:
            self.append(item)

    update = extend

    def __setitem__(self, key: object, value: object) -> None:
        self.extend((key, value))

    def __hold(self, part: object, *, may: bool) -> None:
        if not may:
            raise policy.refused(self.name.found, "the file changes an object that takes no more")
        self.holds.append(part)


class Array:
    """What stands in the stream for an array whose bytes follow, filled by the stream itself."""

    subclass: Any
    shape: Any
    order: Any
    dtype: Any
    numpy_array_alignment_bytes: Any = None

    _FIELDS = frozenset({"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"})

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict) or not state.keys() <= self._FIELDS:
            raise pickle.UnpicklingError("an array has fields that no array has")
        vars(self).update(state)


class Dtype(Inert):
    """Stands for ``numpy.dtype``; remembers only how many bytes an element takes."""

    itemsize, hasobject = 0, False

    def describe(self, text: object) -> None:
        """Take the description that the file gives, such as ``f8``.

        Raises:
            UnpicklingError: It is none.
        """
        if not isinstance(text, str) or not text[1:].isdigit():
            raise pickle.UnpicklingError("a dtype is of no known kind")
        self.itemsize = int(text[1:]) * (4 if text[0] == "U" else 1)
        self.hasobject = text[0] == "O"

    def __setstate__(self, state: object) -> None:
        # NumPy's own state of a structured dtype ends with its flags; bit 0 says that it holds objects.
        if isinstance(state, tuple) and len(state) > 7 and isinstance(state[7], int):
            self.hasobject = self.hasobject or bool(state[7] & 1)


class Name:
    """Stands for a global: having it made, or calling it, where that is allowed, gives an inert object."""

    def __init__(self, notes: Notes, found: Global, use: policy.Use) -> None:
        self.notes, self.found, self.use = notes, found, use

    def __call__(self, *arguments: object, **named: object) -> object:
        """Return what stands for the answer to this call."""
        if not self.use.called:
            raise policy.refused(self.found, "the file may have it made from its state, or keep it, but not call it")
        if self.found == _RECONSTRUCTOR:
            return _reconstructed(self, *arguments)
        if self.found == _DTYPE:
            return self.made(*arguments)
        check = _ARGUMENTS.get(self.found.name, _only_classes)
        if not (self.use.kept or self.use.made) and not check(arguments):
            raise policy.refused(self.found, "the file calls it with what it must not be given")
        if self.use.made or self.use.kept or self.found == _PARTIAL:
            return Inert(self, [*arguments, named])
        return _rebuilt(self, arguments, named)

    def made(self, *arguments: object, **named: object) -> object:
        """Return what stands for an object that only its class's ``__new__`` has seen."""
        if not self.use.made:
            raise policy.refused(self.found, "the file makes an object of what is no model's class")
        if self.found == policy.JOBLIB_ARRAY:
            return Array()
        if self.found != _DTYPE:
            return Inert(self, [*arguments, named])
        dtype = Dtype(self, arguments)
        dtype.describe(arguments[0] if arguments else None)
        return dtype

    # The stream's NEWOBJ asks a class for its ``__new__``; a stand-in is an instance, so this is found first.
    def __getattribute__(self, attribute: str) -> Any:  # noqa: ANN401 - as in the base class
        if attribute == "__new__":
            return lambda _cls, *arguments, **named: self.made(*arguments, **named)
        return super().__getattribute__(attribute)


def kept(root: object) -> Iterator[Name]:
    """Give every global that is left in the model which the stream made, wherever in it."""
    waiting, seen = [root], set[int]()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        match part:
            case Name():
                yield part
            case Inert():
                waiting.append(part.holds)
            case dict():
                waiting += [*part.keys(), *part.values()]
            case list() | tuple() | set() | frozenset():
                waiting += part


_RECONSTRUCTOR = Global(module="copyreg", name="_reconstructor")
_PARTIAL = Global(module="functools", name="partial")
_DTYPE = Global(module="numpy", name="dtype")
_BIT_GENERATOR = Global(module="numpy.random._pickle", name="__bit_generator_ctor")


def _rebuilt(name: Name, arguments: tuple[object, ...], named: dict[str, object]) -> Inert:
    """Return what a reconstructor gives: an object of the class that it was given, if of any."""
    classes = [part for part in arguments if isinstance(part, Name)]
    rest = [part for part in arguments if not isinstance(part, Name)]
    return Inert(classes[0] if classes else name, [*rest, named])


def _reconstructed(name: Name, *arguments: object) -> object:
    """Follow ``copyreg._reconstructor(cls, base, state)``, which calls ``__init__`` of the base with the state."""
    match arguments:
        case Name() as kind, Name(found=Global(module="builtins")), state:
            made = kind.made()
            if isinstance(made, Inert):
                made.holds.append(state)
            return made
        case _:
            raise policy.refused(name.found, "the file calls it with what it must not be given")


def _only_classes(arguments: tuple[object, ...]) -> bool:
    return all(part.use.made for part in arguments if isinstance(part, Name))


def _encodes_bytes(arguments: tuple[object, ...]) -> bool:
    """Accept the one encoding that old protocols write bytes with: others are modules, imported by their name."""
    return len(arguments) == 2 and isinstance(arguments[0], str) and arguments[1] in {"latin1", "latin-1"}


def _calculates(arguments: tuple[object, ...]) -> bool:
    return len(arguments) == 1 and isinstance(arguments[0], Name) and arguments[0].use.kept


def _bit_generator(arguments: tuple[object, ...]) -> bool:
    """Accept a bit generator's name or class, which is called."""
    match arguments:
        case (str(),):
            return True
        case (Name(found=found),):
            return found.module.split(".")[:2] == ["numpy", "random"]
        case _:
            return not arguments


def _generator(arguments: tuple[object, ...]) -> bool:
    """Accept a generator's parts: the second, which is called with the first, has to be NumPy's own."""
    first, second = arguments[:1], arguments[1:]
    return not any(isinstance(part, Name) for part in first) and all(
        isinstance(part, Name) and part.found == _BIT_GENERATOR for part in second
    )


_ARGUMENTS: Mapping[str, Callable[[tuple[object, ...]], bool]] = MappingProxyType(
    {
        "encode": _encodes_bytes,
        "partial": _calculates,
        "__bit_generator_ctor": _bit_generator,
        "__generator_ctor": _generator,
        "__randomstate_ctor": _generator,
    }
)
"""What the reconstructors take that call, import or copy what they are given."""
