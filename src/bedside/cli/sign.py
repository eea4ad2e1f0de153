"""`bedside sign`."""

import sys
from pathlib import Path

import click

from bedside import wiring
from bedside.cli import console
from bedside.errors import KeyInvalid, UsageError
from bedside.image.reference import Reference
from bedside.provenance.keyless import Keyless, Sigstore
from bedside.provenance.keys import Signer
from bedside.stages import record
from bedside.stages import sign as stage
from bedside.wiring import signing
from bedside_runtime.contract import FILE_NAME


@click.command
@click.argument("target")
@click.option("--key", help="Private key: a PEM file, cosign.key, or awskms:///alias/NAME.")
@click.option(
    "--keyless", is_flag=True, help="Sign as whoever is signed in, in Sigstore's public log; needs the extra."
)
@click.option("--for", "signed_for", metavar="HOST/REPOSITORY", help="Where an image in a layout will be pushed.")
@click.option("--image", help="Which image, by name or digest, where the layout holds several.")
@click.option(
    "--statement",
    "statements",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="An in-toto statement about the image to sign with it; may be given several times.",
)
@click.option("--ca-file", type=click.Path(path_type=Path), help="PEM certificates to believe beside the system's.")
@click.option("--plain-http", is_flag=True, help="Talk without TLS; for a registry on this machine only.")
@click.option("--json", "as_json", is_flag=True, help="Write the result to stdout as JSON.")
def command(
    target: str,
    key: str | None,
    keyless: bool,
    signed_for: str | None,
    image: str | None,
    statements: tuple[Path, ...],
    ca_file: Path | None,
    plain_http: bool,
    as_json: bool,
) -> None:
    """Sign TARGET: a release, the layout of an image, or HOST/REPOSITORY@sha256:....

    A release gets contract.sig in the format of OpenSSF model signing. An image is signed as cosign signs it, and with
    it the statements that `bedside build`, `scan` and `sbom` left beside it in the layout; `bedside push` takes them
    along. In a registry only the image and what --statement names are signed: what else stands there, anybody who may
    push could have put there. An image that has no record of its proof beside it is refused. COSIGN_PASSWORD opens an
    encrypted key.
    """
    if (key is None) == (not keyless):
        raise click.UsageError("Name a key with --key, or say --keyless.")
    if (Path(target) / FILE_NAME).is_file():
        _release(Path(target), key, as_json=as_json)
        return
    opened = wiring.place(target, name=image, ca_file=ca_file, plain_http=plain_http, on_wait=console.note)
    with opened as place, console.steps() as on_step:
        record.demand(place)
        signed = stage.sign_image(
            place,
            _repository(place.repository, signed_for),
            _signer(key),
            extra=[path.read_bytes() for path in statements],
            own_statements=place.repository is None,
            on_step=on_step,
        )
    console.done(f"{signed.digest} signed for {signed.repository}, with {len(signed.statements)} statements")
    if as_json:
        console.result(
            {"digest": signed.digest, "repository": signed.repository, "statements": list(signed.statements)}
        )
    else:
        console.line(signed.digest)


def _signer(key: str | None) -> Signer | Keyless:
    return signing.signer(key, _password) if key is not None else Sigstore()


def _release(directory: Path, key: str | None, *, as_json: bool) -> None:
    if key is None:
        raise UsageError("a release is signed with a key", remedy="Name one with --key.")
    signed = stage.sign_release(directory, signing.signer(key, _password))
    console.done(f"{signed.release.contract.ref}: {signed.path.name} written")
    if as_json:
        console.result({"digest": f"sha256:{signed.release.digest}", "signature": str(signed.path)})
    else:
        console.line(str(signed.path))


def _repository(there: str | None, wanted: str | None) -> str:
    """Return the name that the image is signed for; where it is in a registry, that is the one."""
    if there is not None and wanted is not None and there != wanted:
        raise UsageError(
            f"the image is in {there}", remedy="Leave --for out; or push it there first, and sign it there."
        )
    if there is not None:
        return there
    if wanted is None:
        raise UsageError(
            "an image in a layout has no name yet that it could be signed for",
            remedy="Say with --for HOST/REPOSITORY where it will be pushed.",
        )
    reference = Reference.parse(wanted)
    return str(Reference(reference.host, reference.repository))


def _password() -> str:
    if not sys.stdin.isatty():
        raise KeyInvalid("the key is encrypted, and nobody is there to ask", remedy="Set COSIGN_PASSWORD.")
    said: str = click.prompt("Password of the key", hide_input=True, err=True)
    return said
