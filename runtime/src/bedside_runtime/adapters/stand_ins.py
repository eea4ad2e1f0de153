"""What stands for the objects of a pickle while it is followed: nothing of it is made, everything is noted.

A stand-in does to the stream what the real object would, and refuses what would run something: a call that
``policy`` does not grant, a second state, items for what is no container.
"""

import math
import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from bedside_runtime.adapters import policy, proportion
from bedside_runtime.contract import Global


class Notes:
    """What the recording pass has seen so far, nested streams included."""

    def __init__(self, author: frozenset[str], size: int = 0) -> None:
        self.author = author
        self._room = max(proportion.FREE, proportion.TIMES * size)
        self.steps = 0  # what was made or filled, dtypes and bytes aside
        self.globals: set[Global] = set()
        self.versions: set[str] = set()

    def copy(self, found: Global, parts: Iterable[object]) -> None:
        """Count what is handed to ``found``, which copies it; refuse what is copied again and again."""
        self._room -= sum(map(proportion.copied, parts))
        if self._room < 0:
            raise policy.refused(found, "the file has more copied than it holds")


class Inert:
    """An object that was never made: it takes one state, and items where it is a container, and only holds them."""

    def __init__(self, name: "Name", holds: Iterable[object] = ()) -> None:
        self.name = name
        self.holds = [*holds]
        self.__finished = False
        if name.found not in _STEPS_OF_NONE:
            name.notes.steps += 1

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Refuse: what the file made is the file's, and so would be what runs."""
        raise policy.refused(self.name.found, "the file calls an object that it made itself")

    def __setstate__(self, state: object) -> None:
        # Its own __setstate__ could by now stand in its state, and would then be called with the next one.
        self.__hold(state, may=not self.__finished)
        self.__finished = True
        self.name.notes.copy(self.name.found, [state])
        self.__look_at(state)
        for part in state if isinstance(state, tuple) else (state,):
            version = part.get("_sklearn_version") if isinstance(part, dict) else None
            if isinstance(version, str):
                self.name.notes.versions.add(version)

    def __look_at(self, state: object) -> None:
        """Refuse a state that gives the object more than attributes of its own."""
        use, found = self.name.use, self.name.found
        parts = state if isinstance(state, tuple) else (state,)
        if len(parts) == 2 and parts[1] and not use.slots:
            raise policy.refused(found, "the file sets attributes that may run code")
        if use == policy.ANYTHING:
            return
        kinds: tuple[type, ...] = (dict,) if use.attributes else (dict, tuple)
        plain = len(parts) != 2 or use.slots or isinstance(parts[0], dict | None)
        if not isinstance(state, kinds) or not plain:  # what a call makes of its arguments is not seen here
            raise policy.refused(found, "the file gives it a state of another kind")
        if found == _PARTIAL and parts[3:] != (None,):
            raise policy.refused(found, "the file gives it attributes")
        for part in parts:
            for attribute in part if isinstance(part, dict) else ():
                self.__look_at_name(attribute)

    def __look_at_name(self, attribute: object) -> None:
        """Refuse an attribute that Python or NumPy would ask for and obey, such as ``__array_interface__``."""
        if isinstance(attribute, Inert):
            raise policy.refused(self.name.found, "the file makes up the name of an attribute")
        if isinstance(attribute, str) and attribute.startswith("__") and attribute.endswith("__"):
            raise policy.refused(self.name.found, f"the file gives it the attribute {attribute}")

    def begin(self, state: object) -> None:
        """Take what a built-in base is made from, as a dictionary."""
        if self.name.use.filled and not self.name.use.called:  # a Bunch: its items are its attributes
            if not isinstance(state, dict | None):
                raise policy.refused(self.name.found, "the file gives it a state of another kind")
            for key in state or ():
                self.__look_at_name(key)
        self.holds.append(state)

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
        if not self.name.use.called:  # a Bunch: its items are its attributes
            self.__look_at_name(key)
        self.extend((key, value))

    def __hold(self, part: object, *, may: bool) -> None:
        if not may:
            raise policy.refused(self.name.found, "the file changes an object that takes no more")
        self.name.notes.steps += 1
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
    """Stands for ``numpy.dtype``; knows how many bytes an element takes, and whether it is an object.

    NumPy believes what a dtype's state says: with wrong flags or offsets, bytes of the file would be pointers.
    """

    itemsize, hasobject = 0, False

    def describe(self, arguments: tuple[object, ...]) -> None:
        """Take the description that the file gives, such as ``f8``.

        Raises:
            UnpicklingError: It is none.
        """
        text = arguments[0] if arguments else None
        if not isinstance(text, str) or not _DTYPE_TEXT.fullmatch(text):
            raise pickle.UnpicklingError("a dtype is of no known kind")
        self.itemsize = int(text[1:]) * (4 if text[0] == "U" else 1)
        self.hasobject = text[0] == "O"
        self._kind = text[0]
        self._made = self.name.notes.steps
        self._takes_state = arguments[1:] == (False, True)  # else it may be one that all of NumPy shares

    def __setstate__(self, state: object) -> None:
        # Once, and before anything else has it: arrays would be read anew with the new one.
        if not self._takes_state or self._made != self.name.notes.steps:
            raise policy.refused(self.name.found, "the file changes an object that takes no more")
        self._takes_state = False
        match state:
            case (3 | 4, str(), part, names, fields, int() as size, int(), int() as flags, *metadata):
                self.holds += metadata
            case _:
                raise pickle.UnpicklingError("a dtype is of no known kind")
        sized = size == self.itemsize if self._kind in "SUV" else True
        flagged = flags == _OBJECT_FLAGS if self.hasobject else not flags & _HOLDS_OBJECTS
        parts = part is names is fields is None or (self._kind == "V" and self._fit(part, names, fields))
        if not (sized and flagged and parts):
            raise pickle.UnpicklingError("a dtype is of no known kind")

    def _fit(self, part: object, names: object, fields: object) -> bool:
        """Say whether the parts of a compound lie in it. Those that hold objects are refused: no model has any."""
        match part, names, fields:
            case (Dtype() as base, tuple() | int() as shape), None, None:
                shape = shape if isinstance(shape, tuple) else (shape,)
                counts = all(type(count) is int and count >= 0 for count in shape)
                return counts and not base.hasobject and base.itemsize * math.prod(shape) == self.itemsize
            case None, tuple(), dict():
                return {*names} <= {*fields} and all(map(self._has_room, fields.keys(), fields.values()))
            case _:
                return False

    def _has_room(self, name: object, field: object) -> bool:
        match name, field:
            case str(), (Dtype(hasobject=False) as part, int() as offset, *_):
                return 0 <= offset <= self.itemsize - part.itemsize
            case _:
                return False


class Name:
    """Stands for a global: having it made, or calling it, where that is allowed, gives an inert object."""

    def __init__(self, notes: Notes, found: Global, use: policy.Use) -> None:
        self.notes, self.found, self.use = notes, found, use

    def __call__(self, *arguments: object, **named: object) -> object:
        """Return what stands for the answer to this call."""
        if not self.use.called:
            raise policy.refused(self.found, "the file may have it made from its state, or keep it, but not call it")
        self._look_at(arguments)
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
        self._look_at(arguments)
        if self.found != _DTYPE:
            return Inert(self, [*arguments, named])
        dtype = Dtype(self, arguments)
        dtype.describe(arguments)
        return dtype

    def _look_at(self, arguments: tuple[object, ...]) -> None:
        """Refuse what makes much of little, and count what is copied."""
        if self.use == policy.ANYTHING:
            return
        self.notes.copy(self.found, arguments)
        if not proportion.fits(self.found, arguments):
            raise policy.refused(self.found, "the file has more made of it than it holds")

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
_ENCODE = Global(module="_codecs", name="encode")
_STEPS_OF_NONE = {_DTYPE, _ENCODE}

_DTYPE_TEXT = re.compile("[biufcmMOSUV][0-9]+")
_OBJECT_FLAGS, _HOLDS_OBJECTS = 63, 7
"""NumPy's flags of ``object``, and those of them that make pointers of an array's bytes."""


def _rebuilt(name: Name, arguments: tuple[object, ...], named: dict[str, object]) -> Inert:
    """Return what a reconstructor gives: an object of the class that it was given, if of any."""
    classes = [part for part in arguments if isinstance(part, Name)]
    rest = [part for part in arguments if not isinstance(part, Name)]
    return Inert(classes[0] if classes else name, [*rest, named])


def _reconstructed(name: Name, *arguments: object) -> object:
    """Follow ``copyreg._reconstructor(cls, base, state)``, which calls ``__init__`` of the base with the state."""
    match arguments:
        case Name() as kind, Name(found=Global(module="builtins")) as base, state:
            if state is not None and not proportion.fits(base.found, (state,)):
                raise policy.refused(base.found, "the file has more made of it than it holds")
            made = kind.made()
            if isinstance(made, Inert):
                made.begin(state)
            return made
        case _:
            raise policy.refused(name.found, "the file calls it with what it must not be given")


def _only_classes(arguments: tuple[object, ...]) -> bool:
    return all(part.use.made for part in arguments if isinstance(part, Name))


def _encodes_bytes(arguments: tuple[object, ...]) -> bool:
    """Accept the one encoding that old protocols write bytes with: others are modules, imported by their name."""
    return len(arguments) == 2 and isinstance(arguments[0], str) and arguments[1] in {"latin1", "latin-1"}


def _scalar(arguments: tuple[object, ...]) -> bool:
    """Accept bytes of a number or text; of an object, it would be the very object that it is given."""
    match arguments:
        case Dtype(hasobject=False), bytes():
            return True
        case Dtype(hasobject=False), Inert(name=name):
            return name.found == _ENCODE
        case _:
            return False


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
        "scalar": _scalar,
        "__bit_generator_ctor": _bit_generator,
        "__generator_ctor": _generator,
        "__randomstate_ctor": _generator,
    }
)
"""What the reconstructors take that call, import or copy what they are given."""
