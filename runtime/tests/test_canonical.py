import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside_runtime import canonical

EXACT = 2**53
texts = st.text(st.characters(exclude_categories=["Cs"]))
leaves = st.none() | st.booleans() | st.integers(-EXACT + 1, EXACT - 1) | st.floats(-EXACT, EXACT) | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_is_encoded_decodes_to_an_equal_value(value: canonical.JSON) -> None:
    assert canonical.decode(canonical.encode(value)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_of_any_size_names_the_same_double_again(value: float) -> None:
    assert float(canonical.decode(canonical.encode(value))) == value


@given(st.dictionaries(st.text("abcdef", min_size=1), st.integers(-9, 9), max_size=6))
def test_the_order_of_keys_never_shows(value: dict[str, canonical.JSON]) -> None:
    assert canonical.encode(value) == canonical.encode(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [math.nan, math.inf, EXACT * 4, "\ud800"])
def test_a_value_without_canonical_form_is_refused(value: canonical.JSON) -> None:
    with pytest.raises(canonical.NotCanonical):
        canonical.encode([value])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a": 1, "a": 2}', "same key twice"),
        (b'{"x": {"a": 1, "\\u0061": 1}}', "same key twice"),
        (b"[NaN]", "NaN and Infinity"),
        (b"[-Infinity]", "NaN and Infinity"),
        (b"[1e400]", "larger than a double"),
        (b"[-1e999]", "larger than a double"),
        (b"[" + b"9" * 400 + b"]", "larger than a double"),
        (b"[" + b"9" * 5000 + b"]", "larger than a double"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
        (b'"\xff"', "UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[" * 33 + b"]" * 33, "deeper than 32"),
        (b"[" * 100_000, "deeper than 32"),
        (b"", "not JSON"),
        (b"{} {}", "not JSON"),
    ],
)
def test_ambiguous_or_broken_json_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(canonical.NotStrictJSON, match=reason):
        canonical.decode(text)


def test_a_refusal_never_quotes_the_text() -> None:
    with pytest.raises(canonical.NotStrictJSON) as refused:
        canonical.decode(b'{"name": Canary}')
    assert "Canary" not in str(refused.value)


def test_nesting_of_exactly_32_is_read() -> None:
    text = b"[" * 32 + b"]" * 32
    assert canonical.decode(text) == json.loads(text)


def test_brackets_inside_strings_do_not_count_as_nesting() -> None:
    text = json.dumps(["[{" * 40, '\\"[[[' * 20]).encode()
    assert canonical.decode(text) == json.loads(text)


def test_a_surrogate_pair_is_one_character() -> None:
    assert canonical.decode(b'"\\ud83d\\ude00"') == "\U0001f600"
