"""The compiled decoder takes what the careful one takes and gives the same rows, or gives none."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside_runtime import canonical
from bedside_runtime.compiled import CompiledDecoder
from bedside_runtime.contract import Input
from bedside_runtime.inputs import InvalidInputs, ValidRow, compile_inputs

INPUTS = (
    Input(name="age", type="integer", valid=(0, 120), expected=(18, 100)),
    Input(name="temp", type="number", valid=(-5, 45.5), expected=(35, 41), missing="allow"),
    Input(name="free", type="number"),
    Input(name="count", type="integer", missing="allow"),
    Input(name="ward", type="category", categories=("A", 'q"uote', "é\u2028"), missing="allow"),
    Input(name="odd'näme", type="category", categories=("yes", "no")),
    Input(name="vent", type="boolean", missing="allow"),
)
PATIENT: dict[str, Any] = {"age": 63, "temp": 37.2, "free": 1, "ward": "A", "odd'näme": "yes", "vent": False}
COMPILED, CAREFUL = CompiledDecoder(INPUTS), compile_inputs(INPUTS)

numbers = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-10, 130),
    st.floats(),
    st.floats(-10, 50),
    st.sampled_from(["-0", "-0.0", "0e0", "1e400", "-1E-400", "1.0", "63.0", "9007199254740993", "1e2", "01", "+1"]),
)
values = st.one_of(numbers, st.booleans(), st.none(), st.sampled_from(["A", "yes", "no", 'q"uote', "é\u2028", "B"]))
keys = st.sampled_from([item.name for item in INPUTS] + ["unknown"])


def careful(body: bytes) -> tuple[ValidRow, ...] | None:
    try:
        value = canonical.decode(body)
        if not isinstance(value, dict) or value.keys() != {"inputs"}:
            return None
        return CAREFUL.rows([value["inputs"]])
    except (canonical.NotStrictJSON, InvalidInputs):
        return None


def exactly(rows: tuple[ValidRow, ...] | None) -> str:
    """Tell 1 from 1.0 and 0.0 from -0.0, which are equal in Python."""
    return repr(rows)


def written(value: Any, escape: bool) -> str:
    return value if isinstance(value, str) and value[:1] in "-+0123456789" else json.dumps(value, ensure_ascii=escape)


@settings(max_examples=1_000, deadline=None)
@given(st.lists(st.tuples(keys, values), max_size=9), st.booleans(), st.sampled_from(["", " ", "\n\t"]), st.booleans())
def test_any_body_is_read_alike_or_left_to_the_careful_way(
    pairs: list[tuple[str, Any]], complete: bool, space: str, escape: bool
) -> None:
    if complete:
        pairs = [*({**PATIENT, **dict(pairs)}.items()), *pairs[:1]]
    fields = f",{space}".join(f"{json.dumps(key)}:{space}{written(value, escape)}" for key, value in pairs)
    body = f'{space}{{"inputs":{space}{{{fields}}}}}{space}'.encode()
    rows = COMPILED.rows(body)
    if rows is not None:
        assert exactly(rows) == exactly(careful(body))


def test_a_name_that_needs_escapes_is_left_to_the_careful_way() -> None:
    for name in ('a"b', "a\\b", "a\nb"):
        decoder = CompiledDecoder([Input(name=name, type="number")])
        assert decoder.rows(json.dumps({"inputs": {name: 1}}).encode()) is None


def test_the_common_request_is_read_at_once() -> None:
    for change in ({}, {"temp": None}, {"ward": None}, {"age": 5}, {"ward": "é\u2028"}, {"vent": None}):
        body = json.dumps({"inputs": PATIENT | change}, ensure_ascii=False).encode()
        assert COMPILED.rows(body) is not None
        assert exactly(COMPILED.rows(body)) == exactly(careful(body))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"age": 63', '"age": 63, "age": 64'),
        ('"age": 63', '"age": 63, "\\u0061ge": 64'),
        ('"ward": "A"', '"ward": null, "ward": "A"'),
        ('{"inputs"', '{"inputs": {}, "inputs"'),
        ('"age": 63', '"age": 630'),
        ('"age": 63', '"age": "63"'),
        ('"age": 63, ', ""),
        ('"vent": false', '"vent": 0'),
        ('"free": 1', '"free": NaN'),
        ('"free": 1', '"free": 1e999'),
        ('"count"', '"count"'),
        ('"vent": false', '"vent": false, "more": 1'),
        ('"temp": 37.2', '"temp": {"value": 37.2, "unit": "Cel"}'),
    ],
)
def test_what_is_wrong_or_rare_is_left_to_the_careful_way(old: str, new: str) -> None:
    body = json.dumps({"inputs": PATIENT}).replace(old, new)
    if old != new:
        assert COMPILED.rows(body.encode()) is None


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"{}", b"null", b'{"inputs":[]}', b"[" * 100_000, b'\xef\xbb\xbf{"inputs":{}}']
)
def test_no_bytes_whatever_raise(body: bytes) -> None:
    assert COMPILED.rows(body) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_none_or_a_row(body: bytes) -> None:
    assert COMPILED.rows(body) is None or careful(body) is not None
