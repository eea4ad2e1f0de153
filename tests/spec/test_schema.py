from pathlib import Path

from bedside.spec import schema

ROOT = Path(__file__).parents[2]


def test_the_committed_schema_is_what_the_code_says() -> None:
    assert (ROOT / schema.PATH).read_text() == schema.text()
