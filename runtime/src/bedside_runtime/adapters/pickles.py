"""Reading pickles and joblib files without ever handing them a global that nobody allowed.

Two passes read the same bytes. ``record`` follows the stream at package time with inert stand-ins for
every object, so that nothing of a hostile file runs, and returns the globals that it names. ``load`` builds
the model and resolves those recorded globals and no other. joblib's arrays, which joblib itself reads with
an unrestricted unpickler in some versions, are read here in both passes.
"""

import _compat_pickle
import bz2
import gzip
import importlib
import io
import lzma
import math
import pickle
import struct
import zlib
from collections.abc import Callable, Collection
from typing import Any, ClassVar, NoReturn

from msgspec import Struct

from bedside_runtime.adapters import policy
from bedside_runtime.contract import Global
from bedside_runtime.errors import ForbiddenGlobal, ModelMismatch

_GARBLED = (
    pickle.UnpicklingError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""All that following a damaged stream is known to raise."""

_DECOMPRESSORS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ\x00", lzma.decompress),
    (b"\x5d\x00\x00", lzma.decompress),
    (b"\x78", zlib.decompress),
)


class Record(Struct, frozen=True):
    """What a pickled model names.

    Attributes:
        globals: All that loading resolves, sorted.
        sklearn_versions: Every scikit-learn version that an estimator in it says it was saved with.
    """

    globals: tuple[Global, ...]
    sklearn_versions: tuple[str, ...]


def record(data: bytes, author: Collection[str] = ()) -> Record:
    """Follow the stream without running any of it.

    Args:
        data: A pickle or joblib file, compressed or not.
        author: The modules of the author's own code.

    Raises:
        ForbiddenGlobal: It names, or calls, what a fitted model has no need of.
        ModelMismatch: It is damaged.
    """
    notes = _Notes(frozenset(author))
    _read(_Recorder(io.BytesIO(decompressed(data)), notes))
    found = sorted(notes.globals, key=lambda item: (item.module, item.name))
    return Record(tuple(found), tuple(sorted(notes.versions)))


def record_globals(data: bytes, author: Collection[str] = ()) -> tuple[Global, ...]:
    """Return the globals alone; see ``record``."""
    return record(data, author).globals


def load(data: bytes, allowed: Collection[Global]) -> Any:  # noqa: ANN401 - whatever the author pickled
    """Build the object in ``data``, resolving the globals in ``allowed`` and no other.

    Raises:
        ForbiddenGlobal: It names another one.
        ModelMismatch: It is damaged.
    """
    return _read(_Loader(io.BytesIO(decompressed(data)), frozenset(allowed)))


def decompressed(data: bytes) -> bytes:
    """Return the pickle inside a compressed joblib file, or ``data`` itself.

    Raises:
        ModelMismatch: The compressed data is damaged.
    """
    for magic, decompress in _DECOMPRESSORS:
        if data.startswith(magic):
            try:
                return decompress(data)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
                raise ModelMismatch("the model file is damaged", remedy=_SAVE_AGAIN) from None
    return data


_SAVE_AGAIN = "Save the model again; compare the file's size with where it was made."


def _read(reader: "_Reader") -> Any:  # noqa: ANN401 - whatever the author pickled
    try:
        return reader.load()
    except _GARBLED as error:
        raise ModelMismatch(
            f"the model file cannot be read as a pickle ({type(error).__name__})", remedy=_SAVE_AGAIN
        ) from error


class _Array:
    """What stands in the stream for an array whose bytes follow, filled by the stream itself."""

    subclass: Any
    shape: Any
    order: Any
    dtype: Any
    numpy_array_alignment_bytes: Any = None

    def count(self) -> int:
        """Return the number of elements."""
        if not isinstance(self.shape, tuple) or not all(type(size) is int and size >= 0 for size in self.shape):
            raise pickle.UnpicklingError("an array has no shape")
        return math.prod(self.shape)


_BUILD: Callable[[Any], None] = pickle._Unpickler.dispatch[pickle.BUILD[0]]


class _Reader(pickle._Unpickler):  # the pure-Python one: its steps can be replaced
    """An unpickler in which every way to reach a global leads through ``resolve``."""

    # What typeshed leaves out of the pure-Python class.
    proto: int
    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.file = file

    def resolve(self, found: Global) -> Any:  # noqa: ANN401 - a class, a function or a stand-in
        raise NotImplementedError

    def read_array(self, array: _Array) -> Any:  # noqa: ANN401 - an array or a stand-in
        raise NotImplementedError

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in the base class
        """Translate Python 2's names, as old protocols carry them, then ask ``resolve``."""
        if self.proto < 3:
            module, name = _compat_pickle.NAME_MAPPING.get(
                (module, name), (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
            )
        return self.resolve(Global(module=module, name=name))

    def get_extension(self, code: int) -> NoReturn:
        raise ForbiddenGlobal(f"the model reaches for extension {code} of another program's registry")

    def persistent_load(self, pid: Any) -> NoReturn:  # noqa: ANN401, ARG002 - as in the base class
        raise ForbiddenGlobal("the model reaches for an object outside of its own file")

    def load_build(self) -> None:
        _BUILD(self)
        top = self.stack[-1]
        if isinstance(top, _Array):
            self.stack[-1] = self.read_array(top)

    dispatch[pickle.BUILD[0]] = load_build

    def take(self, size: int) -> bytes:
        """Return exactly ``size`` bytes of the file."""
        data = self.file.read(size)
        if len(data) != size:
            raise EOFError
        return data

    def skip_padding(self, array: _Array) -> None:
        if array.numpy_array_alignment_bytes is not None:
            self.take(self.take(1)[0])


class _Loader(_Reader):
    def __init__(self, file: io.BytesIO, allowed: frozenset[Global]) -> None:
        super().__init__(file)
        self._allowed = allowed

    def resolve(self, found: Global) -> Any:  # noqa: ANN401 - a class or a function
        if found not in self._allowed:
            raise policy.refused(found, "the contract does not record it")
        if found == policy.JOBLIB_ARRAY:
            return _Array
        value = getattr(importlib.import_module(found.module), found.name)
        if policy.is_pythons_own(value) and found.module not in policy.HARMLESS:
            raise policy.refused(found, "it is another name for a part of Python itself")
        return value

    def read_array(self, array: _Array) -> Any:  # noqa: ANN401 - a NumPy array
        import numpy as np

        if array.subclass is not np.ndarray or not isinstance(array.dtype, np.dtype):
            raise pickle.UnpicklingError("an array is of no known kind")
        if array.dtype.hasobject:
            return _Loader(self.file, self._allowed).load()
        self.skip_padding(array)
        count = array.count()
        flat = np.frombuffer(bytearray(self.take(count * array.dtype.itemsize)), dtype=array.dtype, count=count)
        shaped = flat.reshape(array.shape[::-1]).transpose() if array.order == "F" else flat.reshape(array.shape)
        return shaped if array.dtype.isnative else shaped.astype(array.dtype.newbyteorder("="))


class _Notes:
    """What the recording pass has seen so far, nested streams included."""

    def __init__(self, author: frozenset[str]) -> None:
        self.author = author
        self.globals: set[Global] = set()
        self.versions: set[str] = set()


class _Inert:
    """An object that was never made: it takes every state and item, and does nothing with them."""

    def __init__(self, notes: _Notes, origin: Global) -> None:
        self.__notes, self.origin = notes, origin

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise policy.refused(self.origin, "the file calls an object that it made itself")

    def __setstate__(self, state: object) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            version = part.get("_sklearn_version") if isinstance(part, dict) else None
            if isinstance(version, str):
                self.__notes.versions.add(version)

    def append(self, item: object) -> None:
        pass

    extend = update = add = append

    def __setitem__(self, key: object, value: object) -> None:
        pass


class _Dtype(_Inert):
    """Stands for ``numpy.dtype``; remembers only how many bytes an element takes."""

    itemsize, hasobject = 0, False

    def describe(self, text: object) -> None:
        if not isinstance(text, str) or not text[1:].isdigit():
            raise pickle.UnpicklingError("a dtype is of no known kind")
        self.itemsize = int(text[1:]) * (4 if text[0] == "U" else 1)
        self.hasobject = text[0] == "O"

    def __setstate__(self, state: object) -> None:
        # NumPy's own state of a structured dtype ends with its flags; bit 0 says that it holds objects.
        if isinstance(state, tuple) and len(state) > 7 and isinstance(state[7], int):
            self.hasobject = self.hasobject or bool(state[7] & 1)


class _Name:
    """Stands for a global: calling it, where that is allowed, makes an inert object."""

    def __init__(self, notes: _Notes, found: Global, callable_: bool) -> None:
        self.__notes, self.found, self.callable = notes, found, callable_

    def __call__(self, *arguments: object, **_: object) -> object:
        if not self.callable:
            raise policy.refused(self.found, "a function of a library may be kept, but not called by the file")
        if self.found == Global(module="copyreg", name="_reconstructor"):
            return _new(arguments[0])
        if self.found == policy.JOBLIB_ARRAY:
            return _Array()
        if self.found == Global(module="numpy", name="dtype"):
            made = _Dtype(self.__notes, self.found)
            made.describe(arguments[0])
            return made
        return _Inert(self.__notes, self.found)

    # The stream's NEWOBJ asks a class for its ``__new__``; a stand-in is an instance, so this is found first.
    def __getattribute__(self, attribute: str) -> Any:  # noqa: ANN401 - as in the base class
        if attribute == "__new__":
            return lambda _cls, *arguments, **named: self(*arguments, **named)
        return super().__getattribute__(attribute)


def _new(name: object) -> object:
    if not isinstance(name, _Name):
        raise pickle.UnpicklingError("an object has no class")
    return name()


class _Recorder(_Reader):
    def __init__(self, file: io.BytesIO, notes: _Notes) -> None:
        super().__init__(file)
        self._notes = notes

    def resolve(self, found: Global) -> Any:  # noqa: ANN401 - a stand-in
        callable_ = policy.admit(found, self._notes.author)
        self._notes.globals.add(found)
        return _Name(self._notes, found, callable_)

    def read_array(self, array: _Array) -> Any:  # noqa: ANN401 - a stand-in
        if not isinstance(array.dtype, _Dtype):
            raise pickle.UnpicklingError("an array is of no known kind")
        if array.dtype.hasobject:
            return _Recorder(self.file, self._notes).load()
        self.skip_padding(array)
        self.take(array.count() * array.dtype.itemsize)
        return _Inert(self._notes, policy.JOBLIB_ARRAY)
