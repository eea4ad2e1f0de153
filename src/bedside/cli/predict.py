"""`bedside predict`."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console
from bedside.stages import serve
from bedside.stages.predict import Credential, Predictions, Trust, predict

_URL = ("http://", "https://")
_VARIABLE = "BEDSIDE_CREDENTIAL"
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command
@click.argument("target")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--credential-file",
    type=_FILE,
    help="File with the API key or token to show; or set BEDSIDE_CREDENTIAL to the key itself.",
)
@click.option("--ca-file", type=_FILE, help="Certificates to believe instead of the system's, PEM.")
@click.option("--client-cert", type=_FILE, help="Client certificate to show, PEM.")
@click.option("--client-key", type=_FILE, help="Its key, PEM, where it does not stand in the same file.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON document instead of a line a prediction.")
def command(
    target: str,
    file: Path,
    credential_file: Path | None,
    ca_file: Path | None,
    client_cert: Path | None,
    client_key: Path | None,
    as_json: bool,
) -> None:
    """Ask TARGET, the URL of a server or a release directory, about the patients in FILE (JSON or CSV).

    Columns of a CSV that the model does not declare are not sent; they stand beside the answers.
    """
    remote = target.startswith(_URL)  # a release directory is served to anybody here
    shown = _credential(credential_file) if remote else None
    with _server(target) as url, console.progress("predicting", 1) as advance:
        answered = predict(
            url,
            file,
            credential=shown,
            trust=Trust(ca_file, client_cert, client_key),
            on_rows=lambda done, everything: advance(int(done == everything)),
        )
    if as_json:
        console.result({"release": answered.release, "predictions": answered.rows})
        return
    _say(answered)
    for row in answered.rows:
        console.line(json.dumps(row, ensure_ascii=False))


def _credential(file: Path | None) -> Credential | None:
    if file is not None:
        return Credential.read(file)
    value = os.environ.get(_VARIABLE)
    return Credential.given(value, _VARIABLE) if value is not None else None


def _say(answered: Predictions) -> None:
    release = answered.release
    console.done(f"{len(answered.rows)} answered by {release['name']} {release['version']} ({release['digest']})")
    if answered.unsent:
        console.note(f"  not sent, because the model does not declare them: {', '.join(answered.unsent)}")


@contextmanager
def _server(target: str) -> Iterator[str]:
    if target.startswith(_URL):
        yield target
        return
    with console.steps() as on_step:
        tools = wiring.tools()
        line = serve.command(Path(target), environments=tools.environments, port=0, admin_port=0, on_step=on_step)
        on_step("waiting until it is ready")
        with serve.running(line) as server:
            yield server.url
