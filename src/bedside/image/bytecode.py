"""The bytecode of an image, compiled by the interpreter that will run it, without an engine.

The base and the distributions are unpacked side by side, and the base's own Python is started from there through the
base's own loader. So the bytes follow from base and lock alone, whatever Python the building machine has, and no root
rights are needed. The base is chosen by digest; whoever names it lets its Python run on the machine that builds.
"""

import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bedside.errors import ToolFailed
from bedside.image import rootfs
from bedside.image.bases import FoundBase
from bedside.image.layers import Entries, File
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.image.plan import ImagePlan
from bedside.process import Runner

_LOADERS: Final = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}
_LIBRARIES: Final = (
    "usr/local/lib",
    "lib/{0}-linux-gnu",
    "usr/lib/{0}-linux-gnu",
    "lib64",
    "usr/lib64",
    "lib",
    "usr/lib",
)
_START: Final = """
import runpy, sys
site, sys.argv = sys.argv[1], ["bedside_runtime", *sys.argv[2:]]
sys.path.insert(0, site)
runpy.run_module("bedside_runtime", run_name="__main__", alter_sys=True)
"""

OPTIONS: Final = ("-I", "-B", "-X", "no_debug_ranges")
"""Of the Python that compiles: isolated, and without the columns of tracebacks, which nobody would see."""


def entries(
    planned: ImagePlan,
    modules: Sequence[str],
    found: FoundBase,
    layout: Layout,
    installed: Sequence[Descriptor],
    runner: Runner,
    work: Path,
) -> Entries:
    """Return the layer of bytecode.

    Args:
        planned: The image.
        modules: What is imported beside the runtime.
        found: Its base.
        layout: Where the layers of distributions are.
        installed: Those layers.
        runner: Starts the base's Python.
        work: A folder for this.

    Raises:
        ToolFailed: The image is for another machine than this, or a module cannot be imported.
    """
    machine = planned.contract.environment.machine
    if platform.machine() != machine:
        raise ToolFailed(
            f"the image is for {machine}, and this machine is {platform.machine()}",
            remedy=f"Build it on {machine}: there it can be proven too.",
        )
    root, target = work / "rootfs", work / "bytecode"
    rootfs.unpack(found.layout, found.manifest.layers, root)
    rootfs.unpack(layout, installed, root)
    site = rootfs.inside(root, planned.site_packages)
    python = (*_loader(root, machine), str(rootfs.inside(root, planned.base.interpreter)), *OPTIONS)
    asked = ("compile", *modules, "--to", str(target), "--site", planned.site_packages)
    done = runner.run((*python, "-c", _START, str(site), *asked), env={"LD_PRELOAD": "", "LD_LIBRARY_PATH": ""})
    if not done.ok:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise ToolFailed(f"the base's Python could not compile what is installed: {said[-1]}")
    return dict(_written(target))


def _loader(root: Path, machine: str) -> tuple[str, ...]:
    libraries = (rootfs.inside(root, place.format(machine)) for place in _LIBRARIES)
    path = ":".join(dict.fromkeys(str(place) for place in libraries if place.is_dir()))
    return str(rootfs.inside(root, _LOADERS[machine])), "--library-path", path


def _written(target: Path) -> Iterator[tuple[str, File]]:
    for path in sorted(target.rglob("*.pyc")):
        yield path.relative_to(target).as_posix(), File(path)
