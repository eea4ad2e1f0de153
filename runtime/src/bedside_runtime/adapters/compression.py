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


_STREAMS: tuple[tuple[bytes, Callable[[io.BytesIO], _Stream]], ...] = (
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
    (b"\x5d\x00\x00", lzma.LZMAFile),
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
    return bytes(whole)


def _pieces(stream: _Stream) -> Iterator[bytes]:
    try:
        while piece := stream.read(_CHUNK):
            yield piece
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        raise ModelMismatch("the model file is damaged", remedy=_SAVE_AGAIN) from None
