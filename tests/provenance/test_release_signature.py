import hashlib
from pathlib import Path

import pytest
from tests.provenance.keyring import ALICE, BOB, EDDY, pem

from bedside.errors import KeyInvalid
from bedside.provenance import release_signature
from bedside_runtime.errors import SignatureInvalid

FILES = {"contract.json": b"{}", "model/m.ubj": b"model", "model-2.txt": b"x", "requirements.lock": b"lock"}
"""Sorted by path, model/ comes before model-2; sorted as text, behind it."""


def digests() -> dict[str, str]:
    return {path: hashlib.sha256(data).hexdigest() for path, data in FILES.items()}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    for path, data in FILES.items():
        (tmp_path / "icu-1.0.0" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "icu-1.0.0" / path).write_bytes(data)
    (tmp_path / "icu-1.0.0" / "measurements.json").write_text("{}")
    (tmp_path / "alice.pub").write_bytes(ALICE.public.pem)
    (tmp_path / "alice.pem").write_bytes(pem())
    return tmp_path / "icu-1.0.0"


def test_what_the_key_signed_comes_back_and_another_key_signed_nothing() -> None:
    data = release_signature.sign("icu-1.0.0", digests(), ALICE)
    assert release_signature.files(data, ALICE.public) == digests()
    assert release_signature.signed_by(data, ALICE.public)
    assert not release_signature.signed_by(data, BOB.public)
    with pytest.raises(SignatureInvalid):
        release_signature.files(data, BOB.public)


@pytest.mark.filterwarnings("ignore")
def test_the_tool_of_openssf_verifies_it_and_sees_a_changed_file(release: Path) -> None:
    from model_signing import verifying

    signature, public = release / "contract.sig", release.parent / "alice.pub"
    signature.write_bytes(release_signature.sign(release.name, digests(), ALICE))
    verifying.Config().use_elliptic_key_verifier(public_key=public).verify(release, signature)
    (release / "model/m.ubj").write_bytes(b"modem")
    with pytest.raises(ValueError, match=r"Hash mismatch for 'model/m\.ubj'"):
        verifying.Config().use_elliptic_key_verifier(public_key=public).verify(release, signature)


@pytest.mark.filterwarnings("ignore")
def test_what_the_tool_of_openssf_signs_is_read_here(release: Path) -> None:
    from model_signing import hashing, signing

    theirs, ignored = release.parent / "theirs.sig", [release / "measurements.json"]
    how = hashing.Config().set_ignored_paths(paths=ignored)
    signer = signing.Config().set_hashing_config(how).use_elliptic_key_signer(private_key=release.parent / "alice.pem")
    signer.sign(release, theirs)
    assert release_signature.files(theirs.read_bytes(), ALICE.public) == digests()


def test_an_ed25519_key_is_refused_because_the_format_knows_none() -> None:
    with pytest.raises(KeyInvalid, match="P-256"):
        release_signature.sign("icu", digests(), EDDY)
