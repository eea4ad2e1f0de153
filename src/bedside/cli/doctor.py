"""`bedside doctor`."""

import click

from bedside import wiring
from bedside.cli import console
from bedside.errors import ToolFailed
from bedside.stages.doctor import Looked, examine


@click.command
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(as_json: bool) -> None:
    """Show what is installed, reachable and missing, and how to get it. Exit code 4 where something needed is not."""
    looked = examine(wiring.tools().uv)
    if as_json:
        console.result([_row(item) for item in looked])
    else:
        rows = [
            (_mark(item), item.check.name, item.found or item.check.remedy, item.check.needed_for) for item in looked
        ]
        console.table("what bedside finds here", ("", "what", "found, or how to get it", "needed for"), rows)
    missing = [item.check.name for item in looked if item.found is None and item.check.required]
    if missing:
        raise ToolFailed(f"missing: {', '.join(missing)}", remedy="The table above says how to get it.")


def _row(item: Looked) -> dict[str, object]:
    check = item.check
    return {
        "name": check.name,
        "found": item.found,
        "required": check.required,
        "needed_for": check.needed_for,
        "remedy": check.remedy if item.found is None else None,
    }


def _mark(item: Looked) -> str:
    if item.found is not None:
        return "✓"
    return "✗" if item.check.required else "-"
