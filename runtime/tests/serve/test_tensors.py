"""Tensors to values and back, with nothing but bytes in between."""

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside_runtime.serve import tensors

FIXED = {
    "FP64": ("<d", 37.5),
    "FP32": ("<f", 37.5),
    "FP16": ("<e", 37.5),
    "INT64": ("<q", -(2**40)),
    "INT32": ("<i", -70_000),
    "INT16": ("<h", -300),
    "INT8": ("<b", -3),
    "UINT64": ("<Q", 2**40),
    "UINT32": ("<I", 70_000),
    "UINT16": ("<H", 300),
    "UINT8": ("<B", 200),
    "BOOL": ("<?", True),
}
SIZE = "has not the size that shape and datatype say"


@pytest.mark.parametrize("kind", FIXED)
def test_binary_data_is_little_endian_of_its_datatype(kind: str) -> None:
    form, value = FIXED[kind]
    assert tensors.from_binary(struct.pack(form, value) * 2, kind, 2, "x") == [value, value]


@pytest.mark.parametrize("kind", FIXED)
@pytest.mark.parametrize("change", [-1, 1])
def test_binary_data_of_another_size_is_refused(kind: str, change: int) -> None:
    size = struct.calcsize(FIXED[kind][0]) * 2 + change
    with pytest.raises(tensors.TensorInvalid, match=SIZE):
        tensors.from_binary(bytes(size), kind, 2, "x")


@pytest.mark.parametrize(("kind", "form"), [("FP64", "<d"), ("FP32", "<f"), ("FP16", "<e")])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_binary_numbers_that_are_not_finite_are_refused(kind: str, form: str, value: float) -> None:
    with pytest.raises(tensors.TensorInvalid, match="NaN and infinity are refused"):
        tensors.from_binary(struct.pack(form, value), kind, 1, "x")


def test_a_binary_truth_value_is_zero_or_one() -> None:
    with pytest.raises(tensors.TensorInvalid, match="0 or 1"):
        tensors.from_binary(b"\x02", "BOOL", 1, "x")


@given(st.lists(st.text()))
def test_strings_come_back_from_binary_data_as_they_went(values: list[str]) -> None:
    assert tensors.from_binary(tensors.to_binary(values, "BYTES"), "BYTES", len(values), "x") == values


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_doubles_come_back_from_binary_data_as_they_went(values: list[float]) -> None:
    assert tensors.from_binary(tensors.to_binary(values, "FP64"), "FP64", len(values), "x") == values


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x00\x00",
        b"\x02\x00\x00\x00a",
        b"\xff\xff\xff\xffa",
        b"\x01\x00\x00\x00ab",
        b"\x01\x00\x00\x00a\x01\x00\x00\x00b",
        b"\x00\x00\x00\x00\x00\x00\x00",
    ],
)
def test_strings_that_do_not_fill_their_binary_data_are_refused(data: bytes) -> None:
    with pytest.raises(tensors.TensorInvalid, match=SIZE):
        tensors.from_binary(data, "BYTES", 1, "x")


def test_strings_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(tensors.TensorInvalid, match="not UTF-8"):
        tensors.from_binary(b"\x01\x00\x00\x00\xff", "BYTES", 1, "x")


@given(st.sampled_from([*FIXED, "BYTES"]), st.binary(max_size=40), st.integers(0, 6))
def test_any_binary_data_is_values_or_refused(kind: str, data: bytes, count: int) -> None:
    try:
        values = tensors.from_binary(data, kind, count, "x")
    except tensors.TensorInvalid:
        return
    assert len(values) == count


@pytest.mark.parametrize("shape", [[3], [3, 1]])
def test_one_column_has_as_many_rows_as_its_first_size(shape: list[int]) -> None:
    assert tensors.rows(shape, "x") == 3


@pytest.mark.parametrize("shape", [None, 3, "3", [], [-1], [True], [1.0], ["3"], [3, 2], [1, 3], [3, 1, 1], [[3]]])
def test_every_other_shape_is_refused(shape: object) -> None:
    with pytest.raises(tensors.TensorInvalid, match="shape must be"):
        tensors.rows(shape, "x")


@pytest.mark.parametrize("data", [[1, 2], [[1], [2]]])
def test_json_data_is_flat_or_nested_as_its_rows(data: object) -> None:
    assert tensors.from_json(data, 2, "x") == [1, 2]


@pytest.mark.parametrize("data", [None, "12", {"0": 1}, [1], [1, 2, 3], [[1, 2]], [[1, 2], []], [[[1]], [[2]]]])
def test_json_data_of_another_form_or_size_is_refused(data: object) -> None:
    with pytest.raises(tensors.TensorInvalid, match="data"):
        tensors.from_json(data, 2, "x")


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0.5, 1], "FP64"), ([1, 0.5], "FP64"), ([1, 2], "INT64"), ([True], "BOOL"), (["a"], "BYTES")],
)
def test_answers_have_the_datatype_that_holds_all_of_them(values: list[Any], kind: str) -> None:
    assert tensors.kind_of(values) == kind
