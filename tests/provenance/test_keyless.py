"""Sigstore's client at its seam: its services cannot be reached here, and its root of trust is in the wheel."""

import json
import sys

import pytest
from sigstore import errors
from sigstore.models import ClientTrustConfig
from sigstore.verify import Verifier
from tests.provenance.keyring import ALICE

from bedside.errors import ToolFailed
from bedside.provenance import cosign, dsse, keyless
from bedside.provenance.cosign import Bundle
from bedside.provenance.keyless import Sigstore
from bedside.provenance.policy import Identity

SOMEBODY = Identity("workflow", "https://token.actions.githubusercontent.com", "https://github.com/a/b")


def certified(material: dict[str, object]) -> Bundle:
    said = json.loads(cosign.bundle(dsse.sign(b"{}", ALICE), ALICE.public))
    said["verificationMaterial"] = {**material, "tlogEntries": []}
    return cosign.read_bundle(json.dumps(said).encode())


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Verifier.production
    monkeypatch.setattr(Verifier, "production", lambda: real(offline=True))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("material", [{"certificate": {"rawBytes": "AAAA"}}, {}, {"x509CertificateChain": {}}])
def test_a_bundle_without_a_certificate_that_sigstore_gave_identifies_nobody(material: dict[str, object]) -> None:
    assert not keyless.identifies(certified(material), SOMEBODY)


def unreachable(*_: object, **__: object) -> None:
    raise errors.TUFError("no network")


def test_services_that_cannot_be_reached_are_said_and_nobody_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Verifier, "production", unreachable)
    monkeypatch.setattr(ClientTrustConfig, "production", unreachable)
    with pytest.raises(ToolFailed, match="root of trust"):
        keyless.identifies(certified({}), SOMEBODY)
    with pytest.raises(ToolFailed, match="does not sign") as refused:
        Sigstore().bundle(b"{}")
    assert refused.value.remedy


def test_without_the_extra_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sigstore", "sigstore.verify", "sigstore.models"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ToolFailed) as refused:
        keyless.identifies(certified({}), SOMEBODY)
    assert "bedside[keyless]" in refused.value.remedy
    with pytest.raises(ToolFailed):
        Sigstore().bundle(b"{}")
