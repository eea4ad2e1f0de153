"""What the objects are made from: release, settings, image, measurements; and every number computed from them. Pure."""

import math
from dataclasses import dataclass
from typing import Final, Literal

from bedside.errors import UsageError
from bedside.kube.objects import Metadata
from bedside.kube.reasons import Number, Text
from bedside.spec import quantity
from bedside.spec.deploy import DeploySection, ReplicasSection
from bedside_runtime.contract import Contract

Environment = Literal["production", "staging"]

PORT: Final = 8080
ADMIN_PORT: Final = 8081
USER: Final = 10001
"""The numeric user of the image, and of the pod."""

RELEASE: Final = "/opt/bedside/release"
"""Where the release lies in its image."""

RELEASE_DIGEST: Final = "bedside.dev/release-digest"
IMAGE_DIGEST: Final = "bedside.dev/image-digest"
"""Annotations; the release digest is the sha256 of contract.json."""

LONGEST_NAME: Final = 46
"""A pod is named <name>-<10 characters>-<5 characters>, and its host name holds 63."""

_SLOWER: Final = 10
"""How much slower a node may load than the machine that packaged: cold disk, shared cores, a throttled limit."""

_FETCH_RATE: Final = 20 * 2**20
"""Bytes a second that object storage gives at least."""

_PRE_STOP: Final = 5
_FLUSH: Final = 5
_STARTUP_PERIOD: Final = 2
_READINESS_PERIOD: Final = 5
_MEBI: Final = 2**20
_STEP: Final = 64 * _MEBI


@dataclass(frozen=True, slots=True)
class Measured:
    """What packaging measured: seconds from start to proven, and the largest resident memory in bytes."""

    load_seconds: float
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """One environment: what may differ between staging and production."""

    environment: Environment
    namespace: str
    host: str | None
    replicas: ReplicasSection


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that decides the objects of one release in one place.

    Attributes:
        contract: The release.
        digest: Its digest, 64 hexadecimal characters.
        image: Reference by digest, ``host/repository@sha256:...``.
        settings: ``[deploy]``.
        measured: From measurements.json.
        place: The environment.
        release_key: Public key in PEM that the pods hold contract.sig against; ``None`` where none is named.
    """

    contract: Contract
    digest: str
    image: str
    settings: DeploySection
    measured: Measured
    place: Place
    release_key: str | None = None

    # -- names

    @property
    def name(self) -> str:
        """Name of the Deployment, the Service and everything else of it."""
        return self.contract.name

    @property
    def namespace(self) -> str:
        """Where it runs."""
        return self.place.namespace

    @property
    def image_digest(self) -> str:
        """``sha256:...`` of the image."""
        return self.image.partition("@")[2]

    @property
    def selector(self) -> dict[str, str]:
        """What never changes about its pods: a selector is immutable, so no version stands in it."""
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/instance": self.name}

    @property
    def labels(self) -> dict[str, str]:
        """Labels of every object, and of the pods."""
        return {
            **self.selector,
            "app.kubernetes.io/component": "model-server",
            "app.kubernetes.io/managed-by": "bedside",
            "app.kubernetes.io/version": self.contract.version,
            "model-version": self.contract.version,
        }

    @property
    def annotations(self) -> dict[str, str]:
        """Which release and image this is, by digest."""
        return {RELEASE_DIGEST: f"sha256:{self.digest}", IMAGE_DIGEST: self.image_digest}

    def metadata(self, suffix: str = "", *, labels: dict[str, str] | None = None) -> Metadata:
        """Return who an object of this release is, ``<name><suffix>``."""
        return Metadata(
            name=f"{self.name}{suffix}",
            namespace=self.namespace,
            labels={**self.labels, **(labels or {})},
            annotations=self.annotations,
        )

    # -- authentication

    @property
    def fetches_keys(self) -> bool:
        """Whether the pods fetch the keys of an issuer of tokens."""
        jwt = self.contract.serve.auth.jwt
        return jwt is not None and jwt.jwks is not None

    @property
    def port_name(self) -> str:
        """Name of the public port: what is spoken on it."""
        return "http" if self.contract.serve.tls is None else "https"

    # -- a model in object storage

    @property
    def model_scheme(self) -> str | None:
        """``s3``, ``gs`` or ``az`` of a model that pods fetch; ``None`` of one that the image carries."""
        source = self.contract.model.source
        return source.partition("://")[0] if source is not None else None

    @property
    def model_bytes(self) -> int:
        """Size of the model file."""
        return next(item.size for item in self.contract.files if item.path == self.contract.model.artifact)

    @property
    def model_volume(self) -> Text:
        """Room for the model file."""
        mebi = (self.model_bytes // _STEP + 2) * _STEP // _MEBI
        return Text(f"{mebi}Mi", f"the model file has {self.model_bytes} bytes; in steps of 64 MiB, and one to spare")

    @property
    def fetch_seconds(self) -> int:
        """How long fetching the model may take."""
        return math.ceil(self.model_bytes / _FETCH_RATE) if self.model_scheme is not None else 0

    # -- times, seconds

    @property
    def startup_failures(self) -> Number:
        """How often the startup probe may fail before the container is restarted."""
        load, share = self.measured.load_seconds, min(1.0, cores(self.cpu))
        budget = 30 + _SLOWER * load / share
        slower = f", on {self.cpu} of a core" if share < 1 else ""
        why = (
            f"loading and the golden replay took {load:.1f} s when packaging; {_SLOWER} times that{slower} "
            "and 30 s are allowed"
        )
        return Number(math.ceil(budget / _STARTUP_PERIOD), why)

    @property
    def startup_period(self) -> int:
        """Seconds between two startup probes."""
        return _STARTUP_PERIOD

    @property
    def readiness_period(self) -> int:
        """Seconds between two readiness probes."""
        return _READINESS_PERIOD

    @property
    def min_ready_seconds(self) -> Number:
        """How long a new pod must stay ready before the next one is replaced."""
        check = self.contract.serve.self_check_seconds
        why = f"one self-check every {check:g} s and one readiness probe every {_READINESS_PERIOD} s must have passed"
        return Number(math.ceil(check) + _READINESS_PERIOD, why)

    @property
    def progress_deadline(self) -> Number:
        """How long a rollout may stand still before it counts as failed."""
        startup, fetch = self.startup_failures * _STARTUP_PERIOD, self.fetch_seconds
        fetching = f"{fetch} s to fetch from object storage at {_FETCH_RATE // _MEBI} MiB a second, " if fetch else ""
        why = f"300 s to pull the image, {fetching}{startup} s to start, {self.min_ready_seconds} s to stay ready"
        return Number(300 + fetch + startup + self.min_ready_seconds, why)

    @property
    def pre_stop(self) -> Number:
        """Seconds before SIGTERM, in which endpoints and proxies learn that the pod goes."""
        return Number(_PRE_STOP, "endpoints and proxies learn that the pod goes before it is told to stop")

    @property
    def grace(self) -> Number:
        """Seconds from the order to stop to SIGKILL."""
        serve = self.contract.serve
        drain, finish = math.ceil(serve.drain_seconds), math.ceil(serve.shutdown_seconds)
        why = f"preStop {_PRE_STOP} + drain {drain} + in-flight requests {finish} + closing the audit log {_FLUSH}"
        return Number(_PRE_STOP + drain + finish + _FLUSH, why)

    # -- resources

    @property
    def cpu(self) -> str:
        """Cores, request and limit."""
        given = self.settings.resources.cpu
        return given or Text("1", "one process with one predict loop; replicas scale, not cores")

    @property
    def threads(self) -> Text:
        """How many threads a numeric library may start."""
        return Text(str(max(1, math.floor(cores(self.cpu)))), f"the CPU limit is {self.cpu}")

    @property
    def memory(self) -> str:
        """Bytes as a quantity, request and limit."""
        given = self.settings.resources.memory
        if given:
            return given
        serve, rss = self.contract.serve, self.measured.rss_bytes
        buffers = serve.max_in_flight * serve.max_body
        needed = 1.5 * rss + buffers
        why = (
            f"one and a half times the {rss // _MEBI} MiB measured when packaging, and {serve.max_in_flight} requests "
            f"in flight of {serve.max_body / _MEBI:g} MiB; in steps of 64 MiB"
        )
        return Text(f"{math.ceil(needed / _STEP) * _STEP // _MEBI}Mi", why)


def places(settings: DeploySection, model: str) -> tuple[Place, ...]:
    """Return production, and staging where it is asked for."""
    namespace = settings.namespace or model
    found = [Place("production", namespace, settings.host, settings.replicas)]
    if (staging := settings.staging) is not None:
        own = staging.namespace or f"{namespace}-staging"
        found.append(Place("staging", own, staging.host, staging.replicas or settings.replicas))
    return tuple(found)


def cores(text: str) -> float:
    """Return cores of a quantity, ``500m`` or ``2``.

    Raises:
        UsageError: It is none.
    """
    found = quantity.cores(text)
    if found is None:
        raise UsageError(f"{text!r} is no number of cores", remedy="Write 500m or 2 in [deploy.resources] cpu.")
    return float(found)
