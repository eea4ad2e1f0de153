import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from bedside.audit import schema

RELEASED = Path(__file__).parents[2] / "runtime/tests/audit/released"


def lines(form: str) -> list[dict[str, Any]]:
    """Every whole line of the released logs of one format."""
    found = []
    for path in sorted(RELEASED.glob(f"{form}/*/*/*.jsonl")):
        found += [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    return found


@pytest.mark.parametrize("form", sorted(path.name for path in RELEASED.iterdir()))
def test_every_record_of_a_released_log_keeps_to_its_schema(form: str) -> None:
    published = json.loads(Path(f"schema/bedside.audit-{form}.schema.json").read_text())
    validator = jsonschema_rs.Draft202012Validator(published)
    for line in lines(form):
        assert list(validator.iter_errors(line)) == []


@pytest.mark.parametrize("change", [{"kind": "forecast"}, {"outputs": 1}, {"request": None}, {"flags": []}, {}])
def test_a_body_of_another_form_does_not(change: dict[str, object]) -> None:
    validator = jsonschema_rs.Draft202012Validator(json.loads(schema.text()))
    line = next(line for line in lines("1") if line["body"]["kind"] == "prediction")
    body = line["body"] | change if change else {"kind": "prediction"}
    assert validator.is_valid({**line, "body": body}) == (change == {"flags": []})


def test_every_field_says_what_it_means() -> None:
    made = json.loads(schema.text())
    for name, part in made["$defs"].items():
        for field, said in part["properties"].items():
            assert field in ("kind", "format") or said.get("description"), (name, field)
