"""The plan of an image, as a value."""

import hashlib

import msgspec
import pytest

from bedside.errors import UsageError
from bedside.image import plan as plans
from bedside.image.plan import Base, Compiled, Copied, ImagePlan, Installed, Volume
from bedside.image.reference import Digest, Reference
from bedside_runtime import contract as seam
from bedside_runtime.contract import Contract

DIGEST = Digest("sha256:" + "b" * 64)
BASE = Base(
    DIGEST, "/usr/bin/python3.11", Reference("registry.example.org", "python"), ("PATH=/usr/bin", "PYTHONHOME=/x")
)


@pytest.fixture
def released(a_contract: Contract) -> Contract:
    environment = msgspec.structs.replace(a_contract.environment, machine="x86_64", libc="glibc 2.36", python="3.11.7")
    paths = (a_contract.model.artifact, "golden.jsonl", "model_card.json", "requirements.lock", "wheels/a.whl")
    files = tuple(seam.File(path=path, sha256="0" * 64, size=1) for path in sorted(paths))
    return msgspec.structs.replace(a_contract, environment=environment, files=files)


def planned(contract: Contract, base: Base = BASE, epoch: int = 0) -> ImagePlan:
    digest = hashlib.sha256(seam.encode(contract)).hexdigest()
    return plans.plan(
        contract, digest, base=base, dependencies="numpy==2 ...", runtime="bedside-runtime==1 ...", epoch=epoch
    )


def test_layers_stand_in_the_order_in_which_they_change(released: Contract) -> None:
    assert [layer.name for layer in planned(released).layers] == [
        "dependencies",
        "runtime",
        "bytecode",
        "code",
        "model",
    ]


def test_a_release_with_an_audit_log_has_a_layer_for_its_directory(released: Contract) -> None:
    logged = msgspec.structs.replace(released, audit=seam.Audit(path="//var/log/./model/"))
    layers = planned(logged).layers
    assert [layer.name for layer in layers] == ["dependencies", "runtime", "bytecode", "audit", "code", "model"]
    assert Volume("audit", "/var/log/model") in layers


@pytest.mark.parametrize(
    "path",
    ["/", "/log", "/etc/model", "//usr/lib", "/var/run/log", "/opt/bedside/release", "/srv/../etc/x", "/tmp/log"],
)
def test_a_log_where_files_of_the_image_lie_is_refused(released: Contract, path: str) -> None:
    with pytest.raises(UsageError, match="no place for what a container writes") as refused:
        planned(msgspec.structs.replace(released, audit=seam.Audit(path=path)))
    assert "/var/log/model" in refused.value.remedy


def test_a_new_model_changes_the_last_layer_alone(released: Contract) -> None:
    files = tuple(
        msgspec.structs.replace(item, sha256="f" * 64) if item.path == released.model.artifact else item
        for item in released.files
    )
    before, after = planned(released), planned(msgspec.structs.replace(released, files=files, version="9.9.9"))
    same = [one == other for one, other in zip(before.layers, after.layers, strict=True)]
    assert same == [True, True, True, True, False]


def test_a_converted_model_lies_beside_the_model_and_its_library_is_compiled(released: Contract) -> None:
    graph = seam.File(path="engine/model.onnx", sha256="0" * 64, size=1)
    engine = seam.Engine(name="onnx", converted=seam.Converted(path=graph.path, converters={}, opsets={}))
    plan = planned(msgspec.structs.replace(released, files=(*released.files, graph), engine=engine))
    layers = {layer.name: layer for layer in plan.layers}
    assert isinstance(layers["model"], Copied)
    assert graph in layers["model"].files
    assert isinstance(layers["bytecode"], Compiled)
    assert "onnxruntime" in layers["bytecode"].modules
    assert "onnxruntime" not in plans.imported(released)


def test_every_file_of_the_release_is_in_exactly_one_layer(released: Contract) -> None:
    copied = [item.path for layer in planned(released).layers if isinstance(layer, Copied) for item in layer.files]
    assert sorted(copied) == sorted([*(item.path for item in released.files), "contract.json"])


def test_the_runtime_is_not_among_the_dependencies(released: Contract) -> None:
    locks = [layer.lock for layer in planned(released).layers if isinstance(layer, Installed)]
    assert locks == ["numpy==2 ...", "bedside-runtime==1 ..."]


def test_a_container_runs_as_a_numeric_user_and_must_find_this_very_release(released: Contract) -> None:
    plan = planned(released)
    assert plan.execution.user == "10001:10001"
    assert plan.execution.entrypoint == ("/opt/bedside/bin/python", "-I", "-m", "bedside_runtime")
    assert plan.execution.cmd[-2:] == ("--digest", f"sha256:{plan.release}")


def test_labels_and_annotations_say_the_same_and_name_release_and_base(released: Contract) -> None:
    plan = planned(released)
    assert plan.execution.labels == dict(plan.annotations)
    assert plan.annotations["dev.bedside.release-digest"] == f"sha256:{plan.release}"
    assert plan.annotations["org.opencontainers.image.base.name"] == f"registry.example.org/python@{DIGEST}"
    assert plan.annotations["org.opencontainers.image.base.digest"] == DIGEST


def test_the_time_is_1970_unless_somebody_says_another(released: Contract) -> None:
    assert planned(released).created == "1970-01-01T00:00:00Z"
    assert planned(released, epoch=1_700_000_000).created == "2023-11-14T22:13:20Z"


def test_the_base_s_environment_stays_and_validated_threads_are_set(released: Contract) -> None:
    environment = msgspec.structs.replace(released.environment, threads={"OMP_NUM_THREADS": "1"})
    plan = planned(msgspec.structs.replace(released, environment=environment))
    assert plan.execution.env == ("OMP_NUM_THREADS=1", "PATH=/usr/bin", "PYTHONHOME=/x")
    assert plan.execution.entrypoint[1] == "-I"  # isolated: PYTHONHOME of the base steers nothing


def test_what_is_compiled_is_what_serving_imports_and_never_the_author_s_own_module(released: Contract) -> None:
    model = msgspec.structs.replace(
        released.model,
        layout="frame",
        code=("code/preprocessing.py",),
        globals=tuple(
            seam.Global(module=module, name="x")
            for module in ("sklearn.pipeline", "preprocessing", "preprocessing.sub")
        ),
    )
    (compiled,) = (
        layer for layer in planned(msgspec.structs.replace(released, model=model)).layers if isinstance(layer, Compiled)
    )
    assert compiled.modules == ("pandas", "sklearn", "sklearn.pipeline")


def test_the_base_s_own_packages_are_shut_out(released: Contract) -> None:
    text = plans.pyvenv(BASE, released)
    assert "include-system-site-packages = false" in text
    assert "home = /usr/bin\n" in text


@pytest.mark.parametrize(("machine", "libc"), [("arm64", ""), ("x86_64", "musl 1.2"), ("riscv64", "glibc 2.36")])
def test_a_release_of_another_machine_is_refused(released: Contract, machine: str, libc: str) -> None:
    environment = msgspec.structs.replace(released.environment, machine=machine, libc=libc)
    with pytest.raises(UsageError, match="was packaged on") as refused:
        planned(msgspec.structs.replace(released, environment=environment))
    assert "x86_64" in refused.value.remedy


def test_an_image_for_gpus_stands_on_a_slim_base_as_an_engine_s_does_and_else_on_a_distroless_one(
    released: Contract,
) -> None:
    for_gpus = msgspec.structs.replace(released, accelerator="cuda")
    assert plans.default_base(released, through_engine=False) == plans.DEFAULT_BASE
    assert plans.default_base(for_gpus, through_engine=False) == plans.DEFAULT_DOCKERFILE_BASE
    assert plans.default_base(released, through_engine=True) == plans.DEFAULT_DOCKERFILE_BASE


def test_build_metadata_of_a_version_has_a_place_in_a_tag(released: Contract) -> None:
    assert planned(msgspec.structs.replace(released, version="1.0.0+gpu")).name.endswith(":1.0.0_gpu")
