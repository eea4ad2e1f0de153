"""`bedside push` as a person types it, against a registry with TLS and a password."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.image.certificates import Authority
from tests.image.images import LARGE, artifact, image
from tests.real_registry.server import ALICE, Server

from bedside.cli.main import run
from bedside.image.authentication import Password
from bedside.image.layout import Layout
from bedside.image.reference import Digest


@pytest.fixture
def logged_in(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(server.auth_file(tmp_path / "auth.json")))


def _push(server: Server, layout: Layout, name: str, *options: str, tag: str = "1.0.0") -> int:
    return run(["push", str(layout.directory), f"{server.host}/{name}:{tag}", "--ca-file", str(server.ca_file), *options])


def _tag(server: Server, name: str, tag: str = "1.0.0") -> Digest | None:
    with server.repository(name) as repository:
        found = repository.find(tag)
    return found.descriptor.digest if found is not None else None


@pytest.mark.usefixtures("logged_in")
def test_a_push_prints_the_reference_by_digest_that_manifests_name(
    server: Server, layout: Layout, repository_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    what = image(layout)
    assert _push(server, layout, repository_name) == 0
    said = capsys.readouterr()
    assert said.out == f"{server.host}/{repository_name}@{what.digest}\n"
    assert "4 of 4 blobs sent" in said.err
    assert _tag(server, repository_name) == what.digest
