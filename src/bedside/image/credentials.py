"""Credentials for a registry, from where podman and docker keep them. Secrets are never shown.

The files, in this order (containers-auth.json(5), docker login): $REGISTRY_AUTH_FILE, and then no other;
$XDG_RUNTIME_DIR/containers/auth.json; ~/.config/containers/auth.json; $DOCKER_CONFIG/config.json or
~/.docker/config.json. In each: a helper named for the registry, a password for the repository or one of its
parents or the registry, the general helper.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bedside.errors import CredentialsUnreadable
from bedside.image.authentication import Credential, IdentityToken, Password
from bedside.process import Runner

_LARGEST: Final = 1 << 20
_HELPER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HELPER_SECONDS: Final = 60.0
_NOT_FOUND: Final = "credentials not found"
_HUB_KEYS: Final = ("docker.io", "index.docker.io", "https://index.docker.io/v1/")


@dataclass(frozen=True, slots=True)
class Helper:
    """A program ``docker-credential-<name>`` that keeps the credentials of ``server``."""

    name: str
    server: str


@dataclass(frozen=True, slots=True)
class CredentialStore:
    """Every place where this user's credentials may be.

    Attributes:
        runner: Starts credential helpers.
        files: Auth files, the first that knows the registry decides.
    """

    runner: Runner
    files: tuple[Path, ...]

    def credential(self, host: str, repository: str) -> Credential | None:
        """Return what was kept for ``repository`` at ``host``, ``None`` where nothing was.

        Raises:
            CredentialsUnreadable: A file or a helper's answer cannot be read.
            ToolFailed: A helper is not installed or does not end.
        """
        for path in self.files:
            document = _document(path)
            for found in find(document, host, repository) if document is not None else ():
                credential = self._ask(found) if isinstance(found, Helper) else found
                if credential is not None:
                    return credential
        return None

    def _ask(self, helper: Helper) -> Credential | None:
        program = f"docker-credential-{helper.name}"
        done = self.runner.run([program, "get"], input=helper.server, timeout=_HELPER_SECONDS)
        if not done.ok:
            if _NOT_FOUND in (done.stdout + done.stderr).lower():
                return None
            raise CredentialsUnreadable(f"{program} ended with {done.returncode} when asked about {helper.server}")
        try:
            answer = json.loads(done.stdout)
            user, secret = answer["Username"], answer["Secret"]
        except (ValueError, KeyError, TypeError):
            raise CredentialsUnreadable(f"{program} answered something that is no credential") from None
        return IdentityToken(str(secret)) if user == "<token>" else Password(str(user), str(secret))


def auth_files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the auth files that the variables in ``environment`` lead to, whether they are there or not."""
    if chosen := environment.get("REGISTRY_AUTH_FILE"):
        return (Path(chosen),)
    home = Path(environment.get("HOME") or "/")
    runtime = environment.get("XDG_RUNTIME_DIR")
    settings = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    return (
        *((Path(runtime) / "containers" / "auth.json",) if runtime else ()),
        settings / "containers" / "auth.json",
        docker / "config.json",
    )


def find(document: Mapping[str, Any], host: str, repository: str) -> Iterator[Credential | Helper]:
    """Give what an auth file says about ``repository`` at ``host``, in the order in which it is tried. Pure.

    Raises:
        CredentialsUnreadable: An entry that is meant cannot be read.
    """
    names = _HUB_KEYS if host == "docker.io" else (host, f"https://{host}", f"http://{host}")
    helpers, kept = _table(document, "credHelpers"), _table(document, "auths")
    yield from (_helper(helpers[name], name) for name in names if name in helpers)
    parents = repository.split("/")
    longer = tuple(f"{host}/{'/'.join(parents[:end])}" for end in range(len(parents), 0, -1))
    for name in (*longer, *names, *(f"https://{host}/v1/", f"https://{host}/v2/")):
        credential = _credential(_table(kept, name), name) if name in kept else None
        if credential is not None:
            yield credential
    if document.get("credsStore"):
        yield _helper(document["credsStore"], _HUB_KEYS[-1] if host == "docker.io" else host)


def _document(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_LARGEST))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CredentialsUnreadable(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:  # its text would quote the file
        raise CredentialsUnreadable(f"{path} is not JSON") from None
    if not isinstance(value, dict):
        raise CredentialsUnreadable(f"{path} is no auth file")
    return value


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    if value is not None and not isinstance(value, dict):
        raise CredentialsUnreadable(f"the entry {name} of an auth file is no object")
    return value or {}


def _helper(name: object, server: str) -> Helper:
    if not isinstance(name, str) or _HELPER.fullmatch(name) is None:
        raise CredentialsUnreadable(f"the credential helper of {server} has a name that no program has")
    return Helper(name, server)


def _credential(entry: Mapping[str, Any], name: str) -> Credential | None:
    if token := entry.get("identitytoken"):
        return IdentityToken(str(token))
    if entry.get("username") and entry.get("password"):
        return Password(str(entry["username"]), str(entry["password"]))
    if not entry.get("auth"):
        return None
    try:
        user, colon, secret = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
        colon = ""
    if not colon:
        raise CredentialsUnreadable(f"the auth of {name} is not a user and a password in base64")
    return Password(user, secret.rstrip("\0"))
