"""Signing as the command line does it, and judging what was signed."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.image import simulated_registry
from tests.image.images import image
from tests.image.simulated_registry import status
from tests.provenance.keyring import ALICE, BOB, NOW, cosign_key, pem

from bedside.cli.main import run
from bedside.errors import NotTrusted, RegistryFailed, UsageError
from bedside.image import attached, plan
from bedside.image import layout as layouts
from bedside.image.attached import InLayout, InRegistry
from bedside.image.layout import Layout
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.image.transport import Session
from bedside.provenance import cosign, dsse, statements
from bedside.provenance.keyless import Keyless
from bedside.provenance.policy import Identity, TrustedKey, TrustPolicy
from bedside.stages import evidence, trust
from bedside.stages.push import push
from bedside.stages.sign import sign_image

HERE = "registry.example.org/icu"
SAID = {plan.MODEL: "icu", "org.opencontainers.image.version": "1.2.0"}
POLICY = TrustPolicy(keys=(TrustedKey("alice", ALICE.public),), attestations=(), minimum={"icu": "1.0.0"})


def nobody(bundle: cosign.Bundle, identity: Identity) -> bool:
    raise AssertionError("no certificate was asked about")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "images")


@pytest.fixture
def place(layout: Layout) -> InLayout:
    return InLayout(layout, image(layout, annotations=SAID))


@pytest.fixture
def registry() -> Iterator[simulated_registry.Registry]:
    with simulated_registry.running() as started:
        yield started


@pytest.fixture
def repository(registry: simulated_registry.Registry) -> Iterator[Repository]:
    with Session(registry.host, lambda: None, plain_http=True, pause=lambda _: None) as session:
        yield Repository(session, "icu")


def state(place: attached.Place, kind: str, predicate: dict[str, object] | None = None) -> bytes:
    """Leave a statement beside the image, as `bedside scan` does."""
    payload = statements.encode(place.descriptor.digest, "icu", kind, predicate or {})
    place.attach(*attached.artifact(place.descriptor, statements.MEDIA_TYPE, payload, statements.MEDIA_TYPE))
    return payload


def test_what_is_signed_is_trusted_with_the_name_of_who_signed(place: InLayout) -> None:
    sign_image(place, HERE, ALICE)
    verdict = trust.demand(place, POLICY, NOW, nobody)
    assert verdict.signers == ("alice",)


def test_every_form_that_cosign_looks_for_is_there(place: InLayout) -> None:
    payload = state(place, "https://example.org/review/v1")
    sign_image(place, HERE, ALICE)
    beside = {(item.suffix or item.manifest.artifact_type): item.manifest for item in place.beside()}
    assert set(beside) == {"sig", "att", cosign.BUNDLE, statements.MEDIA_TYPE}
    (signature,) = beside["sig"].layers
    assert signature.media_type == "application/vnd.dev.cosign.simplesigning.v1+json"
    assert cosign.from_annotation(
        place.read(signature), signature.annotations["dev.cosignproject.cosign/signature"]
    ).signed_by(ALICE.public)
    (envelope,) = beside["att"].layers
    assert envelope.annotations == {
        "dev.cosignproject.cosign/signature": "",
        "predicateType": "https://example.org/review/v1",
    }
    assert dsse.decode(place.read(envelope)).payload == payload
    kinds = {item.manifest.annotations.get("dev.sigstore.bundle.predicateType") for item in place.beside()}
    assert kinds == {None, "https://sigstore.dev/cosign/sign/v1", "https://example.org/review/v1"}
    named = {item.annotations.get("org.opencontainers.image.ref.name") for item in place._layout.index().manifests}
    assert {f"sha256-{place.descriptor.digest[7:]}.{suffix}" for suffix in ("sig", "att")} < named


def test_signing_again_changes_nothing(place: InLayout, layout: Layout) -> None:
    state(place, "https://example.org/review/v1")
    sign_image(place, HERE, ALICE)
    before = layout.index()
    sign_image(place, HERE, ALICE)
    assert layout.index() == before


def test_a_second_key_adds_its_signature_to_the_first(place: InLayout) -> None:
    state(place, "https://example.org/review/v1")
    sign_image(place, HERE, ALICE)
    sign_image(place, HERE, BOB)
    both = replace(POLICY, keys=(*POLICY.keys, TrustedKey("bob", BOB.public)), signatures=2)
    assert trust.demand(place, both, NOW, nobody).signers == ("alice", "bob")


def test_an_sbom_beside_the_image_becomes_a_statement_about_it(place: InLayout) -> None:
    place.attach(
        *attached.artifact(
            place.descriptor,
            "application/vnd.cyclonedx+json",
            b'{"bomFormat":"CycloneDX"}',
            "application/vnd.cyclonedx+json",
        )
    )
    assert sign_image(place, HERE, ALICE).statements == (statements.SBOM,)
    wanted = replace(POLICY, attestations=(statements.SBOM,))
    assert trust.demand(place, wanted, NOW, nobody).statements[0].predicate == {"bomFormat": "CycloneDX"}


def test_a_bundle_as_cosign_itself_attaches_it_is_found_by_the_type_of_its_layer(place: InLayout) -> None:
    """cosign 3 names the kind of an artifact in the descriptor of its config, not in the manifest."""
    said = statements.encode(place.descriptor.digest, HERE, statements.SIGNATURE, {})
    data = cosign.bundle(dsse.sign(said, ALICE), ALICE.public)
    manifest, contents = attached.artifact(place.descriptor, cosign.BUNDLE, data, cosign.BUNDLE)
    place.attach(msgspec.structs.replace(manifest, artifact_type=None), contents)
    assert trust.demand(place, POLICY, NOW, nobody).signers == ("alice",)


def test_in_a_registry_only_what_is_given_is_signed_not_what_anybody_left_there(
    layout: Layout, repository: Repository
) -> None:
    found = image(layout, annotations=SAID)
    push(layout, found, Reference(repository.session.host, "icu", "1.2.0"), repository)
    place = InRegistry(repository, repository.get("1.2.0"))
    state(place, statements.SCAN, {"scanner": {"result": {"verdict": "passed"}}})
    mine = statements.encode(found.digest, "icu", "https://example.org/review/v1", {})
    signed = sign_image(place, place.repository, ALICE, extra=[mine], own_statements=False)
    assert signed.statements == ("https://example.org/review/v1",)


def test_a_statement_about_another_image_is_not_signed(place: InLayout) -> None:
    other = statements.encode("sha256:" + "00" * 32, "icu", statements.SCAN, {})
    with pytest.raises(UsageError, match="is not about"):
        sign_image(place, HERE, ALICE, extra=[other])
    assert not list(place.beside())


def test_junk_under_the_tag_of_signatures_keeps_nobody_from_signing_and_judging(
    place: InLayout, layout: Layout
) -> None:
    sign_image(place, HERE, BOB)
    manifest, contents = attached.artifact(place.descriptor, cosign.BUNDLE, b"junk", cosign.BUNDLE)
    place.attach(manifest, contents)
    with pytest.raises(NotTrusted):
        trust.demand(place, POLICY, NOW, nobody)
    sign_image(place, HERE, ALICE)
    assert trust.demand(place, POLICY, NOW, nobody).signers == ("alice",)


@pytest.mark.parametrize("place_number", range(12))
def test_a_registry_that_fails_anywhere_leaves_nothing_that_verifies_or_all_of_it(
    layout: Layout, registry: simulated_registry.Registry, repository: Repository, place_number: int
) -> None:
    push(layout, image(layout, annotations=SAID), Reference(registry.host, "icu", "1.2.0"), repository)
    place = InRegistry(repository, repository.get("1.2.0"))
    review = statements.encode(place.descriptor.digest, "icu", "https://example.org/review/v1", {})
    wanted = replace(POLICY, attestations=("https://example.org/review/v1",))
    writes = simulated_registry.numbered(place_number, status(403, "DENIED"), forever=True)
    registry.trouble.append(lambda handler: handler.command in ("PUT", "POST", "PATCH") and writes(handler))
    try:
        sign_image(place, place.repository, ALICE, extra=[review], own_statements=False)
        finished = True
    except RegistryFailed:
        finished = False
    registry.trouble.clear()
    if finished:
        assert trust.demand(place, wanted, NOW, nobody).trusted
        return
    with pytest.raises(NotTrusted):
        trust.demand(place, wanted, NOW, nobody)
    sign_image(place, place.repository, ALICE, extra=[review], own_statements=False)  # and again, to the end
    assert trust.demand(place, wanted, NOW, nobody).trusted


def test_who_is_signed_in_leaves_bundles_that_are_judged_by_identity(place: InLayout) -> None:
    class SignedIn(Keyless):
        def bundle(self, statement: bytes) -> bytes:
            said = json.loads(cosign.bundle(dsse.sign(statement, BOB), BOB.public))
            said["verificationMaterial"] = {"certificate": {"rawBytes": "AAAA"}, "tlogEntries": []}
            return json.dumps(said).encode()

    state(place, "https://example.org/review/v1")
    sign_image(place, HERE, SignedIn())
    policy = TrustPolicy(
        identities=(Identity("workflow", "issuer", "subject"),), attestations=("https://example.org/review/v1",)
    )
    assert trust.demand(place, policy, NOW, lambda bundle, identity: True).signers == ("workflow",)
    with pytest.raises(NotTrusted):
        trust.demand(place, policy, NOW, lambda bundle, identity: False)


# -- as a person types it


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cosign.key").write_bytes(cosign_key(ALICE, b"word"))
    (tmp_path / "bob.pem").write_bytes(pem(BOB))
    (tmp_path / "alice.pub").write_bytes(ALICE.public.pem)
    (tmp_path / "trust.toml").write_text(
        'schema = 1\n[[keys]]\nname = "alice"\nfile = "alice.pub"\n[images]\nattestations = []\n'
    )
    monkeypatch.setenv("COSIGN_PASSWORD", "word")
    return tmp_path


@pytest.fixture
def proven(place: InLayout) -> InLayout:
    evidence.leave_statement(place, proof(place, "PASSED"))
    return place


def proof(place: InLayout, result: str) -> bytes:
    return statements.encode(place.descriptor.digest, "icu", statements.PROOF, {"result": result})


def test_an_image_that_nobody_proved_is_neither_signed_nor_pushed(
    keys: Path, place: InLayout, registry: simulated_registry.Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(place._layout.directory)
    sign = ["sign", where, "--key", str(keys / "cosign.key"), "--for", HERE]
    push = ["push", where, f"{registry.host}/icu:1.2.0", "--plain-http"]
    for command in (sign, push):
        assert run(command) == 1
        said = capsys.readouterr().err
        assert f"{place.descriptor.digest} is not proven: no record of a proof lies beside it" in said
        assert "bedside build" in said
    other = statements.encode("sha256:" + "0" * 64, "icu", statements.PROOF, {"result": "PASSED"})
    evidence.leave_statement(place, other)
    assert run(sign) == 1
    evidence.leave_statement(place, proof(place, "FAILED"))
    for command in (sign, push):
        capsys.readouterr()
        assert run(command) == 1
        assert "says that its proof failed" in capsys.readouterr().err
    assert registry.seen == []
    assert [item.suffix for item in place.beside()] == [None]
    evidence.leave_statement(place, proof(place, "PASSED"))
    assert run(sign) == 0
    assert run(push) == 0


def test_what_is_no_model_s_image_is_pushed_where_somebody_says_so_and_a_policy_is_not_content(
    keys: Path, place: InLayout, registry: simulated_registry.Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_image(place, f"{registry.host}/icu", ALICE)
    trust = keys / "proven.toml"
    trust.write_text((keys / "trust.toml").read_text().replace("= []", '= ["proof"]'))
    push = ["push", str(place._layout.directory), f"{registry.host}/icu:1.2.0", "--plain-http", "--unproven"]
    assert run([*push, "--trust", str(trust)]) == 3
    assert registry.seen == []
    capsys.readouterr()
    assert run(push) == 0
    assert "nothing shows that this image answers as validated" in capsys.readouterr().err


def test_sign_and_verify_as_a_person_types_them(
    keys: Path, proven: InLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    place, where = proven, str(proven._layout.directory)
    assert run(["verify", where, "--trust", str(keys / "trust.toml")]) == 3
    assert "nobody signed this image" in capsys.readouterr().err
    assert run(["sign", where, "--key", str(keys / "bob.pem"), "--for", HERE]) == 0
    assert run(["verify", where, "--trust", str(keys / "trust.toml")]) == 3
    assert "BED-TRU-004" in capsys.readouterr().err
    assert run(["sign", where, "--key", str(keys / "cosign.key"), "--for", HERE, "--json"]) == 0
    capsys.readouterr()
    assert run(["verify", where, "--trust", str(keys / "trust.toml"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"digest": place.descriptor.digest, "signers": ["alice"], "statements": [statements.PROOF]}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--for", HERE], 2, "--key"),
        (["--key", "cosign.key", "--keyless", "--for", HERE], 2, "--key"),
        (["--key", "nothing.key", "--for", HERE], 2, "cannot be read"),
        (["--key", "cosign.key"], 2, "--for HOST/REPOSITORY"),
        (["--key", "alice.pub", "--for", HERE], 2, "no private key"),
    ],
)
def test_what_cannot_be_signed_with_is_said(
    keys: Path, proven: InLayout, arguments: list[str], code: int, said: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(keys)
    assert run(["sign", str(proven._layout.directory), *arguments]) == code
    assert said in capsys.readouterr().err


def test_an_encrypted_key_without_a_password_and_without_a_person_is_refused(
    keys: Path, proven: InLayout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COSIGN_PASSWORD")
    assert run(["sign", str(proven._layout.directory), "--key", str(keys / "cosign.key"), "--for", HERE]) == 2
    assert "COSIGN_PASSWORD" in capsys.readouterr().err


def test_an_image_in_a_registry_is_signed_where_it_is(
    keys: Path, proven: InLayout, registry: simulated_registry.Registry, repository: Repository
) -> None:
    place = proven
    push(place._layout, place.descriptor, Reference(registry.host, "icu", "1.2.0"), repository)
    target = [f"{registry.host}/icu@{place.descriptor.digest}", "--plain-http"]
    assert run(["sign", *target, "--key", str(keys / "cosign.key")]) == 0
    assert run(["verify", *target, "--trust", str(keys / "trust.toml")]) == 0
    assert run(["sign", *target, "--key", str(keys / "cosign.key"), "--for", HERE]) == 2


def test_a_push_sends_nothing_of_an_image_that_is_not_trusted_where_it_is_going(
    keys: Path, proven: InLayout, registry: simulated_registry.Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    place = proven
    where, target = str(place._layout.directory), f"{registry.host}/icu:1.2.0"
    command = ["push", where, target, "--plain-http", "--trust", str(keys / "trust.toml")]
    assert run(command) == 3
    assert run(["sign", where, "--key", str(keys / "cosign.key"), "--for", HERE]) == 0
    capsys.readouterr()
    assert run(command) == 3
    assert "BED-TRU-006" in capsys.readouterr().err
    assert registry.seen == []
    assert run(["sign", where, "--key", str(keys / "cosign.key"), "--for", f"{registry.host}/icu"]) == 0
    assert run(command) == 0
