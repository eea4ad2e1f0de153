"""The quantities of Kubernetes: one reader for what we render, what we hold a proof to, and what we judge."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.spec import quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        ("500m", Fraction(1, 2)),
        ("1.5Gi", 3 * 2**29),
        (".5", Fraction(1, 2)),
        ("1.", 1),
        ("100u", Fraction(1, 10_000)),
        ("3n", Fraction(3, 10**9)),
        ("1k", 1_000),
        ("1E", 10**18),
        ("1Ei", 2**60),
        ("1e3", 1_000),
        ("1E3", 1_000),
        ("12e-1", Fraction(6, 5)),
        ("+1", 1),
        ("-1Gi", -(2**30)),
        ("0.1", Fraction(1, 10)),
    ],
)
def test_a_quantity_is_read_exactly(text: str, number: Fraction) -> None:
    assert quantity.parse(text) == number


@pytest.mark.parametrize("text", ["", "m", "Gi", "1 Gi", "512mb", "1K", "1ki", "1e", "1e3Ki", "1.2.3", "two", "1m\n"])
def test_what_is_none_is_none(text: str) -> None:
    assert quantity.parse(text) is None


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "1Gi", "500u", "1.0005", "many"])
def test_no_number_of_cores(text: str) -> None:
    assert quantity.cores(text) is None


@pytest.mark.parametrize("text", ["0", "0.0", "-1Gi", "500m", "1.1", "lots"])
def test_no_number_of_bytes(text: str) -> None:
    assert quantity.size(text) is None


@given(st.text("0123456789.eEimnukKMGTP+-", max_size=12))
def test_nothing_that_is_written_with_its_letters_is_an_error(text: str) -> None:
    assert quantity.parse(text) is None or isinstance(quantity.parse(text), Fraction)
