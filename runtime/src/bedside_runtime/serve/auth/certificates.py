"""Client certificates: which names a caller's certificate gives, and the list of those that may ask. Pure.

Only subject alternative names count (RFC 5280, section 4.2.1.6; RFC 9525): a common name says nothing. A name on the
list is one name; there are no wildcards on either side.
"""

import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from bedside_runtime.errors import AuthKeysInvalid
from bedside_runtime.serve.auth.believing import NotBelieved

_KINDS: Final = {"DNS": "dns", "URI": "uri", "email": "email", "IP Address": "ip"}
"""Kinds of names as `ssl` calls them, and as they stand on the list."""


class Peer(Struct, frozen=True):
    """What the certificate of a caller says, which the handshake has verified.

    Attributes:
        names: Its subject alternative names, ``kind:name``.
        expires: When it ends, seconds since the epoch.
    """

    names: tuple[str, ...]
    expires: float


def peer(certificate: Mapping[str, Any] | None) -> Peer | None:
    """Return what ``certificate`` says, as ``ssl`` gives it; ``None`` where there was none."""
    if not certificate:
        return None
    found = (_name(_KINDS[kind], value) for kind, value in certificate.get("subjectAltName", ()) if kind in _KINDS)
    names = tuple(name for name in found if name is not None)
    return Peer(names, ssl.cert_time_to_seconds(certificate["notAfter"]))


def parse(data: bytes) -> frozenset[str]:
    """Return the names of a list: one a line, its kind before it as in ``dns:host``; ``#`` begins a comment.

    Raises:
        AuthKeysInvalid: A line is no name, or there is none at all.
    """
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise AuthKeysInvalid("the list of client names is not UTF-8") from None
    names = frozenset(_listed(lines))
    if not names:
        raise AuthKeysInvalid("the list of client names is empty, so nobody could ask")
    return names


def _listed(lines: list[str]) -> Iterator[str]:
    for number, text in enumerate(lines, 1):
        said = text.strip()
        if not said or said.startswith("#"):
            continue
        kind, _, value = said.partition(":")
        name = _name(kind, value) if kind in _KINDS.values() else None
        if name is None or "*" in name:
            raise AuthKeysInvalid(
                f"line {number} of the list of client names is none",
                remedy="Write dns:HOST, uri:URI, email:ADDRESS or ip:ADDRESS, without a wildcard.",
            )
        yield name


def _name(kind: str, value: str) -> str | None:
    """Return a name in the one form in which it is compared; ``None`` where it is none."""
    value = value.strip()
    if not value or not value.isprintable() or " " in value:
        return None
    if kind == "dns":
        return f"dns:{value.lower()}"
    if kind == "ip":
        try:
            return f"ip:{ipaddress.ip_address(value)}"
        except ValueError:
            return None
    return f"{kind}:{value}"


def identity(shown: Peer | None, listed: frozenset[str], now: float) -> str:
    """Return who shows a certificate, ``mtls:<kind>:<name>``: the first of its names that is on the list.

    Raises:
        NotBelieved: There is none, it has ended since the handshake, or no name of it is on the list.
    """
    if shown is None:
        raise NotBelieved("certificate-missing")
    if now >= shown.expires:
        raise NotBelieved("certificate-expired")
    for name in shown.names:
        if name in listed:
            return f"mtls:{name}"
    raise NotBelieved("certificate-name", f"mtls:{shown.names[0]}" if shown.names else None)
