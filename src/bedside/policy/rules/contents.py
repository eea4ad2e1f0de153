"""Whether an image can be built, and holds what it is started with and what its pods are told to read."""

import posixpath
import re
from collections.abc import Iterator

from bedside.policy.dockerfiles import Dockerfile, Instruction, Stage
from bedside.policy.image_names import split_image
from bedside.policy.kubernetes import Container, place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.rules.agreement import built
from bedside.policy.yamltree import Node

_PLAIN_BASES = ("python", "debian", "ubuntu", "alpine")
"""Official images that hold an interpreter or a shell, and nothing to serve with."""

_SERVERS = ("uvicorn", "gunicorn", "hypercorn", "fastapi", "flask")
_STAGE_NAMES = re.compile(r"(?i).*(build|deps|dependenc|compile|install|packages|wheels|venv|stage|base).*")
_PLATFORM = frozenset(f"{side}{part}" for side in ("BUILD", "TARGET") for part in ("PLATFORM", "OS", "ARCH", "VARIANT"))
_SYSTEM = ("/tmp/", "/etc/", "/proc/", "/dev/", "/usr/", "/var/", "/run/")  # noqa: S108 - never written here
_READ = re.compile(
    r"(\w*_)?(MODEL|TOKEN|KEY|CERT|CA|SECRET|CONFIG|SCALER|PIPELINE|WEIGHTS|FEATURES)(_\w*)?_(PATH|FILE)"
)
"""Variables that name what is read, not what is written later."""

_WRITTEN = (".py", ".txt", ".lock", ".in", ".toml", ".cfg", ".ini", ".sh")
"""Endings of files that people write and commit; models and wheels are made on the way."""


def unbuildable(picture: Picture) -> Iterator[Hit]:
    """What refers to a stage or a variable that is not there stops the build, or pulls a stranger's image."""
    for image in picture.dockerfiles:
        earlier: set[str] = set()
        for index, stage in enumerate(image.stages):
            unknown = re.match(r"\$\{?(\w+)\}?", stage.base)
            if unknown and unknown[1] not in image.declared | _PLATFORM:
                yield Hit(stage.place, f"this stage starts from ${unknown[1]}, which no ARG before it declares")
            for instruction in stage.all("COPY"):
                source = instruction.flag("from") or ""
                if _is_stage_name(image, source) and source not in earlier:
                    yield Hit(instruction.place, f"no stage before this one is called {source}")
                elif source in earlier:
                    yield from _never_made(image, source, instruction)
            earlier |= {stage.alias, str(index)}
        for instruction in image.stray:
            yield Hit(instruction.place, f"{instruction.name} stands before the first FROM")


def _is_stage_name(image: Dockerfile, name: str) -> bool:
    plain = re.fullmatch(r"[A-Za-z][\w.-]*", name) is not None
    return plain and (name in {stage.alias for stage in image.stages} or _STAGE_NAMES.fullmatch(name) is not None)


def _never_made(image: Dockerfile, name: str, instruction: Instruction) -> Iterator[Hit]:
    """Sources in a stage on a plain base that no instruction of it mentions."""
    stage = next(stage for index, stage in enumerate(image.stages) if name in (stage.alias, str(index)))
    chain = image.chain(stage)
    texts = "\n".join(f"{item.text}\n{item.script}" for one in chain for item in one.instructions)
    for source in instruction.values[:-1]:
        parts = source.strip("/").split("/")
        top = "/".join(parts[:2])
        ours = len(parts) > 1 and parts[0] in ("opt", "srv", "app") and not any(mark in source for mark in "*?$[")
        if ours and _is_plain(chain[0]) and top not in texts and f"/{parts[0]} " not in f"{texts} ":
            yield Hit(instruction.place, f"nothing in the stage {name} makes {source}")


def _is_plain(stage: Stage) -> bool:
    return split_image(stage.base)[0].removeprefix("docker.io/").removeprefix("library/") in _PLAIN_BASES


def excluded_copies(picture: Picture) -> Iterator[Hit]:
    """What .dockerignore keeps out of the context cannot be copied: the build stops there."""
    for image in picture.dockerfiles:
        lines = _ignore_lines(picture, image)
        for instruction in _context_copies(image):
            for source in instruction.values[:-1]:
                if not re.search(r"[*?$\[<:]", source) and source.strip("./") and _excluded(source, lines):
                    yield Hit(instruction.place, f"{source} is copied, but .dockerignore keeps it out")


def _context_copies(image: Dockerfile) -> list[Instruction]:
    return [
        instruction
        for stage in image.stages
        for instruction in stage.all("COPY", "ADD")
        if instruction.flag("from") is None and len(instruction.values) > 1 and not instruction.script
    ]


def _ignore_lines(picture: Picture, image: Dockerfile) -> tuple[str, ...]:
    directory = image.path.rpartition("/")[0]
    beside = (directory + "/" if directory else "") + ".dockerignore"
    return picture.ignores.get(f"{image.path}.dockerignore", picture.ignores.get(beside, ()))


def _excluded(source: str, lines: tuple[str, ...]) -> bool:
    """Whether the last line that matches a path, or a directory that it lies in, keeps it out."""
    path = posixpath.normpath(source).strip("/")
    if any(line.startswith("!") and line.strip("!/ ").startswith(path + "/") for line in lines):
        return False
    parts = path.split("/")
    above = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    out = False
    for line in lines:
        kept, pattern = line.startswith("!"), _pattern(line.removeprefix("!"))
        if any(pattern.fullmatch(one) for one in above):
            out = not kept
    return out


def _pattern(line: str) -> re.Pattern[str]:
    text = re.escape(line.strip().strip("/").removeprefix("./"))
    text = text.replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return re.compile(text)


def missing_sources(picture: Picture) -> Iterator[Hit]:
    """A file that is copied into the image, or installed from, and that is nowhere stops the build."""
    made = "\n".join(step.script for workflow in picture.workflows for step in workflow.steps)
    for image in picture.dockerfiles if picture.whole else ():
        copies = _context_copies(image)
        context = _context(picture, image, copies)
        for instruction in copies if context is not None else ():
            for source in instruction.values[:-1]:
                written = source.endswith(_WRITTEN) and not re.search(r"[*?$\[<:]", source)
                output = re.search(rf"(-o|--output\S*|>)\s*\S*{re.escape(source.rpartition('/')[2])}", made)
                seen = picture.saw(posixpath.normpath(posixpath.join(context or "", source.strip("/"))))
                if written and seen and not _known(picture, source) and not output:
                    yield Hit(instruction.place, f"{source} is copied, but is not there")
        for stage in image.stages:
            yield from _uncopied_requirements(image, stage)


def _context(picture: Picture, image: Dockerfile, copies: list[Instruction]) -> str | None:
    """The directory that is built from: the nearest at or above the Dockerfile that has something that is copied."""
    parts = image.path.split("/")[:-1]
    sources = [source.strip("/") for item in copies for source in item.values[:-1] if source.strip("./")]
    for length in range(len(parts), -1, -1):
        here = "/".join(parts[:length])
        paths = [posixpath.normpath(posixpath.join(here, source)) for source in sources]
        if any(name == path or name.startswith(f"{path}/") for path in paths for name in picture.names):
            return here
    return None


def _known(picture: Picture, source: str) -> bool:
    path = posixpath.normpath(source).strip("/")
    return path != "." and any(name == path or f"/{path}/" in f"/{name}/" for name in picture.names)


def _uncopied_requirements(image: Dockerfile, stage: Stage) -> Iterator[Hit]:
    before = ""
    for one in image.chain(stage):
        for instruction in one.instructions:
            broad = re.search(r"(^|\s)\./?(\s|$)|\*", before) is not None
            for command in instruction.commands() if instruction.name == "RUN" and one is stage else ():
                name = (command.option("-r", "--requirement") or "").rpartition("/")[2]
                said = f"{before} {' '.join(instruction.flags)} {instruction.text.partition('pip')[0]}"
                installs = name and "install" in command.words and _is_plain(image.chain(stage)[0])
                if installs and not broad and name not in said and "$" not in name:
                    yield Hit(instruction.place, f"nothing copies {name} before it is installed from")
            before += f" {instruction.text} {instruction.script}"


def not_started(picture: Picture) -> Iterator[Hit]:
    """An image that holds no program, or not the one that it starts, ends at once and for ever again."""
    for container, image in built(picture):
        if container.node.at("command") or container.node.at("args"):
            continue
        yield from _without_interpreter(image)
        if not _is_plain(image.final[0]):
            continue
        command = image.start_command()
        if command is None:
            yield Hit(image.stages[-1].place, "the image starts nothing: it has neither CMD nor ENTRYPOINT")
            continue
        environments = _environments(image)
        path = " ".join(value for item in image.final_instructions("ENV") for _, value in item.pairs())
        where = image.start[-1].place
        reachable = any(_on_path(directory, path) for directory in environments)
        for directory in environments:
            if command.program in _SERVERS and command.words[0] == command.program and not reachable:
                yield Hit(where, f"{command.program} is installed in {directory}, which is not on the PATH")
            elif directory in path + command.words[0] and not _holds(image, directory):
                yield Hit(where, f"{directory} is on the PATH, but nothing puts it into the final stage")
        yield from _missing_module(picture, image)


def _without_interpreter(image: Dockerfile) -> Iterator[Hit]:
    """A virtual environment links to the Python that made it; in a distroless base that lies elsewhere."""
    stages = {stage.alias: image.chain(stage)[0] for stage in image.stages}
    command = image.start_command()
    if command is None or "distroless/" not in image.final[0].base:
        return
    path = " ".join(value for item in image.final_instructions("ENV") for _, value in item.pairs())
    brought = "".join(item.text for item in image.final_instructions("COPY"))
    linked = any("/usr/bin/python" in item.text + item.script for stage in image.stages for item in stage.all("RUN"))
    for directory in _environments(image):
        within = command.words[0].startswith(f"{directory}/bin/")
        started = within or ("/" not in command.program and command.program in _SERVERS and _on_path(directory, path))
        official = any(
            split_image(stages[item.flag("from") or ""].base)[0].rpartition("/")[2] == "python"
            for item in image.final_instructions("COPY")
            if directory in item.text and (item.flag("from") or "") in stages
        )
        if started and official and not linked and "/usr/local" not in brought:
            yield Hit(image.start[-1].place, f"{directory} links to /usr/local/bin/python, which its base lacks")


def _environments(image: Dockerfile) -> set[str]:
    """Virtual environments that some stage makes, by their directories."""
    runs = [item for stage in image.stages for item in stage.all("RUN")]
    return {
        command.words[-1]
        for item in runs
        for command in item.commands()
        if ("venv" in command.words[:4] or command.program == "virtualenv") and command.words[-1].startswith("/")
    }


def _on_path(directory: str, path: str) -> bool:
    return f"{directory}/bin" in path or "$VIRTUAL_ENV" in path or "${VIRTUAL_ENV}" in path


def _holds(image: Dockerfile, directory: str) -> bool:
    """Whether the final stage makes a directory, or copies it or what it lies in."""
    made = "\n".join(item.text + item.script for item in image.final_instructions("RUN"))
    targets = [item.values[-1].rstrip("/") for item in image.final_instructions("COPY", "ADD")]
    return directory in made or any(f"{directory}/".startswith(f"{target}/") for target in targets)


def _missing_module(picture: Picture, image: Dockerfile) -> Iterator[Hit]:
    command = image.start_command()
    runs = "\n".join(item.text + item.script for item in image.final_instructions("RUN"))
    installs = re.search(r"pip3? install .*(\s|=)\.(\[|/|\s|$)|poetry install|uv sync|git clone|pdm |hatch ", runs)
    module = next((word for word in command.words if re.fullmatch(r"[a-z_][\w.]*:\w+", word)), "") if command else ""
    if not module or installs or (command and command.has("--app-dir", "--chdir")):
        return
    wanted = _absolute(_working_directory(image), module.partition(":")[0].replace(".", "/"))
    copied = list(_copied(image, wanted))
    if not copied:
        yield Hit(image.start[-1].place, f"the image starts {module}, and nothing is copied to {wanted}.py")
    elif picture.whole and all(source is not None for source in copied):
        in_view = any(_known(picture, one) for item in _context_copies(image) for one in item.values[:-1])
        found = any(_known(picture, f"{source}{end}") for source in copied for end in (".py", "/__init__.py"))
        if in_view and not found:
            yield Hit(image.start[-1].place, f"the image starts {module}, and {copied[0]}.py is not there")


def _working_directory(image: Dockerfile) -> str:
    here = "/"
    for item in image.final_instructions("WORKDIR"):
        here = _absolute(here, item.text)
    return here


def _absolute(here: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(here, path.strip("\"'")))


def _copied(image: Dockerfile, wanted: str) -> Iterator[str | None]:
    """Where in the context each COPY to ``wanted`` takes it from; ``None`` where that cannot be told."""
    here = "/"
    for item in image.final_instructions("WORKDIR", "COPY", "ADD"):
        if item.name == "WORKDIR":
            here = _absolute(here, item.text)
            continue
        target = _absolute(here, item.values[-1])
        for source in item.values[:-1]:
            file = source.endswith(".py")
            landed = f"{target}/{source.rpartition('/')[2]}" if file and not target.endswith(".py") else target
            if file and landed.removesuffix(".py") == wanted:
                yield source.removesuffix(".py")
            elif not file and f"{wanted}/".startswith(f"{target.rstrip('/')}/"):
                rest = wanted.removeprefix(target).strip("/")
                known = item.flag("from") is None and not re.search(r"[*?$\[]", source)
                yield posixpath.normpath(posixpath.join(source.strip("/") or ".", rest)) if known else None


def paths_in_image(picture: Picture) -> Iterator[Hit]:
    """A path that a variable names and that is neither copied into the image nor mounted is not there."""
    for container, image in built(picture):
        mounts = [mount.at("mountPath").text for mount in container.node.at("volumeMounts").items()]
        for name, entry in container.environment.items():
            path = entry.at("value").text
            yield from _missing_key(picture, container, entry)
            asked = _READ.fullmatch(name) is not None and re.fullmatch(r"/[\w./-]+", path) is not None
            system = path.startswith(_SYSTEM) and not path.startswith(("/run/secrets/", "/var/run/secrets/"))
            mounted = any(f"{path}/".startswith(f"{mount.rstrip('/')}/") for mount in mounts)
            if asked and not system and not mounted and _is_plain(image.final[0]) and not in_image(image, path):
                yield Hit(place(entry), f"{name} names {path}, which is neither in the image nor mounted")


def _missing_key(picture: Picture, container: Container, entry: Node) -> Iterator[Hit]:
    """A file in a mounted ConfigMap or Secret whose keys are known, and this one is not among them."""
    directory, _, key = entry.at("value").text.rpartition("/")
    for mount in container.node.at("volumeMounts").items():
        if mount.at("mountPath").text.rstrip("/") != directory or not directory or mount.at("subPath"):
            continue
        for volume in container.pod.spec.at("volumes").items():
            keys = _keys(picture, container, volume) if volume.at("name").text == mount.at("name").text else None
            if keys is not None and key not in keys:
                name = entry.at("name").text
                yield Hit(place(entry), f"{name} names the file {key}, which the volume mounted there does not hold")


def _keys(picture: Picture, container: Container, volume: Node) -> set[str] | None:
    """The files that a volume makes of its keys; ``None`` where the tree does not say."""
    owner = container.pod.owner
    if volume.at("secret", "items").items() or volume.at("configMap", "items").items():
        return None
    name = volume.at("configMap", "name").text
    settings = picture.find("ConfigMap", name, owner) if name else None
    if settings is not None and not settings.partial:
        return {key for field in ("data", "binaryData") for key, _ in settings.node.at(field).pairs()}
    for item in picture.of("ExternalSecret"):
        made = item.spec.at("target", "name").text or item.name
        if made == volume.at("secret", "secretName").text and not item.spec.at("dataFrom").items():
            return {row.at("secretKey").text for row in item.spec.at("data").items()}
    return None


def in_image(image: Dockerfile, path: str) -> bool:
    """Whether something is copied to a path or above it, or a command mentions where it lies."""
    runs = "\n".join(item.text + item.script for item in image.final_instructions("RUN"))
    return posixpath.dirname(path) in runs or any(True for _ in _copied(image, path))
