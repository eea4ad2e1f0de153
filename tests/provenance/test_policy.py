from datetime import date, timedelta

import pytest
from tests.provenance.keyring import ALICE, EDDY, pem

from bedside.errors import TrustInvalid
from bedside.provenance import policy, statements
from bedside.provenance.policy import Identity, TrustPolicy

FILES = {"alice.pub": ALICE.public.pem, "eddy.pub": EDDY.public.pem, "alice.key": pem(), "other.pub": b"nothing"}

WHOLE = """
schema = 1
[[keys]]
name = "alice"
file = "alice.pub"
until = 2027-12-31
[[keys]]
name = "eddy"
file = "eddy.pub"
[[identities]]
name = "workflow"
issuer = "https://issuer"
subject = "https://workflow"
[images]
repositories = ["registry.example.org/models/*"]
signatures = 2
attestations = ["scan", "https://example.org/review/v1"]
scan_max_age_days = 7
[minimum]
icu-mortality = "1.2.0"
"""


def read(text: str) -> TrustPolicy:
    return policy.decode(text, FILES.__getitem__)


def test_a_whole_policy_is_read() -> None:
    found = read(WHOLE)
    assert [(key.name, key.public, key.until) for key in found.keys] == [
        ("alice", ALICE.public, date(2027, 12, 31)),
        ("eddy", EDDY.public, None),
    ]
    assert found.identities == (Identity("workflow", "https://issuer", "https://workflow"),)
    assert found.attestations == (statements.SCAN, "https://example.org/review/v1")
    assert (found.signatures, found.scan_max_age, found.minimum) == (2, timedelta(days=7), {"icu-mortality": "1.2.0"})


def test_what_is_left_out_is_the_safe_choice() -> None:
    found = read("schema = 1")
    assert found.attestations == (statements.SBOM, statements.PROVENANCE, statements.SCAN, statements.PROOF)
    assert (found.signatures, found.any_repository, found.accept_unsigned) == (1, False, False)


def test_a_pattern_of_repositories_ends_at_a_slash() -> None:
    found = TrustPolicy(repositories=("r.example/models/*", "r.example/icu"))
    assert found.names("r.example/models/icu")
    assert found.names("r.example/icu")
    assert not found.names("r.example/models-test/icu")
    assert not found.names("r.example/icu-test")
    assert not found.names("r.example/models")


KEY = '[[keys]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema = 1\n???", "cannot be read"),
        ("schema = 2", "schema"),
        ("", "schema"),
        ("schema = 1\nkey = 1", "key"),
        ('schema = 1\nunsafe_accept_unsigned = "yes"', "unsafe_accept_unsigned"),
        (f"schema = 1\n{KEY}", "either file or pem"),
        (f'schema = 1\n{KEY}file = "alice.pub"\npem = "x"', "either file or pem"),
        (f'schema = 1\n{KEY}file = "other.pub"', "no public key"),
        (f'schema = 1\n{KEY}file = "alice.key"', "private key"),
        (f'schema = 1\n{KEY}file = "alice.pub"\n{KEY}file = "eddy.pub"', "one name"),
        (f'schema = 1\n{KEY}file = "alice.pub"\n[[keys]]\nname = "b"\nfile = "alice.pub"', "two names"),
        (f'schema = 1\n{KEY}file = "alice.pub"\n[images]\nsignatures = 2', "could be made"),
        ("schema = 1\n[images]\nsignatures = 0", "at least 1"),
        ('schema = 1\n[images]\nattestations = ["sbmo"]', "'sbmo'"),
        ('schema = 1\n[images]\nrepositories = ["a/b"]\nany_repository = true', "any will do"),
        ('schema = 1\n[minimum]\nicu = "1.2"', "no version"),
    ],
)
def test_what_a_policy_cannot_mean_is_refused(text: str, said: str) -> None:
    with pytest.raises(TrustInvalid, match=said):
        read(text)
