import json

import pytest
from logs import POD, PROMISES, Writer, a_log, judge

from bedside_runtime.audit import notes, record
from bedside_runtime.audit.verify import Verdict

pytest.importorskip("cryptography", reason="signed checkpoints need the extra `audit`")

from keys import signer, trust

OLD, NEW = signer(1), signer(2)
SIGNED = a_log(100, segments=2, signer=NEW)
NAMES = list(SIGNED.files)
KEPT = notes.read_checkpoint(notes.read_note(SIGNED.notes[-1]).text)


def test_a_signed_log_is_intact_up_to_its_last_checkpoint() -> None:
    report = judge(SIGNED.files, trust=trust(NEW), checkpoints=[KEPT])
    assert report.verdict is Verdict.INTACT
    assert report.signed_records == KEPT.head.records


def test_a_log_re_sealed_with_an_old_key_is_not_trusted() -> None:
    again = a_log(100, segments=2, signer=OLD)
    assert judge(again.files, trust=trust(OLD)).verdict is Verdict.INTACT
    assert judge(again.files, trust=trust(NEW)).verdict is Verdict.BAD_SIGNATURE


def test_a_log_re_sealed_with_an_old_key_from_any_record_on_is_not_trusted() -> None:
    """Somebody has a key that was exchanged, and makes everything anew from some record on."""
    items = [json.loads(line) for name in NAMES for line in SIGNED.lines(name)]
    places = [item["seq"] for item in items if item["body"]["kind"] == "prediction"]
    for number in places[::7]:
        writer = Writer(NEW)
        writer.open()
        for item in items:
            if item["body"]["kind"] != "prediction":
                continue
            if item["seq"] == number:
                writer.signer = OLD
            writer.add(item["body"] | ({"value": 0.75} if item["seq"] == number else {}))
        writer.checkpoint()
        assert judge(writer.written().files, trust=trust(OLD, NEW)).verdict is Verdict.BAD_SIGNATURE, number


def test_a_log_never_goes_back_to_an_earlier_key() -> None:
    def two(first, second):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        writer = Writer(first)
        writer.open()
        writer.signer = second
        writer.open("boot2")
        return writer.written().files

    assert judge(two(OLD, NEW), trust=trust(OLD, NEW)).verdict is Verdict.INTACT
    assert judge(two(NEW, OLD), trust=trust(OLD, NEW)).verdict is Verdict.BAD_SIGNATURE


def test_a_log_re_sealed_with_an_old_key_contradicts_the_checkpoint_kept_elsewhere() -> None:
    again = a_log(100, segments=2, signer=OLD)
    assert judge(again.files, trust=trust(OLD, NEW), checkpoints=[KEPT]).verdict is Verdict.ALTERED


def test_a_log_without_signatures_is_not_taken_for_a_signed_one() -> None:
    assert judge(a_log(100).files, trust=trust(NEW)).verdict is Verdict.BAD_SIGNATURE


def test_a_signature_of_another_key_in_a_signed_log_is_found() -> None:
    writer = Writer(NEW)
    writer.open()
    writer.signer = signer(3)
    writer.checkpoint()
    assert judge(writer.written().files, trust=trust(NEW)).verdict is Verdict.BAD_SIGNATURE


def test_a_chain_written_on_without_the_promised_checkpoints_is_found() -> None:
    writer = Writer(NEW)
    writer.open()
    writer.signer = None
    for _ in range(PROMISES.checkpoint_records + 1):
        writer.add({"kind": "heartbeat", "ready": True})
    assert judge(writer.written().files, trust=trust(NEW)).verdict is Verdict.INTACT
    writer.add({"kind": "heartbeat", "ready": True})
    assert judge(writer.written().files, trust=trust(NEW)).verdict is Verdict.BAD_SIGNATURE


def test_a_segment_without_a_checkpoint_behind_its_genesis_is_found() -> None:
    lines = SIGNED.lines(NAMES[0])
    assert judge({NAMES[0]: lines[0]}, trust=trust(NEW)).verdict is Verdict.BAD_SIGNATURE
    assert judge({NAMES[0]: lines[0]}, trust=trust(NEW), checkpoints=[KEPT]).verdict is Verdict.TRUNCATED


@pytest.mark.parametrize("about", [notes.Checkpoint("bedside.audit/other", KEPT.head), KEPT])
def test_a_checkpoint_about_another_place_is_found_with_or_without_a_key(about: notes.Checkpoint) -> None:
    writer = Writer(NEW)
    writer.open()
    writer._line(record.encode(record.Checkpoint(notes.sign(about, NEW))))
    assert judge(writer.written().files, trust=trust(NEW)).verdict is Verdict.ALTERED
    assert judge(writer.written().files).verdict is Verdict.ALTERED


def test_the_origin_names_the_pod() -> None:
    assert KEPT.origin == f"bedside.audit/{POD}"
