from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bedside_runtime import canonical
from bedside_runtime.audit import record
from bedside_runtime.audit.prediction import Asked, CanonicalInputs, body, scalar
from bedside_runtime.inputs import Flag
from bedside_runtime.service import Prediction

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
    made = body(Asked(request, caller, duration, batch, rows), b'["ab"]', "sha256:x", None)
    assert made == canonical.encode(value)
    read = msgspec.json.decode(made, type=record.Body)
    assert isinstance(read, record.Prediction)
    assert (read.request, read.caller, read.inputs) == (request, caller, ("ab",))
    assert [exact(item.value) for item in read.outputs] == [exact(answer) for answer, _, _ in outputs]
