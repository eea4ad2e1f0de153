"""The JSON Schema of bedside.toml, for editors: ``python -m bedside.spec.schema`` writes it."""

import json
import sys
from pathlib import Path

from bedside.spec.document import Document

PATH = Path("schema", "bedside.schema.json")


def text() -> str:
    """Return the schema (JSON Schema 2020-12) as it is committed."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Document.model_json_schema(by_alias=True)}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the schema below the current folder; with ``--check``, exit 1 where it is stale."""
    if "--check" in arguments:
        stale = not PATH.is_file() or PATH.read_text(encoding="utf-8") != text()
        sys.stderr.write(f"{PATH} is stale: run `make docs`\n" if stale else "")
        return int(stale)
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
