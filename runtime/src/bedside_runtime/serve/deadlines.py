"""How long a caller will wait, as it says in a header. Pure.

Three spellings are read, and the shortest counts:

- ``X-Request-Deadline-Ms``: whole milliseconds from the request's arrival.
- ``grpc-timeout``: up to eight digits and a unit (gRPC over HTTP/2, "Timeout").
- ``x-envoy-expected-rq-timeout-ms``: whole milliseconds, which Envoy's router adds.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bedside_runtime.serve.problems import Problem

_GRPC: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS: Final = MappingProxyType({b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9})
_MILLISECONDS: Final = re.compile(rb"[0-9]{1,12}")
_IN_MILLISECONDS: Final = (b"x-request-deadline-ms", b"x-envoy-expected-rq-timeout-ms")
_GRPC_TIMEOUT: Final = b"grpc-timeout"

NAMES: Final = frozenset({*_IN_MILLISECONDS, _GRPC_TIMEOUT})
"""Header fields in which a caller says it."""


def seconds(head: Mapping[bytes, bytes]) -> float | None:
    """Return how many seconds from its arrival the caller of a request will wait, ``None`` where it does not say.

    Args:
        head: Header names in lower case, and values.

    Raises:
        Problem: A header says something else than a time; an answer that comes too late is never sent by mistake.
    """
    if NAMES.isdisjoint(head):
        return None
    found = [_milliseconds(head[name]) for name in _IN_MILLISECONDS if name in head]
    if _GRPC_TIMEOUT in head:
        found.append(_grpc(head[_GRPC_TIMEOUT]))
    return min(found)


def _milliseconds(value: bytes) -> float:
    if not _MILLISECONDS.fullmatch(value):
        raise Problem("bad-deadline", "a deadline header must hold whole milliseconds")
    return int(value) / 1000


def _grpc(value: bytes) -> float:
    parsed = _GRPC.fullmatch(value)
    if parsed is None:
        raise Problem("bad-deadline", "grpc-timeout must hold up to eight digits and one of H, M, S, m, u, n")
    return int(parsed[1]) * _UNITS[parsed[2]]
