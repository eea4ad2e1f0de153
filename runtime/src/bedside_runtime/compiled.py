"""The common request, read in one pass: ``{"inputs": {...}}`` of one patient, bare values in declared units.

msgspec decodes the body straight into a type made from the contract: names, types, ranges, categories, missing
values. It takes what `canonical.decode` and `inputs.InputDecoder` take and gives the same rows, or gives none:
whatever it does not understand, and everything that is wrong, is left to those two, which say exactly what. A
property test holds the two ways together.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, assert_never

import msgspec
from msgspec import UNSET, Meta, UnsetType

from bedside_runtime.contract import Input
from bedside_runtime.inputs import LARGEST_EXACT_INTEGER, Flag, ValidRow

_QUOTES_OF_INPUTS = 2
"""Quotation marks of the one key around all inputs."""


class CompiledDecoder:
    """Reads the bodies of common requests. Made once per release, used per request.

    Most patients have every input, and each where it is expected: a type that says just that is tried first, and what
    it takes is not looked at again.
    """

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._inputs = tuple(inputs)
        self._usual = _decoder([_usual(item) for item in inputs])
        self._decode = _decoder(inputs)
        words = [index for index, item in enumerate(inputs) if item.type == "category"]
        self._perhaps_words = tuple(index for index in words if inputs[index].missing == "allow")
        self._most_quotes = _QUOTES_OF_INPUTS + 2 * len(inputs) + 2 * len(words)
        self._quotes = self._most_quotes - 2 * len(self._perhaps_words)

    def rows(self, body: bytes) -> tuple[ValidRow, ...] | None:
        """Return the one row of ``body``, or ``None`` where the careful way has to look at it."""
        if self._usual is None:
            return None
        try:
            read = self._usual(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._unusual(body)
        # A key that is there twice brings quotation marks of its own; msgspec would take the last and say nothing.
        if body.count(b'"') != self._most_quotes:
            return None
        return (ValidRow(msgspec.structs.astuple(read.inputs)),)

    def _unusual(self, body: bytes) -> tuple[ValidRow, ...] | None:
        """Return the row of a patient with something missing, or not as expected."""
        if self._decode is None:
            return None
        try:
            read = self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        cells = msgspec.structs.astuple(read.inputs)
        quotes = self._quotes - 2 * cells.count(UNSET)
        for index in self._perhaps_words:
            quotes += 2 * (type(cells[index]) is str)
        if body.count(b'"') != quotes:
            return None
        cells = tuple([None if cell is UNSET else cell for cell in cells])
        flags = [flag for item, cell in zip(self._inputs, cells, strict=True) for flag in _noticed(item, cell)]
        return (ValidRow(cells, tuple(flags)),)


def _usual(item: Input) -> Input:
    """Return ``item`` as it is when nothing about it is worth a flag."""
    if item.expected is None:
        return msgspec.structs.replace(item, missing="reject")
    low, high = item.expected
    if item.valid is not None:
        low, high = max(low, item.valid[0]), min(high, item.valid[1])
    return msgspec.structs.replace(item, missing="reject", valid=(low, high))


def _decoder(inputs: Sequence[Input]) -> Callable[[bytes], Any] | None:
    """Return what decodes a body, ``None`` where a name has characters that msgspec does not take."""
    if any(json.dumps(item.name, ensure_ascii=False) != f'"{item.name}"' for item in inputs):
        return None
    names = [f"f{index}" for index in range(len(inputs))]
    fields: list[Any] = [(name, *_field(item)) for name, item in zip(names, inputs, strict=True)]
    renamed = {name: item.name for name, item in zip(names, inputs, strict=True)}
    patient = msgspec.defstruct("Patient", fields, rename=renamed, forbid_unknown_fields=True, kw_only=True)
    body = msgspec.defstruct("Body", [("inputs", patient)], forbid_unknown_fields=True)
    return msgspec.json.Decoder(body).decode


def _noticed(item: Input, cell: Any) -> Sequence[Flag]:  # noqa: ANN401 - a cell of the item's type
    if cell is None:
        return (Flag("missing", item.name),)
    if item.expected is not None and not item.expected[0] <= cell <= item.expected[1]:
        return (Flag("outside-expected", item.name),)
    return ()


def _field(item: Input) -> tuple[Any] | tuple[Any, UnsetType]:
    kind = _kind(item)
    return (kind | None | UnsetType, UNSET) if item.missing == "allow" else (kind,)


def _kind(item: Input) -> Any:  # noqa: ANN401 - a type
    match item.type:
        case "number":
            low, high = item.valid or (-math.inf, math.inf)
            return Annotated[float, Meta(ge=low, le=high)] if item.valid else float
        case "integer":
            low, high = item.valid or (-LARGEST_EXACT_INTEGER, LARGEST_EXACT_INTEGER)
            low, high = max(low, -LARGEST_EXACT_INTEGER), min(high, LARGEST_EXACT_INTEGER)
            return Annotated[int, Meta(ge=math.ceil(low), le=math.floor(high))]
        case "category":
            return Literal[item.categories]
        case "boolean":
            return bool
        case _:
            assert_never(item.type)
