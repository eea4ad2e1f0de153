"""API keys: how a key looks, and the file of their hashes. Pure but for the randomness of a new key.

A key is 256 random bits, so nothing about it can be guessed from its SHA-256. A slow hash protects passwords, which
can be guessed; here it would only let anybody who sends wrong keys keep the server busy.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from msgspec import Struct

from bedside_runtime.errors import AuthKeysInvalid

PREFIX: Final = "bsk_"
"""How every key begins, so that scanners for leaked secrets and people know one."""

MOST_KEYS: Final = 200
"""Each request is compared with each of them."""

_KEY: Final = re.compile(rb"bsk_[A-Za-z0-9_-]{43}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_LINE: Final = re.compile(r"(?P<name>\S+)\s+sha256:(?P<digest>[0-9a-f]{64})(?:\s+until\s+(?P<last>\d{4}-\d\d-\d\d))?")


class ApiKey(Struct, frozen=True):
    """What is kept of a key.

    Attributes:
        name: Whose it is; several keys may have one name while they are exchanged.
        digest: SHA-256 of the key's characters.
        last: The last day (UTC) on which it is taken; ``None`` for one without an end.
    """

    name: str
    digest: bytes
    last: date | None = None


def make() -> str:
    """Return a new key."""
    return PREFIX + secrets.token_urlsafe(32)


def line(name: str, key: str, last: date | None = None) -> str:
    """Return the line of the file that admits ``key``.

    Raises:
        AuthKeysInvalid: ``name`` cannot be the name of a caller.
    """
    if not _NAME.fullmatch(name):
        raise AuthKeysInvalid(
            f"{name[:80]!r} cannot be the name of a caller",
            remedy="Use letters, digits and . _ @ - only, at most 64, a letter or digit first.",
        )
    until = f" until {last.isoformat()}" if last is not None else ""
    return f"{name} sha256:{hashlib.sha256(key.encode()).hexdigest()}{until}"


def parse(data: bytes) -> tuple[ApiKey, ...]:
    """Return the keys of a file: one line each, ``NAME sha256:HEX [until YYYY-MM-DD]``; ``#`` begins a comment.

    Raises:
        AuthKeysInvalid: A line is none, a key stands twice, or there is no key at all.
    """
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise AuthKeysInvalid("the file of API keys is not UTF-8") from None
    keys = tuple(_keys(lines))
    if not keys:
        raise AuthKeysInvalid("the file of API keys holds no key", remedy="Make one with `bedside keys NAME`.")
    if len(keys) > MOST_KEYS:
        raise AuthKeysInvalid(f"the file of API keys holds more than {MOST_KEYS} keys")
    if len({key.digest for key in keys}) != len(keys):
        raise AuthKeysInvalid("one API key stands twice, so it does not say whose it is")
    return keys


def _keys(lines: Sequence[str]) -> Iterator[ApiKey]:
    for number, text in enumerate(lines, 1):
        said = text.partition("#")[0].strip()
        if said:
            yield _key(said, number)


def _key(said: str, number: int) -> ApiKey:
    match = _LINE.fullmatch(said)
    if match is None or not _NAME.fullmatch(match["name"]):
        raise AuthKeysInvalid(
            f"line {number} of the file of API keys is none",  # and is not quoted: it may be a key
            remedy="Write NAME sha256:HEX, optionally followed by until YYYY-MM-DD, as `bedside keys NAME` does.",
        )
    try:
        last = date.fromisoformat(match["last"]) if match["last"] else None
    except ValueError:
        raise AuthKeysInvalid(f"line {number} of the file of API keys names a day that does not exist") from None
    return ApiKey(match["name"], bytes.fromhex(match["digest"]), last)


def is_key(presented: bytes) -> bool:
    """Return whether ``presented`` has the form of a key."""
    return _KEY.fullmatch(presented) is not None


def find(keys: Sequence[ApiKey], presented: bytes) -> ApiKey | None:
    """Return the key that ``presented`` is, in a time that says nothing about any of ``keys``."""
    digest, found = hashlib.sha256(presented).digest(), None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            found = key
    return found
