"""Images of a few files, with a package list as distroless bases keep it, for scans and SBOMs."""

from collections.abc import Mapping, Sequence

from bedside.image import layers, oci
from bedside.image.layers import File
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Execution, History, ImageConfig, Manifest, RootFS
from bedside.image.reference import Digest

SITE = "opt/bedside/lib/python3.11/site-packages"
RELEASE = "opt/bedside/release"
OS_RELEASE = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'


def debian(name: str, version: str, **fields: str) -> dict[str, bytes]:
    """A package of Debian, as distroless images list it."""
    said = {"Package": name, "Version": version, "Architecture": "amd64", "Maintainer": "A <a@debian.org>", **fields}
    text = "".join(f"{key}: {value}\n" for key, value in said.items())
    return {f"var/lib/dpkg/status.d/{name}": text.encode()}


def python(name: str, version: str, *headers: str) -> dict[str, bytes]:
    """A Python distribution, as wheels are installed."""
    text = "\n".join(["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *headers, "", "Text."])
    return {f"{SITE}/{name}-{version}.dist-info/METADATA": text.encode()}


def lock(*named: tuple[str, str]) -> dict[str, bytes]:
    """The lock of the release in the image."""
    text = "".join(f"{name}=={version} \\\n    --hash=sha256:{'0' * 64}\n" for name, version in named)
    return {f"{RELEASE}/requirements.lock": text.encode()}


BASE = {"etc/os-release": OS_RELEASE, "etc/debian_version": b"12.9\n", **debian("base-files", "12.4+deb12u9")}


def image(
    layout: Layout,
    *content: Mapping[str, bytes],
    base: Mapping[str, bytes] = BASE,
    user: str = "10001:10001",
    env: Sequence[str] = (),
    annotations: Mapping[str, str] | None = None,
) -> Descriptor:
    """Write an image of a base and further layers of files; a path that begins with ``-`` deletes what is below."""
    written = [layers.write({path: File(data) for path, data in files.items()}, layout) for files in (base, *content)]
    named = ["base", *("dependencies" if place == 0 else "code" for place in range(len(content)))]
    config = ImageConfig(
        architecture="amd64",
        os="linux",
        config=Execution(user=user, env=tuple(env)),
        rootfs=RootFS(diff_ids=tuple(layer.diff_id for layer in written)),
        history=tuple(History(created_by=f"bedside: {name}") for name in named),
    )
    manifest = Manifest(
        media_type=oci.MANIFEST,
        config=layout.write_document(config),
        layers=tuple(layer.descriptor for layer in written),
        annotations=dict(annotations or {}),
    )
    descriptor = layout.write_document(manifest)
    layout.add(descriptor)
    return descriptor


def broken(layout: Layout, image: Descriptor, place: int) -> Digest:
    """Flip a bit in the middle of a layer."""
    digest = layout.manifest(image).layers[place].digest
    path = layout.path(digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return digest
