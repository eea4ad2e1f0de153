"""Debian's docker-registry as a child process: TLS, a password, a free port of 127.0.0.1, storage in a directory.

It has no referrers API and its tags are mutable: what bedside promises about tags and attached statements is kept by
the client alone.
"""

import base64
import json
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml
from tests.image.certificates import Authority

from bedside.image.authentication import Password
from bedside.image.registry import Repository
from bedside.image.transport import Session, certificates

PROGRAM = shutil.which("docker-registry")
ALICE = Password("alice", "correct horse")
_BCRYPT = "$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2"
"""Of ALICE's password; the only hash that the registry reads."""

_LISTENING = re.compile(r"listening on 127\.0\.0\.1:([0-9]+)")


@dataclass
class Server:
    """A registry that can be stopped and started again on the same port."""

    directory: Path
    storage: Path
    authority: Authority
    port: int = 0
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.authority.certificate

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def start(self) -> None:
        certificate, key = self.authority.issue(self.directory)
        (self.directory / "htpasswd").write_text(f"{ALICE.user}:{_BCRYPT}\n")
        settings = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.storage)}, "delete": {"enabled": True}},
            "http": {"addr": self.host, "tls": {"certificate": str(certificate), "key": str(key)}},
            "auth": {"htpasswd": {"realm": "test", "path": str(self.directory / "htpasswd")}},
        }
        (self.directory / "config.yml").write_text(yaml.safe_dump(settings))
        with self.log.open("wb") as log:
            self._child = subprocess.Popen(
                [str(PROGRAM), "serve", str(self.directory / "config.yml")], stdout=log, stderr=log, env={}
            )
        self.port = self._listening()

    def stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def _listening(self) -> int:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if found := _LISTENING.search(self.log.read_text()):
                return int(found[1])
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    @contextmanager
    def repository(self, name: str, port: int | None = None) -> Iterator[Repository]:
        """Talk to it as ALICE, without waiting between attempts; through ``port`` where another one leads to it."""
        host = f"127.0.0.1:{port or self.port}"
        with Session(host, lambda: ALICE, trust=self.trust, pause=lambda _: None) as session:
            yield Repository(session, name)

    @cached_property
    def trust(self) -> ssl.SSLContext:
        return certificates(self.ca_file)

    def auth_file(self, path: Path, user: Password = ALICE, host: str | None = None) -> Path:
        """Write what `podman login` writes."""
        entry = base64.b64encode(f"{user.user}:{user.secret}".encode()).decode()
        path.write_text(json.dumps({"auths": {host or self.host: {"auth": entry}}}))
        return path


@contextmanager
def running(directory: Path, storage: Path | None = None) -> Iterator[Server]:
    """Run a registry for the time of the ``with``.

    Args:
        directory: Takes its files; made where it is not there.
        storage: Takes the blobs, ``directory/storage`` where none is given.
    """
    directory.mkdir(exist_ok=True)
    server = Server(directory, storage or directory / "storage", Authority(directory))
    server.start()
    try:
        yield server
    finally:
        server.stop()
