"""Reading pickles and joblib files without ever handing them a global that nobody allowed.

Two passes read the same bytes. ``record`` follows the stream at package time with inert stand-ins for
every object, so that nothing of a hostile file runs, and returns the globals that it names. ``load`` builds
the model and resolves those recorded globals and no other. joblib's arrays, which joblib itself reads with
an unrestricted unpickler in some versions, are read here in both passes.
"""

import _compat_pickle
import io
import math
import pickle
import struct
from collections.abc import Callable, Collection
from typing import Any, ClassVar, NoReturn

from msgspec import Struct

from bedside_runtime.adapters import handles, policy, stand_ins
from bedside_runtime.adapters.compression import decompressed
from bedside_runtime.adapters.stand_ins import Array, Dtype, Inert, Name, Notes
from bedside_runtime.contract import Global
from bedside_runtime.errors import ForbiddenGlobal, ModelMismatch

_GARBLED = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""All that following a damaged stream is known to raise."""


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
    stream = decompressed(data)
    notes = Notes(frozenset(author), len(stream))
    for name in stand_ins.kept(_read(_Recorder(io.BytesIO(stream), {}, notes))):
        if not name.use.kept:
            raise policy.refused(name.found, "the model would keep it, to be called later")
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
    return _read(_Loader(io.BytesIO(decompressed(data)), {}, frozenset(allowed)))


_SAVE_AGAIN = "Save the model again; compare the file's size with where it was made."


def _read(reader: "_Reader") -> Any:  # noqa: ANN401 - whatever the author pickled
    try:
        return reader.load()
    except _GARBLED as error:
        raise ModelMismatch(
            f"the model file cannot be read as a pickle ({type(error).__name__})", remedy=_SAVE_AGAIN
        ) from error


def _count(array: Array) -> int:
    """Return the number of elements."""
    if not isinstance(array.shape, tuple) or not all(type(size) is int and size >= 0 for size in array.shape):
        raise pickle.UnpicklingError("an array has no shape")
    return math.prod(array.shape)


_BUILD: Callable[[Any], None] = pickle._Unpickler.dispatch[pickle.BUILD[0]]


class _Reader(pickle._Unpickler):  # the pure-Python one: its steps can be replaced
    """An unpickler in which every way to reach a global leads through ``resolve``."""

    # What typeshed leaves out of the pure-Python class.
    proto: int
    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[object], None]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: io.BytesIO, named: dict[int, object]) -> None:
        super().__init__(file)
        self.file = file
        self.named = named  # everything that the file named, nested streams included, by its identity

    def resolve(self, found: Global) -> Any:  # noqa: ANN401 - a class, a function or a stand-in
        raise NotImplementedError

    def read_array(self, array: Array) -> Any:  # noqa: ANN401 - an array or a stand-in
        raise NotImplementedError

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in the base class
        """Translate Python 2's names, as old protocols carry them, then ask ``resolve``."""
        if self.proto < 3:
            module, name = _compat_pickle.NAME_MAPPING.get(
                (module, name), (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
            )
        found = self.resolve(Global(module=module, name=name))
        self.named[id(found)] = found
        return found

    def get_extension(self, code: int) -> NoReturn:
        raise ForbiddenGlobal(f"the model reaches for extension {code} of another program's registry")

    def persistent_load(self, pid: Any) -> NoReturn:  # noqa: ANN401, ARG002 - as in the base class
        raise ForbiddenGlobal("the model reaches for an object outside of its own file")

    def load_build(self) -> None:
        if id(self.stack[-2]) in self.named:
            raise ForbiddenGlobal("the model changes a class or a function of the program that loads it")
        handles.built(lambda: _BUILD(self), self.stack[-2], self.stack[-1])
        top = self.stack[-1]
        if isinstance(top, Array):
            self.stack[-1] = self.read_array(top)

    dispatch[pickle.BUILD[0]] = load_build

    def load_bytearray8(self) -> None:
        """Take the bytes first: Python makes room for as many as the file says."""
        (size,) = struct.unpack("<Q", self.read(8))
        if size > self.file.getbuffer().nbytes:
            raise EOFError
        data = self.read(size)
        if len(data) != size:
            raise EOFError
        self.append(bytearray(data))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8

    def take(self, size: int) -> bytes:
        """Return exactly ``size`` bytes of the file."""
        data = self.file.read(size)
        if len(data) != size:
            raise EOFError
        return data

    def skip_padding(self, array: Array) -> None:
        if array.numpy_array_alignment_bytes is not None:
            self.take(self.take(1)[0])


class _Loader(_Reader):
    def __init__(self, file: io.BytesIO, named: dict[int, object], allowed: frozenset[Global]) -> None:
        super().__init__(file, named)
        self._allowed = allowed

    def resolve(self, found: Global) -> Any:  # noqa: ANN401 - a class or a function
        if found not in self._allowed:
            raise policy.refused(found, "the contract does not record it")
        if found == policy.JOBLIB_ARRAY:
            return Array
        return policy.resolved(found)

    def read_array(self, array: Array) -> Any:  # noqa: ANN401 - a NumPy array
        import numpy as np

        if array.subclass is not np.ndarray or not isinstance(array.dtype, np.dtype):
            raise pickle.UnpicklingError("an array is of no known kind")
        if array.dtype.hasobject:
            return _Loader(self.file, self.named, self._allowed).load()
        self.skip_padding(array)
        count = _count(array)
        flat = np.frombuffer(bytearray(self.take(count * array.dtype.itemsize)), dtype=array.dtype, count=count)
        shaped = flat.reshape(array.shape[::-1]).transpose() if array.order == "F" else flat.reshape(array.shape)
        return shaped if array.dtype.isnative else shaped.astype(array.dtype.newbyteorder("="))


class _Recorder(_Reader):
    def __init__(self, file: io.BytesIO, named: dict[int, object], notes: Notes) -> None:
        super().__init__(file, named)
        self._notes = notes

    def resolve(self, found: Global) -> Any:  # noqa: ANN401 - a stand-in
        use = policy.admit(found, self._notes.author)
        self._notes.globals.add(found)
        return Name(self._notes, found, use)

    def read_array(self, array: Array) -> Any:  # noqa: ANN401 - a stand-in
        if not isinstance(array.dtype, Dtype):
            raise pickle.UnpicklingError("an array is of no known kind")
        if array.dtype.hasobject:
            return _Recorder(self.file, self.named, self._notes).load()
        self.skip_padding(array)
        self.take(_count(array) * array.dtype.itemsize)
        return Inert(Name(self._notes, policy.JOBLIB_ARRAY, policy.Use()))
