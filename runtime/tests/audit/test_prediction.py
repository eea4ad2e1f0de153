from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside_runtime import canonical
from bedside_runtime.audit import record
from bedside_runtime.audit.prediction import CanonicalInputs, bodies, scalar
from bedside_runtime.inputs import Flag
from bedside_runtime.service import Caller, Entry, Prediction

texts = st.text(st.characters(exclude_categories=["Cs"]))
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = floats | st.integers(-(2**70), 2**70) | texts | st.booleans()


def exact(value: Any) -> Any:
    """A number as JSON means it: a double."""
    big = isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53
    return float(value) if big else value


@given(scalars | st.none())
def test_a_value_is_written_as_the_canonical_encoder_writes_it(value: Any) -> None:
    assert msgspec.json.encode(scalar(value)) == canonical.encode(exact(value))


@given(st.dictionaries(texts, scalars | st.none()))
def test_a_row_is_written_as_the_canonical_encoder_writes_it(row: dict[str, Any]) -> None:
    written = CanonicalInputs(list(row)).rows([tuple(row.values())])
    assert written == canonical.encode([{name: exact(value) for name, value in row.items()}])


@pytest.mark.parametrize(
    ("name", "cell"),
    [("a", 70.0), ("a", -0.0), ("a", 1e-7), ("a", 5e16), ("a", 123456789012345.6), ("a", 2**53), ("a.0,", 1.0)]
    + [("a", text) for text in ("1.0,2", "{1.0}", "null", '"', "\\", "7e2", "-0.0")]
    + [("null", None), (".0}", 1.0), ("fio2e", 21.0)],
)
def test_what_is_written_in_a_special_way_is_found(name: str, cell: Any) -> None:
    for others in ({}, {"y": 1.0, "z": None}, {"A": 2.5, "b": "x.0"}):
        row = {name: cell, **others}
        wanted = canonical.encode({key: exact(value) for key, value in row.items()})
        usual = dict.fromkeys(row, 1.5)
        rows = [tuple(row.values()), tuple(usual.values())]
        assert CanonicalInputs(list(row)).each(rows) == [wanted, canonical.encode(usual)]


@pytest.mark.parametrize("cell", [float("nan"), float("inf")])
def test_what_is_no_number_is_never_written_as_missing(cell: float) -> None:
    with pytest.raises(ValueError, match="not representable"):
        CanonicalInputs(["a", "b"]).each([(1.0, None), (1.0, cell)])


@given(
    texts,
    texts | st.none(),
    st.integers(0, 2**40),
    st.integers(1, 2**20),
    st.lists(st.tuples(scalars, texts | st.none(), st.lists(texts, max_size=2)), max_size=4),
)
def test_a_body_is_written_as_the_canonical_encoder_writes_it(
    request: str, caller: str | None, duration: int, batch: int, outputs: list[tuple[Any, str | None, list[str]]]
) -> None:
    rows = [Prediction(value, band, tuple(Flag("missing", name) for name in names)) for value, band, names in outputs]
    value = {
        "batch": batch,
        "caller": caller,
        "duration_us": duration,
        "image": None,
        "inputs": ["ab"],
        "kind": "prediction",
        "outputs": [
            {"band": band, "flags": [{"code": "missing", "input": name} for name in names], "value": exact(value)}
            for value, band, names in outputs
        ],
        "release": "sha256:x",
        "request": request,
    }
    entry = Entry(Caller(request, caller), [], rows, duration / 1e6, batch)
    made, another = bodies([entry, entry], [["ab"], None], "sha256:x", None)
    assert made == canonical.encode(value)
    assert another == canonical.encode({**value, "inputs": None})
    read = msgspec.json.decode(made, type=record.Body)
    assert isinstance(read, record.Prediction)
    assert (read.request, read.caller, read.inputs) == (request, caller, ("ab",))
    assert [exact(item.value) for item in read.outputs] == [exact(answer) for answer, _, _ in outputs]


@given(
    st.lists(st.tuples(floats, st.sampled_from(["ab", "1.0", "null", "-0.0", "7e2", '"', "\\", "x" * 20])), min_size=1)
)
def test_texts_that_are_known_to_mislead_nobody_need_no_second_look(rows: list[tuple[float, str]]) -> None:
    texts = {text for _, text in rows}
    assert CanonicalInputs(["b", "a"], texts).each(rows) == CanonicalInputs(["b", "a"]).each(rows)


@pytest.mark.parametrize("text", ["1.0,2", "{1.0}", "1.0,", "1.0}"])
def test_one_known_text_that_could_mislead_is_enough_for_a_second_look(text: str) -> None:
    (written,) = CanonicalInputs(["a", "b"], ["ab", text]).each([(text, 2.0)])
    assert written == canonical.encode({"a": text, "b": 2})
