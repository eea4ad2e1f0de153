"""An image that is not what the plan of its release says: each way in which it can differ."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest

from bedside.errors import ImageInvalid
from bedside.image import judging, plan
from bedside.image.contents import Contents, Entry
from bedside.image.judging import Locked
from bedside.image.oci import Execution, ImageConfig, RootFS
from bedside_runtime import contract as seam
from bedside_runtime.contract import Contract

RELEASE = "b" * 64
LOCKED = (Locked("num-py", "2.0"),)
SITE = "opt/bedside/lib/python3.11/site-packages"


def file(data: bytes = b"", **fields: object) -> Entry:
    made = Entry("file", 0o644, 0, 0, len(data), 1, sha256=hashlib.sha256(data).hexdigest())
    return replace(made, **fields)  # type: ignore[arg-type]


def record(*rows: tuple[str, bytes]) -> bytes:
    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()

    named = [f"{path},sha256={encoded(data)},{len(data)}\n" for path, data in rows]
    return "".join([*named, "num_py-2.0.dist-info/RECORD,,\n"]).encode()


RECORDS = {f"{SITE}/num_py-2.0.dist-info/RECORD": record(("numpy.py", b"code"), ("num_py-2.0.dist-info/METADATA", b""))}
FILES: dict[str, Entry] = {
    "opt/bedside/bin/python": Entry("link", 0o777, 0, 0, 0, 1, target="/usr/bin/python3.11"),
    "opt/bedside/pyvenv.cfg": file(),
    f"{SITE}/numpy.py": file(b"code"),
    f"{SITE}/__pycache__/numpy.cpython-311.pyc": file(b"bytecode"),
    f"{SITE}/num_py-2.0.dist-info/METADATA": file(),
    f"{SITE}/num_py-2.0.dist-info/RECORD": file(),
    "opt/bedside/release/contract.json": file(),
    "usr/bin/python3.11": file(mode=0o755),
}


@pytest.fixture
def contract(a_contract: Contract) -> Contract:
    environment = msgspec.structs.replace(a_contract.environment, threads={"OMP_NUM_THREADS": "1"})
    return msgspec.structs.replace(a_contract, environment=environment)


def execution(contract: Contract) -> Execution:
    labels = {plan.RELEASE_DIGEST: f"sha256:{RELEASE}"}
    return msgspec.structs.replace(plan.execution(contract, RELEASE), labels=labels)


def judged(
    contract: Contract, files: Mapping[str, Entry] | None = None, here: Execution | None = None
) -> list[tuple[str, str]]:
    config = ImageConfig(
        architecture="amd64", os="linux", rootfs=RootFS(diff_ids=()), config=here or execution(contract)
    )
    there = Contents({**FILES, **(files or {})}, ())
    found = judging.findings(contract, RELEASE, config, there, records=RECORDS, locked=LOCKED)
    return [(item.rule, item.message) for item in found]


def test_an_image_that_is_what_its_release_says_has_no_finding(contract: Contract) -> None:
    assert judged(contract) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"user": "0"}, "the user is 0; planned is 10001:10001"),
        ({"user": ""}, "the user is ; planned"),
        ({"entrypoint": ("/bin/sh", "-c")}, "the entry point is /bin/sh -c"),
        ({"cmd": ("serve", "/elsewhere")}, "the command is serve /elsewhere"),
        ({"working_dir": "/srv"}, "the working directory is /srv"),
        ({"stop_signal": "SIGKILL"}, "the stop signal is SIGKILL"),
        ({"env": ()}, "the environment lacks OMP_NUM_THREADS=1"),
    ],
)
def test_another_way_to_start_is_found(contract: Contract, change: dict[str, object], said: str) -> None:
    ((rule, message),) = judged(contract, here=msgspec.structs.replace(execution(contract), **change))
    assert rule == "BED-OCI-002"
    assert message.startswith(said)


def test_a_label_of_another_release_is_found(contract: Contract) -> None:
    other = msgspec.structs.replace(execution(contract), labels={plan.RELEASE_DIGEST: "sha256:" + "c" * 64})
    assert [rule for rule, _ in judged(contract, here=other)] == ["BED-OCI-001"]


@pytest.mark.parametrize(
    ("path", "entry", "rule"),
    [
        ("opt/bedside/extra.py", file(), "BED-OCI-003"),
        ("opt/bedside/lib/other/x.py", file(), "BED-OCI-003"),
        ("opt/bedside/lib/other", Entry("directory", 0o755, 0, 0, 0, 1), "BED-OCI-003"),
        ("opt/bedside/release/pipe", Entry("other", 0o644, 0, 0, 0, 1), "BED-OCI-003"),
        ("opt/bedside/release/contract.json", file(mode=0o664), "BED-OCI-004"),
        ("opt/bedside/release/contract.json", file(mode=0o646), "BED-OCI-004"),
        ("opt/bedside/release/contract.json", file(user=10001), "BED-OCI-004"),
        ("opt/bedside/pyvenv.cfg", file(group=10001), "BED-OCI-004"),
        ("opt/bedside/pyvenv.cfg", file(mode=0o4755), "BED-OCI-004"),
        (f"{SITE}/sitecustomize.py", file(), "BED-OCI-005"),
        (f"{SITE}/evil.pth", file(), "BED-OCI-005"),
        (f"{SITE}/__pycache__/evil.cpython-311.pyc", file(), "BED-OCI-005"),
        (f"{SITE}/numpy.py", file(b"other code"), "BED-OCI-005"),
        (f"{SITE}/pip-24.dist-info/METADATA", file(), "BED-OCI-005"),
        ("usr/lib/libcudart.so.12", file(), "BED-OCI-006"),
    ],
)
def test_a_file_that_should_not_be_there_or_not_be_so_is_found(
    contract: Contract, path: str, entry: Entry, rule: str
) -> None:
    assert rule in [found for found, _ in judged(contract, {path: entry})]


LOG = Entry("directory", 0o750, 10001, 10001, 0, 1)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "is missing"),
        ({"var/log/model": replace(LOG, user=0, group=0)}, "is a directory of 0:0, mode 750"),
        ({"var/log/model": replace(LOG, mode=0o777)}, "is a directory of 10001:10001, mode 777"),
        ({"var/log/model": replace(LOG, kind="link")}, "is a link of"),
        ({"var/log/model": LOG, "var/log/model/pod/x.jsonl": file()}, "holds pod/x.jsonl"),
    ],
)
def test_a_directory_that_gives_no_volume_the_log_as_planned_is_found(
    contract: Contract, files: dict[str, Entry], said: str
) -> None:
    logged = msgspec.structs.replace(contract, audit=seam.Audit())
    ((rule, message),) = judged(logged, files)
    assert rule == "BED-OCI-007"
    assert message.startswith("/var/log/model, where the audit log goes, ")
    assert said in message
    assert judged(logged, {"var/log/model": LOG}) == []


def test_a_distribution_that_is_locked_and_missing_is_found(contract: Contract) -> None:
    files = {f"{SITE}/num_py-2.0.dist-info/METADATA": file(), f"{SITE}/other-1.dist-info/METADATA": file()}
    messages = [message for _, message in judged(contract, files)]
    assert "other 1 is in the image, and the lock does not name it" in messages


def test_an_image_for_gpus_may_carry_cuda_once(contract: Contract) -> None:
    gpu = msgspec.structs.replace(contract, accelerator="cuda")
    one = {f"{SITE}/nvidia/lib/libcudart.so.12": file()}
    twice = {**one, "usr/local/cuda/lib64/libcudart.so.12": file()}
    assert [rule for rule, _ in judged(gpu, one) if rule == "BED-OCI-006"] == []
    assert next(message for rule, message in judged(gpu, twice) if rule == "BED-OCI-006").startswith(
        "libcudart is there 2 times"
    )


@pytest.mark.parametrize("labels", [{}, {plan.RELEASE_DIGEST: "1.0.0"}])
def test_an_image_that_names_no_release_is_none_of_ours(labels: dict[str, str]) -> None:
    with pytest.raises(ImageInvalid, match=r"no label dev\.bedside\.release-digest"):
        judging.release_digest(labels)
