"""`bedside audit`: verify, show, export, keygen."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import click
import msgspec

from bedside.audit.entries import KINDS, TOLD, Entry, Selection
from bedside.audit.inputs import Patient, Unsealed
from bedside.audit.times import moment
from bedside.cli import console
from bedside.cli.entries import HEADER, line
from bedside.errors import UsageError
from bedside.release.reading import open_release
from bedside.stages import audit as stage
from bedside.stages.audit import Evidence, Judged
from bedside.stages.audit_export import Form, export
from bedside.stages.audit_keys import keygen
from bedside_runtime import canonical
from bedside_runtime.audit import record

_F = TypeVar("_F", bound=Callable[..., Any])
_FILE: Final = click.Path(path_type=Path)
_STDIN: Final = Path("/dev/stdin")


@click.group
def command() -> None:
    """Prove, read and hand on the prediction log of a release that has [audit] in its bedside.toml.

    PATH is the folder of one pod's log, or the folder of several pods' folders. Exit codes of verify, show and export,
    beside those of every verb: 0 intact; 10 torn tail: a crash cut the last group short, from which nobody was
    answered; 11 altered; 12 gap: records are missing; 13 a segment is missing; 14 bad signature; 15 truncated: a
    checkpoint that was kept elsewhere saw more than there is.
    """


def _evidence_options(function: _F) -> _F:
    for option in (
        click.option("--partial", is_flag=True, help="The log may begin in the middle: older segments are elsewhere."),
        click.option("--pod", help="The pod whose log it must be; the folder's name by default."),
        click.option(
            "--checkpoint",
            "checkpoints",
            multiple=True,
            type=_FILE,
            help="File with checkpoints kept elsewhere: what pods wrote to stdout. - is standard input.",
        ),
        click.option(
            "--key", "keys", multiple=True, help="Verification key, or a file with one; the oldest first. Repeatable."
        ),
    ):
        function = option(function)
    return function


def _selection_options(function: _F) -> _F:
    for option in (
        click.option("--release", type=_FILE, help="With --inputs: the release that they are inputs of."),
        click.option("--hmac-key", "hmac_keys", multiple=True, type=_FILE, help="With --inputs: mounted HMAC key."),
        click.option("--inputs", type=_FILE, help="Only predictions about these inputs (JSON of one patient)."),
        click.option("--unseal", type=_FILE, help="Private key that opens sealed inputs."),
        click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only records of this kind."),
        click.option("--band", "bands", multiple=True, help="Only predictions of this band."),
        click.option("--caller", "callers", multiple=True, help="Only requests of this caller."),
        click.option("--request", "requests", multiple=True, help="Only requests of this id."),
        click.option("--until", help="Before this time."),
        click.option("--since", help="From this time on: 2026-11-25, 2026-11-25T22:06+01:00, or 90m, 24h, 7d ago."),
    ):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options of `_evidence_options` and `_selection_options`, understood."""

    evidence: Evidence
    selection: Selection
    unsealed: Unsealed | None


def _asked(  # one parameter an option
    *,
    keys: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    pod: str | None,
    partial: bool,
    since: str | None,
    until: str | None,
    requests: tuple[str, ...],
    callers: tuple[str, ...],
    bands: tuple[str, ...],
    kinds: tuple[str, ...],
    unseal: Path | None,
    inputs: Path | None,
    hmac_keys: tuple[Path, ...],
    release: Path | None,
) -> _Asked:
    now = datetime.now(UTC)
    unsealed = Unsealed(_read(unseal)) if unseal is not None else None
    selection = Selection(
        since=moment(since, now) if since is not None else None,
        until=moment(until, now) if until is not None else None,
        kinds=frozenset(kinds) or TOLD,
        callers=frozenset(callers),
        requests=frozenset(requests),
        bands=frozenset(bands),
        rows=_patient(inputs, hmac_keys, release, unsealed),
    )
    return _Asked(_evidence(keys, checkpoints, pod, partial=partial), selection, unsealed)


def _evidence(keys: tuple[str, ...], checkpoints: tuple[Path, ...], pod: str | None, *, partial: bool) -> Evidence:
    return Evidence(keys, tuple(_STDIN if str(path) == "-" else path for path in checkpoints), pod, partial)


def _patient(
    inputs: Path | None, hmac_keys: tuple[Path, ...], release: Path | None, unsealed: Unsealed | None
) -> Patient | None:
    if inputs is None:
        return None
    if release is None:
        raise click.UsageError("--inputs needs --release: names, units and defaults are the release's.")
    try:
        values = canonical.decode(_read(inputs))
    except canonical.NotStrictJSON as error:
        raise UsageError(f"{inputs} is no JSON that a server would take: {error}") from None
    if isinstance(values, dict) and values.keys() == {"inputs"}:
        values = values["inputs"]
    return Patient(open_release(release).contract.inputs, values, [_read(path) for path in hmac_keys], unsealed)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


@command.command("verify")
@click.argument("path", type=_FILE)
@_evidence_options
@click.option("--json", "as_json", is_flag=True, help="Write the reports to stdout as JSON.")
def verify_command(
    path: Path,
    keys: tuple[str, ...],
    checkpoints: tuple[Path, ...],
    pod: str | None,
    partial: bool,
    as_json: bool,
) -> None:
    """Prove that the log in PATH is whole, unaltered and in order.

    Reads every byte once, in constant memory. With --key, every stretch must be signed as the log promises; with
    --checkpoint, the log must pass through every checkpoint that was kept elsewhere, and be as long.
    """
    evidence = _evidence(keys, checkpoints, pod, partial=partial)
    with console.transfer() as (on_text, on_bytes):
        on_text("verifying")
        total = stage.size(path)
        judged = stage.verify(path, evidence, on_bytes=lambda further: on_bytes(further, total))
    _say(judged, evidence)
    if as_json:
        console.result([{"pod": item.pod, **msgspec.to_builtins(item.report)} for item in judged])
    else:
        for item in judged:
            console.line(f"{item.report.verdict} {item.pod}")
    raise click.exceptions.Exit(stage.exit_code(judged))


@command.command("show")
@click.argument("path", type=_FILE)
@_selection_options
@_evidence_options
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line, with everything of the record.")
def show_command(path: Path, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - click's options
    """Show what stands in the log in PATH: predictions, refusals, what happened to the process.

    The log is proved on the way, and each record shown once it is; the verdict comes last, and is the exit code.
    --inputs finds a patient's predictions: with the HMAC key, or among those that --unseal opens.
    """
    asked = _asked(**options)

    def say(entry: Entry) -> None:
        inputs = asked.unsealed.rows(entry) if asked.unsealed and isinstance(entry.body, record.Prediction) else None
        if as_json:
            console.line(json.dumps(_everything(entry, inputs), ensure_ascii=False))
            return
        console.line(line(entry))
        for row in inputs or ():
            console.line(f"    {json.dumps(row, ensure_ascii=False)}")

    if not as_json:
        console.line(HEADER)
    judged = stage.show(path, say, selection=asked.selection, evidence=asked.evidence)
    _say(judged, asked.evidence)
    raise click.exceptions.Exit(stage.exit_code(judged))


def _everything(entry: Entry, inputs: list[dict[str, Any]] | None) -> dict[str, Any]:
    where = {"pod": entry.genesis.identity.pod, "segment": entry.segment, "seq": entry.line.seq}
    when = {"time": entry.line.time, "mono": entry.line.mono, "hash": entry.line.hash}
    return {**where, **when, **entry.line.body} | ({"opened": inputs} if inputs is not None else {})


@command.command("export")
@click.argument("path", type=_FILE)
@click.option("--form", type=click.Choice(get_args(Form)), required=True, help="AuditEvents (NDJSON), or a table.")
@click.option("-o", "--output", "target", type=_FILE, required=True, help="The file; it must not be there yet.")
@_selection_options
@_evidence_options
@click.option("--until-fault", is_flag=True, help="Of a log that is not whole, write what is proved before its fault.")
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def export_command(
    path: Path,
    form: Form,
    target: Path,
    until_fault: bool,
    as_json: bool,
    **options: Any,  # noqa: ANN401 - click's options
) -> None:
    """Write the log in PATH as FHIR R4 AuditEvents (IHE BALP) or as a Parquet table (needs bedside[parquet]).

    The log is proved on the way. Where it is not whole, no file is written, and the exit code says what it is.
    """
    asked = _asked(**options)
    if form == "fhir" and asked.unsealed is not None and asked.selection.rows is None:
        raise click.UsageError("--unseal with --form fhir needs --inputs: an AuditEvent holds no inputs.")
    with console.transfer() as (on_text, on_bytes):
        on_text("exporting")
        total = stage.size(path)
        exported = export(
            path,
            target,
            form,
            selection=asked.selection,
            evidence=asked.evidence,
            unsealed=asked.unsealed,
            until_fault=until_fault,
            on_bytes=lambda further: on_bytes(further, total),
        )
    _say(exported.judged, asked.evidence)
    if exported.path is None:
        console.note("  nothing was written; --until-fault writes what is proved before the fault")
    else:
        console.done(f"{exported.path}: {exported.entries:,} records")
    if as_json:
        console.result({"path": str(exported.path) if exported.path else None, "records": exported.entries})
    raise click.exceptions.Exit(stage.exit_code(exported.judged))


@command.command("keygen")
@click.argument("target", type=_FILE)
@click.option("-o", "--output", "directory", type=_FILE, required=True, help="A new folder for the keys.")
def keygen_command(target: Path, directory: Path) -> None:
    """Make the keys that the log of TARGET needs: a release, or the folder of a project.

    pod/ is what its pods are given, as a Secret. auditor/ stays with whoever proves and opens the log, off the
    cluster: a private key that opens sealed inputs has no business in a pod.
    """
    made = keygen(target, directory)
    for folder, names in zip((made.pod, made.auditor), made.names, strict=True):
        console.done(f"{folder}: {', '.join(names) or 'nothing'}")
    console.note(f"  kubectl create secret generic {made.name}-audit-keys --from-file={made.pod}")
    console.line(str(directory))


def _say(judged: tuple[Judged, ...], evidence: Evidence) -> None:
    for item in judged:
        report = item.report
        said = f"{item.pod}: {report.verdict}: {report.reason}"
        if report.place is not None:
            place = report.place
            said += f"; {place.segment or 'no segment'}, byte {place.offset:,}, record {place.record:,}"
        (console.done if item.whole else console.failed)(said)
        console.note(f"  {_counts(item)}")
    if not evidence.keys:
        console.note("  signatures were not looked at: give --key")
    if not evidence.checkpoints:
        console.note("  a cut at the end cannot be seen without --checkpoint")


def _counts(item: Judged) -> str:
    report = item.report
    segments = f"{report.segments:,} segment{'s' * (report.segments != 1)}"
    parts = [f"{report.records:,} records in {segments}, {report.bytes:,} bytes"]
    if report.signed_records:
        parts.append(f"signed up to record {report.signed_records:,}")
    for count, what in (
        (report.tears, "ends torn by crashes, quoted by what follows"),
        (report.silences, "silences longer than promised"),
        (report.clock_steps, "steps of the clock back"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    return "; ".join(parts)
