import json

import pytest
from tests.provenance.keyring import ALICE, cosign_key, pem

from bedside.findings import Severity
from bedside.provenance import exposed
from bedside.provenance.contents import File


def found(path: str, data: bytes = b"x") -> list[str]:
    return [item.rule for item in exposed.judge(File(path, "1", data, data, len(data)))]


@pytest.mark.parametrize(
    "data",
    [
        pem(),
        b"\x80\x04model" + pem() + bytes(9),
        cosign_key(ALICE, b"word"),
        b'{"key": "' + pem().replace(b"\n", b"\\n") + b'"}',
        pem().replace(b"\n", b"\r\n"),
    ],
)
def test_a_private_key_is_found_in_whatever_it_stands(data: bytes) -> None:
    assert found("opt/model.bin", data) == ["BED-SCN-002"]


@pytest.mark.parametrize(
    "data", [ALICE.public.pem, b"-----BEGIN PRIVATE KEY-----", b"see -----BEGIN RSA PRIVATE KEY-----\ntext"]
)
def test_what_only_speaks_of_a_key_is_none(data: bytes) -> None:
    assert found("lib/libcrypto.so", data) == []


def test_a_key_that_never_begins_takes_no_time() -> None:
    assert found("x", b"-----BEGIN PRIVATE KEY-----" + b" " * 2_000_000) == []
    assert found("x", (b"-----BEGIN PRIVATE KEY-----\n" + b"a:\n" * 9) * 50_000) == []


def test_an_encrypted_key_of_long_ago_is_one() -> None:
    head = b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n"
    assert found("x", head + b"A" * 64) == ["BED-SCN-002"]


def test_a_library_s_keys_for_testing_itself_are_no_secret() -> None:
    assert found("usr/lib/libgnutls.so.30", PROGRAM + pem()) == []


@pytest.mark.parametrize(
    "path",
    [".env", "opt/app/.env.production", "root/.netrc", "root/.aws/credentials", "home/a/.docker/config.json",
     "root/.kube/config", "root/.ssh/id_ed25519", "opt/id_rsa", "opt/cosign.key", "opt/store.p12",
     "x/.git-credentials"],
)  # fmt: skip
def test_files_that_hold_credentials_are_known_by_their_name(path: str) -> None:
    assert found(path) == ["BED-SCN-003"]


@pytest.mark.parametrize("path", [".env.example", "opt/environment", "pkg/config.json", "id_rsa.pub", "etc/passwd"])
def test_other_files_are_not(path: str) -> None:
    assert found(path) == []


def test_an_empty_file_holds_nothing() -> None:
    assert found(".env", b"") == []


def notebook(*outputs: object) -> bytes:
    return json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "outputs": list(outputs)}]}).encode()


def severity(data: bytes) -> Severity:
    (item,) = exposed.judge(File("x.ipynb", "1", data, data, len(data)))
    return item.severity


def test_a_notebook_with_results_refuses_and_one_without_is_noted() -> None:
    assert severity(notebook({"text": "a row"})) is Severity.SECURITY
    assert severity(b"no notebook") is Severity.SECURITY
    assert severity(notebook()) is Severity.NOTE


CORE = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\x00"
PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00"


@pytest.mark.parametrize(
    ("path", "data", "rules"),
    [
        ("x.dump", b"PGDMP\x01", ["BED-SCN-015"]),
        ("x.db", b"SQLite format 3\0", ["BED-SCN-015"]),
        ("dump.rdb", b"REDIS0011", ["BED-SCN-015"]),
        ("core.1", CORE, ["BED-SCN-015"]),
        ("python3.11", PROGRAM, []),
        ("x.sql", b"-- MySQL dump 10.13\n", ["BED-SCN-015"]),
        ("x.sql", b"-- a comment\n\nINSERT INTO stays VALUES (1);", ["BED-SCN-015"]),
        ("x.sql", b'-- x\nCOPY public."stays" (mrn) FROM stdin;\n', ["BED-SCN-015"]),
        ("query.sql", b"SELECT 1;", []),
        ("x.txt", b"INSERT INTO stays VALUES (1);", []),
    ],
)
def test_dumps_and_databases_are_known_by_what_they_begin_with(path: str, data: bytes, rules: list[str]) -> None:
    assert found(path, data) == rules


@pytest.mark.parametrize(
    ("path", "directory"),
    [
        ("opt/app/.git/HEAD", "opt/app/.git"),
        (".git/index", ".git"),
        ("a/.svn/wc.db", "a/.svn"),
        ("a/.hg/store/data/x.i", "a/.hg"),
        ("a/.github/workflows/x.yml", None),
        ("a/.gitignore", None),
        ("a/git/HEAD", None),
    ],
)
def test_the_history_of_a_project_is_known_by_its_directory(path: str, directory: str | None) -> None:
    assert exposed.history(path) == directory
