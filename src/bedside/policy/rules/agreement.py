"""Contradictions between files that are each right alone: ports, paths, users, versions, budgets of time."""

import ast
import re
from collections.abc import Iterator

from bedside.policy.applications import dotted, keyword, text_of
from bedside.policy.dockerfiles import Dockerfile
from bedside.policy.image_names import split_image
from bedside.policy.kubernetes import Container, KubeObject, Pod, place, seconds_of_sleep
from bedside.policy.picture import Picture
from bedside.policy.place import Hit, Place
from bedside.policy.shipments import built_files
from bedside.policy.yamltree import Node

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
ENDPOINT_LAG = 5
"""Seconds that load balancers may go on sending to a pod that is being deleted."""


def probe_paths(picture: Picture) -> Iterator[Hit]:
    """A probe of a path that the application does not have fails for ever."""
    for container, _, probe in _serving_probes(picture):
        asked = probe.at("httpGet")
        path = asked.at("path").text or "/"  # the API server's own default
        if asked and not _routed(picture, path, "GET"):
            where = place(asked.at("path") or asked)
            yield Hit(where, f"{container.title} is probed at {path}, which is no GET route of the application")


def probe_ports(picture: Picture) -> Iterator[Hit]:
    """A probe of a port that nothing listens on never passes."""
    for container, name, probe in _probes(picture):
        for verb in ("httpGet", "tcpSocket", "grpc"):
            port = probe.at(verb, "port")
            if port and _unheard(picture, container, port):
                yield Hit(place(port), f"the {name} of {container.title} asks port {port.text}, which it does not have")


def _unheard(picture: Picture, container: Container, port: Node) -> bool:
    """Whether a port is certainly not there: a name that is not declared, or a number where the image's own is known.

    A number alone proves nothing: declaring a port is optional.
    """
    if port.text in container.ports:
        return False
    if port.number is None:
        return True
    return any(
        built.node is container.node and listens_on(built, image) not in (None, port.text)
        for built, image in built(picture)
    )


def _probes(picture: Picture) -> Iterator[tuple[Container, str, Node]]:
    for pod in picture.pods:
        for container in pod.all_containers:
            for name in PROBES:
                if container.node.at(name):
                    yield container, name, container.node.at(name)


def _serving_probes(picture: Picture) -> Iterator[tuple[Container, str, Node]]:
    """Probes of the containers that the application's own image runs in."""
    for container, name, probe in _probes(picture):
        if runs_application(picture, container):
            yield container, name, probe


def application_containers(picture: Picture) -> tuple[Container, ...]:
    """The one container of each pod behind a Service; none where a sidecar makes it unclear."""
    return picture.alone


def runs_application(picture: Picture, container: Container) -> bool:
    """Whether a container certainly runs the Python of the tree: by its Dockerfile, or because there is one of each."""
    if not picture.applications:
        return False
    if picture.dockerfiles:
        return any(one.node is container.node for one, _ in built(picture))
    containers = application_containers(picture)
    alone = len(picture.applications) == 1 and len(containers) == 1 and containers[0].node is container.node
    return alone and any(route.health for route in picture.applications[0].routes)


def _routed(picture: Picture, path: str, method: str | None = None) -> bool:
    if picture.routes is None:
        return True
    wanted = path.partition("?")[0].rstrip("/") or "/"
    built_in = ("/docs", "/redoc", "/openapi.json")
    if wanted in built_in:
        return True
    return any(
        re.fullmatch(_pattern(route.path), wanted) and (method is None or method in route.methods)
        for route in picture.routes
    )


def _pattern(path: str) -> str:
    whole = path.removesuffix("/{rest:path}")  # a mounted application answers at its own prefix, too
    parts = re.split(r"(\{[^}]*\}|<[^>]*>)", whole.rstrip("/") or "/")
    named = "".join(
        ".*" if ":path" in part else "[^/]+" if part[:1] in "{<" and part else re.escape(part) for part in parts
    )
    return named if whole == path else f"{named}(/.*)?"


def service_ports(picture: Picture) -> Iterator[Hit]:
    """A Service whose target port nothing listens on refuses every connection."""
    for service in picture.of("Service"):
        containers = [container for pod in picture.selected(service) for container in pod.containers]
        for port in service.spec.at("ports").items():
            target = port.at("targetPort") or port.at("port")
            if containers and all(_unheard(picture, container, target) for container in containers):
                yield Hit(
                    place(target), f"{service.title} sends to port {target.text}, which no container behind it has"
                )


def ingress_paths(picture: Picture) -> Iterator[Hit]:
    """A public path that reaches no route of the application is a 404 for every caller."""
    for ingress in picture.of("Ingress"):
        if any("rewrite" in key or "middlewares" in key for key, _ in ingress.annotations.pairs()):
            continue
        for rule in ingress.spec.at("rules").items():
            for path in rule.at("http", "paths").items():
                exact = path.at("pathType").text == "Exact"
                if _serves_application(picture, ingress, path.at("backend", "service", "name").text):
                    yield from _unreached(picture, ingress, path.at("path"), exact=exact)
    for route in picture.of("HTTPRoute"):
        for rule in route.spec.at("rules").items():
            if any(item.at("type").text == "URLRewrite" for item in rule.at("filters").items()):
                continue
            names = [item.at("name").text for item in rule.at("backendRefs").items()]
            for match in rule.at("matches").items():
                if any(_serves_application(picture, route, name) for name in names):
                    exact = match.at("path", "type").text == "Exact"
                    yield from _unreached(picture, route, match.at("path", "value"), exact=exact)


def _serves_application(picture: Picture, owner: KubeObject, name: str) -> bool:
    service = picture.find("Service", name, owner)
    own = {id(one.pod) for one in application_containers(picture) if runs_application(picture, one)}
    return service is not None and any(id(pod) in own for pod in picture.selected(service))


def _unreached(picture: Picture, owner: KubeObject, path: Node, *, exact: bool) -> Iterator[Hit]:
    if not path or picture.routes is None:
        return
    prefix = path.text.rstrip("/")
    reached = (
        _routed(picture, path.text)
        if exact
        else any(route.path == prefix or route.path.startswith(prefix + "/") for route in picture.routes)
    )
    if not reached and (exact or not _routed(picture, path.text)):
        yield Hit(place(path), f"{owner.title} opens {path.text}, which reaches no route of the application")


def scrape_paths(picture: Picture) -> Iterator[Hit]:
    """A scrape of a path or port that nothing answers leaves every alert without data."""
    for pod in picture.serving:
        noted = pod.annotations
        if noted.at("prometheus.io/scrape").text != "true" or len(pod.containers) != 1:
            continue
        path, port = noted.at("prometheus.io/path"), noted.at("prometheus.io/port")
        if port and _unheard(picture, pod.containers[0], port):
            yield Hit(place(port), f"{pod.owner.title} is scraped at port {port.text}, which no container declares")
        own = runs_application(picture, pod.containers[0])
        if own and not _routed(picture, path.text or "/metrics") and not _mounts_metrics(picture):
            where = path if path else noted.at("prometheus.io/scrape")
            yield Hit(
                place(where),
                f"{pod.owner.title} is scraped at {path.text or '/metrics'}, which is no route of the application",
            )


def _mounts_metrics(picture: Picture) -> bool:
    names = ("start_http_server", "make_asgi_app", "expose", "start_wsgi_server")
    return any(dotted(call.func).endswith(names) for app in picture.applications for call in app.calls)


def listens_on(container: Container, image: Dockerfile) -> str | None:
    """The port that the image's own command names; ``None`` where the pod has a command of its own or none is named."""
    command = None if container.node.at("command") or container.node.at("args") else image.start_command()
    if command is None or not command.has("uvicorn", "hypercorn", "gunicorn", "flask", "python", "fastapi"):
        return None
    port = command.option("--port", "-p") or (command.option("--bind", "-b") or "").rpartition(":")[2]
    return port if port.isdigit() else None


def built(picture: Picture) -> Iterator[tuple[Container, Dockerfile]]:
    """Containers and the Dockerfile that their image is made by; only where both are one.

    Of several Dockerfiles, the one that a workflow builds.
    """
    containers = application_containers(picture)
    images = picture.dockerfiles
    if len(images) > 1:
        paths = {path for workflow in picture.workflows for path in built_files(workflow)}
        images = tuple(image for image in images if image.path in paths)
    if len(images) == 1 and len(containers) == 1:
        yield containers[0], images[0]


def users(picture: Picture) -> Iterator[Hit]:
    """A pod user that is not the image's cannot read or write what the image gave to its own user."""
    for container, image in built(picture):
        uid = container.effective("runAsUser")
        user = image.user.text.partition(":")[0] if image.user else ""
        if uid and user.isdigit() and uid.text != user:
            yield Hit(
                place(uid), f"{container.title} runs as user {uid.text}, but {image.path} is made for user {user}"
            )
        elif uid and user and not user.isdigit() and _numeric_id(image, user) not in (None, uid.text):
            made = _numeric_id(image, user)
            yield Hit(
                place(uid),
                f"{container.title} runs as user {uid.text}, but {image.path} makes its user {user} as {made}",
            )


def _numeric_id(image: Dockerfile, user: str) -> str | None:
    """The number that a RUN of the image gives to its named user, where it gives one."""
    for instruction in image.final_instructions("RUN"):
        for command in instruction.commands():
            if command.program in ("useradd", "adduser") and user in command.words[1:]:
                return command.option("-u", "--uid")
    return None


def versions(picture: Picture) -> Iterator[Hit]:
    """One version, written in label, tag, environment and code, is the same everywhere."""
    for container in application_containers(picture):
        said = sorted(_versions(picture, container), key=lambda item: item[1].place)
        for version, hit in said[1:]:
            first, other = said[0]
            if version != first:
                message = f"{hit.message} is {version}, but {other.message} in {other.place.file} is {first}"
                yield Hit(hit.place, message)
                break


def _versions(picture: Picture, container: Container) -> Iterator[tuple[str, Hit]]:
    label = container.pod.node.at("metadata", "labels", "app.kubernetes.io/version")
    if label:
        yield _bare(label.text), Hit(place(label), "the version label")
    tag = split_image(container.image)[1]
    if re.fullmatch(r"v?\d+\.\d+\.\d+", tag):
        yield _bare(tag), Hit(place(container.node.at("image")), "the image tag")
    for name in ("MODEL_VERSION", "APP_VERSION", "VERSION"):
        value = container.environment[name].at("value") if name in container.environment else None
        if value:
            yield _bare(value.text), Hit(place(value), f"the variable {name}")
    own = any(built is container for built, _ in built(picture))
    for path, spec in picture.specs.items() if own else ():
        model = spec.get("model")
        version = model.get("version") if isinstance(model, dict) else None
        if isinstance(version, str):
            yield _bare(version), Hit(Place(path), "the version of the model")
    for app in picture.applications if own else ():
        for call in app.constructors:
            given = keyword(call, "version")
            if isinstance(given, ast.Constant) and text_of(given):
                yield _bare(str(given.value)), Hit(app.at(given), "the application's version")


def _bare(version: str) -> str:
    return version.removeprefix("v")


def replicas_beside_autoscaler(picture: Picture) -> Iterator[Hit]:
    """``replicas`` in a manifest resets what the autoscaler chose, at every deploy."""
    for pod in picture.pods:
        node = pod.owner.spec.at("replicas")
        scaler = picture.autoscaler(pod.owner) if node else None
        if scaler is not None:
            yield Hit(place(node), f"{pod.owner.title} sets replicas: {node.text}, which {scaler.title} owns")


def budget_against_replicas(picture: Picture) -> Iterator[Hit]:
    """A disruption budget that never allows one pod to go blocks every node drain and upgrade."""
    for item in picture.of("PodDisruptionBudget"):
        if not item.spec.at("minAvailable") and not item.spec.at("maxUnavailable"):
            yield Hit(place(item.spec), f"{item.title} does not say how many pods may go: none may")
        for pod in picture.taken(item, item.spec.at("selector")):
            fewest = _fewest(picture, pod) if pod.owner.kind in ("Deployment", "StatefulSet") else None
            if fewest is not None and _blocks(item, fewest):
                node = item.spec.at("minAvailable") or item.spec.at("maxUnavailable")
                yield Hit(
                    place(node), f"{item.title} never lets one of the {fewest} pods of {pod.owner.title} be evicted"
                )


def _fewest(picture: Picture, pod: Pod) -> int:
    scaler = picture.autoscaler(pod.owner)
    if scaler is None:
        return pod.owner.replicas
    number = scaler.spec.at("minReplicas").number
    return 1 if number is None else number


def _blocks(budget: KubeObject, replicas: int) -> bool:
    if replicas == 0:
        return False
    minimum, maximum = budget.spec.at("minAvailable"), budget.spec.at("maxUnavailable")
    if minimum:
        return _of(minimum.text, replicas) >= replicas
    return maximum.text in ("0", "0%")


def _of(text: str, replicas: int) -> int:
    """A number of pods, or a share of them, which Kubernetes rounds up; 0 for what is neither."""
    if re.fullmatch(r"\d{1,3}%", text):
        return -(-int(text[:-1]) * replicas // 100)
    return int(text) if re.fullmatch(r"\d{1,9}", text) else 0


def startup_budget(picture: Picture) -> Iterator[Hit]:
    """A startup budget under the load time kills the pod while it loads, again and again."""
    for container in application_containers(picture):
        probe = container.node.at("startupProbe")
        known = max(_load_times(picture, container), default=None) if probe else None
        if known is not None and _budget(probe) < known[0]:
            message = f"{container.title} has {_budget(probe)} s to start, but {known[1]} in {known[0]:g} s"
            yield Hit(place(probe), message)


def _budget(probe: Node) -> int:
    period = probe.at("periodSeconds").number or 10
    failures = probe.at("failureThreshold").number or 3
    return (probe.at("initialDelaySeconds").number or 0) + period * failures


def _load_times(picture: Picture, container: Container) -> Iterator[tuple[float, str]]:
    """Load times in seconds, each with who says it: measurements.json, MODEL_LOAD_SECONDS, a comment or a README."""
    for path, measured in picture.measurements.items():
        for key, value in measured.items():
            if "load" in key and key.endswith("seconds") and isinstance(value, int | float):
                yield value, f"{path} measured that the model loads"
    entry = container.environment.get("MODEL_LOAD_SECONDS")
    if entry is not None and entry.at("value").number is not None:
        yield float(entry.at("value").text), "MODEL_LOAD_SECONDS says that the model loads"
    own = any(one.node is container.node for one, _ in built(picture))
    for seconds, where in picture.remarks:
        if where.file == container.node.file or (own and not where.file.endswith((".yaml", ".yml"))):
            yield seconds, f"{where.file} line {where.line} says that the model loads"


def grace_period(picture: Picture) -> Iterator[Hit]:
    """A grace period that preStop alone uses up ends in SIGKILL with answers on the way."""
    started = {id(container.node): image.start_command() for container, image in built(picture)}
    for pod in picture.pods:
        grace = pod.spec.at("terminationGracePeriodSeconds").number
        available = 30 if grace is None else grace
        for container in pod.containers:
            hook = container.node.at("lifecycle", "preStop")
            sleep = hook.at("sleep", "seconds").number or seconds_of_sleep(
                tuple(item.text for item in hook.at("exec", "command").items())
            )
            command = started.get(id(container.node))
            needed = sleep + _drain(container, command.words if command is not None else ())
            if sleep and needed >= available:
                message = f"{container.title} has {available} s to stop, of which preStop and draining take {needed} s"
                yield Hit(place(pod.spec.at("terminationGracePeriodSeconds")), message)


_DRAINING = re.compile(r"--(?:timeout-graceful-shutdown|graceful-timeout|exit-timeout-secs)[= ](\d{1,6})(?!\S)")
"""How long uvicorn, hypercorn, gunicorn and Triton wait for requests."""


def _drain(container: Container, usual: tuple[str, ...]) -> int:
    """Seconds that the server itself waits for requests, where a variable or option says so."""
    entry = container.environment.get("GRACEFUL_TIMEOUT") or container.environment.get("DRAIN_SECONDS")
    if entry is not None:
        return entry.at("value").number or 0
    own = tuple(item.text for name in ("command", "args") for item in container.node.at(name).items())
    found = _DRAINING.search(" ".join(own or usual))
    return int(found[1]) if found else 0


def required_variables(picture: Picture) -> Iterator[Hit]:
    """A variable that the code cannot do without and no manifest sets ends the process at its first line."""
    for container, image in built(picture):
        given = {
            name for name, entry in container.environment.items() if entry.at("value").text or entry.at("valueFrom")
        }
        given |= {name for item in image.final_instructions("ENV") for name, _ in item.pairs()}
        if container.node.at("envFrom"):
            continue
        for app in picture.applications:
            for node in app.nodes:
                name = (
                    text_of(node.slice)
                    if isinstance(node, ast.Subscript) and dotted(node.value) == "os.environ"
                    else None
                )
                if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and name and name not in given:
                    yield Hit(app.at(node), f"the code needs the variable {name}, which {container.title} does not get")
