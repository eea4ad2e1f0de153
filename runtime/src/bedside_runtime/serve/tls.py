"""TLS on the public port: a context for each state of the files, so that a new connection gets what is mounted now.

A context is made anew rather than changed: what failed half-way serves nobody, an authority that was taken out is gone,
and no session of before is taken up again. It is tried in memory before anybody meets it.
"""

import ssl
from pathlib import Path
from typing import Final

from msgspec import Struct

from bedside_runtime.contract import Tls
from bedside_runtime.errors import TlsInvalid

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
"""File names, those of a Secret of type kubernetes.io/tls."""

_MINIMUM: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption (RFC 9325, section 4.2). TLS 1.3 has no others."""


class Endpoint(Struct, frozen=True):
    """What a connection is answered with.

    Attributes:
        context: For the handshake.
        expires: When the certificate ends, seconds since the epoch.
        authorities: Whose client certificates are believed, PEM; empty where none are asked for.
    """

    context: ssl.SSLContext
    expires: float
    authorities: bytes = b""


def endpoint(settings: Tls, certificate: Path, key: Path, authorities: bytes | None) -> Endpoint:
    """Return what is served with the files that are there now.

    Args:
        settings: Of the release.
        certificate: The certificate, and those up to the root, PEM.
        key: Its key, PEM, not encrypted.
        authorities: Whose client certificates are believed, PEM; ``None`` where none are asked for.

    Raises:
        TlsInvalid: A file is missing or none, they do not belong together, or no client would accept them now.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _MINIMUM[settings.minimum]
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password="")  # without one it would ask at the terminal
    except (OSError, ValueError) as error:
        raise TlsInvalid(f"{certificate} and {key} cannot be served: {_said(error)}") from None
    if authorities is not None:
        _ask_for_certificates(context, authorities)
    return Endpoint(context, _tried(context, certificate), authorities or b"")


def _ask_for_certificates(context: ssl.SSLContext, authorities: bytes) -> None:
    """A client need not show one: what then happens to its request is said in a document, not by a broken handshake."""
    try:
        context.load_verify_locations(cadata=authorities.decode("ascii"))
    except (OSError, ValueError) as error:
        raise TlsInvalid(f"the authorities of client certificates cannot be read: {_said(error)}") from None
    if not context.get_ca_certs():
        raise TlsInvalid("the file of authorities holds no certificate of an authority")
    context.verify_mode = ssl.CERT_OPTIONAL


def _tried(context: ssl.SSLContext, certificate: Path) -> float:
    """Shake hands in memory with a client that knows this one certificate, and return when it ends."""
    knowing = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    knowing.check_hostname = False  # the name under which it is reached is not known here
    knowing.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        knowing.load_verify_locations(cafile=certificate)
        client = knowing.wrap_bio(to_client, to_server)
        for _ in range(_FLIGHTS):
            for side in (client, server):
                _step(side)
    except (OSError, ValueError) as error:
        raise TlsInvalid(f"no client would accept {certificate}: {_said(error)}") from None
    found = client.getpeercert()
    if not found:
        raise TlsInvalid(f"no client would accept {certificate}")
    return float(ssl.cert_time_to_seconds(str(found["notAfter"])))


_FLIGHTS: Final = 4
"""Rounds of messages; a handshake has at most two."""


def _step(side: ssl.SSLObject) -> None:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return


def _said(error: OSError | ValueError) -> str:
    """Return what OpenSSL or the system says in a word; neither quotes a file."""
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or getattr(error, "strerror", "")
    return str(reason or type(error).__name__)
