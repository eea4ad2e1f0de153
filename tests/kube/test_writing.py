"""What is written is what any YAML parser reads."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bedside.kube.reasons import Number, Text
from bedside.kube.writing import document

SCALARS = st.text() | st.integers() | st.booleans()
LISTS = st.lists(SCALARS | st.dictionaries(st.text(), SCALARS, max_size=3), max_size=3)
VALUES = st.dictionaries(st.text(), SCALARS | LISTS | st.dictionaries(st.text(), SCALARS | LISTS, max_size=3))


@given(VALUES)
def test_whatever_is_written_is_read_back(value: dict[str, Any]) -> None:
    assert yaml.safe_load(document(value)) == value


@pytest.mark.parametrize(
    "text", ["yes", "No", "on", "1.0.0", "1e3", "0x10", "12:30", "null", "~", "", " a", "a: b", "-", "#"]
)
def test_a_text_that_a_parser_could_mistake_is_quoted(text: str) -> None:
    assert document({"key": text}) == f'key: "{text}"\n'


def test_a_reason_stands_above_its_value() -> None:
    value = {"spec": [{"seconds": Number(3, "because")}], "memory": Text("64Mi", "measured")}
    assert document(value) == ('spec:\n  # because\n  - seconds: 3\n# measured\nmemory: "64Mi"\n')


def test_lines_stay_lines() -> None:
    assert document({"data": {"a.json": "{\n  1\n}\n"}}) == "data:\n  a.json: |\n    {\n      1\n    }\n"
