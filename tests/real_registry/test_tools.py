"""What bedside pushed is read by skopeo, and what skopeo pushed by bedside."""

import json
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tests.image.images import LARGE, LINUX, artifact, image
from tests.real_registry.server import Server

from bedside.image import layout as layouts
from bedside.image import oci
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Execution, ImageConfig, Manifest, Platform, RootFS
from bedside.image.pulling import pull
from bedside.image.reference import Digest, Reference
from bedside.image.registry import referrers_tag
from bedside.stages.push import push

Skopeo: TypeAlias = Callable[..., str]
ARM = Platform(architecture="arm64", os="linux")


@pytest.fixture
def run_skopeo(server: Server, skopeo: str, tmp_path: Path) -> Skopeo:
    """Skopeo, with what it needs to reach the registry; returns what it says."""
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(server.ca_file.read_bytes())
    auth = ["--authfile", str(server.auth_file(tmp_path / "auth.json"))]

    def call(verb: str, *arguments: str) -> str:
        ends = ("--src-cert-dir", "--dest-cert-dir") if verb == "copy" else ("--cert-dir",)
        reach = [item for end in ends for item in (end, str(certificates))]
        done = subprocess.run(
            [skopeo, "--insecure-policy", verb, *auth, *reach, *arguments], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def _never_seen(layout: Layout, name: str) -> None:
    """Write an image that skopeo cannot know from before, so that it does not take another form of it."""
    layer = layout.write(uuid.uuid4().bytes * 1000, oci.LAYER)
    rootfs = RootFS(diff_ids=(layer.digest,))
    config = ImageConfig(architecture="amd64", os="linux", rootfs=rootfs, config=Execution(user="10001"))
    manifest = Manifest(media_type=oci.MANIFEST, config=layout.write_document(config), layers=(layer,))
    layout.add(layout.write_document(manifest), name)


def _push(server: Server, layout: Layout, what: Descriptor, name: str) -> Reference:
    with server.repository(name) as repository:
        return push(layout, what, Reference(server.host, name, "1.0.0"), repository).reference


def _pull(server: Server, name: str, into: Path, tag: str = "1.0.0", platform: Platform = LINUX) -> Descriptor:
    with server.repository(name) as repository:
        return pull(repository, Reference(server.host, name, tag), layouts.create(into), platform, name="pulled")


def test_skopeo_sees_the_image_under_its_digest_and_its_tag(
    server: Server, layout: Layout, repository_name: str, run_skopeo: Skopeo
) -> None:
    what = image(layout)
    reference = _push(server, layout, what, repository_name)
    for name in (f"docker://{reference}", f"docker://{server.host}/{repository_name}:1.0.0"):
        seen: dict[str, Any] = json.loads(run_skopeo("inspect", name))
        assert seen["Digest"] == what.digest
        assert seen["RepoTags"] == ["1.0.0"]
        assert seen["Layers"] == [layer.digest for layer in layout.manifest(what).layers]
        assert (seen["Os"], seen["Architecture"]) == ("linux", "amd64")


def test_skopeo_copies_what_was_pushed_byte_for_byte(
    server: Server, layout: Layout, repository_name: str, run_skopeo: Skopeo, tmp_path: Path
) -> None:
    what = image(layout)
    reference = _push(server, layout, what, repository_name)
    run_skopeo("copy", "--preserve-digests", f"docker://{reference}", f"oci:{tmp_path / 'copied'}:icu")
    copied = layouts.open_layout(tmp_path / "copied")
    assert copied.find("icu").digest == what.digest
    assert b"".join(copied.chunks(copied.manifest(copied.find("icu")).layers[0])) == LARGE


def test_what_skopeo_pushed_is_pulled_byte_for_byte(
    server: Server, layout: Layout, repository_name: str, run_skopeo: Skopeo, tmp_path: Path
) -> None:
    what = image(layout, name="icu")
    target = f"docker://{server.host}/{repository_name}:1.0.0"
    run_skopeo("copy", "--preserve-digests", f"oci:{layout.directory}:icu", target)
    assert _pull(server, repository_name, tmp_path / "pulled").digest == what.digest


@pytest.mark.parametrize(
    ("form", "media_type", "compression"),
    [("v2s2", oci.DOCKER_MANIFEST, "gzip"), ("oci", oci.MANIFEST, "gzip"), ("oci", oci.MANIFEST, "zstd")],
)
def test_images_in_every_form_that_skopeo_writes_are_pulled_and_pushed_on(
    server: Server,
    layout: Layout,
    repository_name: str,
    run_skopeo: Skopeo,
    tmp_path: Path,
    form: str,
    media_type: str,
    compression: str,
) -> None:
    _never_seen(layout, "icu")
    target = f"docker://{server.host}/{repository_name}:1.0.0"
    how = ("--format", form, "--dest-compress-format", compression)
    run_skopeo("copy", *how, f"oci:{layout.directory}:icu", target)
    pulled = _pull(server, repository_name, tmp_path / "pulled")
    held = layouts.open_layout(tmp_path / "pulled")
    assert pulled.media_type == media_type
    assert {oci.COMPRESSION[layer.media_type] for layer in held.manifest(pulled).layers} == {compression}
    assert held.config(held.manifest(pulled)).config.user == "10001"
    assert _push(server, held, pulled, f"{repository_name}/again").digest == pulled.digest


def test_an_index_is_the_same_for_both(
    server: Server, layout: Layout, repository_name: str, run_skopeo: Skopeo, tmp_path: Path
) -> None:
    children = tuple(
        oci.describe(layout.read(made), oci.MANIFEST, platform=platform)
        for platform in (ARM, LINUX)
        for made in [image(layout, str(platform), str(platform), platform=platform)]
    )
    index = layout.write_document(oci.Index(media_type=oci.INDEX, manifests=children))
    layout.add(index, "all")
    reference = _push(server, layout, layout.find("all"), repository_name)
    run_skopeo("copy", "--all", "--preserve-digests", f"docker://{reference}", f"oci:{tmp_path / 'copied'}:all")
    assert layouts.open_layout(tmp_path / "copied").find("all").digest == index.digest
    one = ("--preserve-digests", "--override-arch", "arm64")
    run_skopeo("copy", *one, f"docker://{reference}", f"oci:{tmp_path / 'arm'}:one")
    assert layouts.open_layout(tmp_path / "arm").find("one").digest == children[0].digest
    assert _pull(server, repository_name, tmp_path / "pulled", platform=ARM).digest == children[0].digest


def test_skopeo_reads_the_list_of_what_is_attached(
    server: Server, layout: Layout, repository_name: str, run_skopeo: Skopeo
) -> None:
    what = image(layout)
    made = [artifact(layout, what, text, kind) for text, kind in (("one", "a/sbom"), ("two", "a/signature"))]
    _push(server, layout, what, repository_name)
    tag = referrers_tag(what.digest)
    listed = json.loads(run_skopeo("inspect", "--raw", f"docker://{server.host}/{repository_name}:{tag}"))
    assert listed["mediaType"] == oci.INDEX
    assert {(item["digest"], item["artifactType"]) for item in listed["manifests"]} == {
        (made[0].digest, "a/sbom"),
        (made[1].digest, "a/signature"),
    }
    raw = run_skopeo("inspect", "--raw", f"docker://{server.host}/{repository_name}@{made[0].digest}")
    assert Digest.of(raw.encode()) == made[0].digest
    assert json.loads(raw)["subject"]["digest"] == what.digest
