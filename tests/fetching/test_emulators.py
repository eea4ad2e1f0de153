"""`python -m bedside_runtime fetch`, as an init container runs it, against the object storage of three clouds."""

import base64
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bedside_runtime import canonical, contract, signature
from bedside_runtime.fetching.download import CHUNK

from . import emulators
from .emulators import Cloud

pytestmark = pytest.mark.timeout(600)
DATA = random.Random(3).randbytes(2 * CHUNK + 4_321)
PATH = "model/icu.joblib"

Described = dict[str, bytes]


def release(directory: Path, address: str, data: bytes = DATA) -> str:
    """Write a release that does not carry ``data``, and return its digest."""
    files = {"golden.jsonl": b"{}\n", "requirements.lock": b""}
    directory.mkdir(parents=True)
    for name, held in files.items():
        (directory / name).write_bytes(held)
    recorded = {**files, PATH: data}
    made = contract.Contract(
        name="icu",
        version="1.2.3",
        title="For tests",
        model=contract.Model(
            framework="sklearn", format="joblib", artifact=PATH, source=address, features=("age",), layout="array"
        ),
        inputs=(contract.Input(name="age", type="number"),),
        output=contract.Output(name="risk", type="value"),
        golden=contract.Golden(path="golden.jsonl", cases=1, tolerance=0),
        environment=contract.Environment(
            python="3.11.0", implementation="cpython", machine="x86_64", libc="", blas={}, threads={}, distributions={}
        ),
        serve=contract.Serve(),
        files=tuple(
            contract.File(path=name, sha256=hashlib.sha256(held).hexdigest(), size=len(held))
            for name, held in sorted(recorded.items())
        ),
    )
    (directory / "contract.json").write_bytes(contract.encode(made))
    return canonical.digest(contract.encode(made))


def sign(directory: Path, into: Path) -> Path:
    """Sign a release as `bedside sign` does, and return the public key."""
    made = contract.decode((directory / "contract.json").read_bytes())
    listed = {item.path: item.sha256 for item in made.files}
    listed["contract.json"] = canonical.digest((directory / "contract.json").read_bytes())
    statement = {
        "_type": signature.STATEMENT,
        "subject": [{"name": "icu", "digest": {"sha256": signature.root(list(listed.values()))}}],
        "predicateType": signature.PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256"},
            "resources": [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in listed.items()],
        },
    }
    payload, private = json.dumps(statement).encode(), ec.generate_private_key(ec.SECP256R1())
    signed = private.sign(signature.pae(payload), ec.ECDSA(hashes.SHA256()))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": signature.PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signed).decode()}],
    }
    (directory / "contract.sig").write_text(json.dumps({"mediaType": signature.BUNDLE, "dsseEnvelope": envelope}))
    into.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return into


def command(directory: Path, *more: str) -> list[str]:
    return [sys.executable, "-I", "-m", "bedside_runtime", "fetch", str(directory), *more]


def clean(environment: dict[str, str]) -> dict[str, str]:
    """Return this machine's environment without anything of a cloud, with ``environment``."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AZURE_", "GOOGLE_"))}
    return {**own, **environment}


def fetch(directory: Path, cloud: Cloud, *more: str, **changes: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(directory, *more),
        env=clean({**cloud.environment, **changes}),
        capture_output=True,
        text=True,
        timeout=240,
    )
    for secret in cloud.secrets:
        assert secret not in done.stdout + done.stderr
    return done


def left(directory: Path) -> list[str]:
    model = directory / "model"
    return sorted(path.name for path in model.iterdir()) if model.exists() else []


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> emulators.Authority:
    return emulators.Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def clouds(
    authority: emulators.Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Cloud]]:
    """Give a cloud by name; each is started when it is first asked for."""
    started: dict[str, Cloud] = {}
    with ExitStack() as stack:
        start = {
            "s3": lambda: emulators.s3(DATA),
            "gs": lambda: emulators.google(DATA),
            "az": lambda: emulators.azure(DATA, authority),
        }

        def give(name: str) -> Cloud:
            if name == "az" and not emulators.AZURITE.exists():
                pytest.skip("azurite is not installed: npm ci --prefix tests/fetching/azurite")
            if name not in started:
                cloud = stack.enter_context(start[name]())
                started[name] = replace(cloud, environment=_filed(cloud.environment, tmp_path_factory.mktemp(name)))
            return started[name]

        yield give


def _filed(environment: dict[str, str], directory: Path) -> dict[str, str]:
    """Put tokens into files, as a cluster projects them."""
    found = dict(environment)
    for name in ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AZURE_FEDERATED_TOKEN_FILE"):
        if name in found:
            path = directory / "token"
            path.write_text(found[name])
            found[name] = str(path)
    return found


@pytest.mark.parametrize("name", ["s3", "gs", "az"])
def test_the_workload_s_own_identity_brings_the_model(clouds: Any, name: str, tmp_path: Path) -> None:
    cloud = clouds(name)
    digest = release(tmp_path / "release", cloud.address)
    done = fetch(tmp_path / "release", cloud, "--digest", f"sha256:{digest}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"size": len(DATA), "kept": 0}
    assert (tmp_path / "release" / PATH).read_bytes() == DATA
    assert left(tmp_path / "release") == ["icu.joblib"]
    again = fetch(tmp_path / "release", cloud, "--digest", digest)
    assert json.loads(again.stdout) == {"size": len(DATA), "kept": len(DATA)}


@pytest.mark.parametrize("name", ["s3", "gs", "az"])
def test_what_is_not_what_was_validated_gets_no_name(clouds: Any, name: str, tmp_path: Path) -> None:
    cloud = clouds(name)
    for number, (data, said) in enumerate(
        {DATA[:-1] + bytes([DATA[-1] ^ 1]): "sha256 is", DATA[:-1]: "more than", DATA + b"\0": "fewer than"}.items()
    ):
        directory = tmp_path / str(number)
        release(directory, cloud.address, data)
        done = fetch(directory, cloud, "--json")
        assert done.returncode == 3
        assert said in done.stderr
        assert json.loads(done.stdout)["code"] == "artifact-mismatch"
        assert left(directory) == []
        assert '"reason":"artifact-mismatch"' in done.stderr


@pytest.mark.parametrize("name", ["s3", "gs", "az"])
def test_an_object_that_is_not_there_is_said_so(clouds: Any, name: str, tmp_path: Path) -> None:
    cloud = clouds(name)
    release(tmp_path / "release", cloud.address.replace("icu.joblib", "other/icu.joblib"))
    done = fetch(tmp_path / "release", cloud)
    assert done.returncode == 4
    assert "there is no" in done.stderr
    assert left(tmp_path / "release") == []


def test_a_role_of_the_service_account_is_taken_with_its_token(
    clouds: Any, authority: emulators.Authority, tmp_path: Path
) -> None:
    cloud, role, token = clouds("s3"), "arn:aws:iam::123456789012:role/icu-models", "web-identity-CANARY"
    (tmp_path / "token").write_text(token)
    release(tmp_path / "release", cloud.address)
    own = {name: cloud.environment[name] for name in ("AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", "AWS_REGION")}
    secrets = (token, "ASIACANARY5", "secret-CANARY-6", "session-CANARY-7")
    with emulators.sts(role, token, authority) as sts:
        irsa = {
            **own,
            "AWS_ROLE_ARN": role,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ENDPOINT_URL_STS": sts,
            "SSL_CERT_FILE": str(authority.ca),
        }
        done = fetch(tmp_path / "release", Cloud(cloud.address, irsa, secrets))
        assert done.returncode == 0, done.stderr
        (tmp_path / "token").write_text("another-CANARY")
        (tmp_path / "release" / PATH).unlink()
        done = fetch(tmp_path / "release", Cloud(cloud.address, irsa, (*secrets, "another-CANARY")))
    assert done.returncode == 4
    assert "no identity" in done.stderr
    assert left(tmp_path / "release") == []


STATIC = {
    "s3": {"AWS_ACCESS_KEY_ID": "AKIACANARY", "AWS_SECRET_ACCESS_KEY": "static-CANARY"},
    "gs": {"GOOGLE_APPLICATION_CREDENTIALS": "/run/CANARY.json"},
    "az": {"AZURE_STORAGE_ACCOUNT_KEY": "static-CANARY"},
}


@pytest.mark.parametrize("name", ["s3", "gs", "az"])
def test_in_a_pod_a_static_key_is_refused_and_not_said(clouds: Any, name: str, tmp_path: Path) -> None:
    cloud = clouds(name)
    release(tmp_path / "release", cloud.address)
    done = fetch(tmp_path / "release", cloud, **STATIC[name])
    assert done.returncode == 2
    assert next(iter(STATIC[name])) in done.stderr
    assert "CANARY" not in done.stdout + done.stderr
    assert left(tmp_path / "release") == []


def test_on_an_engineer_s_machine_her_own_credentials_count(clouds: Any, tmp_path: Path) -> None:
    cloud = clouds("s3")
    release(tmp_path / "release", cloud.address)
    done = fetch(tmp_path / "release", cloud, "--local", **STATIC["s3"])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "variable"), [("s3", "AWS_CONTAINER_"), ("az", "AZURE_FEDERATED_")])
def test_a_pod_without_an_identity_is_told_what_it_lacks(clouds: Any, name: str, variable: str, tmp_path: Path) -> None:
    cloud = clouds(name)
    release(tmp_path / "release", cloud.address)
    less = {key: value for key, value in cloud.environment.items() if not key.startswith(variable)}
    done = fetch(tmp_path / "release", replace(cloud, environment=less))
    assert done.returncode == 2
    assert "no identity" in done.stderr
    assert "[deploy.model_store]" in done.stderr


def test_who_may_not_read_it_is_told_so(clouds: Any, tmp_path: Path) -> None:
    cloud = clouds("s3")
    release(tmp_path / "release", cloud.address)
    less = {key: value for key, value in cloud.environment.items() if not key.startswith("AWS_CONTAINER_")}
    done = fetch(tmp_path / "release", replace(cloud, environment=less), AWS_SKIP_SIGNATURE="true")
    assert done.returncode == 4
    assert "may not be read" in done.stderr


def test_connections_that_are_cut_again_and_again_lose_nothing(clouds: Any, tmp_path: Path) -> None:
    cloud = clouds("s3")
    release(tmp_path / "release", cloud.address)
    with emulators.cutting(cloud.port, after=CHUNK // 10, cuts=8) as (url, cuts):
        done = fetch(tmp_path / "release", cloud, AWS_ENDPOINT_URL=url)
    assert done.returncode == 0, done.stderr
    assert len(cuts) == 8
    assert (tmp_path / "release" / PATH).read_bytes() == DATA


def test_kill_9_in_the_middle_and_run_again(clouds: Any, tmp_path: Path) -> None:
    cloud, directory = clouds("s3"), tmp_path / "release"
    release(directory, cloud.address)
    part = directory / "model" / ".icu.joblib.part"
    with emulators.cutting(cloud.port, after=0, cuts=0, first_only=True) as (url, _):
        child = subprocess.Popen(
            command(directory), env=clean({**cloud.environment, "AWS_ENDPOINT_URL": url}), stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not part.exists() or part.stat().st_size < CHUNK:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert left(directory) == [part.name]
    done = fetch(directory, cloud)
    assert json.loads(done.stdout)["kept"] >= CHUNK
    assert (directory / PATH).read_bytes() == DATA


def test_storage_that_does_not_answer_is_given_up_with_what_to_do(clouds: Any, tmp_path: Path) -> None:
    cloud = clouds("s3")
    release(tmp_path / "release", cloud.address)
    done = fetch(tmp_path / "release", cloud, AWS_ENDPOINT_URL=f"http://127.0.0.1:{emulators.free_port()}")
    assert done.returncode == 4
    assert "remedy: Run it again" in done.stderr


SIGNATURES: dict[str, Callable[[Path], object]] = {
    "no signature": lambda at: (at / "contract.sig").unlink(),
    "of another key": lambda at: sign(at, at.parent / "other.pub"),
    "no bundle": lambda at: (at / "contract.sig").write_text("{}"),
}


@pytest.mark.parametrize("case", SIGNATURES)
def test_without_the_signature_that_is_asked_for_nothing_is_fetched(clouds: Any, case: str, tmp_path: Path) -> None:
    cloud, directory = clouds("s3"), tmp_path / "release"
    release(directory, cloud.address)
    key = sign(directory, tmp_path / "release.pub")
    SIGNATURES[case](directory)
    done = fetch(directory, cloud, BEDSIDE_RELEASE_KEY=str(key))
    assert done.returncode == 3
    assert "contract.sig" in done.stderr
    assert left(directory) == []


def test_the_signature_covers_the_model_that_is_yet_to_come(clouds: Any, tmp_path: Path) -> None:
    cloud, directory = clouds("s3"), tmp_path / "release"
    release(directory, cloud.address)
    key = sign(directory, tmp_path / "release.pub")
    assert fetch(directory, cloud, "--key", str(key)).returncode == 0
    signed = (directory / "contract.sig").read_bytes()
    other = tmp_path / "other"
    release(other, cloud.address, DATA[:-1])
    (other / "contract.sig").write_bytes(signed)
    assert fetch(other, cloud, "--key", str(key)).returncode == 3
    assert left(other) == []


CHANGES: dict[str, Callable[[Path], object]] = {
    "another file": lambda at: (at / "golden.jsonl").write_text("{ }\n"),
    "a file more": lambda at: (at / "more.py").write_text(""),
    "a file less": lambda at: (at / "requirements.lock").unlink(),
}


@pytest.mark.parametrize("case", CHANGES)
def test_for_a_release_that_was_changed_nothing_is_fetched(clouds: Any, case: str, tmp_path: Path) -> None:
    cloud = clouds("s3")
    release(tmp_path / "release", cloud.address)
    CHANGES[case](tmp_path / "release")
    done = fetch(tmp_path / "release", cloud)
    assert done.returncode == 3
    assert left(tmp_path / "release") == []


def test_another_release_than_was_asked_for_is_refused(clouds: Any, tmp_path: Path) -> None:
    cloud = clouds("s3")
    release(tmp_path / "release", cloud.address)
    assert fetch(tmp_path / "release", cloud, "--digest", "0" * 64).returncode == 3
    assert left(tmp_path / "release") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a small volume is mounted, which needs root")
def test_a_volume_that_is_too_small_is_left_empty(clouds: Any, tmp_path: Path) -> None:
    cloud, directory = clouds("s3"), tmp_path / "release"
    release(directory, cloud.address)
    model = directory / "model"
    model.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={CHUNK}", "tmpfs", str(model)], check=True)
    try:
        done = fetch(directory, cloud)
        assert done.returncode == 4
        assert "the volume has room for" in done.stderr
        assert left(directory) == []
    finally:
        subprocess.run(["umount", str(model)], check=True)


def test_an_object_that_is_replaced_while_it_is_fetched_is_refused(clouds: Any, tmp_path: Path) -> None:
    cloud, directory = clouds("s3"), tmp_path / "release"
    key = "icu/replaced/icu.joblib"
    client = boto3.client(
        "s3",
        endpoint_url=cloud.environment["AWS_ENDPOINT_URL"],
        region_name="eu-central-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )
    client.put_object(Bucket="models", Key=key, Body=DATA)
    release(directory, f"s3://models/{key}")
    (directory / "model").mkdir()
    (directory / "model" / ".icu.joblib.part").write_bytes(DATA[:CHUNK])
    client.put_object(Bucket="models", Key=key, Body=bytes(len(DATA)))
    assert fetch(directory, cloud).returncode == 3
    assert left(directory) == []
