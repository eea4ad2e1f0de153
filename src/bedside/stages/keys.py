"""`bedside keys`: a new API key, and the line of the mounted file that admits it."""

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bedside.errors import UsageError
from bedside_runtime import apikeys
from bedside_runtime.errors import AuthKeysInvalid


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. It is nowhere but here.

    Attributes:
        key: What its holder sends.
        line: What the server is given: the name and the SHA-256 of the key.
        names: All names in the file, this one included, one for each key; empty where no file was written.
    """

    key: str
    line: str
    names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Say which it is, and nothing of the key."""
        return f"NewKey({self.line!r})"


def new_key(name: str, *, last: date | None = None, file: Path | None = None) -> NewKey:
    """Make a key for ``name``.

    Args:
        name: Who will hold it: the caller's identity in the audit log.
        last: The last day (UTC) on which it is taken.
        file: A file of API keys that the line is added to; made if absent.

    Raises:
        AuthKeysInvalid: ``name`` cannot be a name, or ``file`` holds something else than API keys.
        UsageError: ``file`` cannot be read or written.
    """
    key = apikeys.make()
    line = apikeys.line(name, key, last)
    if file is None:
        return NewKey(key, line)
    try:
        before = file.read_bytes() if file.exists() else b""
        after = before + (b"\n" if before and not before.endswith(b"\n") else b"") + line.encode() + b"\n"
        names = tuple(item.name for item in apikeys.parse(after))
        _replace(file, after)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}") from None
    except AuthKeysInvalid as error:
        raise AuthKeysInvalid(f"{file}: {error}", remedy=error.remedy) from None
    return NewKey(key, line, names)


def _replace(file: Path, data: bytes) -> None:
    """Write ``data`` beside ``file`` and give it the name, so that no reader meets half of it."""
    written = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        written.write_bytes(data)
        if file.exists():
            written.chmod(file.stat().st_mode)
        written.replace(file)
    finally:
        written.unlink(missing_ok=True)
