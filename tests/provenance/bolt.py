"""A writer of bbolt files, version 2, as small as one can be: every bucket is one leaf page with its overflow.

Layout (go.etcd.io/bbolt, internal/common): two meta pages, an empty freelist, then the leaves. Numbers are little
endian. A value that is a mapping is a bucket; keys stand in the order of their bytes.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

PAGE = 4096
_MAGIC, _VERSION = 0xED0CDAED, 2
_LEAF, _META, _FREELIST = 0x02, 0x04, 0x10
_BUCKET = 0x01
_LEAST = 32 * PAGE

Bucket: TypeAlias = Mapping[str, "bytes | Bucket"]


def write(path: Path, root: Bucket) -> None:
    """Write a file that holds the buckets in ``root``."""
    pages = _Pages()
    top = pages.bucket(root)
    meta = b"".join(_page(number, _META, 0, _meta(top, pages.next, number)).ljust(PAGE, b"\0") for number in (0, 1))
    data = meta + _page(2, _FREELIST, 0, b"").ljust(PAGE, b"\0") + b"".join(pages.written)
    path.write_bytes(data.ljust(_LEAST, b"\0"))


class _Pages:
    def __init__(self) -> None:
        self.next, self.written = 3, list[bytes]()

    def bucket(self, content: Bucket) -> int:
        """Write a bucket behind those in it and return the number of its page."""
        entries = []
        for key in sorted(content, key=str.encode):
            value = content[key]
            if isinstance(value, Mapping):
                entries.append((_BUCKET, key.encode(), struct.pack("<QQ", self.bucket(value), 0)))
            else:
                entries.append((0, key.encode(), value))
        body = _leaf(entries)
        number, count = self.next, -(-(16 + len(body)) // PAGE)
        page = _page(number, _LEAF, len(entries), body, overflow=count - 1)
        self.written.append(page.ljust(count * PAGE, b"\0"))
        self.next += count
        return number


def _leaf(entries: list[tuple[int, bytes, bytes]]) -> bytes:
    heads, tail, size = b"", b"", 16 * len(entries)
    for place, (flags, key, value) in enumerate(entries):
        heads += struct.pack("<IIII", flags, size - 16 * place + len(tail), len(key), len(value))
        tail += key + value
    return heads + tail


def _page(number: int, flags: int, count: int, body: bytes, overflow: int = 0) -> bytes:
    return struct.pack("<QHHI", number, flags, count, overflow) + body


def _meta(root: int, pages: int, transaction: int) -> bytes:
    head = struct.pack("<IIII", _MAGIC, _VERSION, PAGE, 0) + struct.pack("<QQQQQ", root, 0, 2, pages, transaction)
    checksum = 0xCBF29CE484222325  # FNV-1a, 64 bits
    for byte in head:
        checksum = ((checksum ^ byte) * 0x100000001B3) % (1 << 64)
    return head + struct.pack("<Q", checksum)
