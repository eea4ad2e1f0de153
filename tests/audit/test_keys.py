import subprocess
from pathlib import Path

import pytest

from bedside.audit import keys
from bedside.audit.keys import HMAC_KEY, OPENING_KEY, RECIPIENT, SIGNING_KEY, VERIFICATION_KEY
from bedside_runtime.audit import notes, sealing
from bedside_runtime.audit.ed25519 import PrivateKey
from bedside_runtime.audit.privacy import read_hmac_key
from bedside_runtime.contract import Audit


def test_the_runtime_takes_an_hmac_key_and_the_auditor_has_it_too() -> None:
    made = keys.make("icu", Audit(payload="hmac"))
    assert made.pod == made.auditor
    assert made.pod.keys() == {HMAC_KEY}
    assert len(read_hmac_key(made.pod[HMAC_KEY])) == 32


def test_the_pod_gets_no_key_that_opens() -> None:
    made = keys.make("icu", Audit(payload="encrypted"))
    assert (made.pod.keys(), made.auditor.keys()) == ({RECIPIENT}, {OPENING_KEY})
    opening = sealing.read_private_key(made.auditor[OPENING_KEY])
    assert sealing.read_recipient(made.pod[RECIPIENT]) == opening.public_key()
    assert b"PRIVATE" not in made.pod[RECIPIENT]


def test_the_auditor_gets_no_key_that_signs() -> None:
    made = keys.make("icu", Audit(payload="none", signed=True))
    assert (made.pod.keys(), made.auditor.keys()) == ({SIGNING_KEY}, {VERIFICATION_KEY})
    verification = notes.read_key(made.auditor[VERIFICATION_KEY].decode())
    assert verification == PrivateKey("icu", made.pod[SIGNING_KEY]).key
    assert verification.name == "icu"


def test_no_two_keys_are_the_same() -> None:
    one, other = (keys.make("icu", Audit(payload="hmac", signed=True)) for _ in range(2))
    assert not set(one.pod.values()) & set(other.pod.values())


@pytest.mark.parametrize(("name", "line"), [(SIGNING_KEY, "ED25519"), (RECIPIENT, "X25519")])
def test_openssl_reads_them(name: str, line: str, tmp_path: Path) -> None:
    made = keys.make("icu", Audit(payload="encrypted", signed=True))
    (tmp_path / name).write_bytes(made.pod[name])
    command = ["openssl", "pkey", "-in", str(tmp_path / name), "-noout", "-text"]
    done = subprocess.run(command + (["-pubin"] if name == RECIPIENT else []), capture_output=True, check=True)
    assert line in done.stdout.decode().upper()
