"""A model that lies in object storage, on its way from the author to an image: as the command line does it."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bedside.cli.main import run
from bedside_runtime.contract import decode

from . import emulators

pytestmark = [pytest.mark.package, pytest.mark.timeout(1200)]
ICU = Path(__file__).parents[2] / "examples" / "icu-mortality"
MODEL = (ICU / "model" / "icu.joblib").read_bytes()


@pytest.fixture(scope="module")
def storage() -> Iterator[emulators.Cloud]:
    with emulators.s3(MODEL) as cloud:
        yield cloud


@pytest.fixture
def own(storage: emulators.Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of an engineer who may read the bucket."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", "AWS_REGION"):
        monkeypatch.setenv(name, storage.environment[name])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-CANARY")


def project(directory: Path, address: str, sha256: str = hashlib.sha256(MODEL).hexdigest()) -> Path:
    shutil.copytree(ICU, directory, ignore=shutil.ignore_patterns("dist", "__pycache__", "model"))
    said = (directory / "bedside.toml").read_text()
    assert 'artifact  = "model/icu.joblib"' in said
    said = said.replace('artifact  = "model/icu.joblib"', f'artifact = "{address}"\nsha256 = "{sha256}"')
    (directory / "bedside.toml").write_text(said)
    return directory


@pytest.mark.usefixtures("own")
def test_a_release_records_its_model_and_does_not_carry_it(
    storage: emulators.Cloud, tmp_path: Path, capsys: Any
) -> None:
    made = project(tmp_path / "icu", storage.address)
    assert run(["package", str(made)]) == 0
    release = made / "dist" / "icu-mortality-1.0.0"
    contract = decode((release / "contract.json").read_bytes())
    assert contract.model.source == storage.address
    recorded = {item.path: (item.size, item.sha256) for item in contract.files}
    assert recorded["model/icu.joblib"] == (len(MODEL), hashlib.sha256(MODEL).hexdigest())
    assert not (release / "model").exists()
    assert "obstore" in contract.environment.distributions

    assert run(["verify", str(release), "--digests-only"]) == 0
    capsys.readouterr()
    assert run(["verify", str(release)]) == 2
    assert "bedside fetch" in capsys.readouterr().err
    assert run(["serve", str(release), "--port", "0", "--admin-port", "0"]) == 2
    assert run(["build", str(release), "--base", "nothing"]) == 2

    capsys.readouterr()
    assert run(["fetch", str(release), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"file": str(release / "model" / "icu.joblib"), "size": len(MODEL), "kept": 0}
    assert "CANARY" not in said.out + said.err
    assert run(["verify", str(release)]) == 0
    assert run(["fetch", str(release)]) == 0
    (release / "model" / "icu.joblib").write_bytes(MODEL[:-1] + b"\0")
    assert run(["fetch", str(release)]) == 3
    assert run(["verify", str(release), "--digests-only"]) == 3


@pytest.mark.usefixtures("own")
def test_a_model_that_was_replaced_is_not_packaged(storage: emulators.Cloud, tmp_path: Path, capsys: Any) -> None:
    made = project(tmp_path / "icu", storage.address, "0" * 64)
    assert run(["package", str(made)]) == 3
    assert not (made / "dist").exists()
    assert "0000 was validated" in capsys.readouterr().err


@pytest.mark.usefixtures("own")
def test_a_release_may_keep_its_model_by_choice(storage: emulators.Cloud, tmp_path: Path) -> None:
    made = project(tmp_path / "icu", storage.address)
    assert run(["package", str(made), "--keep-model"]) == 0
    release = made / "dist" / "icu-mortality-1.0.0"
    assert (release / "model" / "icu.joblib").read_bytes() == MODEL
    assert run(["verify", str(release)]) == 0
