from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.image.authentication import (
    Challenge,
    IdentityToken,
    Password,
    TokenUnreadable,
    bearer,
    challenges,
    token_request,
)


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ('Basic realm="a, b"', (Challenge("basic", {"realm": "a, b"}),)),
        (
            'Bearer realm="https://a.example/token",service="r",scope="repository:icu:pull,push"',
            (
                Challenge(
                    "bearer", {"realm": "https://a.example/token", "service": "r", "scope": "repository:icu:pull,push"}
                ),
            ),
        ),
        (
            'Basic realm="x", Bearer realm="y" , service=z',
            (Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y", "service": "z"})),
        ),
        ('Bearer realm="a\\"b"', (Challenge("bearer", {"realm": 'a"b'}),)),
        ("Negotiate", (Challenge("negotiate", {}),)),
        ("", ()),
        ("=,=", ()),
    ],
)
def test_a_challenge_is_read(header: str, read: tuple[Challenge, ...]) -> None:
    assert challenges(header) == read


@given(st.text(max_size=300))
def test_any_header_is_read_to_its_end(header: str) -> None:
    challenges(header)


CHALLENGE = Challenge(
    "bearer", {"realm": "https://a.example/token?x=1", "service": "r", "scope": "repository:icu:push"}
)


def test_a_token_is_asked_for_with_the_password_in_the_header_alone() -> None:
    asked = token_request(CHALLENGE, Password("alice", "s3cret"), ("repository:base:pull",))
    query = parse_qs(urlsplit(asked.url).query)
    assert query == {"x": ["1"], "service": ["r"], "scope": ["repository:icu:push", "repository:base:pull"]}
    assert asked.authorization == Password("alice", "s3cret").header
    assert "s3cret" not in f"{asked!r}"


def test_an_identity_token_goes_in_a_form() -> None:
    asked = token_request(CHALLENGE, IdentityToken("s3cret"), ())
    assert asked.url == "https://a.example/token?x=1"
    assert parse_qs(asked.form or "")["refresh_token"] == ["s3cret"]
    assert "s3cret" not in f"{asked!r}"


def test_nobody_asks_without_credentials() -> None:
    assert token_request(CHALLENGE, None, ()).authorization is None


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_a_token_may_have_either_name(name: str) -> None:
    assert bearer({name: "abc.def"}) == "Bearer abc.def"


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"token": ""}, {"token": 7}, {"token": "a\nX-Other: b"}, {"token": "ä"}]
)
def test_what_no_header_can_carry_is_no_token(answer: object) -> None:
    with pytest.raises(TokenUnreadable):
        bearer(answer)
