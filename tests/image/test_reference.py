import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedside.errors import ReferenceInvalid
from bedside.image.reference import Digest, Reference

HEX = "a" * 64


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag"),
    [
        ("registry.example.org/icu/mortality:1.0.0", "registry.example.org", "icu/mortality", "1.0.0"),
        ("127.0.0.1:5000/icu", "127.0.0.1:5000", "icu", None),
        ("[::1]:5000/icu:1", "[::1]:5000", "icu", "1"),
        ("localhost/icu", "localhost", "icu", None),
        ("python:3.11-slim", "docker.io", "library/python", "3.11-slim"),
        ("docker.io/python", "docker.io", "library/python", None),
        ("grafana/grafana", "docker.io", "grafana/grafana", None),
    ],
)
def test_a_reference_is_read_as_docker_and_podman_read_it(
    text: str, host: str, repository: str, tag: str | None
) -> None:
    assert Reference.parse(text) == Reference(host, repository, tag)


def test_a_digest_stands_beside_a_tag() -> None:
    read = Reference.parse(f"example.org/icu:1.0.0@sha256:{HEX}")
    assert (read.tag, read.digest) == ("1.0.0", Digest(f"sha256:{HEX}"))
    assert str(read.at(Digest(f"sha256:{HEX}"))) == f"example.org/icu@sha256:{HEX}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.org/",
        "example.org/ICU",
        "example.org/icu:",
        "example.org/icu:" + "a" * 129,
        "example.org/icu@",
        "example.org/icu@sha256:" + "A" * 64,
        "example.org/icu@sha256:" + "a" * 63,
        "example.org/icu@md5:" + "a" * 32,
        "https://example.org/icu",
        "example.org/../icu",
        "user:secret@example.org/icu",
        "example.org/icu\n",
        "example.org:5000x/icu",
        "example.org/" + "a" * 255,
    ],
)
def test_what_does_not_follow_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ReferenceInvalid):
        Reference.parse(text)


@given(
    st.from_regex(r"[a-z]{1,5}\.org(:[0-9]{1,5})?/[a-z0-9]{1,8}(/[a-z0-9]{1,8})?(:[\w][\w.-]{0,9})?", fullmatch=True)
)
def test_a_reference_written_again_is_the_same(text: str) -> None:
    try:
        read = Reference.parse(text)
    except ReferenceInvalid:
        return  # \w holds letters that no tag holds
    assert str(read) == text
