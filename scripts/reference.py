"""Write docs/reference/ from the code: verbs, errors, contract, records. With --check, say whether it is stale."""

import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import click
import msgspec
from prometheus_client import CollectorRegistry

from bedside import errors as tool_errors
from bedside.cli.main import VERBS, bedside
from bedside_runtime import contract
from bedside_runtime import errors as runtime_errors
from bedside_runtime.audit import record
from bedside_runtime.audit.chain import FORMAT
from bedside_runtime.serve.metrics import Metrics

DIRECTORY = Path(__file__).parent.parent / "docs" / "reference"
MADE = "<!-- Made by scripts/reference.py from the code; `make docs` writes it again. -->\n\n"


def verbs() -> str:
    """Return the help of every verb, as the terminal shows it."""
    parts = ["# Commands\n", _help(bedside, "bedside")]
    for verb in VERBS:
        command: click.Command = importlib.import_module(f"bedside.cli.{verb}").command
        parts += [f"\n## bedside {verb}\n", _help(command, f"bedside {verb}")]
        for name, below in command.commands.items() if isinstance(command, click.Group) else ():
            parts += [f"\n### bedside {verb} {name}\n", _help(below, f"bedside {verb} {name}")]
    return "\n".join(parts)


def _help(command: click.Command, name: str) -> str:
    context = click.Context(command, info_name=name, max_content_width=100, terminal_width=100)
    return f"```text\n{command.get_help(context)}\n```"


def errors() -> str:
    """Return a table of every error with its exit code and remedy."""
    rows = ["# Errors\n", "| error | exit | reason code | what it is | what to do |", "|---|---|---|---|---|"]
    for module, base in ((tool_errors, tool_errors.BedsideError), (runtime_errors, runtime_errors.BedsideRuntimeError)):
        for name, item in vars(module).items():
            if inspect.isclass(item) and issubclass(item, base) and item is not base:
                code = getattr(item, "code", "")
                what = inspect.cleandoc(item.__doc__ or "").splitlines()[0]
                rows.append(f"| `{name}` | {item.exit_code} | {code} | {what} | {item.remedy} |")
    return "\n".join(rows)


def contract_fields() -> str:
    """Return every part of contract.json with its fields, types and meaning."""
    return "\n".join([f"# contract.json, schema {contract.SCHEMA}\n", *_structs(contract)]).rstrip()


def audit_record() -> str:
    """Return every part of a record's body with its fields, types and meaning."""
    head = [
        f"# Bodies of the audit log's records, format {FORMAT}\n",
        "What they stand in: [audit-format.md](../audit-format.md).\n",
    ]
    return "\n".join([*head, *_structs(record, but=(record.Position,))]).rstrip()


def _structs(module: ModuleType, but: Sequence[type] = ()) -> Iterator[str]:
    for name, item in vars(module).items():
        if (
            inspect.isclass(item)
            and issubclass(item, msgspec.Struct)
            and item.__module__ == module.__name__
            and name[0] != "_"
            and item not in but
        ):
            yield f"## {name}\n"
            yield from _struct(item)
            yield ""


def _struct(item: type[msgspec.Struct]) -> Iterator[str]:
    text = inspect.cleandoc(item.__doc__ or "")
    summary, _, listed = text.partition("\n\nAttributes:\n")
    meanings = dict(_attributes(listed))
    hints = typing.get_type_hints(item)
    yield " ".join(summary.split()) + "\n"
    yield "| field | type | default | meaning |"
    yield "|---|---|---|---|"
    for field in msgspec.structs.fields(item):
        kind = re.sub(
            r"\b(bedside_runtime\.contract|bedside_runtime\.audit\.record|typing)\.", "", str(hints[field.name])
        )
        kind = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", kind).replace("|", "\\|")
        default = "" if field.required else f"`{_default(field)}`"
        yield f"| `{field.encode_name}` | `{kind}` | {default} | {meanings.get(field.name, '')} |"


def _default(field: msgspec.structs.FieldInfo) -> object:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()  # type: ignore[operator]


def _attributes(listed: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE):
        yield match[1], " ".join(match[2].split())


class _Nothing:
    """Stands for the parts of a process that metrics ask."""

    detail, unrecorded, unrecorded_refusals = "none", 0, 0
    name, stale = "api-keys", False


def metrics() -> str:
    """Return a table of every metric with its type, labels and meaning."""
    exposed = Metrics(lambda: False, _Nothing())
    exposed.guarded([_Nothing()], lambda: 0.0)
    exposed.workers(lambda: 0)
    rows = sorted(_rows(exposed.registry))
    head = ["# Metrics\n", "`GET /metrics` on the admin port. Every label has a closed set of values.\n"]
    return "\n".join([*head, "| metric | type | labels | meaning |", "|---|---|---|---|", *rows])


def _rows(registry: CollectorRegistry) -> Iterator[str]:
    for collector in list(registry._collector_to_names):
        declared = getattr(collector, "_labelnames", None) or getattr(collector, "_labels", ())
        for family in collector.collect():
            labels = declared or [name for sample in family.samples[:1] for name in sample.labels if name != "le"]
            name = f"{family.name}_total" if family.type == "counter" else family.name
            listed = ", ".join(f"`{label}`" for label in labels)
            kind = "gauge" if family.type in ("stateset", "info") else family.type
            yield f"| `{name}` | {kind} | {listed} | {family.documentation} |"


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    made = {"commands.md": verbs(), "errors.md": errors(), "contract.md": contract_fields(), "metrics.md": metrics()}
    made["audit-record.md"] = audit_record()
    return {name: f"{MADE}{text}\n" for name, text in made.items()}


def main(arguments: list[str]) -> int:
    """Write the pages; with ``--check``, only compare and exit 1 where one is stale."""
    stale = [name for name, text in pages().items() if _current(name) != text]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/reference/{name} is stale: run `make docs`")
        return 1 if stale else 0
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (DIRECTORY / name).write_text(text, encoding="utf-8")
    return 0


def _current(name: str) -> str:
    path = DIRECTORY / name
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
