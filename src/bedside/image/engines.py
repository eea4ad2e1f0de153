"""podman, docker and buildah: one table of what each says differently, and the few commands that are asked of them.

Nothing is named while it is built or loaded: an image gets its name by `Engine.tag`, once it was proven.
"""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

from bedside.errors import ToolFailed
from bedside.image import archive, oci
from bedside.image.layout import Layout, open_layout
from bedside.image.oci import Descriptor
from bedside.image.plan import USER
from bedside.process import Completed, Runner

Name: TypeAlias = Literal["podman", "docker", "buildah"]

_SHORT: Final = 120.0
"""Seconds for a command that moves no image."""

_LONG: Final = 1800.0
"""Seconds for one that does."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an engine says in its own way.

    Attributes:
        alive: Fails where the engine, or the daemon behind it, is not there.
        build: Builds an image from a Dockerfile.
        epoch: Gives every file and the image this time; ``None`` where it cannot.
        trust: Believes the certificates in a folder, for the registry of the base; ``None`` where its daemon decides.
        plain: Talks to that registry without TLS; ``None`` where its daemon decides.
        copies: Writes an image into an OCI layout; where it cannot, it saves an archive.
        runs: Whether it runs containers.
        strict: What `run` needs so that a read-only root has no writable corner.
        owned: Makes a directory in memory the user's, as an option of its mount.
        env: Variables that its commands need.
    """

    alive: tuple[str, ...]
    build: tuple[str, ...]
    epoch: str | None
    trust: str | None
    plain: str | None
    copies: bool
    runs: bool
    strict: tuple[str, ...] = ()
    owned: str = f"uid={USER},gid={USER}"
    env: Mapping[str, str] = field(default_factory=dict)


DIALECTS: Final[Mapping[Name, Dialect]] = {
    "podman": Dialect(
        alive=("info", "--format={{.Version.Version}}"),
        build=("build", "--format=oci", "--network=host"),
        epoch="--timestamp",
        trust="--cert-dir",
        plain="--tls-verify=false",
        copies=True,
        runs=True,
        strict=("--read-only-tmpfs=false",),
        owned="U",
    ),
    "docker": Dialect(
        alive=("version", "--format={{.Server.Version}}"),
        build=("build", "--network=host", "--progress=plain"),
        epoch=None,
        trust=None,
        plain=None,
        copies=False,
        runs=True,
        env={"DOCKER_BUILDKIT": "1"},
    ),
    "buildah": Dialect(
        alive=("version", "--json"),
        build=("build", "--format=oci", "--network=host", "--layers"),
        epoch="--timestamp",
        trust="--cert-dir",
        plain="--tls-verify=false",
        copies=True,
        runs=False,
    ),
}
"""The differences, in the order in which an engine is looked for."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an engine is asked to build.

    Attributes:
        dockerfile: Its text lies here.
        context: What COPY sees.
        secrets: Files that single steps see under /run/secrets, by id; no layer and no variable keeps them.
        epoch: Seconds since 1970 that the image carries as its time.
        use_cache: Whether steps that were done before are taken.
        ca_file: Certificates to believe beside the system's, for the registry of the base.
        plain_http: Whether to talk to that registry without TLS.
    """

    dockerfile: Path
    context: Path
    secrets: Mapping[str, Path]
    epoch: int
    use_cache: bool = True
    ca_file: Path | None = None
    plain_http: bool = False


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine on this machine.

    Attributes:
        name: Which.
        runner: Starts it.
    """

    name: Name
    runner: Runner

    @property
    def dialect(self) -> Dialect:
        """What it says in its own way."""
        return DIALECTS[self.name]

    def version(self) -> str | None:
        """Return its version; ``None`` where it is not installed, or its daemon does not answer."""
        try:
            done = self.run(self.dialect.alive, timeout=_SHORT)
        except ToolFailed:
            return None
        found = re.search(r"[0-9]+(?:\.[0-9]+)+[^\s\",]*", done.stdout)
        return found[0] if done.ok and found else None

    def build(self, recipe: Recipe, on_line: Callable[[str], None] = lambda _: None) -> str:
        """Build an image without a name and return its id.

        Raises:
            ToolFailed: A step failed; the message ends with what the engine said last.
        """
        with tempfile.TemporaryDirectory(prefix="bedside-build-") as work:
            said = Path(work, "id")
            words = (*self.dialect.build, *self._options(recipe, Path(work)), f"--iidfile={said}")
            done = self._watched((*words, f"--file={recipe.dockerfile}", str(recipe.context)), on_line)
            if not done.ok:
                raise ToolFailed(
                    f"{self.name} could not build the image: {_last(done)}",
                    remedy="Build it by hand to see every line: `bedside dockerfile` prints the command.",
                )
            return said.read_text(encoding="ascii").strip()

    def _options(self, recipe: Recipe, work: Path) -> tuple[str, ...]:
        dialect, found = self.dialect, []
        if dialect.epoch is not None:
            found.append(f"{dialect.epoch}={recipe.epoch}")
        if not recipe.use_cache:
            found.append("--no-cache")
        if recipe.plain_http and dialect.plain is not None:
            found.append(dialect.plain)
        if recipe.ca_file is not None and dialect.trust is not None:
            folder = work / "certificates"
            folder.mkdir()
            (folder / "ca.crt").write_bytes(recipe.ca_file.read_bytes())
            found.append(f"{dialect.trust}={folder}")
        return (*found, *(f"--secret=id={name},src={path}" for name, path in recipe.secrets.items()))

    def _watched(self, words: Sequence[str], on_line: Callable[[str], None]) -> Completed:
        return self.runner.run((self.name, *words), env=self.dialect.env, on_line=on_line)

    def export(self, image: str, layout: Layout) -> Descriptor:
        """Bring an image of the engine into ``layout``, without a name.

        Raises:
            ToolFailed: The engine has no such image, or the disk took no more.
        """
        with tempfile.TemporaryDirectory(prefix="bedside-export-") as work:
            target = Path(work, "image")
            if not self.dialect.copies:
                self.ask(("save", f"--output={target}", image), f"save {image}", timeout=_LONG)
                found = archive.read(target, layout)
                if found is None:
                    raise ToolFailed(f"{self.name} saved {image} as something that is no image")
                return found
            self.ask(("push", "--quiet", image, f"oci:{target}"), f"write {image}", timeout=_LONG)
            source = open_layout(target)
            found = source.find()
            manifest = source.manifest(found)
            for blob in (*manifest.layers, manifest.config, found):
                layout.write_stream(source.chunks(blob), blob)
            return oci.describe(source.read(found), found.media_type)

    def load(self, layout: Layout, image: Descriptor) -> str:
        """Bring an image of ``layout`` into the engine, without a name, and return its id there.

        Raises:
            ToolFailed: The engine does not take it.
        """
        with tempfile.TemporaryDirectory(prefix="bedside-load-") as work:
            path = Path(work, "image.tar")
            archive.write(layout, image, path)
            said = self.ask(("load", f"--input={path}"), "load the image", timeout=_LONG)
        found = re.search(r"(?:sha256:)?([0-9a-f]{64})", said)
        if found is None:
            raise ToolFailed(f"{self.name} loaded the image and does not say its id: {said.strip()[-200:]}")
        return found[0]

    def find(self, image: str) -> str | None:
        """Return the id of an image by its name or id; ``None`` where the engine has none."""
        done = self.run(("inspect", "--type=image", "--format={{.Id}}", image), timeout=_SHORT)
        return done.stdout.strip() or None if done.ok else None

    def tag(self, image: str, name: str) -> None:
        """Give an image its name; what had the name before loses it."""
        self.ask(("tag", image, name), f"name the image {name}")

    def remove(self, image: str) -> None:
        """Remove an image that has no name; what else uses its layers keeps them."""
        self.run(("rmi", image), timeout=_SHORT)

    def ask(self, words: Sequence[str], doing: str, *, timeout: float = _SHORT) -> str:
        """Return what a command prints.

        Raises:
            ToolFailed: It failed.
        """
        done = self.run(words, timeout=timeout)
        if not done.ok:
            raise ToolFailed(f"{self.name} could not {doing}: {_last(done)}")
        return done.stdout

    def run(self, words: Sequence[str], *, timeout: float) -> Completed:
        """Run a command of the engine to its end."""
        return self.runner.run((self.name, *words), env=self.dialect.env, timeout=timeout)


def _last(done: Completed) -> str:
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {done.returncode}"
