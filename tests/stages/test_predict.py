"""`bedside predict` against the real server around a model in plain Python."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from authorities import Authority
from cryptography import x509
from served import EXPECTED, PATIENT, QUICK, loaded, serving

from bedside.cli.main import run
from bedside.errors import GateRefused, ToolFailed, UsageError
from bedside.stages.keys import new_key
from bedside.stages.predict import Credential, predict
from bedside_runtime.contract import Auth, Tls

HEADING = "patient,age,temperature,lactate,admission,ventilated\n"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as served:
        yield f"http://127.0.0.1:{served.port}"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("body", [PATIENT, {"inputs": PATIENT}, {"instances": [PATIENT]}, [PATIENT]])
def test_every_form_of_a_json_file_is_understood(url: str, tmp_path: Path, body: Any) -> None:
    answered = predict(url, write(tmp_path / "p.json", json.dumps(body)))
    assert [row["value"] for row in answered.rows] == [EXPECTED]
    assert answered.release["name"] == "icu-test"


def test_a_csv_is_answered_row_by_row_and_keeps_its_other_columns_here(url: str, tmp_path: Path) -> None:
    lines = "".join(f"p{number},63,37.2,1.1,Emergency,false\n" for number in range(250))
    seen: list[tuple[int, int]] = []
    file = write(tmp_path / "c.csv", HEADING + lines + "last,63,37.2,,Emergency,0\n")
    answered = predict(url, file, on_rows=lambda done, everything: seen.append((done, everything)))
    assert [row["patient"] for row in answered.rows] == [f"p{number}" for number in range(250)] + ["last"]
    assert {row["value"] for row in answered.rows[:250]} == {EXPECTED}
    assert answered.rows[-1]["flags"] == [{"code": "missing", "input": "lactate"}]
    assert answered.unsent == ("patient",)
    assert seen == [(100, 251), (200, 251), (251, 251)]


def test_a_refused_csv_names_the_row_and_never_the_value(url: str, tmp_path: Path) -> None:
    rows = "a,63,37.2,1.1,Emergency,false\n" * 120 + "b,canary,37.2,1.1,Emergency,false\n"
    with pytest.raises(GateRefused) as refused:
        predict(url, write(tmp_path / "c.csv", HEADING + rows))
    assert "row 121: age must be a number" in str(refused.value)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.json", "{", "no JSON"),
        ("p.json", "3", "neither an object nor a list"),
        ("c.csv", HEADING, "no row"),
        ("c.csv", HEADING + "a,1\n", "line 2 has not as many cells"),
    ],
)
def test_a_file_that_cannot_be_sent_is_refused_here(url: str, tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        predict(url, write(tmp_path / name, text))


def test_a_file_that_is_not_there_is_a_usage_error(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        predict(url, tmp_path / "none.json")


def test_no_server_is_an_outside_failure_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="no answer") as refused:
        predict("http://127.0.0.1:9", write(tmp_path / "p.json", json.dumps(PATIENT)))
    assert "bedside serve" in refused.value.remedy


def test_the_command_writes_one_line_a_prediction(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "p.json", json.dumps([PATIENT, PATIENT]))
    assert run(["predict", url, str(file)]) == 0
    said = capsys.readouterr()
    assert [json.loads(line)["value"] for line in said.out.splitlines()] == [EXPECTED, EXPECTED]
    assert "2 answered by icu-test 1.2.3" in said.err


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    keys = tmp_path_factory.mktemp("keys")
    made = new_key("ehr", file=keys / "api-keys.txt")
    settings = msgspec.structs.replace(QUICK, auth=Auth(methods=("api-key",)))
    with serving(loaded(settings=settings), keys=keys) as served:
        yield f"http://127.0.0.1:{served.port}", made.key


def test_a_credential_comes_from_a_file_or_the_environment(
    guarded: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    url, key = guarded
    patient = str(write(tmp_path / "p.json", json.dumps(PATIENT)))
    file = str(write(tmp_path / "key", f"{key}\n"))
    monkeypatch.delenv("BEDSIDE_CREDENTIAL", raising=False)
    assert run(["predict", url, patient]) == 1
    assert "401 unauthenticated" in capfd.readouterr().err
    assert run(["predict", url, patient, "--credential-file", file]) == 0
    monkeypatch.setenv("BEDSIDE_CREDENTIAL", key)
    assert run(["predict", url, patient]) == 0
    monkeypatch.setenv("BEDSIDE_CREDENTIAL", "two words")
    assert run(["predict", url, patient]) == 2
    assert key not in "".join(capfd.readouterr())


def test_a_credential_goes_through_no_network_in_clear(tmp_path: Path) -> None:
    patient = write(tmp_path / "p.json", json.dumps(PATIENT))
    with pytest.raises(UsageError, match="in clear") as refused:
        predict("http://icu.example.org", patient, credential=Credential("secret"))
    assert "secret" not in str(refused.value)
    assert "secret" not in repr(Credential("secret"))


def test_a_server_is_known_by_its_authority_and_shown_a_certificate(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    pair, shown = servers.server(), clients.client(x509.DNSName("ehr.example.org"))
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, "client-ca.crt": clients.certificate}
    for name, source in files.items():
        (tmp_path / name).write_bytes(source.read_bytes())
    (tmp_path / "client-names.txt").write_text("dns:ehr.example.org\n")
    patient = str(write(tmp_path / "p.json", json.dumps(PATIENT)))
    settings = msgspec.structs.replace(QUICK, tls=Tls(), auth=Auth(methods=("mtls",)))
    with serving(loaded(settings=settings), keys=tmp_path) as served:
        url, known = f"https://127.0.0.1:{served.port}", ("--ca-file", str(servers.certificate))
        mine = ("--client-cert", str(shown.certificate), "--client-key", str(shown.key))
        assert run(["predict", url, patient]) == 4
        assert run(["predict", url, patient, *known]) == 1
        assert run(["predict", url, patient, *known, *mine]) == 0
        assert run(["predict", url, patient, *known, "--client-cert", patient]) == 2
    assert "certificate-missing" not in capfd.readouterr().out
