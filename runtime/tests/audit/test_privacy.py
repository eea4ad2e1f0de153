import base64
import subprocess

import msgspec
import pytest
from logs import POD, RELEASE

from bedside_runtime import canonical
from bedside_runtime.audit import record
from bedside_runtime.audit.privacy import Keeper, KeepsHmac, KeepsNothing, key_id, mac, read_hmac_key
from bedside_runtime.audit.record import Entry, Position
from bedside_runtime.contract import Row
from bedside_runtime.errors import AuditKeyInvalid
from bedside_runtime.service import Caller, Prediction
from bedside_runtime.service import Entry as Answered

NAMES = ["age", "lactate", "admission", "ventilated"]
ROW = (63, 1.5, "Emergency", True)
ANSWERED = Answered(Caller("r-1", "ward-3"), [], [Prediction(0.25, "low", ())], 12e-6, 1)

KEY = bytes(range(32))


def kept(keeper: Keeper, *rows: Row) -> Entry:
    (entry,) = keeper.entries([msgspec.structs.replace(ANSWERED, rows=rows)])
    return entry


def inputs(entry: object) -> object:
    assert isinstance(entry, bytes)
    return msgspec.json.decode(entry)["inputs"]


def test_nothing_is_kept_where_nothing_shall_be() -> None:
    keeper = KeepsNothing(NAMES, RELEASE, None)
    assert keeper.begin(POD, 0) == record.Payload("none")
    assert inputs(kept(keeper, ROW)) is None


def test_an_hmac_proves_the_inputs_to_whoever_has_the_key() -> None:
    keeper = KeepsHmac(NAMES, RELEASE, None, KEY)
    expected = canonical.encode(dict(zip(NAMES, ROW, strict=True)))
    assert inputs(kept(keeper, ROW)) == [mac(KEY, expected)]
    assert keeper.begin(POD, 0) == record.Payload("hmac", key_id(KEY))


def test_anyone_with_openssl_can_recompute_an_hmac() -> None:
    data = b"bedside.audit/1 inputs\n" + b'{"admission":"Emergency","age":63,"lactate":1.5,"ventilated":true}'
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{KEY.hex()}"]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    keeper = KeepsHmac(NAMES, RELEASE, None, KEY)
    assert inputs(kept(keeper, ROW)) == [done.stdout.split()[-1].decode()]


@pytest.mark.parametrize("index", range(4))
def test_every_input_of_every_type_changes_the_hmac(index: int) -> None:
    keeper = KeepsHmac(NAMES, RELEASE, None, KEY)
    changed = list(ROW)
    changed[index] = None  # type: ignore[call-overload]
    assert inputs(kept(keeper, ROW)) != inputs(kept(keeper, tuple(changed)))


def test_another_key_gives_another_hmac_and_another_name() -> None:
    assert mac(KEY, b"{}") != mac(bytes(32), b"{}")
    assert key_id(KEY) != key_id(bytes(32))
    assert mac(KEY, b"{}")[:16] != key_id(KEY)


@pytest.mark.parametrize("text", [b"", b"00" * 31, b"0" * 65, b"zz" * 32, KEY])
def test_a_key_that_is_none_is_refused_without_being_quoted(text: bytes) -> None:
    with pytest.raises(AuditKeyInvalid) as caught:
        read_hmac_key(text)
    assert "zz" not in str(caught.value)


def test_a_key_reads_back() -> None:
    assert read_hmac_key(KEY.hex().encode() + b"\n") == KEY


class TestSealed:
    @pytest.fixture(autouse=True)
    def _needs_the_extra(self) -> None:
        pytest.importorskip("cryptography", reason="sealed payloads need the extra `audit`")

    def sealed(self, position: Position):  # type: ignore[no-untyped-def]  # noqa: ANN201
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        from bedside_runtime.audit.sealing import KeepsSealed

        private = X25519PrivateKey.generate()
        keeper = KeepsSealed(NAMES, RELEASE, None, private.public_key())
        payload = keeper.begin(position.pod, position.segment)
        entry = kept(keeper, ROW, ROW)
        assert callable(entry)
        return keeper, payload, entry, private

    def test_only_the_holder_of_the_private_key_opens_a_payload_and_only_where_it_was_written(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        from bedside_runtime.audit.sealing import NotOpened, unseal

        here = Position(POD, 3, 17)
        _, payload, entry, private = self.sealed(here)
        sealed = msgspec.json.decode(entry(here))["inputs"]
        assert b"Emergency" not in base64.b64decode(sealed)
        opened = msgspec.json.decode(unseal(payload, here, sealed, private))
        assert opened == [dict(zip(NAMES, ROW, strict=True))] * 2
        for elsewhere in (Position("other", 3, 17), Position(POD, 4, 17), Position(POD, 3, 18)):
            with pytest.raises(NotOpened):
                unseal(payload, elsewhere, sealed, private)
        with pytest.raises(NotOpened):
            unseal(payload, here, sealed, X25519PrivateKey.generate())

    def test_every_segment_has_a_data_key_of_its_own(self) -> None:
        from bedside_runtime.audit.sealing import NotOpened, unseal

        first, second = Position(POD, 0, 5), Position(POD, 1, 5)
        keeper, payload, entry, private = self.sealed(first)
        before = msgspec.json.decode(entry(first))["inputs"]
        later = keeper.begin(POD, 1)
        assert later.wrapped != payload.wrapped
        after = msgspec.json.decode(entry(second))["inputs"]
        assert unseal(later, second, after, private) == unseal(payload, first, before, private)
        with pytest.raises(NotOpened):
            unseal(later, first, before, private)

    def test_inputs_that_do_not_fit_into_a_record_are_refused_before_they_are_handed_in(self) -> None:
        from bedside_runtime.errors import RecordTooLarge

        keeper, *_ = self.sealed(Position(POD, 0, 0))
        with pytest.raises(RecordTooLarge):
            kept(keeper, (1, 2.0, "x" * 2_000_000, True))

    def test_a_recipient_that_is_none_is_refused(self) -> None:
        from bedside_runtime.audit.sealing import read_private_key, read_recipient

        for read in (read_recipient, read_private_key):
            with pytest.raises(AuditKeyInvalid):
                read(b"-----BEGIN PUBLIC KEY-----\n")
