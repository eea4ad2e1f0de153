"""`bedside deploy`, `status`, `rollback` and `verify --cluster` as they are typed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.deploying.stand import DEPLOY, Stand, standing
from tests.simulated_cluster.faults import PodFault

from bedside.cli.main import run
from bedside_runtime.contract import Tls


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with standing(tmp_path) as made:
        yield made


def _deployed(stand: Stand, version: str) -> Path:
    release = stand.release(version)
    assert run(stand.arguments(release, stand.push(release))) == 0
    stand.cluster.seen.clear()
    return release


def test_a_release_from_its_directory_to_pods_that_are_proven(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    release = stand.release("1.0.0")
    assert run(stand.arguments(release, stand.push(release), "--json")) == 0
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert result["release"]["state"] == "good"
    assert [pod["ready"] for pod in result["pods"]] == [True] * 3
    assert "+ Deployment icu-test" in shown.err
    assert "3 of 3 new pods ready, 3 for long enough, 3 proven" in shown.err
    assert "each answered a golden case as sha256:" in shown.err


def test_what_runs_is_shown_and_proven_and_can_be_taken_back(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    first = _deployed(stand, "1.0.0")
    _deployed(stand, "1.1.0")
    reach = ["--kubeconfig", str(stand.kubeconfig)]
    capsys.readouterr()
    assert run(["status", "icu-test", "-n", "icu", *reach, "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["well"] is True
    assert [item["version"] for item in status["releases"]] == ["1.0.0", "1.1.0"]
    assert (status["autoscaler"]["min"], status["drift"]) == (3, [])
    assert run(["verify", "--cluster", "icu-test", "-n", "icu", *reach, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["pods"]) == 3
    assert run(["verify", "--cluster", str(first), "-n", "icu", *reach]) == 3
    assert "was asked for" in capsys.readouterr().err
    assert run(["rollback", "icu-test", "-n", "icu", *reach, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["release"]["rolled_back"] == 1
    assert run(["verify", "--cluster", str(first), "-n", "icu", *reach]) == 0


def test_a_dry_run_shows_what_would_change(stand: Stand, capsys: pytest.CaptureFixture[str]) -> None:
    _deployed(stand, "1.0.0")
    capsys.readouterr()
    release = stand.release("1.1.0")
    assert run(stand.arguments(release, stand.push(release), "--dry-run", "--json")) == 0
    shown = capsys.readouterr()
    changes = {item["object"]: item for item in json.loads(shown.out)["changes"]}
    fields = {field["path"] for field in changes["Deployment icu-test"]["fields"]}
    assert "spec.template.metadata.labels.model-version" in fields
    assert "metadata.labels.model-version: 1.0.0 -> 1.1.0" in shown.err
    assert stand.written() == []


def _tag(stand: Stand, release: Path) -> list[str]:
    return stand.arguments(release, f"{stand.registry.host}/icu/test:1.0.0")


def _unreachable(stand: Stand, release: Path) -> list[str]:
    path = stand.directory / "nowhere"
    path.write_text(stand.kubeconfig.read_text().replace(stand.cluster.url, "http://127.0.0.1:1"))
    return [*stand.arguments(release, stand.push(release)), "--kubeconfig", str(path)]


def _another_release(stand: Stand, release: Path) -> list[str]:
    return stand.arguments(release, stand.push(release, label=f"sha256:{'0' * 64}"))


def _no_label(stand: Stand, release: Path) -> list[str]:
    return stand.arguments(release, stand.push(release, label=""))


def _not_pushed(stand: Stand, release: Path) -> list[str]:
    return stand.arguments(release, f"{stand.registry.host}/icu/test@sha256:{'1' * 64}")


def _altered(stand: Stand, release: Path) -> list[str]:
    image = stand.push(release)
    (release / "model" / "m.joblib").write_bytes(b"madel")
    return stand.arguments(release, image)


def _no_context(stand: Stand, release: Path) -> list[str]:
    return stand.arguments(release, stand.push(release), "--context", "other")


def _no_staging(stand: Stand, release: Path) -> list[str]:
    return stand.arguments(release, stand.push(release), "--environment", "staging")


def _settings(text: str) -> Callable[[Stand, Path], list[str]]:
    def made(stand: Stand, release: Path) -> list[str]:
        path = release.parents[1] / "bedside.toml"
        path.write_text(path.read_text().replace(DEPLOY, text))
        return stand.arguments(release, stand.push(release))

    return made


def _unsigned(stand: Stand, release: Path) -> list[str]:
    trust = stand.directory / "trust.toml"
    trust.write_text("schema = 1\n")
    return stand.arguments(release, stand.push(release), "--trust", str(trust))


REFUSED: dict[str, tuple[Any, int, str, str]] = {
    "a tag instead of a digest": (_tag, 2, "names an image by tag", "Name it by digest"),
    "an unreachable cluster": (_unreachable, 4, "cannot be reached", "Look at the network"),
    "an image of another release": (_another_release, 3, "the image says that it holds release", "built from this"),
    "an image that does not say": (_no_label, 3, "holds release none", "built from this release"),
    "an image that was not pushed": (_not_pushed, 4, "has no sha256:1111", "Look at the name"),
    "a release that was altered": (_altered, 3, "is not what was validated", "Restore the release"),
    "a context that is not there": (_no_context, 2, "no context 'other'; there are test", "--context"),
    "no staging": (_no_staging, 2, "[deploy] has no staging", "[deploy.staging]"),
    "a host that is none": (
        _settings(
            '[deploy]\nhost = "https://icu.example.org/predict"\n[deploy.gateway]\nname = "g"\nnamespace = "g"\n'
        ),
        2,
        "is no host",
        "Write a DNS name alone",
    ),
    "one replica": (
        _settings('[deploy]\nexposure = "none"\n[deploy.replicas]\nmin = 1\n'),
        2,
        "one pod answers nobody",
        "below_two_because",
    ),
    "a namespace that is too long": (
        _settings(f'[deploy]\nexposure = "none"\nnamespace = "{"n" * 64}"\n'),
        2,
        "is no name of an object",
        "at most 63",
    ),
    "nobody signed it": (_unsigned, 3, "", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_remedy_before_anything_is_applied(
    stand: Stand, case: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bedside.kube.cluster.session.WAITS", ())
    arguments, code, message, remedy = REFUSED[case]
    release = stand.release("1.0.0")
    assert run(arguments(stand, release)) == code, capsys.readouterr().err
    said = " ".join(capsys.readouterr().err.split())
    assert message in said
    assert remedy in said
    assert stand.written() == []


def test_a_name_that_is_too_long_for_a_pod_s_host_name_is_refused(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    release = stand.release("1.0.0", name="a" * 50)
    assert run(stand.arguments(release, stand.push(release))) == 2
    assert "has 50 characters" in capsys.readouterr().err
    assert stand.cluster.seen == []


def test_pods_that_speak_tls_are_not_deployed_without_knowing_whom_to_believe(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    release = stand.release("1.0.0", tls=Tls())
    assert run(stand.arguments(release, stand.push(release))) == 2
    assert "--pod-ca" in capsys.readouterr().err
    assert stand.written() == []


def test_an_account_without_rights_is_refused_with_all_that_it_lacks(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    stand.cluster.faults.denied |= {("create", "leases"), ("patch", "services")}
    release = stand.release("1.0.0")
    assert run(stand.arguments(release, stand.push(release))) == 4
    said = capsys.readouterr().err
    assert "may not create leases.coordination.k8s.io" in said
    assert "may not patch services" in said
    assert stand.written() == []


def test_a_credential_comes_from_a_file_or_a_variable_and_is_never_shown(
    stand: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.cluster.faults.credential = "canary-5c1f"
    path = tmp_path / "credential"
    path.write_text("canary-5c1f\n")
    release = stand.release("1.0.0")
    image = stand.push(release)
    assert run(stand.arguments(release, image)) == 2
    assert "--credential-file" in capsys.readouterr().err
    assert run(stand.arguments(release, image, "--credential-file", str(path))) == 0
    monkeypatch.setenv("BEDSIDE_CREDENTIAL", "canary-5c1f")
    assert run(["verify", "--cluster", "icu-test", "-n", "icu", "--kubeconfig", str(stand.kubeconfig)]) == 0
    shown = capsys.readouterr()
    assert "canary" not in shown.out + shown.err
    held = json.dumps([item for resource in stand.cluster.store.objects.values() for item in [resource]])
    assert "canary" not in held


def test_a_failed_rollout_says_the_reason_what_runs_now_and_the_next_step(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    _deployed(stand, "1.0.0")
    stand.cluster.faults.pods.append(PodFault("fails its golden replay", "1.1.0", "node-b"))
    release = stand.release("1.1.0")
    assert run(stand.arguments(release, stand.push(release))) == 3
    said = " ".join(capsys.readouterr().err.split())
    assert "on node-b: golden-mismatch" in said
    assert "1.0.0 (revision 1" in said
    assert "is back, and proven" in said
    assert "remedy: Keep the model off that node" in said
    assert run(["status", "icu-test", "-n", "icu", "--kubeconfig", str(stand.kubeconfig)]) == 0
    assert "golden-mismatch" in capsys.readouterr().err, "the record of the failed one says why"


@pytest.mark.faults
@pytest.mark.parametrize("at", ["secrets", "deployments/", "portforward", "watch=true"])
def test_a_real_process_that_is_killed_leaves_what_the_next_run_ends(stand: Stand, at: str) -> None:
    release = stand.release("1.0.0")
    arguments = stand.arguments(release, stand.push(release))
    command = [sys.executable, "-c", "import sys; from bedside.cli.main import main; main()", *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def kill(handler: Any) -> bool:
        stored = handler.command in ("POST", "PATCH") and "dryRun" not in handler.path
        if at in handler.path and (stored or (handler.command == "GET" and at in ("portforward", "watch=true"))):
            os.kill(child.pid, signal.SIGKILL)
            stand.cluster.faults.trouble.clear()
        return False

    stand.cluster.faults.trouble.append(kill)
    child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    assert run(arguments) == 0
    assert run(["status", "icu-test", "-n", "icu", "--kubeconfig", str(stand.kubeconfig)]) == 0
