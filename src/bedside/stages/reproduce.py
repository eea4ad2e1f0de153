"""`bedside build --check`: the same release built twice, in other directories and at other times, must be one image."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import msgspec

from bedside.errors import GateRefused
from bedside.image import layers
from bedside.image import layout as layouts
from bedside.image.layout import CHUNK, Layout
from bedside.image.oci import Descriptor
from bedside.stages.assemble import Built

_APART = 2.0
"""Seconds between the two builds: file systems and archives keep times to the second, some to two."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two builds differ first.

    Attributes:
        layer: Name of the layer; ``config`` where all layers are the same.
        path: The first file of the layer, or member of the config, that differs.
        how: What about it.
    """

    layer: str
    path: str
    how: str


def check(
    release: Path,
    build: Callable[[Path, Layout], Built],
    *,
    pause: Callable[[float], None] = time.sleep,
    on_step: Callable[[str], None] = lambda _: None,
) -> Built:
    """Build twice and return the first one.

    Args:
        release: The release; each build gets a copy of it elsewhere.
        build: Builds the release in a directory into a layout, with nothing that was built before.
        pause: Waits between the two.
        on_step: Told what is being done.

    Raises:
        GateRefused: The two differ; the message names the layer and the first file.
    """
    with tempfile.TemporaryDirectory(prefix="bedside-check-") as work:
        on_step("building once")
        one, first = _in(Path(work, "one"), release, build)
        pause(_APART)
        on_step("building again, elsewhere and later")
        other, second = _in(Path(work, "another", "place"), release, build)
        if first.descriptor.digest == second.descriptor.digest:
            return first
        found = difference(one, first, other, second)
        where = f"{found.layer}: {found.path} {found.how}"
        raise GateRefused(
            f"two builds of {first.plan.contract.ref} differ, first in the layer {where}",
            remedy="Assembled images are reproducible: report this. An engine may not be: `--engine assembled` is.",
        )


def _in(place: Path, release: Path, build: Callable[[Path, Layout], Built]) -> tuple[Layout, Built]:
    layout = layouts.create(place / "image")
    return layout, build(Path(shutil.copytree(release, place / release.name)), layout)


def difference(one: Layout, first: Built, other: Layout, second: Built) -> Difference:
    """Return where two images differ first, layer by layer from the base up, then in their configs."""
    for mine, theirs in zip_longest(first.layers, second.layers):
        if mine is None or theirs is None:
            return Difference((mine or theirs).name, "the layer", "is in one of them only")
        if mine.descriptor.digest != theirs.descriptor.digest:
            return _in_layer(mine.name, _members(one, mine.descriptor), _members(other, theirs.descriptor))
    configs = (layout.config(layout.manifest(built.descriptor)) for layout, built in ((one, first), (other, second)))
    return _in_config(*(msgspec.to_builtins(config, enc_hook=str) for config in configs))


def _in_layer(name: str, mine: Iterator[tuple[str, Any]], theirs: Iterator[tuple[str, Any]]) -> Difference:
    for here, there in zip_longest(mine, theirs):
        if here == there:
            continue
        if here is None or there is None or here[0] != there[0]:
            return Difference(name, min(entry[0] for entry in (here, there) if entry), "is in one of them only")
        what = sorted(key for key in here[1] if here[1][key] != there[1][key])
        return Difference(name, here[0], f"differs in {', '.join(what)}")
    return Difference(name, "its compression", "differs; every file is the same")


def _members(layout: Layout, layer: Descriptor) -> Iterator[tuple[str, dict[str, Any]]]:
    for member, tar in layers.members(layout, layer):
        digest = hashlib.sha256()
        if member.isfile():
            file = tar.extractfile(member)
            while file is not None and (chunk := file.read(CHUNK)):
                digest.update(chunk)
        yield (
            member.name,
            {
                "content": digest.hexdigest(),
                "kind": member.type,
                "mode": member.mode,
                "owner": (member.uid, member.gid),
                "time": member.mtime,
                "target of the link": member.linkname,
            },
        )


def _in_config(mine: dict[str, Any], theirs: dict[str, Any]) -> Difference:
    for key in sorted(mine.keys() | theirs.keys()):
        if mine.get(key) != theirs.get(key):
            return Difference("config", key, "differs")
    return Difference("config", "the manifest", "differs")
