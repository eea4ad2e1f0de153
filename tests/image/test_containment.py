"""How a container is held while an image is proven, in the two spellings that there are."""

from pathlib import Path

from bedside.image import containment
from bedside.image.containment import Containment, Limits
from bedside.image.oci import Execution

HELD = Containment(
    Limits(512 << 20, 1.5),
    scratch={"/tmp": 1 << 20},
    covered={"/opt/model": Path("/here/flipped")},
    env={"A": "b"},
)
EXECUTION = Execution(entrypoint=("/opt/python", "-m", "x"), env=("PATH=/bin",), working_dir="/")


def test_podman_and_docker_are_given_every_limit() -> None:
    assert containment.options(HELD, "U") == (
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--network=none",
        "--user=10001:10001",
        "--memory=536870912",
        "--memory-swap=536870912",
        "--cpus=1.5",
        "--pids-limit=512",
        "--tmpfs=/tmp:rw,nosuid,nodev,noexec,mode=1777,size=1048576,U",
        "--volume=/here/flipped:/opt/model:ro,z",
        "--env=A=b",
    )


def test_an_oci_runtime_is_told_the_same() -> None:
    said = containment.bundle(HELD, EXECUTION, ("serve",), Path("/root/fs"))
    process, linux = said["process"], said["linux"]
    assert isinstance(process, dict)
    assert isinstance(linux, dict)
    assert process["user"] == {"uid": 10001, "gid": 10001}
    assert process["args"] == ["/opt/python", "-m", "x", "serve"]
    assert process["env"] == ["PATH=/bin", "A=b"]
    assert process["noNewPrivileges"] is True
    assert set(map(tuple, process["capabilities"].values())) == {()}
    assert said["root"] == {"path": "/root/fs", "readonly": True}
    assert {"type": "network"} in linux["namespaces"]  # a new one: nothing but loopback is in it
    assert linux["resources"]["memory"] == {"limit": 512 << 20, "swap": 512 << 20}
    assert linux["resources"]["cpu"] == {"quota": 150_000, "period": 100_000}
    mounts = {item["destination"]: item for item in said["mounts"]}  # type: ignore[attr-defined]
    assert mounts["/opt/model"]["options"] == ["bind", "ro"]
    assert {"size=1048576", "uid=10001", "gid=10001"} <= set(mounts["/tmp"]["options"])
