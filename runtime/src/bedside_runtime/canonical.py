"""One byte form for every JSON value, and one strict way to read JSON from outside.

Encoding is RFC 8785 (JSON Canonicalization Scheme): sorted keys, shortest numbers, UTF-8, no white space.
Two equal values have equal bytes, so a sha256 over them is a digest of the value.

Decoding is RFC 8259 without its ambiguities (RFC 7493, I-JSON): duplicate keys, NaN and Infinity, numbers
that overflow a double, lone surrogates, invalid UTF-8 and nesting deeper than 32 are refused.
"""

import hashlib
import json
import math
from typing import Any, NoReturn, TypeAlias

import rfc8785

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"

MAX_DEPTH = 32
"""Deepest nesting of arrays and objects that is read."""

_MAX_DIGITS = 400
"""Longest integer token that is read; anything longer overflows a double by far."""


class NotCanonical(ValueError):
    """The value has no canonical form: NaN, infinity, or an integer beyond 2**53."""


class NotStrictJSON(ValueError):
    """The bytes are not JSON as it is accepted here. The message is fixed and never quotes the input."""


def encode(value: JSON) -> bytes:
    """Return the RFC 8785 bytes of ``value``.

    Raises:
        NotCanonical: The value holds NaN, an infinity, a lone surrogate or an integer beyond 2**53.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise NotCanonical(str(error)) from error


def digest(data: bytes) -> str:
    """Return the sha256 of ``data`` as 64 lowercase hexadecimal characters (FIPS 180-4)."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse ``data`` strictly.

    Raises:
        NotStrictJSON: See the module's description for what is refused.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrictJSON("the text is not valid UTF-8") from None
    if _depth_exceeds(text, MAX_DEPTH):
        raise NotStrictJSON(f"arrays and objects are nested deeper than {MAX_DEPTH}")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotStrictJSON(f"the text is not JSON: syntax error at character {error.pos}") from None
    if "\\u" in text and _holds_lone_surrogate(value):
        raise NotStrictJSON("a string holds half of a surrogate pair")
    return value


def _depth_exceeds(text: str, limit: int) -> bool:
    if text.count("[") + text.count("{") <= limit:
        return False
    depth, inside, escaped = 0, False, False
    for character in text:
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            if depth > limit:
                return True
        elif character in "]}":
            depth -= 1
    return False


def _holds_lone_surrogate(value: JSON) -> bool:
    match value:
        case str():
            return any("\ud800" <= character <= "\udfff" for character in value)
        case list():
            return any(map(_holds_lone_surrogate, value))
        case dict():
            return any(_holds_lone_surrogate(key) or _holds_lone_surrogate(item) for key, item in value.items())
        case _:
            return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise NotStrictJSON("an object names the same key twice")
    return result


def _constant(_token: str) -> NoReturn:
    raise NotStrictJSON("NaN and Infinity are not JSON")


def _finite(token: str) -> float:
    number = float(token)
    if math.isinf(number):
        raise NotStrictJSON("a number is larger than a double can hold")
    return number


def _integer(token: str) -> int:
    if len(token) > _MAX_DIGITS or math.isinf(float(token)):
        raise NotStrictJSON("a number is larger than a double can hold")
    return int(token)


_DECODER: json.JSONDecoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_finite, parse_int=_integer
)
