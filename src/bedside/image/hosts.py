"""Where a container of an image is run to prove it: in podman, in docker, or by an OCI runtime alone.

All three hold it in the same way (see `containment`) and are gone when the ``with`` ends, whatever happened.
"""

import json
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bedside import process
from bedside.errors import ToolFailed
from bedside.image import containment, rootfs
from bedside.image.containment import Containment
from bedside.image.engines import Engine
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor, Execution
from bedside.process import Completed, Runner

_SHORT: Final = 60.0
"""Seconds for a command that only starts or ends something."""


_POLL: Final = 0.05
"""Seconds between two looks at a container that starts."""


class Container(Protocol):
    """A container that runs."""

    def execute(self, command: Sequence[str], timeout: float) -> Completed:
        """Run ``command`` in it, as its user and held like it."""
        ...

    def stop(self, timeout: float) -> int | None:
        """Send SIGTERM and return its exit code; ``None`` where it still runs after ``timeout`` seconds."""
        ...

    def log(self) -> str:
        """Return what it printed so far."""
        ...


class Startable(Protocol):
    """An image that a host holds."""

    def start(self, held: Containment, command: Sequence[str]) -> AbstractContextManager[Container]:
        """Start its entry point with the arguments ``command``; the container is removed at the end."""
        ...

    def keep(self, name: str) -> None:
        """Keep the image under ``name``, where this host keeps images at all."""
        ...


class Host(Protocol):
    """Where containers run."""

    @property
    def name(self) -> str:
        """What it is, with its version."""
        ...

    def holding(self, layout: Layout, image: Descriptor) -> AbstractContextManager[Startable]:
        """Hold ``image`` for the time of the ``with``; what was not there before and is not kept goes again."""
        ...


@dataclass(frozen=True, slots=True)
class EngineHost:
    """podman or docker."""

    engine: Engine
    version: str

    @property
    def name(self) -> str:
        """See Host."""
        return f"{self.engine.name} {self.version}"

    @contextmanager
    def holding(self, layout: Layout, image: Descriptor) -> Iterator["_InEngine"]:
        """See Host."""
        before = self.engine.find(layout.manifest(image).config.digest.hex)
        held = _InEngine(self.engine, before or self.engine.load(layout, image))
        try:
            yield held
        finally:
            if before is None and not held.kept:
                self.engine.remove(held.image)


class _InEngine:
    def __init__(self, engine: Engine, image: str) -> None:
        self.engine, self.image, self.kept = engine, image, False

    @contextmanager
    def start(self, held: Containment, command: Sequence[str]) -> Iterator["_EngineContainer"]:
        container = _EngineContainer(self.engine, f"bedside-proof-{uuid.uuid4().hex[:12]}")
        words = ("run", "--detach", f"--name={container.name}", *self.engine.dialect.strict)
        try:
            self.engine.ask(
                (*words, *containment.options(held, self.engine.dialect.owned), self.image, *command),
                "start the container",
            )
            yield container
        finally:
            self.engine.run(("rm", "--force", container.name), timeout=_SHORT)

    def keep(self, name: str) -> None:
        self.engine.tag(self.image, name)
        self.kept = True


@dataclass(frozen=True, slots=True)
class _EngineContainer:
    engine: Engine
    name: str

    def execute(self, command: Sequence[str], timeout: float) -> Completed:
        return self.engine.run(("exec", self.name, *command), timeout=timeout)

    def stop(self, timeout: float) -> int | None:
        self.engine.run(("kill", "--signal=TERM", self.name), timeout=_SHORT)  # it may have ended by itself
        try:
            said = self.engine.ask(("wait", self.name), "wait for the container", timeout=timeout)
        except ToolFailed:
            return None
        return int(said.strip())

    def log(self) -> str:
        done = self.engine.run(("logs", self.name), timeout=_SHORT)
        return done.stdout + done.stderr


@dataclass(frozen=True, slots=True)
class RuntimeHost:
    """runc or crun, without any engine; they need root.

    Attributes:
        program: ``runc`` or ``crun``.
        version: Its version.
        runner: Starts it.
    """

    program: str
    version: str
    runner: Runner

    @property
    def name(self) -> str:
        """See Host."""
        return f"{self.program} {self.version}"

    @contextmanager
    def holding(self, layout: Layout, image: Descriptor) -> Iterator["_Unpacked"]:
        """See Host."""
        with tempfile.TemporaryDirectory(prefix="bedside-proof-") as work:
            manifest = layout.manifest(image)
            rootfs.unpack(layout, manifest.layers, Path(work, "rootfs"))
            yield _Unpacked(self, layout.config(manifest).config, Path(work))


@dataclass(frozen=True, slots=True)
class _Unpacked:
    host: RuntimeHost
    execution: Execution
    work: Path

    @contextmanager
    def start(self, held: Containment, command: Sequence[str]) -> Iterator["_RuntimeContainer"]:
        name = f"bedside-proof-{uuid.uuid4().hex[:12]}"
        directory = self.work / name
        directory.mkdir()
        settings = containment.bundle(held, self.execution, command, self.work / "rootfs")
        (directory / "config.json").write_text(json.dumps(settings), encoding="utf-8")
        words = (self.host.program, f"--root={self.work / 'state'}")
        log = directory / "log"
        try:
            with process.background((*words, "run", f"--bundle={directory}", name), log=log) as child:
                container = _RuntimeContainer(self.host.runner, words, name, child, log)
                container.wait_until_it_runs()
                yield container
        finally:
            self.host.runner.run((*words, "delete", "--force", name), timeout=_SHORT)

    def keep(self, name: str) -> None:
        """Nothing keeps images here."""


@dataclass(frozen=True, slots=True)
class _RuntimeContainer:
    runner: Runner
    words: tuple[str, ...]
    name: str
    child: process.Child
    path: Path

    def wait_until_it_runs(self) -> None:
        """Wait for the runtime; a container that ends at once is told by whoever asks it something."""
        deadline = time.monotonic() + _SHORT
        while time.monotonic() < deadline and self.child.returncode is None:
            state = self.runner.run((*self.words, "state", self.name), timeout=_SHORT)
            if state.ok and json.loads(state.stdout)["status"] == "running":
                return
            time.sleep(_POLL)

    def execute(self, command: Sequence[str], timeout: float) -> Completed:
        return self.runner.run((*self.words, "exec", self.name, *command), timeout=timeout)

    def stop(self, timeout: float) -> int | None:
        return self.child.terminate(timeout)

    def log(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace")


def available(runner: Runner, engines: Mapping[str, Engine], *, root: bool) -> Iterator[Host]:
    """Give every host of this machine, in the order in which one is chosen.

    Args:
        runner: Starts the programs.
        engines: Those to look for, by name.
        root: Whether this process may use an OCI runtime by itself.
    """
    for engine in engines.values():
        if engine.dialect.runs and (version := engine.version()) is not None:
            yield EngineHost(engine, version)
    for program in ("runc", "crun") if root else ():
        try:
            done = runner.run((program, "--version"), timeout=_SHORT)
        except ToolFailed:
            continue
        if done.ok:
            yield RuntimeHost(program, done.stdout.split()[2], runner)
