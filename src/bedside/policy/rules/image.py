"""What a Dockerfile makes: where it starts, whom it runs as, what it carries and how it ends."""

import fnmatch
import re
from collections.abc import Iterator

from bedside.policy.dockerfiles import Dockerfile, Instruction, Stage
from bedside.policy.image_names import split_image
from bedside.policy.kubernetes import place
from bedside.policy.picture import Picture
from bedside.policy.place import Hit
from bedside.policy.rules.credentials import SECRET_NAME
from bedside.policy.rules.dependencies import installed
from bedside.policy.shell import Command, commands

_DATA = (".csv", ".tsv", ".parquet", ".dcm", ".nii", ".nii.gz", ".feather", ".sqlite", ".db", ".xlsx", ".edf", ".hl7")
_SECRETS = (
    ".env",
    ".pem",
    ".key",
    "id_rsa",
    "id_ed25519",
    ".netrc",
    ".pypirc",
    "credentials.json",
    ".npmrc",
    ".kube",
    ".aws",
)
_BUILDERS = (
    "gcc",
    "g++",
    "build-essential",
    "python3-dev",
    "python3-pip",
    "git",
    "curl",
    "wget",
    "make",
    "vim",
    "openssh-server",
    "netcat",
    "bash",
    "zsh",
    "busybox",
)


def _runs(image: Dockerfile) -> Iterator[tuple[Instruction, Command]]:
    for instruction in image.final_instructions("RUN"):
        for command in instruction.commands():
            yield instruction, command


def base_by_digest(picture: Picture) -> Iterator[Hit]:
    """A tag is moved with every rebuild of the base: two builds of one commit differ."""
    for image in picture.dockerfiles:
        names = {stage.alias for stage in image.stages if stage.alias}
        for index, stage in enumerate(image.stages):
            numbered = stage.base.isdigit() and int(stage.base) < index
            if stage.base in names or numbered or stage.base == "scratch" or "$" in stage.base:
                continue
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", split_image(stage.base)[2]):
                yield Hit(stage.place, f"the base {stage.base} is not named by digest")


def root_user(picture: Picture) -> Iterator[Hit]:
    """An image without a user runs as root wherever nothing else says so."""
    for image in picture.dockerfiles:
        user = image.user
        first = image.final[0].base
        if user is None and "nonroot" not in first and image.start:
            yield Hit(image.stages[-1].place, "the image runs as root: it sets no USER")
        elif user is not None and user.text.partition(":")[0] in ("root", "0"):
            yield Hit(user.place, "the image runs as root")


def named_user(picture: Picture) -> Iterator[Hit]:
    """Kubernetes cannot tell whether a name is root: with runAsNonRoot the pod is refused."""
    for image in picture.dockerfiles:
        name = image.user.text.partition(":")[0] if image.user else ""
        if image.user and name and not name.isdigit() and name not in ("root", "nonroot") and "$" not in name:
            yield Hit(image.user.place, f"the user {name} is a name, not a number")


def writable_application(picture: Picture) -> Iterator[Hit]:
    """Application and model files that the running user owns can be changed after they were verified."""
    for image in picture.dockerfiles:
        user = image.user.text.partition(":")[0] if image.user else ""
        for instruction in image.final_instructions("COPY", "ADD"):
            owner = (instruction.flag("chown") or "").partition(":")[0]
            if owner and owner == user and user not in ("0", "root"):
                yield Hit(instruction.place, f"the running user {user} owns what is copied to {instruction.values[-1]}")


def recursive_chown(picture: Picture) -> Iterator[Hit]:
    """A recursive chown after COPY writes every file a second time, and mostly makes them writable."""
    for image in picture.dockerfiles:
        for stage in image.final:
            copied = False
            for instruction in stage.instructions:
                copied = copied or instruction.name in ("COPY", "ADD")
                for command in instruction.commands() if instruction.name == "RUN" else ():
                    recursive = any(re.fullmatch(r"-\w*R\w*|--recursive", word) for word in command.words[1:])
                    if copied and command.program == "chown" and recursive:
                        yield Hit(
                            instruction.place,
                            f"every file below {command.words[-1]} is written a second time to change its owner",
                        )


def world_writable(picture: Picture) -> Iterator[Hit]:
    """Files that every user may change."""
    for image in picture.dockerfiles:
        for instruction, command in _runs(image):
            if command.program == "chmod" and any(
                re.fullmatch(r"0?777|[aogu]*o?\+[rwx]*w[rwx]*|a=rwx", word)
                and word not in ("u+w", "u+rw", "u+rwx", "u+wx")
                for word in command.words[1:-1]
            ):
                yield Hit(instruction.place, f"{command.words[-1]} is made writable for every user")


def interpreter_mismatch(picture: Picture) -> Iterator[Hit]:
    """Packages installed by one Python and run by another are not found, or crash in compiled code."""
    for image in picture.dockerfiles:
        stages = {stage.alias or str(index): stage for index, stage in enumerate(image.stages)}
        final = _python(image.final[0].base)
        for instruction in image.final_instructions("COPY"):
            source = stages.get(instruction.flag("from") or "")
            built = _python(_root(source, stages).base) if source else None
            carries = any(
                part in instruction.text
                for part in ("site-packages", "venv", "/usr/local", "/opt", "/install", "/root/.local")
            )
            if carries and final and built and final != built:
                yield Hit(instruction.place, f"packages installed by Python {built} are copied to Python {final}")
        for instruction in image.final_instructions("COPY", "ENV"):
            named = re.search(
                r"python(3\.\d+)/(?:site|dist)-packages", instruction.values[-1] if instruction.values else ""
            )
            if named and final and named[1] != final:
                yield Hit(
                    instruction.place, f"packages go where Python {named[1]} looks, but the image runs Python {final}"
                )


_DISTROLESS = {"python3-debian11": "3.9", "python3-debian12": "3.11", "python3-debian13": "3.13"}
"""The Python that each distroless base carries: Debian's own, whatever its tag says."""


def _root(stage: Stage, stages: dict[str, Stage]) -> Stage:
    seen: list[Stage] = []
    while stage.base in stages and stage not in seen:
        seen.append(stage)
        stage = stages[stage.base]
    return stage


def _python(base: str) -> str | None:
    name, tag, _ = split_image(base)
    last = name.rsplit("/", 1)[-1]
    if last in _DISTROLESS:
        return _DISTROLESS[last]
    match = re.search(r"(?:^|python)(3\.\d+)", tag)
    return match[1] if match and last in ("python", "uv", "pypy") else None


def old_python(picture: Picture) -> Iterator[Hit]:
    """A Python that gets no security fixes any more: 3.9 ended in October 2025, 3.10 in October 2026."""
    for image in picture.dockerfiles:
        for stage in image.final[:1]:
            version = _python(stage.base)
            if version and int(version.partition(".")[2]) < 11:
                yield Hit(stage.place, f"Python {version} gets no security fixes any more")


def tools_in_final(picture: Picture) -> Iterator[Hit]:
    """Compilers, download tools and shells' friends in the final stage serve an intruder only."""
    for image in picture.dockerfiles:
        for instruction, command in _runs(image):
            installs = (
                command.runs("apt-get", "install") or command.runs("apk", "add") or command.runs("apt", "install")
            )
            installs = installs or (command.program in ("apt-get", "apt") and "install" in command.words)
            found = [word for word in command.words if word in _BUILDERS] if installs else []
            if found and not _removed(instruction):
                yield Hit(instruction.place, f"the final stage keeps {', '.join(found)}")


def _removed(instruction: Instruction) -> bool:
    return any(
        "purge" in command.words or "remove" in command.words or command.runs("apk", "del")
        for command in instruction.commands()
    )


def shell_form(picture: Picture) -> Iterator[Hit]:
    """Under a shell the server is not process 1 and never gets SIGTERM: every rollout cuts answers off."""
    for image in picture.dockerfiles:
        for instruction in image.start:
            text = instruction.text.strip()
            if not instruction.exec_form and text and not text.startswith("exec ") and "exec " not in text:
                yield Hit(instruction.place, f"{instruction.name} runs under a shell that does not pass SIGTERM on")


def healthcheck(picture: Picture) -> Iterator[Hit]:
    """Kubernetes does not read HEALTHCHECK: only probes in the manifest count."""
    for image in picture.dockerfiles:
        for instruction in image.final_instructions("HEALTHCHECK"):
            if picture.pods and instruction.text.upper() != "NONE":
                yield Hit(
                    instruction.place, "Kubernetes ignores HEALTHCHECK; it only carries a tool and a second truth"
                )


def cuda_without_gpu(picture: Picture) -> Iterator[Hit]:
    """CUDA in an image for CPUs: gigabytes to pull at every start, and their vulnerabilities."""
    wants_gpu = any(
        "gpu" in key
        for pod in picture.pods
        for c in pod.all_containers
        for key, _ in c.node.at("resources", "limits").pairs()
    )
    if not picture.pods or wants_gpu or not picture.dockerfiles:
        return
    for image in picture.dockerfiles:
        if re.search(r"nvidia/cuda|-cuda|-gpu\b", image.final[0].base):
            yield Hit(image.final[0].place, f"the base {image.final[0].base} carries CUDA, but no pod asks for a GPU")
    for listed in installed(picture):
        indexed = any("whl/cpu" in text for text, _ in listed.options)
        for entry in listed.entries:
            heavy = entry.name.startswith("nvidia-") or entry.name in ("xgboost", "onnxruntime-gpu", "cupy-cuda12x")
            torch = (
                entry.name == "torch" and not indexed and not (entry.version or "").endswith("+cpu") and not entry.url
            )
            if (heavy or torch) and not listed.abstract:
                yield Hit(entry.place, f"{entry.name} brings CUDA libraries, but no pod asks for a GPU")


def ignore_file(picture: Picture) -> Iterator[Hit]:
    """COPY of a whole directory without a .dockerignore takes what lies there: data, credentials, history."""
    for image in picture.dockerfiles:
        broad = _broad_copy(image)
        directory = image.path.rpartition("/")[0]
        prefix = directory + "/" if directory else ""
        if (
            broad
            and picture.saw(prefix + ".dockerignore")
            and prefix + ".dockerignore" not in picture.names
            and image.path + ".dockerignore" not in picture.names
        ) and ".dockerignore" not in picture.names:
            yield Hit(broad.place, "the whole directory is copied, and no .dockerignore keeps anything out")


def _broad_copy(image: Dockerfile) -> Instruction | None:
    for stage in image.stages:
        for instruction in stage.all("COPY", "ADD"):
            if instruction.flag("from") is None and any(
                source in (".", "./", "*", "./*") for source in instruction.values[:-1]
            ):
                return instruction
    return None


def leaky_ignore(picture: Picture) -> Iterator[Hit]:
    """A .dockerignore that lets the repository's history, environment files or data through."""
    for image in picture.dockerfiles:
        broad = _broad_copy(image)
        directory = image.path.rpartition("/")[0]
        path = (directory + "/" if directory else "") + ".dockerignore"
        lines = picture.ignores.get(path)
        if broad is None or lines is None or any(line in ("*", "**") for line in lines):
            continue
        missing = [name for name in (".git", ".env", "data.csv") if not any(_ignores(line, name) for line in lines)]
        if missing:
            said = ", ".join({"data.csv": "data files such as *.csv"}.get(name, name) for name in missing)
            yield Hit(broad.place, f"the whole directory is copied, and {path} lets through {said}")


def _ignores(line: str, name: str) -> bool:
    pattern = line.strip("/").removeprefix("**/").removesuffix("/**").removesuffix("/*")
    covers_data = name == "data.csv" and pattern in ("data", "*.csv", "dataset", "datasets")
    return covers_data or fnmatch.fnmatch(name, pattern)


def copied_secrets(picture: Picture) -> Iterator[Hit]:
    """A secret in a layer stays in the image, also when a later layer deletes it."""
    for image in picture.dockerfiles:
        for stage in image.stages:
            for instruction in stage.all("COPY", "ADD"):
                for source in instruction.values[:-1]:
                    name = source.rstrip("/").rsplit("/", 1)[-1]
                    if instruction.flag("from") is None and any(
                        name == item or (item[0] == "." and name.endswith(item)) for item in _SECRETS
                    ):
                        yield Hit(instruction.place, f"{source} is copied into a layer")
            for instruction in stage.all("ENV"):
                for name, value in instruction.pairs():
                    if SECRET_NAME.search(name) and value and not value.startswith(("$", "/")):
                        yield Hit(instruction.place, f"{name} is set in clear in the image")
            for instruction in stage.all("ARG"):
                name, _, value = instruction.text.partition("=")
                if SECRET_NAME.search(name):
                    yield Hit(instruction.place, f"the build argument {name} stays readable in the image's history")


def copied_data(picture: Picture) -> Iterator[Hit]:
    """Data files in an image travel to every registry and node: they may be patients."""
    for image in picture.dockerfiles:
        for instruction in image.final_instructions("COPY", "ADD"):
            for source in instruction.values[:-1]:
                bare = source.rstrip("/")
                if bare.lower().endswith(_DATA) or bare.rsplit("/", 1)[-1] in (
                    "data",
                    "dataset",
                    "datasets",
                    "notebooks",
                ):
                    yield Hit(instruction.place, f"{source} is copied into the image")


def workers(picture: Picture) -> Iterator[Hit]:
    """Several workers in one pod each load the model, share one limit, and hide each other's failures."""
    for image in picture.dockerfiles if picture.pods else ():
        command = image.start_command()
        number = _workers(command) if command else 0
        if number > 1:
            yield Hit(image.start[-1].place, f"{number} workers share one pod and its limits")
    for container in (one for pod in picture.serving for one in pod.containers):
        given = container.node.at("args") or container.node.at("command")
        words = [item.text for field in ("command", "args") for item in container.node.at(field).items()]
        found = max((_workers(one) for one in commands(" ".join(words))), default=0)
        variable = next((container.environment[name] for name in _COUNTS if name in container.environment), None)
        if found > 1:
            yield Hit(place(given), f"{found} workers share the limits of {container.title}")
        elif variable is not None and (variable.at("value").number or 0) > 1:
            count = variable.at("value").text
            yield Hit(place(variable), f"{count} workers share the limits of {container.title}")


_COUNTS = ("WEB_CONCURRENCY", "UVICORN_WORKERS", "GUNICORN_WORKERS")
"""Variables that the servers themselves read the number of workers from."""


def _workers(command: Command) -> int:
    number = command.option("--workers", "-w") or ""
    serves = command.has("uvicorn", "gunicorn", "hypercorn", "fastapi", "granian")
    return int(number) if serves and number.isdigit() and len(number) < 5 else 0


def installer_in_final(picture: Picture) -> Iterator[Hit]:
    """An installer and a shell beside the model: whoever gets in can install what is missing, and run it."""
    for image in picture.dockerfiles:
        name = split_image(image.final[0].base)[0].removeprefix("docker.io/").removeprefix("library/")
        if name == "python" and image.start and not any(_removes_pip(command) for _, command in _runs(image)):
            yield Hit(
                image.stages[-1].place, f"the final stage is {image.final[0].base}: it keeps pip, and a shell to run it"
            )


def _removes_pip(command: Command) -> bool:
    uninstalls = "uninstall" in command.words and "pip" in command.words[command.words.index("uninstall") :]
    return uninstalls or (command.program == "rm" and any(re.search(r"/pip\b", word) for word in command.words))


def remote_add(picture: Picture) -> Iterator[Hit]:
    """What is downloaded without a checksum is whatever the other side serves on that day."""
    for image in picture.dockerfiles:
        for stage in image.stages:
            for instruction in stage.all("ADD"):
                if re.match(r"https?://", instruction.values[0] if instruction.values else "") and not instruction.flag(
                    "checksum"
                ):
                    yield Hit(instruction.place, f"{instruction.values[0]} is added without a checksum")
            for instruction in stage.all("RUN"):
                yield from _unchecked_download(instruction)


def _unchecked_download(instruction: Instruction) -> Iterator[Hit]:
    found = instruction.commands()
    checked = any(item.program in ("sha256sum", "sha512sum", "gpg", "cosign", "shasum") for item in found)
    for command in found:
        target = next((word for word in command.words[1:] if re.match(r"(https?|s3|gs)://", word)), None)
        fetches = command.program in ("curl", "wget") or command.runs("aws", "s3", "cp") or command.runs("gsutil", "cp")
        model = target and re.search(
            r"\.(joblib|pkl|pickle|onnx|pt|pth|bin|safetensors|ubj|h5|whl|tar\.gz|tgz|zip)$", target
        )
        if fetches and target and not checked and (model or _piped(instruction)):
            yield Hit(instruction.place, f"{target} is fetched and used without a checksum")


def _piped(instruction: Instruction) -> bool:
    return bool(re.search(r"\|\s*(sudo\s+)?(ba|da|z)?sh\b|\|\s*python", instruction.text + instruction.script))


def debug_server(picture: Picture) -> Iterator[Hit]:
    """Reload and debug modes are for a desk: they watch files, print internals and may run code."""
    for image in picture.dockerfiles:
        command = image.start_command()
        debug = {"FLASK_DEBUG": ("1", "true"), "FLASK_ENV": ("development",), "DEBUG": ("1", "true")}
        if command and command.has("--reload", "--debug"):
            yield Hit(image.start[-1].place, "the server is started in reload or debug mode")
        for instruction in image.final_instructions("ENV"):
            for name, value in instruction.pairs():
                if value.lower() in debug.get(name, ()):
                    yield Hit(instruction.place, f"{name} switches the server to debug mode")
