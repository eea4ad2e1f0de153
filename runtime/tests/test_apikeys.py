import contextlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside_runtime import apikeys
from bedside_runtime.errors import AuthKeysInvalid

KEY = apikeys.make()


def test_a_new_key_is_admitted_by_its_line_and_by_no_other() -> None:
    keys = apikeys.parse((apikeys.line("ehr", KEY) + "\n" + apikeys.line("ward", apikeys.make())).encode())
    found = apikeys.find(keys, KEY.encode())
    assert found is not None
    assert (found.name, found.last) == ("ehr", None)
    assert apikeys.find(keys, apikeys.make().encode()) is None


def test_no_two_keys_are_the_same_and_every_one_has_the_form_of_one() -> None:
    made = {apikeys.make() for _ in range(100)}
    assert len(made) == 100
    assert all(apikeys.is_key(key.encode()) for key in made)


def test_the_line_holds_nothing_of_the_key() -> None:
    line = apikeys.line("ehr", KEY, date(2027, 6, 30))
    assert not any(KEY[start : start + 6] in line for start in range(len(KEY) - 5))
    assert line.endswith(" until 2027-06-30")


def test_several_keys_of_one_name_are_valid_at_once() -> None:
    old, new = apikeys.make(), apikeys.make()
    text = f"# exchanged in June\n{apikeys.line('ehr', old, date(2027, 6, 30))}\n\n{apikeys.line('ehr', new)}  # new\n"
    keys = apikeys.parse(text.encode())
    assert [apikeys.find(keys, key.encode()) for key in (old, new)] == list(keys)
    assert [key.last for key in keys] == [date(2027, 6, 30), None]


HASH = "0" * 64


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing but a comment\n",
        f"ehr {HASH}",
        f"ehr sha256:{HASH[1:]}",
        f"ehr sha256:{HASH.replace('0', 'G')}",
        f"ehr sha512:{HASH}",
        f"ehr md5:{HASH}",
        f"sha256:{HASH}",
        f"e/h/r sha256:{HASH}",
        f"{'e' * 65} sha256:{HASH}",
        f"ehr sha256:{HASH} until tomorrow",
        f"ehr sha256:{HASH} until 2027-02-30",
        f"ehr sha256:{HASH} until",
        f"ehr sha256:{HASH} 2027-06-30",
        f"ehr sha256:{HASH}\nward sha256:{HASH}",
        f"ehr {KEY}",
        "<html>not found</html>",
        "\n".join(f"name{number} sha256:{number:064x}" for number in range(apikeys.MOST_KEYS + 1)),
    ],
)
def test_a_file_that_does_not_say_whose_each_key_is_admits_nobody(text: str) -> None:
    with pytest.raises(AuthKeysInvalid) as refused:
        apikeys.parse(text.encode())
    assert KEY not in str(refused.value)


@given(st.binary(max_size=300))
def test_any_bytes_are_keys_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(AuthKeysInvalid):
        assert apikeys.parse(data)


@pytest.mark.parametrize("name", ["", " ", "a b", "#", "-ehr", "ehr\n", "ä", "e" * 65, "ehr:1"])
def test_a_name_that_a_file_could_not_hold_is_refused(name: str) -> None:
    with pytest.raises(AuthKeysInvalid):
        apikeys.line(name, KEY)


@pytest.mark.parametrize(
    "presented",
    [b"", b"bsk_", KEY.encode()[:-1], KEY.encode() + b"A", KEY.encode().upper(), KEY.encode()[4:], b" " + KEY.encode()],
)
def test_what_has_not_the_form_of_a_key_is_none(presented: bytes) -> None:
    assert not apikeys.is_key(presented)


def test_every_key_is_compared_whether_one_was_found_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing must not say which line a key stands on, nor whether it stands on one."""
    compared: list[bytes] = []

    def watched(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(apikeys.hmac, "compare_digest", watched)
    made = [apikeys.make() for _ in range(5)]
    keys = apikeys.parse("\n".join(apikeys.line(f"n{index}", key) for index, key in enumerate(made)).encode())
    for presented in (made[0], made[4], apikeys.make()):
        compared.clear()
        apikeys.find(keys, presented.encode())
        assert compared == [key.digest for key in keys]
