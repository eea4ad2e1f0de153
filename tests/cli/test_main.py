import json

import click
import pytest

from bedside import __version__
from bedside.cli import main
from bedside.cli.main import INTERNAL_ERROR, VERBS, run
from bedside.errors import BedsideError, GateRefused, SpecInvalid, ToolFailed, UsageError, VerificationFailed
from bedside_runtime.errors import GoldenMismatch


def fails_with(error: Exception, monkeypatch: pytest.MonkeyPatch) -> int:
    @click.command
    def command() -> None:
        raise error

    monkeypatch.setattr(main._Verbs, "get_command", lambda *_: command)
    return run(["package"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GateRefused("no"), 1),
        (UsageError("no"), 2),
        (SpecInvalid("no"), 2),
        (VerificationFailed("no"), 3),
        (GoldenMismatch("no"), 3),
        (ToolFailed("no"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_each_family_of_errors_has_its_exit_code(
    error: BedsideError, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fails_with(error, monkeypatch) == code


def test_a_defect_is_reported_by_place_and_never_by_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails_with(ValueError("Jane Canary"), monkeypatch) == INTERNAL_ERROR
    said = capsys.readouterr().err
    assert "ValueError at" in said
    assert "Canary" not in said


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert f"bedside {verb}" in capsys.readouterr().out


def test_the_list_of_verbs_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)


def test_the_version_is_the_distribution_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["packge"], ["verify"], ["serve", "x", "--port", "many"], ["verify", "--nope"]])
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


def test_a_remedy_stands_below_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "/nowhere"]) == 2
    said = capsys.readouterr().err
    assert said.index("error: /nowhere is no release") < said.index("remedy: Name a directory")


def test_doctor_says_what_is_here_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    found = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert found["uv"]["found"].startswith("uv ")
    assert found["Python"]["required"]
