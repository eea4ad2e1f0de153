"""Attempts to get past the gate with tokens, over sockets against the real server. None gets through."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

pytest.importorskip("jwt", reason="bearer tokens need the extra `auth`")

from bypasses import Noticing, accepted, request
from issuing import AUDIENCE, ISSUER, Signer, claims, encoded, key_set, shared, written
from served import ENGINES, QUICK, Served, loaded, serving
from wire import said, statuses

from bedside_runtime.contract import Auth, Jwt

if TYPE_CHECKING:
    from pathlib import Path

ALGORITHMS: Any = ("RS256", "PS256", "ES256", "EdDSA")
RSA, EC, ED = Signer("RS256", "rsa"), Signer("ES256", "ec"), Signer("EdDSA", "ed")
FREE = Signer("RS256", "free")  # its key does not name an algorithm, as those of some issuers
STRANGER, OTHER_EC = Signer("RS256", "rsa"), Signer("ES256", "ec")  # other keys under known names
P384 = Signer("ES384", "p384")
SETTINGS = msgspec.structs.replace(
    QUICK,
    auth=Auth(methods=("jwt",), jwt=Jwt(issuer=ISSUER, audience=AUDIENCE, algorithms=ALGORITHMS, scopes=("predict",))),
)
NOW = int(time.time())


def granted(**changes: Any) -> dict[str, Any]:
    """Claims that hold for as long as all tests together take: many tokens are made when they are collected."""
    return claims(**{"scope": "predict", "exp": NOW + 7_200, **changes})


def plain(token: str) -> bytes:
    return request(b"Authorization: Bearer " + token.encode())


@pytest.fixture(scope="module")
def model() -> Noticing:
    return Noticing()


@pytest.fixture(scope="module", params=ENGINES)
def server(
    request: pytest.FixtureRequest, model: Noticing, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("keys")
    public = (FREE.jwk(alg=None), {"kty": "oct", "kid": "oct", "k": encoded(b"secret" * 6), "alg": "HS256"})
    public[0].pop("alg")
    (folder / "jwks.json").write_bytes(key_set(RSA, EC, ED, P384, more=public))
    with serving(loaded(model, SETTINGS, request.param), keys=folder) as served:
        yield served


@pytest.mark.parametrize(
    "token",
    [signer.token(granted()) for signer in (RSA, EC, ED, FREE)]
    + [
        FREE.over(written({"alg": "PS256", "kid": "free"}), written(granted())).rpartition(".")[0]
        + "."
        + encoded(FREE.sign((written({"alg": "PS256", "kid": "free"}) + "." + written(granted())).encode(), "PS256"))
    ],
    ids=["RS256", "ES256", "EdDSA", "RS256 of a key for any", "PS256 of a key for any"],
)
def test_the_ways_in_that_are_meant_are_open(server: Served, model: Noticing, token: str) -> None:
    before = model.asked
    assert statuses(said(server, plain(token))) == [200]
    assert model.asked == before + 1


def _other_case(token: str) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body}.{signature.swapcase()}"


def _replaced(token: str, place: int, part: str) -> str:
    parts = token.split(".")
    parts[place] = part
    return ".".join(parts)


def _flipped(token: str, byte: int) -> str:
    parts = token.split(".")
    signature = bytearray(base64.urlsafe_b64decode(parts[2] + "=="))
    signature[byte] ^= 1
    return _replaced(token, 2, encoded(bytes(signature)))


def _unused_bits(token: str) -> str:
    """The same bytes of a signature, written in another way: the last character has bits that nobody reads."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


def _duplicate(name: str, first: str, second: str) -> str:
    body = json.dumps(granted())[:-1]
    return f'{body}, "{name}": {first}, "{name}": {second}}}'


def _ec_negated(token: str) -> str:
    """The other signature that ECDSA has for the same message: (r, n - s)."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    raw = base64.urlsafe_b64decode(token.split(".")[2] + "==")
    s = order - int.from_bytes(raw[32:], "big")
    return _replaced(token, 2, encoded(raw[:32] + s.to_bytes(32, "big")))


GOOD = RSA.token(granted())
PEM = RSA.pem()

SIGNATURES: dict[str, Callable[[], str]] = {
    "HS256 with the public key as the secret": lambda: shared(PEM, {"alg": "HS256", "kid": "rsa"}, granted()),
    "the same without its last line end": lambda: shared(PEM.strip(), {"alg": "HS256", "kid": "rsa"}, granted()),
    "HS256 with the modulus as the secret": lambda: shared(
        RSA.jwk()["n"].encode(), {"alg": "HS256", "kid": "rsa"}, granted()
    ),
    "HS256 with the JWK as the secret": lambda: shared(
        json.dumps(RSA.jwk()).encode(), {"alg": "HS256", "kid": "rsa"}, granted()
    ),
    "HS256 with the coordinate of a curve": lambda: shared(
        EC.jwk()["x"].encode(), {"alg": "HS256", "kid": "ec"}, granted()
    ),
    "HS256 with the shared key of the set": lambda: shared(b"secret" * 6, {"alg": "HS256", "kid": "oct"}, granted()),
    "HS256 with an empty secret": lambda: shared(b"", {"alg": "HS256", "kid": "rsa"}, granted()),
    "HS256 said to be RS256": lambda: shared(PEM, {"alg": "RS256", "kid": "rsa"}, granted()),
    **{
        f"alg {name!r} and no signature": (
            lambda name=name: f"{written({'alg': name, 'kid': 'rsa'})}.{written(granted())}."
        )
        for name in ("none", "None", "NONE", "nOnE", "", "null", "RS256", "none ", "\u2060none")
    },
    "alg none and a good signature": lambda: _replaced(GOOD, 0, written({"alg": "none", "kid": "rsa"})),
    "alg null": lambda: RSA.token(granted(), {"alg": 0}).replace(written({"alg": 0}), written({"alg": None})),
    "no alg": lambda: RSA.token(granted(), {"alg": None}),
    "alg as a list": lambda: RSA.token(granted(), {"alg": ["RS256"]}),
    "alg in small letters": lambda: RSA.token(granted(), {"alg": "rs256"}),
    "an algorithm that the release does not take": lambda: RSA.over(
        written({"alg": "RS512", "kid": "rsa"}), written(granted())
    ),
    "a known algorithm of a curve that the release does not take": lambda: P384.token(granted()),
    "RSA said to be a curve": lambda: RSA.token(granted(), {"alg": "ES256"}),
    "a curve said to be RSA": lambda: EC.token(granted(), {"alg": "RS256"}),
    "a curve said to be Edwards": lambda: EC.token(granted(), {"alg": "EdDSA"}),
    "an RSA key by the name of a curve": lambda: RSA.token(granted(), {"kid": "ec"}),
    "PS256 of a key that is for RS256": lambda: RSA.token(granted(), {"alg": "PS256"}),
    "another key under a known name": lambda: STRANGER.token(granted()),
    "another curve key under a known name": lambda: OTHER_EC.token(granted()),
    "a signature of another token": lambda: _replaced(RSA.token(granted(sub="admin")), 2, GOOD.split(".")[2]),
    "the signature taken off": lambda: GOOD.rpartition(".")[0],
    "the signature empty": lambda: GOOD.rpartition(".")[0] + ".",
    "the signature cut": lambda: GOOD[:-8],
    "the signature grown": lambda: GOOD + "AAAA",
    "the first bit of the signature": lambda: _flipped(GOOD, 0),
    "the last bit of the signature": lambda: _flipped(GOOD, -1),
    "the signature padded": lambda: GOOD + "==",
    "the signature in the other alphabet": lambda: GOOD.replace("-", "+").replace("_", "/"),
    "the signature with unread bits": lambda: _unused_bits(GOOD),
    "the case of the signature swapped": lambda: _other_case(GOOD),
    "an ECDSA signature of zeros": lambda: _replaced(EC.token(granted()), 2, encoded(bytes(64))),
    "an ECDSA signature as DER": lambda: _replaced(EC.token(granted()), 2, encoded(b"0\x06\x02\x01\x01\x02\x01\x01")),
    "an Edwards signature of zeros": lambda: _replaced(ED.token(granted()), 2, encoded(bytes(64))),
    "an RSA signature of zeros": lambda: _replaced(GOOD, 2, encoded(bytes(256))),
}
"""Signatures that are none of the issuer's."""

HEADERS: dict[str, Callable[[], str]] = {
    "no kid": lambda: RSA.token(granted(), {"kid": None}),
    "an unknown kid": lambda: RSA.token(granted(), {"kid": "unknown"}),
    "an empty kid": lambda: RSA.token(granted(), {"kid": ""}),
    "a kid that is a list": lambda: RSA.token(granted(), {"kid": ["rsa"]}),
    "a kid that is a number": lambda: RSA.token(granted(), {"kid": 0}),
    "a kid that is a path": lambda: shared(b"", {"alg": "HS256", "kid": "../../../../dev/null"}, granted()),
    "a kid that is a query": lambda: shared(b"x", {"alg": "HS256", "kid": "x' UNION SELECT 'x"}, granted()),
    "two kids": lambda: RSA.over(encoded(b'{"alg":"RS256","kid":"unknown","kid":"rsa"}'), written(granted())),
    "two algs": lambda: RSA.over(encoded(b'{"alg":"none","alg":"RS256","kid":"rsa"}'), written(granted())),
    "its own key in the header": lambda: STRANGER.token(granted(), {"kid": "new", "jwk": STRANGER.jwk(kid="new")}),
    "its own key under a known name": lambda: STRANGER.token(granted(), {"jwk": STRANGER.jwk()}),
    "an address of its own key set": lambda: STRANGER.token(
        granted(), {"kid": "new", "jku": "https://127.0.0.1:1/keys"}
    ),
    "an address of its own certificate": lambda: STRANGER.token(granted(), {"x5u": "https://127.0.0.1:1/cert"}),
    "its own certificate": lambda: STRANGER.token(granted(), {"x5c": [encoded(PEM)]}),
    "a critical extension": lambda: RSA.token(granted(), {"crit": ["exp"], "exp": NOW + 300}),
    "an empty list of critical extensions": lambda: RSA.token(granted(), {"crit": []}),
    "a body that is not encoded": lambda: RSA.token(granted(), {"b64": False, "crit": ["b64"]}),
    "a body that is said not to be encoded": lambda: RSA.token(granted(), {"b64": False}),
    "a compressed body": lambda: RSA.token(granted(), {"zip": "DEF"}),
    "an encrypted token": lambda: RSA.token(granted(), {"enc": "A256GCM"}),
    "a token inside": lambda: RSA.token(granted(), {"cty": "JWT"}),
    "a token for logging out": lambda: RSA.token(granted(), {"typ": "logout+jwt"}),
    "a type that is a number": lambda: RSA.token(granted(), {"typ": 1}),
    "a header that is a list": lambda: RSA.over(encoded(b'["RS256"]'), written(granted())),
    "a header that is no JSON": lambda: RSA.over(encoded(b"{alg:RS256}"), written(granted())),
    "a header with a byte order mark": lambda: RSA.over(
        encoded(b'\xef\xbb\xbf{"alg":"RS256","kid":"rsa"}'), written(granted())
    ),
    "a header that is empty": lambda: "." + GOOD.partition(".")[2],
}
"""Headers that name another key, or change what is signed."""

CLAIMS: dict[str, Callable[[], str]] = {
    "another issuer": lambda: RSA.token(granted(iss="https://login.example.com")),
    "the issuer with a slash": lambda: RSA.token(granted(iss=ISSUER + "/")),
    "the issuer in capitals": lambda: RSA.token(granted(iss=ISSUER.upper())),
    "the issuer as a list": lambda: RSA.token(granted(iss=[ISSUER])),
    "no issuer": lambda: RSA.token(granted(iss=None)),
    "another audience": lambda: RSA.token(granted(aud="other")),
    "an audience that begins alike": lambda: RSA.token(granted(aud=AUDIENCE + "-2")),
    "no audience": lambda: RSA.token(granted(aud=None)),
    "an empty audience": lambda: RSA.token(granted(aud=[])),
    "an audience of others": lambda: RSA.token(granted(aud=["a", "b"])),
    "an audience that is an object": lambda: RSA.token(granted(aud={AUDIENCE: 1})),
    "an audience with a number in it": lambda: RSA.token(granted(aud=[AUDIENCE, 1])),
    "expired": lambda: RSA.token(granted(exp=NOW - 3600)),
    "expired just beyond the skew": lambda: RSA.token(granted(exp=int(time.time()) - 31)),
    "no expiry": lambda: RSA.token(granted(exp=None)),
    "expiry as text": lambda: RSA.token(granted(exp=str(NOW + 300))),
    "expiry as a date": lambda: RSA.token(granted(exp="2099-01-01")),
    "expiry true": lambda: RSA.token(granted(exp=True)),
    "expiry beyond all time": lambda: RSA.token(granted(exp=1e300)),
    "expiry that is infinite": lambda: RSA.over(
        written({"alg": "RS256", "kid": "rsa"}),
        encoded(_duplicate("x", "1", "2").replace('"x": 1, "x": 2', '"exp": Infinity').encode()),
    ),
    "expiry of thousands of digits": lambda: RSA.over(
        written({"alg": "RS256", "kid": "rsa"}),
        encoded(_duplicate("x", "1", "2").replace('"x": 1, "x": 2', f'"y": {"9" * 5_000}').encode()),
    ),
    "expiry as a list": lambda: RSA.token(granted(exp=[NOW + 300])),
    "not yet valid": lambda: RSA.token(granted(nbf=NOW + 3600)),
    "not before as text": lambda: RSA.token(granted(nbf=str(NOW - 1))),
    "issued in the future": lambda: RSA.token(granted(iat=NOW + 3600)),
    "issued as text": lambda: RSA.token(granted(iat="now")),
    "no subject": lambda: RSA.token(granted(sub=None)),
    "an empty subject": lambda: RSA.token(granted(sub="")),
    "a subject that is a number": lambda: RSA.token(granted(sub=7)),
    "a subject that is a list": lambda: RSA.token(granted(sub=["ehr"])),
    "a subject with a line end": lambda: RSA.token(granted(sub="ehr\nadmin")),
    "a subject that is very long": lambda: RSA.token(granted(sub="e" * 256)),
    "a jti that is a number": lambda: RSA.token(granted(jti=1)),
    "no scope": lambda: RSA.token(granted(scope=None)),
    "another scope": lambda: RSA.token(granted(scope="predictions")),
    "a scope inside a list inside": lambda: RSA.token(granted(scope=[["predict"]])),
    "two expiries": lambda: RSA.over(
        written({"alg": "RS256", "kid": "rsa"}), encoded(_duplicate("exp", "1", str(NOW + 300)).encode())
    ),
    "two subjects": lambda: RSA.over(
        written({"alg": "RS256", "kid": "rsa"}), encoded(_duplicate("sub", '"admin"', '"ehr"').encode())
    ),
    "two names deep inside": lambda: RSA.over(
        written({"alg": "RS256", "kid": "rsa"}),
        encoded(_duplicate("x", '{"a":1,"a":2}', "1").replace(', "x": 1}', "}").encode()),
    ),
    "claims that are a list": lambda: RSA.over(written({"alg": "RS256", "kid": "rsa"}), encoded(b"[]")),
    "claims that are no JSON": lambda: RSA.over(written({"alg": "RS256", "kid": "rsa"}), encoded(b"x=1")),
    "claims that are very deep": lambda: RSA.over(
        written({"alg": "RS256", "kid": "rsa"}), encoded(b'{"a":' * 500 + b"1" + b"}" * 500)
    ),
    "claims that are very many": lambda: RSA.token({**granted(), **{f"c{number}": number for number in range(2_000)}}),
    "no claims": lambda: RSA.over(written({"alg": "RS256", "kid": "rsa"}), ""),
}
"""Tokens of the issuer that are not for this, not now, or not what a token is."""

FORMS: dict[str, Callable[[], bytes]] = {
    "the body exchanged": lambda: plain(_replaced(GOOD, 1, written(granted(sub="admin")))),
    "two parts": lambda: plain(GOOD.partition(".")[2]),
    "four parts": lambda: plain(GOOD + ".AAAA"),
    "five parts, as of an encrypted token": lambda: plain(f"{GOOD}.AAAA.AAAA"),
    "a line end inside": lambda: plain(GOOD[:50] + "%0a" + GOOD[50:]),
    "a token as JSON": lambda: plain(json.dumps({"protected": GOOD.split(".")[0], "payload": GOOD.split(".")[1]})),
    "under the scheme JWT": lambda: request(b"Authorization: JWT " + GOOD.encode()),
    "under the scheme DPoP": lambda: request(b"Authorization: DPoP " + GOOD.encode()),
    "in the query": lambda: request(line=b"POST /predict?access_token=%b HTTP/1.1" % GOOD.encode()),
    "in a cookie": lambda: request(b"Cookie: token=" + GOOD.encode()),
    "as an API key": lambda: request(b"X-API-Key: " + GOOD.encode()),
    "an API key where none is taken": lambda: plain("bsk_" + "A" * 43),
}
"""Other ways to carry a token."""


@pytest.mark.parametrize(
    "make", [*SIGNATURES.values(), *HEADERS.values(), *CLAIMS.values()], ids=[*SIGNATURES, *HEADERS, *CLAIMS]
)
def test_no_token_but_the_issuer_s_own_for_this_and_now_is_believed(
    server: Served, model: Noticing, make: Callable[[], str]
) -> None:
    assert accepted(server, model, plain(make())) == ""


@pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
def test_no_other_way_to_carry_a_token_is_taken(server: Served, model: Noticing, make: Callable[[], bytes]) -> None:
    assert accepted(server, model, make()) == ""


def test_the_other_signature_of_ecdsa_is_no_other_caller(server: Served) -> None:
    """ECDSA has two signatures for one message, and anybody can make the second; both say the same."""
    assert statuses(said(server, plain(_ec_negated(EC.token(granted()))))) == [200]


def test_a_known_caller_without_the_scope_is_told_which_one_and_not_taken_for_a_stranger(server: Served) -> None:
    token = RSA.token(granted(scope="other"))
    status, fields, body = server.request("GET", "/model", headers={"authorization": f"Bearer {token}"})
    assert (status, json.loads(body)["code"], json.loads(body)["reason"]) == (403, "forbidden", "token-scope")
    assert fields["www-authenticate"] == 'Bearer realm="icu-test", error="insufficient_scope", scope="predict"'
