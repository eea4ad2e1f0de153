"""The Dockerfile of a plan: what it says, and that it cannot say anything else. Built for real in tests/containers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dockerfile as parser
import msgspec
import pytest
from tests.image.test_plan import BASE, DIGEST, planned, released  # noqa: F401 - a fixture

from bedside.cli.main import run
from bedside.image import dockerfile
from bedside.image.installed import PRUNE
from bedside.image.plan import Compiled, ImagePlan
from bedside.image.reference import Reference
from bedside_runtime import contract as seam
from bedside_runtime.contract import Contract

FINAL = Reference("registry.example.org", "distroless/python3-debian12", digest=DIGEST)
INSTALLER = Reference("registry.example.org", "python", digest=DIGEST)


def rendered(plan: ImagePlan) -> str:
    return dockerfile.render(plan, FINAL, INSTALLER)


@pytest.fixture
def text(released: Contract) -> str:  # noqa: F811
    return rendered(planned(released))


def commands(text: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(item.cmd.upper(), item.value) for item in parser.parse_string(text)]


def stages(text: str) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    name = ""
    for command, words in commands(text):
        if command == "FROM":
            name = words[2] if len(words) > 2 else "image"
        found.setdefault(name, []).append((command, words))
    return found


def test_the_stages_are_the_layers_and_the_last_one_only_copies(text: str) -> None:
    found = stages(text)
    assert list(found) == ["installer", "dependencies", "runtime", "bytecode", "code", "model", "image"]
    assert "RUN" not in [command for command, _ in found["image"]]
    assert [words for command, words in found["image"] if command == "COPY"] == [
        ("/opt/bedside", "/opt/bedside"),
        ("/opt/bedside", "/opt/bedside"),
        ("/tmp/bytecode", "/"),
        ("/", "/opt/bedside/release/"),
        ("/", "/opt/bedside/release/"),
    ]


def test_the_directory_of_an_audit_log_is_the_user_s(released: Contract) -> None:  # noqa: F811
    found = stages(rendered(planned(msgspec.structs.replace(released, audit=seam.Audit(path="/srv/a b")))))
    assert [words for command, words in found["audit"] if command == "RUN"] == [
        ("install -d -m 0750 -o 10001 -g 10001 '/volume/srv/a b'",)
    ]
    assert ("COPY", ("/volume", "/")) in found["image"]


def test_every_image_that_it_stands_on_is_named_by_digest(text: str) -> None:
    named = [words[0] for command, words in commands(text) if command == "FROM"]
    assert [name for name in named if "@sha256:" not in name] == ["installer", "installer", "scratch", "scratch"]


def test_how_a_container_starts_is_what_the_plan_says(released: Contract) -> None:  # noqa: F811
    environment = msgspec.structs.replace(released.environment, threads={"OMP_NUM_THREADS": "2"})
    plan = planned(msgspec.structs.replace(released, environment=environment))
    said = dict(stages(rendered(plan))["image"])
    assert said["ENTRYPOINT"] == plan.execution.entrypoint
    assert said["CMD"] == plan.execution.cmd
    assert said["USER"] == ("10001:10001",)
    assert said["ENV"] == ("OMP_NUM_THREADS", '"2"')
    assert said["STOPSIGNAL"] == ("SIGTERM",)


def test_a_title_with_quotes_and_dollars_stays_a_label(released: Contract) -> None:  # noqa: F811
    plan = planned(msgspec.structs.replace(released, title='Risk "A" costs $HOME \\ `id`'))
    assert r'title="Risk \"A\" costs \$HOME \\ `id`"' in rendered(plan)
    assert commands(rendered(plan))


def test_a_file_with_a_space_in_its_name_is_one_file(released: Contract) -> None:  # noqa: F811
    files = tuple(
        msgspec.structs.replace(item, path="model/my model.joblib") if item.path.startswith("model/") else item
        for item in released.files
    )
    text = rendered(planned(msgspec.structs.replace(released, files=files)))
    assert json.dumps(["model/my model.joblib", "/model/"]) in text


def test_secrets_are_mounted_in_the_steps_that_install_and_named_nowhere_else(text: str) -> None:
    lines = [line for line in text.splitlines() if "secret" in line and not line.startswith("#")]
    assert {line for line in lines if "--mount=" in line} == {
        "RUN --mount=type=secret,id=ca --mount=type=secret,id=pip set -eu; \\"
    }
    environment = [words for command, words in commands(text) if command in ("ENV", "ARG", "LABEL")]
    assert not [words for words in environment if any("PIP" in word or "CERT" in word for word in words)]


def test_the_lock_is_cut_in_two_by_the_lines_that_the_dockerfile_has(text: str, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    entry = "{}=={} \\\n    --hash=sha256:{} \\\n    --hash=sha256:{}\n"
    lock.write_text(
        "".join(
            entry.format(*words) for words in [("a", 1, "1", "2"), ("bedside-runtime", 3, "4", "5"), ("z", 6, "7", "8")]
        )
    )
    sed = [
        line.strip().removesuffix(" > /release/dependencies.txt; \\").removesuffix(" > /release/runtime.txt; \\")
        for line in text.splitlines()
        if line.strip().startswith("sed ")
    ]
    dependencies, runtime = (
        subprocess.run(
            line.replace("/release/requirements.lock", str(lock)),
            shell=True,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for line in sed
    )
    assert "bedside-runtime" not in dependencies
    assert runtime == entry.format("bedside-runtime", 3, "4", "5")
    assert dependencies == entry.format("a", 1, "1", "2") + entry.format("z", 6, "7", "8")


def test_what_is_left_out_of_an_installation_is_the_script_that_assembling_runs(text: str, tmp_path: Path) -> None:
    printf = text[text.index("printf '%s\\n' \\") : text.index("    > /installer/prune.py")]
    said = subprocess.run(printf.rstrip(" \\\n"), shell=True, check=True, capture_output=True, text=True).stdout
    assert said == PRUNE.read_text()


def test_bytecode_is_compiled_by_the_base_that_runs_it(released: Contract) -> None:  # noqa: F811
    plan = planned(released)
    (compiled,) = (layer for layer in plan.layers if isinstance(layer, Compiled))
    found = stages(rendered(plan))["bytecode"]
    assert found[0][1][0] == str(FINAL)
    assert dict(found)["RUN"][-len(compiled.modules) :] == compiled.modules


@pytest.mark.parametrize("audit", [None, seam.Audit()])
def test_hadolint_and_our_own_rules_have_nothing_to_say(
    released: Contract,  # noqa: F811
    audit: seam.Audit | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text(rendered(planned(msgspec.structs.replace(released, audit=audit))))
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([program, str(path)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert run(["check", str(path), "--strict"]) == 0
    assert "0 patient-safety, 0 security, 0 operations, 0 note" in capsys.readouterr().out


def test_it_says_how_to_build_it_by_hand(released: Contract) -> None:  # noqa: F811
    plan = planned(released)
    for command in dockerfile.commands(plan, "Dockerfile", "RELEASE"):
        assert f"#   {command}" in rendered(plan)
