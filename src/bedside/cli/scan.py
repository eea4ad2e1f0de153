"""`bedside scan`."""

from datetime import timedelta
from pathlib import Path

import click

from bedside import __version__, wiring
from bedside.cli import console
from bedside.errors import GateRefused, UsageError
from bedside.findings import Severity
from bedside.provenance.trivy import LEVELS, Level
from bedside.release.reading import open_release
from bedside.reports import sarif, structured, text
from bedside.stages import scan as stage
from bedside.stages.scan import Demands, Scanned
from bedside.wiring import scanning
from bedside_runtime.contract import FILE_NAME


@click.command
@click.argument("target")
@click.option("--db", help="Vulnerability database: a directory, or REGISTRY/trivy-db:2; trivy's cache by default.")
@click.option("--db-max-age", type=click.IntRange(0), default=7, show_default=True, help="Days that it may be old.")
@click.option(
    "--severity",
    type=click.Choice(LEVELS),
    default="high",
    show_default=True,
    help="Vulnerabilities this bad or worse refuse, and those that nobody rated.",
)
@click.option(
    "--only-fixable", is_flag=True, help="Vulnerabilities that have no fix yet are noted, and refuse nothing."
)
@click.option(
    "--ignore",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of accepted findings: ignore FINDING in PLACE until YYYY-MM-DD: reason.",
)
@click.option(
    "--dockerfile",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What the image was built from; checked with hadolint, trivy and the rules of `bedside check`.",
)
@click.option("--statement", type=click.Path(path_type=Path), help="Write the statement about the image to this file.")
@click.option("--image", help="Which image, by name or digest, where the layout holds several.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="PEM certificates to believe beside the system's.")
@click.option("--plain-http", is_flag=True, help="Talk to registries without TLS; on this machine only.")
@click.option("--json", "as_json", is_flag=True, help="Write the report to stdout as JSON.")
@click.option("--sarif", "as_sarif", is_flag=True, help="Write the report to stdout as SARIF 2.1.0.")
def command(
    target: str,
    db: str | None,
    db_max_age: int,
    severity: Level,
    only_fixable: bool,
    ignore: Path | None,
    dockerfile: Path | None,
    statement: Path | None,
    image: str | None,
    ca_file: Path | None,
    plain_http: bool,
    as_json: bool,
    as_sarif: bool,
) -> None:
    """Scan TARGET: the layout of an image, HOST/REPOSITORY@sha256:..., or a release.

    Looks for secrets, keys and patient data in every layer, also in what a later layer deletes, and compares every
    package with a vulnerability database. Of a release, the Dockerfile that it gives is checked too. Exit code 1 where
    something is found; 4 where not everything could be looked at: no database or an old one, a package that the scanner
    passed over, a layer that cannot be read. The statement about an image is left beside it in its layout, for
    `bedside sign`.
    """
    if as_json and as_sarif:
        raise click.UsageError("--json and --sarif exclude each other.")
    demands = Demands(severity, only_fixable, timedelta(days=db_max_age), _accepted(ignore))
    advisories = scanning.vulnerabilities(db, ca_file=ca_file, plain_http=plain_http)
    if (Path(target) / FILE_NAME).is_file():
        if dockerfile is not None or statement is not None:
            raise UsageError("a release has neither a Dockerfile nor a statement", remedy="Name an image.")
        with console.steps() as on_step:
            found = stage.scan_release(
                open_release(Path(target)), advisories, scanning.scanner(), demands, on_step=on_step
            )
    else:
        opened = wiring.whole_image(target, name=image, ca_file=ca_file, plain_http=plain_http, on_wait=console.note)
        with opened as (layout, descriptor), console.steps() as on_step:
            found = stage.scan_image(
                layout, descriptor, advisories, scanning.scanner(), demands, dockerfile=dockerfile, on_step=on_step
            )
            if Path(target).exists():
                stage.leave(layout, descriptor, found)
    if statement is not None:
        statement.write_bytes(found.statement or b"")
    _show(found, as_json=as_json, as_sarif=as_sarif)


def _accepted(path: Path | None) -> tuple[str, str]:
    return ("", "") if path is None else (path.read_text(encoding="utf-8", errors="replace"), str(path))


def _show(found: Scanned, *, as_json: bool, as_sarif: bool) -> None:
    if as_json:
        document = {"digest": found.digest, "audited": dict(found.audited), "database": found.database.isoformat()}
        console.result(
            {**document, "verdict": "passed" if found.passed else "refused", **structured.document(found.report)}
        )
    elif as_sarif:
        console.result(sarif.document(found.report, __version__))
    else:
        console.line(text.render(found.report).rstrip("\n"))
    counted = ", ".join(f"{count} {kind}" for kind, count in found.audited.items())
    console.note(f"audited: {counted} packages, against advisories of {found.database:%Y-%m-%d}")
    if not found.passed:
        raise GateRefused(
            f"{found.report.at_least(Severity.OPERATIONS)} findings refuse {found.digest}",
            remedy="Mend them; or accept one with --ignore, with a reason and an end.",
        )
    console.done(f"{found.digest} passed")
