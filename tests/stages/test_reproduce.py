"""Building twice and comparing: what differs is named, layer and file."""

import io
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bedside.errors import GateRefused
from bedside.image import layers, oci
from bedside.image import layout as layouts
from bedside.image.layers import Entries, File
from bedside.image.layout import Layout
from bedside.image.oci import ImageConfig, Manifest, RootFS
from bedside.stages import reproduce
from bedside.stages.assemble import Built, BuiltLayer

SAME: Entries = {"opt/a": File(b"1"), "opt/b": File(b"2")}


class Plan:
    """What the comparison asks of a plan."""

    class contract:  # noqa: N801
        ref = "icu 1.0.0"


def image(layout: Layout, model: Entries, **config: Any) -> Built:
    made = [layers.write(entries, layout) for entries in (SAME, model)]
    written = layout.write_document(
        Manifest(
            media_type=oci.MANIFEST,
            config=layout.write_document(
                msgspec.structs.replace(
                    ImageConfig(architecture="amd64", os="linux", rootfs=RootFS(diff_ids=())), **config
                )
            ),
            layers=tuple(layer.descriptor for layer in made),
        )
    )
    named = tuple(
        BuiltLayer(name, layer.descriptor, layer.unpacked, cached=False)
        for name, layer in zip(("dependencies", "model"), made, strict=True)
    )
    return Built("assembled", Plan(), None, None, written, named)  # type: ignore[arg-type]


def checked(tmp_path: Path, *models: Entries, **config: Any) -> Built:
    release = tmp_path / "release"
    release.mkdir()
    (release / "contract.json").write_bytes(b"{}")
    rounds = iter(models)
    places: list[Path] = []

    def build(directory: Path, layout: Layout) -> Built:
        assert (directory / "contract.json").is_file()
        places.append(directory)
        second = config if len(places) > 1 else {}
        return image(layout, next(rounds), **second)

    built = reproduce.check(release, build, pause=lambda _: None)
    assert len(set(places)) == 2
    return built


def test_two_builds_that_are_one_image_are_fine(tmp_path: Path) -> None:
    built = checked(tmp_path, {"opt/m": File(b"model")}, {"opt/m": File(b"model")})
    assert built.plan.contract.ref == "icu 1.0.0"


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (
            {"m/a": File(b"1"), "m/b": File(b"2")},
            {"m/a": File(b"1"), "m/b": File(b"3")},
            "model: m/b differs in content",
        ),
        ({"m/a": File(b"1")}, {"m/a": File(b"1", executable=True)}, "model: m/a differs in mode"),
        ({"m/a": File(b"1")}, {"m/a": File(b"1"), "m/b": File(b"2")}, "model: m/b is in one of them only"),
        ({"m/a": File(b"1"), "m/c": File(b"1")}, {"m/a": File(b"1"), "m/b": File(b"2")}, "model: m/b is in one"),
    ],
)
def test_the_layer_and_the_first_file_that_differ_are_named(
    tmp_path: Path, first: Entries, second: Entries, said: str
) -> None:
    with pytest.raises(GateRefused, match=r"two builds of icu 1\.0\.0 differ") as refused:
        checked(tmp_path, first, second)
    assert said in str(refused.value)


def test_where_all_layers_are_the_same_the_member_of_the_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(GateRefused, match="config: created differs"):
        checked(tmp_path, SAME, SAME, created="2026-11-25T00:00:00Z")


def test_the_time_of_an_entry_is_named(tmp_path: Path) -> None:
    one, other = (layouts.create(tmp_path / name) for name in ("one", "other"))
    builts = []
    for layout, time in ((one, 0), (other, 9)):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            header = tarfile.TarInfo("a")
            header.mtime = time
            tar.addfile(header)
        descriptor, _ = layers.compress([out.getvalue()], layout)
        builts.append(
            Built("podman", Plan(), None, None, descriptor, (BuiltLayer("model", descriptor, 0, cached=None),))  # type: ignore[arg-type]
        )
    found = reproduce.difference(one, builts[0], other, builts[1])
    assert (found.layer, found.path, found.how) == ("model", "a", "differs in time")
