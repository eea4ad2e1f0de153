import pytest

from bedside_runtime.audit.chain import START, Head
from bedside_runtime.audit.notes import (
    Checkpoint,
    NotANote,
    VerificationKey,
    checkpoint_text,
    read_checkpoint,
    read_key,
    read_note,
    sign,
    signed_by,
)

pytest.importorskip("cryptography", reason="signed checkpoints need the extra `audit`")

from keys import pem, signer

from bedside_runtime.audit.ed25519 import PrivateKey, verifies

HERE = Checkpoint("bedside.audit/pod-1", Head(42, "ab" * 32))


def test_a_checkpoint_reads_back() -> None:
    note = read_note(sign(HERE, signer()))
    assert read_checkpoint(note.text) == HERE
    assert signed_by(note, [signer().key], verifies) == signer().key


def test_the_example_of_the_note_format_verifies() -> None:
    """The note of the Go checksum database in the documentation of golang.org/x/mod/sumdb/note."""
    key = read_key("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = (
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
        "\n— PeterNeumann "
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    assert signed_by(read_note(text), [key], verifies) == key


def test_a_signature_of_another_key_says_nothing() -> None:
    assert signed_by(read_note(sign(HERE, signer(1))), [signer(2).key], verifies) is None


def test_a_key_of_the_same_name_is_another_key() -> None:
    assert signer(1).key.id != signer(2).key.id


def test_every_flipped_bit_of_a_note_is_found() -> None:
    note = sign(HERE, signer()).encode()
    for at in range(len(note) * 8):
        data = bytearray(note)
        data[at // 8] ^= 1 << at % 8
        try:
            parsed = read_note(data.decode())
        except (NotANote, UnicodeDecodeError):
            continue
        assert signed_by(parsed, [signer().key], verifies) is None


@pytest.mark.parametrize(
    "text", ["", "a\n", "a\n1\n", "a\n01\nqqo=\n", f"a\n1\n{'q' * 44}\n", "\n1\n\n", checkpoint_text(HERE)[:-1]]
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NotANote):
        read_checkpoint(text)


def test_further_lines_of_a_checkpoint_are_extensions() -> None:
    assert read_checkpoint(checkpoint_text(HERE) + "extension\n") == HERE


def test_a_key_reads_back_and_its_id_is_compared() -> None:
    key = signer().key
    assert read_key(f"{key}\n") == key
    with pytest.raises(NotANote):
        read_key(str(VerificationKey("other", key.public)).replace("other", key.name))


@pytest.mark.parametrize("data", [b"", pem(1)[:-40], pem(1).replace(b"PRIVATE", b"PUBLIC")])
def test_a_signing_key_that_is_none_is_refused_without_being_quoted(data: bytes) -> None:
    with pytest.raises(NotANote, match="the signing key is no"):
        PrivateKey("icu", data)


def test_the_start_of_a_log_can_be_signed() -> None:
    assert read_checkpoint(read_note(sign(Checkpoint("o", START), signer())).text).head == START
