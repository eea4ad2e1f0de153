"""Undoing a joblib file's compression, as far as an honest file can grow."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from bedside_runtime.errors import ModelMismatch

FREE_BYTES = 256 * 1024 * 1024
"""What any file may grow to."""

RATIO = 100
"""How many times its own size a larger file may grow to. Trees and coefficients shrink to a fifth or a tenth."""

WINDOW_BYTES = 128 * 1024 * 1024
"""What undoing LZMA may remember. Its strongest preset asks for 65 MiB; a header could ask for 4 GiB."""

_CHUNK = 1024 * 1024
_TAKEN = 64 * 1024
_SAVE_AGAIN = "Save the model again; compare the file's size with where it was made."


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Zlib:
    """A zlib stream that is read in pieces, as the standard library's other three are."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file, self._inflate = file, zlib.decompressobj()

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the stream's end."""
        while not self._inflate.eof:
            taken = self._inflate.unconsumed_tail or self._file.read(_TAKEN)  # the tail is copied with every call
            if data := self._inflate.decompress(taken, size):
                return data
            if not taken:
                raise EOFError
        return b""


class _Lzma:
    """An xz or lzma stream whose window is bounded, which the standard library's own file does not do."""

    def __init__(self, file: io.BytesIO) -> None:
        self._file, self._inflate = file, lzma.LZMADecompressor(memlimit=WINDOW_BYTES)

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the stream's end."""
        while not self._inflate.eof:
            asked = self._inflate.needs_input
            taken = self._file.read(_TAKEN) if asked else b""
            if data := self._inflated(taken, size):
                return data
            if asked and not taken:
                raise EOFError
        return b""

    def _inflated(self, taken: bytes, size: int) -> bytes:
        try:
            return self._inflate.decompress(taken, size)
        except lzma.LZMAError as error:
            if "limit" not in str(error):
                raise
            raise ModelMismatch(
                f"undoing the model file's compression takes more than {WINDOW_BYTES} bytes of memory",
                remedy="If the file is yours, save the model with a level of at most 9; if not, do not load it.",
            ) from None


_STREAMS: tuple[tuple[bytes, Callable[[io.BytesIO], _Stream]], ...] = (
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", _Lzma),
    (b"\x5d\x00\x00", _Lzma),
    (b"\x78", _Zlib),
)


def decompressed(data: bytes) -> bytes:
    """Return the pickle inside a compressed joblib file, or ``data`` itself.

    Raises:
        ModelMismatch: The compressed data is damaged, or grows beyond what a model's file does.
    """
    for magic, opened in _STREAMS:
        if data.startswith(magic):
            return _read(opened(io.BytesIO(data)), max(FREE_BYTES, RATIO * len(data)))
    return data


def _read(stream: _Stream, limit: int) -> bytes:
    whole = bytearray()
    for piece in _pieces(stream):
        whole += piece
        if len(whole) > limit:
            raise ModelMismatch(
                f"the model file grows beyond {limit} bytes when it is decompressed",
                remedy="If the file is yours, save the model without compression; if not, do not load it.",
            )
    if not whole:
        raise _damaged()
    return bytes(whole)


def _pieces(stream: _Stream) -> Iterator[bytes]:
    try:
        while piece := stream.read(_CHUNK):
            yield piece
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        raise _damaged() from None


def _damaged() -> ModelMismatch:
    return ModelMismatch("the model file is damaged", remedy=_SAVE_AGAIN)
