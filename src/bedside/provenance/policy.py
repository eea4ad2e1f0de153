"""The trust policy, ``trust.toml``: whose signatures count, what has to be said about an image, and how old it may be.

schema = 1

[[keys]]
name  = "release key 2026"
file  = "release.pub"          # beside this file; P-256 or Ed25519, as `cosign generate-key-pair` writes it
until = 2027-12-31             # last day on which it counts

[[identities]]                 # keyless: who signed in with whom (extra `keyless`)
name    = "release workflow"
issuer  = "https://token.actions.githubusercontent.com"
subject = "https://github.com/hospital/icu/.github/workflows/release.yml@refs/heads/main"

[images]
repositories = ["registry.hospital.example/models/*"]
attestations = ["sbom", "provenance", "scan", "proof"]
scan_max_age_days = 30

[minimum]
icu-mortality = "1.2.0"
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from types import MappingProxyType
from typing import Final, Literal

import msgspec
from msgspec import Struct

from bedside.errors import KeyInvalid, TrustInvalid
from bedside.provenance import statements, versions
from bedside.provenance.keys import PublicKey, read_public

ATTESTATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "sbom": statements.SBOM,
        "provenance": statements.PROVENANCE,
        "scan": statements.SCAN,
        "proof": statements.PROOF,
    }
)
"""Short names of the statements that bedside makes; any other kind is named by its URI."""

DEMANDED: Final = ("sbom", "provenance", "scan", "proof")
"""What has to be signed where a policy does not say."""


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key whose signatures count.

    Attributes:
        name: How findings call it.
        public: The key.
        until: Last day on which it counts; ``None`` where it has none.
    """

    name: str
    public: PublicKey
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whose keyless signatures count.

    Attributes:
        name: How findings call them.
        issuer: Who vouched for them when they signed, the URL of an OpenID Connect issuer.
        subject: Who they are there: an address, or a workflow.
    """

    name: str
    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """What has to be true of an image or a release.

    Attributes:
        keys: Whose signatures count.
        identities: Whose keyless signatures count.
        repositories: Names that an image may have been signed for, ``host/path`` or ``host/path/*``; empty: the one
            that it is taken from.
        any_repository: Whether the name that an image was signed for decides nothing.
        signatures: How many different keys or identities must have signed an image.
        attestations: Predicate types of the statements that one of them must have signed.
        scan_max_age: How old the scan may be.
        minimum: Oldest version of each model that is accepted, by the model's name.
        accept_unsigned: Whether nothing has to be signed. Unsafe; every judgement says so.
    """

    keys: tuple[TrustedKey, ...] = ()
    identities: tuple[Identity, ...] = ()
    repositories: tuple[str, ...] = ()
    any_repository: bool = False
    signatures: int = 1
    attestations: tuple[str, ...] = tuple(ATTESTATIONS[name] for name in DEMANDED)
    scan_max_age: timedelta = timedelta(days=30)
    minimum: Mapping[str, str] = field(default_factory=dict)
    accept_unsigned: bool = False

    def names(self, repository: str) -> bool:
        """Whether ``repository`` is among those that an image may have been signed for."""
        return any(_within(repository, pattern) for pattern in self.repositories)


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _Key(_Part, frozen=True):
    name: str
    file: str | None = None
    pem: str | None = None
    until: date | None = None


class _Identity(_Part, frozen=True):
    name: str
    issuer: str
    subject: str


class _Images(_Part, frozen=True):
    repositories: tuple[str, ...] = ()
    any_repository: bool = False
    signatures: int = 1
    attestations: tuple[str, ...] = DEMANDED
    scan_max_age_days: int = 30


class _File(_Part, frozen=True):
    schema: Literal[1]
    keys: tuple[_Key, ...] = ()
    identities: tuple[_Identity, ...] = ()
    images: _Images = _Images()
    minimum: dict[str, str] = {}
    unsafe_accept_unsigned: bool = False


def decode(text: str, read: Callable[[str], bytes]) -> TrustPolicy:
    """Read a trust policy.

    Args:
        text: The file.
        read: Returns the bytes of a key file that it names, relative to it.

    Raises:
        TrustInvalid: It is not TOML, has an unknown key, or names no key where it says so.
    """
    try:
        said = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise TrustInvalid(f"the trust policy cannot be read: {error}") from None
    _check(said)
    keys = tuple(_key(item, read) for item in said.keys)
    if len({item.public for item in keys}) != len(keys):
        raise TrustInvalid("one key stands in the trust policy under two names")
    return TrustPolicy(
        keys=keys,
        identities=tuple(Identity(item.name, item.issuer, item.subject) for item in said.identities),
        repositories=said.images.repositories,
        any_repository=said.images.any_repository,
        signatures=said.images.signatures,
        attestations=tuple(ATTESTATIONS.get(name, name) for name in said.images.attestations),
        scan_max_age=timedelta(days=said.images.scan_max_age_days),
        minimum=said.minimum,
        accept_unsigned=said.unsafe_accept_unsigned,
    )


def _check(said: _File) -> None:
    names = [*(item.name for item in said.keys), *(item.name for item in said.identities)]
    if len(set(names)) != len(names):
        raise TrustInvalid("two keys or identities of the trust policy have one name")
    if said.images.signatures < 1 or said.images.scan_max_age_days < 0:
        raise TrustInvalid("[images] signatures is at least 1, and scan_max_age_days at least 0")
    if said.images.signatures > len(names) and names:
        raise TrustInvalid(f"{said.images.signatures} signatures are asked for, and {len(names)} could be made")
    if said.images.repositories and said.images.any_repository:
        raise TrustInvalid("[images] names repositories, and says that any will do")
    for name in said.images.attestations:
        if name not in ATTESTATIONS and ":" not in name:
            known = ", ".join(ATTESTATIONS)
            raise TrustInvalid(f"{name!r} is no kind of statement; {known} are known, any other is named by its URI")
    for model, version in said.minimum.items():
        try:
            versions.older(version, version)
        except versions.NotAVersion as error:
            raise TrustInvalid(f"[minimum] {model}: {error}") from None


def _key(item: _Key, read: Callable[[str], bytes]) -> TrustedKey:
    match item.file, item.pem:
        case str(file), None:
            data = read(file)
        case None, str(pem):
            data = pem.encode()
        case _:
            raise TrustInvalid(f"the key {item.name!r} needs either file or pem")
    try:
        return TrustedKey(item.name, read_public(data), item.until)
    except KeyInvalid as error:
        raise TrustInvalid(f"the key {item.name!r}: {error}", remedy=error.remedy) from None


def _within(repository: str, pattern: str) -> bool:
    if pattern.endswith("/*"):
        return repository.startswith(pattern[:-1])
    return repository == pattern
