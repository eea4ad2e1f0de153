"""Where effects are chosen: one place makes the real runner, resolver and caches that the verbs work with."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bedside.image import layout
from bedside.image.credentials import CredentialStore, auth_files
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.image.transport import Session, certificates
from bedside.locking.environments import EnvironmentCache, cache_directory
from bedside.locking.uv import Uv
from bedside.process import Runner, Subprocess
from bedside.stages.build import Builder


@dataclass(frozen=True, slots=True)
class Tools:
    """The effects that verbs are given."""

    runner: Runner
    uv: Uv
    environments: EnvironmentCache


def tools() -> Tools:
    """Return the real ones, for this user on this machine."""
    runner = Subprocess()
    uv = Uv(runner)
    return Tools(runner, uv, EnvironmentCache(uv, cache_directory()))


def builder(*, ca_file: Path | None = None, plain_http: bool = False) -> Builder:
    """Return what images are built with; layers and bases are kept in this user's cache.

    Args:
        ca_file: Certificates to believe beside the system's, for the registry of the base.
        plain_http: No TLS; only for a registry on this machine.
    """
    cache = layout.create(cache_directory().parent / "images")
    return Builder(Uv(Subprocess()), cache, lambda named: repository(named, ca_file=ca_file, plain_http=plain_http))


@contextmanager
def repository(
    reference: Reference,
    *,
    ca_file: Path | None = None,
    plain_http: bool = False,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[Repository]:
    """Give the repository of ``reference``, with this user's credentials for it, found when the registry asks.

    Args:
        reference: Names host and repository.
        ca_file: Certificates to believe beside the system's.
        plain_http: No TLS; only for a registry on this machine.
        on_wait: Told why and how long, where the registry is asked again.
    """
    store = CredentialStore(Subprocess(), auth_files(os.environ))
    session = Session(
        reference.host,
        lambda: store.credential(reference.host, reference.repository),
        trust=certificates(ca_file),
        plain_http=plain_http,
        on_wait=on_wait,
    )
    with session:
        yield Repository(session, reference.repository)
