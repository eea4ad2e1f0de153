import json
from typing import Any

import pytest

from bedside.errors import ImageInvalid
from bedside.image import oci
from bedside.image.oci import Descriptor, Execution, ImageConfig, Index, Manifest, Platform, RootFS
from bedside.image.reference import Digest

AMD, ARM = Platform(architecture="amd64", os="linux"), Platform(architecture="arm64", os="linux", variant="v8")
BLOB = oci.describe(b"layer", oci.LAYER_GZIP)
MANIFEST = Manifest(media_type=oci.MANIFEST, config=oci.describe(b"{}", oci.CONFIG), layers=(BLOB,))


def _changed(**members: Any) -> bytes:
    return json.dumps({**json.loads(oci.encode(MANIFEST)), **members}).encode()


def test_a_manifest_has_one_form_of_bytes() -> None:
    data = oci.encode(MANIFEST)
    assert data == (
        b'{"config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",'
        b'"mediaType":"application/vnd.oci.image.config.v1+json","size":2},'
        b'"layers":[{"digest":"' + Digest.of(b"layer").encode() + b'",'
        b'"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":5}],'
        b'"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}'
    )
    assert oci.decode_manifest(data) == MANIFEST


def test_a_config_keeps_what_a_container_starts_with() -> None:
    config = ImageConfig(
        architecture="amd64",
        os="linux",
        rootfs=RootFS(diff_ids=(Digest.of(b"tar"),)),
        config=Execution(user="10001:10001", env=("PATH=/usr/bin",), exposed_ports={"8080/tcp": {}}, labels={"a": "b"}),
    )
    written = json.loads(oci.encode(config))
    assert written["config"] == {
        "User": "10001:10001",
        "Env": ["PATH=/usr/bin"],
        "ExposedPorts": {"8080/tcp": {}},
        "Labels": {"a": "b"},
    }
    assert written["rootfs"]["type"] == "layers"
    assert oci.decode_config(oci.encode(config)) == config


def test_null_and_unknown_members_are_passed_over() -> None:
    config = b'{"architecture":"amd64","os":"linux","docker_version":"20","config":{"Cmd":null,"OnBuild":null},'
    config += b'"rootfs":{"type":"layers","diff_ids":[]},"history":null}'
    assert oci.decode_config(config).config == Execution()


def test_an_empty_list_may_be_written_as_null() -> None:
    assert oci.decode_index(b'{"schemaVersion":2,"manifests":null}').manifests == ()


def test_a_manifest_without_a_media_type_is_what_it_was_given_as() -> None:
    value = json.loads(oci.encode(MANIFEST))
    del value["mediaType"]
    assert oci.decode_manifest(json.dumps(value).encode()) == MANIFEST


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "cannot be read"),
        (b"[]", "no JSON object"),
        (b'{"schemaVersion":2,"schemaVersion":2}', "same key twice"),
        (_changed(schemaVersion=1), "schema version 2"),
        (_changed(mediaType=oci.INDEX), "was given as"),
        (_changed(manifests=[]), "another document"),
        (_changed(layers="none"), "array"),
        (_changed(layers=[{"mediaType": oci.LAYER, "size": -1, "digest": BLOB.digest}]), "not negative"),
        (_changed(layers=[{"mediaType": oci.LAYER, "size": 1, "digest": "sha256:../../etc/passwd"}]), "no digest"),
        (_changed(annotations={"a": 1}), "str"),
        (b" " * (oci.LARGEST_DOCUMENT + 1), "larger"),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ImageInvalid, match=said):
        oci.decode_manifest(data)


def test_an_index_gives_the_image_of_a_platform() -> None:
    amd = Descriptor(media_type=oci.MANIFEST, digest=Digest.of(b"amd"), size=3, platform=AMD)
    arm = Descriptor(media_type=oci.MANIFEST, digest=Digest.of(b"arm"), size=3, platform=ARM)
    index = Index(media_type=oci.INDEX, manifests=(arm, amd))
    assert oci.decode_index(oci.encode(index)) == index
    assert index.for_platform(AMD) == amd
    assert index.for_platform(Platform(architecture="arm64", os="linux")) == arm
    with pytest.raises(ImageInvalid, match="linux/amd64, linux/arm64/v8"):
        index.for_platform(Platform(architecture="arm64", os="linux", variant="v9"))
