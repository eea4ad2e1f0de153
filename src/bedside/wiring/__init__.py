"""Where effects are chosen: one place makes the real runner, resolver and caches that the verbs work with.

What only some verbs need stands beside it, so that the others start without it: `clusters`, `signing`, `scanning`.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.errors import ToolFailed, UsageError
from bedside.image import bases, hosts, layout, pulling
from bedside.image.attached import InLayout, InRegistry, Place
from bedside.image.credentials import CredentialStore, auth_files
from bedside.image.engines import DIALECTS, Engine
from bedside.image.hosts import Host
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.image.reference import Reference
from bedside.image.registry import Repository
from bedside.image.transport import Session, certificates
from bedside.locking.environments import EnvironmentCache, cache_directory
from bedside.locking.uv import Uv
from bedside.process import Runner, Subprocess
from bedside.stages import record
from bedside.stages.assemble import Builder


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


def engines() -> dict[str, Engine]:
    """Return podman, docker and buildah; whether one is there is asked of it."""
    return {name: Engine(name, Subprocess()) for name in DIALECTS}


def engine(wanted: str) -> Engine | None:
    """Return the engine that builds: the one named, or with ``auto`` the first that is there; ``None`` is none of them.

    Raises:
        ToolFailed: The one that is named is not there.
    """
    known = engines()
    if wanted == "auto":
        return next((found for found in known.values() if found.version() is not None), None)
    if wanted not in known:
        return None
    if known[wanted].version() is None:
        raise ToolFailed(
            f"{wanted} is not installed, or its daemon does not answer",
            remedy="Start it, choose another --engine, or assemble the image without one: --engine assembled.",
        )
    return known[wanted]


def host(wanted: str) -> Host:
    """Return where images are proven: the host named, or with ``auto`` the first that is there.

    Raises:
        ToolFailed: There is none; an image that cannot be proven gets no name.
    """
    asked = {name: found for name, found in engines().items() if wanted in ("auto", name)}
    for found in hosts.available(Subprocess(), asked, root=os.geteuid() == 0):
        if wanted in ("auto", found.name.partition(" ")[0]):
            return found
    what = "podman, docker, or as root runc or crun" if wanted == "auto" else wanted
    raise ToolFailed(
        f"nothing here can run a container: looked for {what}",
        remedy="Install podman (`bedside doctor` says how); an image that was not proven gets no name.",
    )


def installing() -> tuple[Path | None, str]:
    """Return what pip needs inside a build: a file of certificates, and the text of a pip.conf; both may be empty.

    They are this user's own settings of uv and pip, from the environment. Addresses of files are left out: a build
    does not see them.
    """
    named = (os.environ.get(name) for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"))
    certificates = next((Path(path) for path in named if path and Path(path).is_file()), None)
    lines = []
    for key, names in (
        ("index-url", ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")),
        ("extra-index-url", ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL")),
    ):
        said = next((os.environ[name] for name in names if os.environ.get(name)), "")
        addresses = [word.partition("=")[2] if "=http" in word else word for word in said.split()]
        if reachable := [address for address in addresses if address.startswith(("https://", "http://"))]:
            lines.append(f"{key} = {' '.join(reachable)}")
    return certificates, "\n".join(["[global]", *lines, ""]) if lines else ""


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


def _in_layout(target: str, name: str | None) -> tuple[Layout, Descriptor] | None:
    """The image in the layout whose directory ``target`` is; none where there is no such directory."""
    if not Path(target).exists():
        return None
    opened = layout.open_layout(Path(target))
    return opened, opened.find(name)


@contextmanager
def place(
    target: str,
    *,
    name: str | None = None,
    ca_file: Path | None = None,
    plain_http: bool = False,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[Place]:
    """Give the image that ``target`` names: the directory of a layout, or a reference to a registry.

    Args:
        target: What a person typed; a directory that is there is never taken for a reference.
        name: Name or digest of the image where a layout holds several.
        ca_file: Certificates to believe beside the system's.
        plain_http: No TLS; only for a registry on this machine.
        on_wait: Told why and how long, where the registry is asked again.
    """
    if held := _in_layout(target, name):
        yield InLayout(*held)
        return
    reference = Reference.parse(target)
    if reference.tag is None and reference.digest is None:
        raise UsageError(f"{target} names no image: neither a tag nor a digest", remedy="Name it by its digest.")
    with repository(reference, ca_file=ca_file, plain_http=plain_http, on_wait=on_wait) as reached:
        yield InRegistry(reached, reached.get(reference.digest or reference.tag or ""))


@contextmanager
def whole_image(
    target: str,
    *,
    name: str | None = None,
    ca_file: Path | None = None,
    plain_http: bool = False,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Layout, Descriptor]]:
    """Give the image that ``target`` names with all its layers; from a registry it is pulled for as long as it lasts.

    Args:
        target: The directory of a layout, or a reference to a registry.
        name: Name or digest of the image where a layout holds several.
        ca_file: Certificates to believe beside the system's.
        plain_http: No TLS; only for a registry on this machine.
        on_wait: Told why and how long, where the registry is asked again.
    """
    if held := _in_layout(target, name):
        yield held
        return
    reference = Reference.parse(target)
    with (
        tempfile.TemporaryDirectory(prefix="bedside-image-") as work,
        repository(reference, ca_file=ca_file, plain_http=plain_http, on_wait=on_wait) as reached,
    ):
        into = layout.create(Path(work) / "image")
        yield into, pulling.pull_one(reached, reference, into)


@contextmanager
def any_image(
    target: str,
    *,
    name: str | None = None,
    ca_file: Path | None = None,
    plain_http: bool = False,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Layout, Descriptor, Mapping[str, Any] | None]]:
    """Give an image with all its layers, and what the record of its proof measured; the arguments are `whole_image`'s.

    Beside a layout or a reference, ``target`` may be the name of an image in podman or docker; no record is kept there.

    Raises:
        UsageError: It names nothing that is here, or a registry's tag.
    """
    held = None if Path(target).exists() or "@" in target else _in_engine(target)
    if held is not None:
        with tempfile.TemporaryDirectory(prefix="bedside-image-") as work:
            into = layout.create(Path(work) / "image")
            yield into, held[0].export(held[1], into), None
        return
    if not Path(target).exists():
        bases.pinned(target, lambda named: repository(named, ca_file=ca_file, plain_http=plain_http))
    options: dict[str, Any] = {"name": name, "ca_file": ca_file, "plain_http": plain_http, "on_wait": on_wait}
    with place(target, **options) as there:
        beside = record.read(there)
    with whole_image(target, **options) as (into, found):
        yield into, found, beside


def _in_engine(name: str) -> tuple[Engine, str] | None:
    """Return the engine that has an image of this name, and its id there."""
    for found in engines().values():
        if found.dialect.runs and found.version() is not None and (image := found.find(name)) is not None:
            return found, image
    return None
