"""`bedside check`."""

import sys
from datetime import UTC, datetime

import click

from bedside import __version__, wiring
from bedside.cli import console
from bedside.errors import GateRefused
from bedside.findings import Severity
from bedside.reports import sarif, structured, text
from bedside.stages import check as stage
from bedside.stages.check_sources import STANDARD_INPUT
from bedside.stages.check_stock import FEW_OBJECTS


@click.command
@click.argument("paths", nargs=-1)
@click.option("--explain", metavar="ID", help="Say what a rule looks for, why, and what to do; nothing is checked.")
@click.option("--json", "as_json", is_flag=True, help="Write the report to stdout as JSON.")
@click.option("--sarif", "as_sarif", is_flag=True, help="Write the report to stdout as SARIF 2.1.0.")
@click.option(
    "--fail-on",
    type=click.Choice([*(severity.value for severity in Severity), "never"]),
    default=Severity.OPERATIONS.value,
    show_default=True,
    help="Exit 1 for findings this bad or worse.",
)
@click.option(
    "--strict", is_flag=True, help="Ask the stock tools everything; one that is missing or fails is an error, exit 4."
)
@click.option(
    "--stock/--no-stock",
    default=None,
    help=f"Ask trivy about more than {FEW_OBJECTS} Kubernetes objects, too; or run no stock tool.",
)
@click.option("--fix", is_flag=True, help="Show what can be corrected mechanically as a diff, ask, and write it.")
@click.option("--yes", is_flag=True, help="With --fix: write without asking, after showing the diff.")
def command(
    paths: tuple[str, ...],
    explain: str | None,
    as_json: bool,
    as_sarif: bool,
    fail_on: str,
    strict: bool,
    stock: bool | None,
    fix: bool,
    yes: bool,
) -> None:
    """Find what makes a clinical deployment unsafe in PATHS: files, directories, or - for rendered YAML.

    Reads Dockerfiles, Kubernetes YAML, kustomize trees, CI workflows, requirements, Python serving files and
    bedside.toml, and looks above all for contradictions between them. hadolint, trivy config and zizmor are run
    where they are installed, without their own configuration and ignores. trivy takes its time for Kubernetes objects:
    it is asked about few of them, about many only with --stock or --strict, and the report says so. A finding is
    accepted by a comment with an end and a reason: `# bedside: ignore RULE until YYYY-MM-DD: reason`.
    """
    if explain is not None:
        _explain(explain)
        return
    if not paths:
        raise click.UsageError("Name at least one path, or - for standard input.")
    if strict and stock is False:
        raise click.UsageError(
            "--strict and --no-stock exclude each other: one asks the stock tools, the other does not."
        )
    if as_json and as_sarif:
        raise click.UsageError("--json and --sarif exclude each other.")
    if fix:
        _fix(paths, yes=yes)
        return
    given = sys.stdin.buffer.read() if STANDARD_INPUT in paths else b""
    report = stage.check(
        paths,
        runner=None if stock is False else wiring.tools().runner,
        today=datetime.now(UTC).date(),
        strict=strict,
        thorough=stock is True,
        standard_input=given,
        on_wait=lambda tool: console.note(f"our own rules are done; waiting for {tool} (--no-stock leaves it out)"),
    )
    if as_json:
        console.result(structured.document(report))
    elif as_sarif:
        console.result(sarif.document(report, __version__))
    else:
        console.line(text.render(report).rstrip("\n"))
    refused = 0 if fail_on == "never" else report.at_least(Severity(fail_on))
    if refused:
        raise GateRefused(
            f"{refused} findings are {fail_on} or worse",
            remedy="`bedside check --explain ID` says why a rule is there; --fix corrects the mechanical ones.",
        )


def _explain(name: str) -> None:
    rule = stage.rule_texts().get(name.upper())
    if rule is None:
        raise click.UsageError(f"There is no rule {name}.")
    console.line(f"{name.upper()}: {rule.title} ({rule.severity.value})\n\n{rule.reason}\n\nWhat to do: {rule.remedy}")


def _fix(paths: tuple[str, ...], *, yes: bool) -> None:
    changes = stage.corrections(paths, today=datetime.now(UTC).date())
    for change in changes:
        console.line(change.diff.rstrip("\n"))
    if not changes:
        console.note("nothing here can be corrected mechanically")
    elif yes or click.confirm(f"Write {len(changes)} files?", err=True):
        stage.correct(changes)
        console.done(f"{len(changes)} files corrected: {', '.join(sorted({r for c in changes for r in c.rules}))}")
