"""The JSON Schema of a record of the audit log: ``python -m bedside.audit.schema`` writes it.

One file a format. That of a released format is never changed but by what is optional; logs of every released format
are kept among the runtime's tests and verified for ever.
"""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from bedside_runtime.audit import record
from bedside_runtime.audit.chain import FORMAT, Record

PATH: Final = Path("schema", f"{FORMAT.replace('/', '-')}.schema.json")
_HASH: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TIME: Final = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z$"}
_ATTRIBUTE: Final = re.compile(r"^    (\w+): (.*(?:\n {5,}.*)*)", re.MULTILINE)


def text() -> str:
    """Return the schema (JSON Schema 2020-12) as it is committed."""
    (line, body), parts = msgspec.json.schema_components([Record, record.Body], ref_template="#/$defs/{name}")
    envelope = parts.pop(line["$ref"].rpartition("/")[2])
    fields = envelope["properties"] | {"body": body, "hash": _HASH, "prev": _HASH, "time": _TIME}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": FORMAT,
        "description": "One line of a bedside audit log. docs/audit-format.md is the same in prose.",
        **{key: value for key, value in envelope.items() if key not in ("title", "description")},
        "properties": fields,
        "$defs": {name: _described(name, part) for name, part in sorted(parts.items())},
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _described(name: str, part: dict[str, Any]) -> dict[str, Any]:
    """Return ``part`` with what its class says of each field."""
    said = inspect.cleandoc(getattr(record, name).__doc__)
    for field, meaning in _ATTRIBUTE.findall(said):
        part["properties"][field] |= {"description": " ".join(meaning.replace("``", "`").split())}
    return part | {"description": " ".join(said.partition("\n\n")[0].split())}


def main(arguments: list[str]) -> int:
    """Write the schema below the current folder; with ``--check``, exit 1 where it is stale."""
    if "--check" in arguments:
        stale = not PATH.is_file() or PATH.read_text(encoding="utf-8") != text()
        sys.stderr.write(f"{PATH} is stale: run `make docs`\n" if stale else "")
        return int(stale)
    PATH.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
