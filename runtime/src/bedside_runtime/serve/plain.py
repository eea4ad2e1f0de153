"""The plain protocol of POST /predict: ``{"inputs": {...}}`` or ``{"instances": [{...}, ...]}``."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from bedside_runtime import canonical
from bedside_runtime.contract import Contract
from bedside_runtime.serve.problems import Problem
from bedside_runtime.service import Prediction

_ENCODE: Final = msgspec.json.Encoder().encode


class _Answer(Struct, frozen=True, gc=False):
    id: str
    release: Raw
    predictions: Sequence[Prediction]


def decode(data: bytes, limit: int) -> list[object]:
    """Return the instances of a request's body, still unchecked.

    Args:
        data: The body.
        limit: Most instances that are taken.

    Raises:
        Problem: Not JSON, neither inputs nor instances, or too many of them.
    """
    value = strict(data)
    if not isinstance(value, dict) or len(value) != 1:
        raise Problem("conflicting-body")
    if "inputs" in value:
        return [value["inputs"]]
    instances = value.get("instances")
    if not isinstance(instances, list) or not instances:
        raise Problem("conflicting-body", "instances must be a non-empty list of objects")
    if len(instances) > limit:
        raise Problem("too-many-instances", f"at most {limit} instances")
    return instances


def strict(data: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse a body strictly.

    Raises:
        Problem: It is not the JSON that is accepted here; the detail never quotes it.
    """
    try:
        return canonical.decode(data)
    except canonical.NotStrictJSON as error:
        raise Problem("bad-json", str(error)) from None


def encode(request_id: str, release: Raw, predictions: Sequence[Prediction]) -> bytes:
    """Return the answer's body; ``release`` is what `encoded_release` returns."""
    return _ENCODE(_Answer(request_id, release, predictions))


def release(contract: Contract, digest: str) -> dict[str, str]:
    """Return what every answer says about what answered."""
    return {"name": contract.name, "version": contract.version, "digest": f"sha256:{digest}"}


def encoded_release(contract: Contract, digest: str) -> Raw:
    """Return `release`, ready to be put into every answer."""
    return Raw(_ENCODE(release(contract, digest)))
