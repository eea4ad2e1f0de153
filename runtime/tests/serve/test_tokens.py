"""Tokens, their judge and the key sets that it believes; attempts to get past it stand in `test_token_bypasses`."""

import json
import time
from typing import Any

import pytest

pytest.importorskip("jwt", reason="bearer tokens need the extra `auth`")

from hypothesis import given
from hypothesis import strategies as st
from issuing import AUDIENCE, ISSUER, Signer, claims, key_set

from bedside_runtime.contract import Jwt
from bedside_runtime.errors import AuthKeysInvalid
from bedside_runtime.serve.auth import keyset
from bedside_runtime.serve.auth.believing import KeysWanted, NotBelieved
from bedside_runtime.serve.auth.tokens import Tokens

ALGORITHMS: Any = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SIGNERS = {name: Signer(name) for name in ALGORITHMS} | {"Ed448": Signer("EdDSA", "ed448")}
ONE = SIGNERS["ES256"]
SETTINGS = Jwt(issuer=ISSUER, audience=AUDIENCE, algorithms=ALGORITHMS)


class Standing:
    """Keys that are what they are."""

    def __init__(self, data: bytes) -> None:
        self.value: keyset.KeySet | None = keyset.parse(data)

    def again(self) -> None:
        return


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def judge(*signers: Signer, clock: Clock | None = None, **changes: Any) -> Tokens:
    settings = Jwt(**{"issuer": ISSUER, "audience": AUDIENCE, "algorithms": ALGORITHMS, **changes})
    return Tokens(settings, Standing(key_set(*signers or SIGNERS.values())), clock or Clock())


def reason(tokens: Tokens, token: str) -> str:
    with pytest.raises(NotBelieved) as found:
        tokens.identity(token.encode())
    return found.value.reason


# -- what is believed


@pytest.mark.parametrize("name", SIGNERS)
def test_every_kind_of_signature_is_believed(name: str) -> None:
    assert judge().identity(SIGNERS[name].token().encode()) == "jwt:ehr"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [AUDIENCE]},
        {"aud": ["other", AUDIENCE]},
        {"iat": None, "nbf": None},
        {"exp": 60.5},
        {"exp": -20},  # within the skew
        {"nbf": 20, "iat": 20},
        {"jti": "x", "email": "a@b", "nested": {"a": [1, None]}},
    ],
)
def test_the_claims_of_a_good_token_may_vary(changes: dict[str, Any]) -> None:
    """Dates are seconds from now."""
    now = time.time()
    changes = {name: now + value if isinstance(value, (int, float)) else value for name, value in changes.items()}
    assert judge().identity(ONE.token(claims(**changes)).encode()) == "jwt:ehr"


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"])
def test_the_type_of_a_token_is_that_of_an_access_token(typ: str | None) -> None:
    assert judge().identity(ONE.token(header={"typ": typ}).encode()) == "jwt:ehr"


def test_hints_about_keys_are_passed_over() -> None:
    """Some issuers write them; the key is the one of the key set all the same."""
    header = {"jku": f"{ISSUER}/keys", "x5t": "abc", "x5u": f"{ISSUER}/c", "jwk": ONE.jwk()}
    assert judge().identity(ONE.token(header=header).encode()) == "jwt:ehr"


def test_another_claim_may_name_the_caller() -> None:
    tokens = judge(identity="client_id")
    assert tokens.identity(ONE.token(claims(client_id="ward 7")).encode()) == "jwt:ward 7"
    assert reason(tokens, ONE.token()) == "token-claims"


@pytest.mark.parametrize(
    ("granted", "enough"),
    [
        ({"scope": "predict icu"}, True),
        ({"scope": "icu other predict"}, True),
        ({"scp": ["predict", "icu"]}, True),
        ({"scope": "predict"}, False),
        ({"scope": "predicticu"}, False),
        ({"scope": "PREDICT ICU"}, False),
        ({"scope": ""}, False),
        ({"scope": None}, False),
        ({"scope": 7}, False),
        ({"scope": {"predict": 1, "icu": 1}}, False),
        ({"scope": [["predict", "icu"]]}, False),
        ({"scope": "", "scp": "predict icu"}, False),
        ({}, False),
    ],
)
def test_a_token_must_be_good_for_every_scope(granted: dict[str, Any], *, enough: bool) -> None:
    tokens = judge(scopes=("predict", "icu"))
    token = ONE.token({**claims(), **granted}).encode()
    if enough:
        assert tokens.identity(token) == "jwt:ehr"
        return
    with pytest.raises(NotBelieved) as found:
        tokens.identity(token)
    assert (found.value.reason, found.value.identity) == ("token-scope", "jwt:ehr")


# -- what is remembered


def test_a_remembered_token_ends_when_it_ends() -> None:
    clock = Clock()
    tokens, token = judge(clock=clock), ONE.token(claims(exp=int(time.time()) - 25)).encode()
    assert tokens.identity(token) == tokens.identity(token) == "jwt:ehr"
    clock.ahead = 10.0
    assert reason(tokens, token.decode()) == "token-expired"


def test_a_remembered_token_is_not_verified_twice_and_a_changed_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, token = judge(), ONE.token()
    tokens.identity(token.encode())
    monkeypatch.setattr(tokens, "_claims", lambda *_: pytest.fail("verified again"))
    assert tokens.identity(token.encode()) == "jwt:ehr"
    monkeypatch.undo()
    changed = token[:-2] + ("AA" if not token.endswith("AA") else "BB")
    assert reason(tokens, changed) in ("token-signature", "token-malformed")


def test_with_other_keys_nothing_that_was_remembered_counts() -> None:
    keys = Standing(key_set(ONE))
    tokens, token = Tokens(SETTINGS, keys, Clock()), ONE.token().encode()
    assert tokens.identity(token) == "jwt:ehr"
    keys.value = keyset.parse(key_set(Signer("ES256", "other")))
    assert reason(tokens, token.decode()) == "token-key"
    keys.value = keyset.parse(key_set(Signer("ES256", ONE.kid)))  # another key of the same name
    assert reason(tokens, token.decode()) == "token-signature"
    keys.value = None
    assert reason(tokens, token.decode()) == "keys-unavailable"


def test_no_more_is_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedside_runtime.serve.auth.tokens._MOST_REMEMBERED", 3)
    tokens = judge()
    for number in range(10):
        tokens.identity(ONE.token(claims(jti=str(number))).encode())
    assert len(tokens._remembered) == 3


# -- key sets


def test_what_cannot_verify_a_signature_is_passed_over() -> None:
    others = (
        {"kty": "oct", "kid": "shared", "k": "AAAA", "alg": "HS256"},
        ONE.jwk(kid="encrypts", use="enc"),
        ONE.jwk(kid="signs", key_ops=["sign"]),
        ONE.jwk(kid="confused", alg="RS256"),
        ONE.jwk(kid="none", alg="none"),
        ONE.jwk(kid="odd", alg=["ES256"]),
        ONE.jwk(kid=None),
        ONE.jwk(kid=""),
        ONE.jwk(kid="k" * 257),
        ONE.jwk(kid="bitcoin", crv="secp256k1"),
        ONE.jwk(kid="off the curve", x=ONE.jwk()["y"]),
        {"kty": "RSA", "kid": "half"},
        {"kty": "PQ", "kid": "new"},
        Signer("RS256", "short", bits=1024).jwk(),
    )
    assert set(keyset.parse(key_set(ONE, more=others))) == {ONE.kid}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'{"keys": {}}',
        b'{"keys": []}',
        b'{"keys": [1]}',
        b'{"keys": [], "keys": []}',
        b"<html></html>",
        key_set(ONE, ONE),
        key_set(ONE, more=(SIGNERS["RS256"].jwk(kid=ONE.kid),)),
        key_set(ONE, more=(ONE.jwk(kid="private", d="AAAA"),)),
        json.dumps({"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]}).encode(),
        json.dumps({"keys": [ONE.jwk(kid=str(number)) for number in range(101)]}).encode(),
    ],
    ids=lambda data: data[:20].decode(),
)
def test_a_key_set_that_is_none_or_ambiguous_is_refused(data: bytes) -> None:
    with pytest.raises(AuthKeysInvalid):
        keyset.parse(data)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "kid", "n", "e", "crv", "x", "y", "alg", "use", "key_ops"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=8)
        | st.sampled_from(["RSA", "EC", "OKP", "P-256", "AQAB"])
        | st.lists(st.text(max_size=3), max_size=2),
    )
)
def test_any_key_is_taken_or_passed_over(item: dict[str, Any]) -> None:
    found = keyset.parse(key_set(ONE, more=({**item, "kid": "drawn"},)))
    assert ONE.kid in found


@given(st.binary(max_size=60) | st.text(alphabet="eyJhbGciOi.AQ_-", max_size=80).map(str.encode))
def test_any_bytes_are_no_token(data: bytes) -> None:
    tokens = judge(ONE)
    if tokens.takes(data):
        with pytest.raises((NotBelieved, KeysWanted)):
            tokens.identity(data)
