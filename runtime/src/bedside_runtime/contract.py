"""contract.json: everything that the runtime is told, and the only thing that crosses from tools to runtime.

The file is canonical JSON (RFC 8785); the sha256 of its bytes is the release digest. It names every other
file of the release by path, size and sha256, so that one digest stands for the model's bytes, its code, its
locked environment and its golden cases.
"""

from fractions import Fraction
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from bedside_runtime import canonical
from bedside_runtime.errors import ContractInvalid

SCHEMA = 1
"""The schema that this runtime reads and writes."""

FILE_NAME = "contract.json"

Scalar: TypeAlias = float | int | str | bool
"""One model output value: a probability or measure, or a class label."""

Cell: TypeAlias = float | int | str | bool | None
"""One validated input value; ``None`` is a missing one."""

Row: TypeAlias = tuple[Cell, ...]
"""One patient's validated input values, in the order of ``Contract.inputs``."""

Framework: TypeAlias = Literal["sklearn", "xgboost", "lightgbm", "onnx"]
Accelerator: TypeAlias = Literal["cpu", "cuda"]
ArtifactFormat: TypeAlias = Literal["joblib", "pickle", "skops", "xgboost-json", "xgboost-ubj", "lightgbm-text", "onnx"]


class _Part(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every part of a contract is: immutable, and strict about unknown keys."""


class Conversion(_Part, frozen=True, kw_only=True):
    """``declared = value * scale + offset``, in exact rational numbers.

    Attributes:
        scale: A fraction as text, ``"5/9"``.
        offset: A fraction as text, in the declared unit, ``"-160/9"``.
    """

    scale: str
    offset: str = "0"

    def apply(self, value: float) -> float:
        """Convert one value; the result is the double nearest to the exact one."""
        return float(Fraction(repr(value)) * Fraction(self.scale) + Fraction(self.offset))


class Input(_Part, frozen=True, kw_only=True):
    """One declared input.

    Attributes:
        name: The key in a request and the model's own column name.
        type: What a value of it is.
        description: What a clinician would call it.
        unit: UCUM unit of a bare number; ``None`` for inputs without one.
        valid: Closed interval outside of which a value is refused.
        expected: Closed interval outside of which a value is answered and flagged.
        categories: All admissible values of a category.
        missing: Whether a request may leave it out or send null.
        code: Terminology code, ``system:code``.
        conversions: Every other UCUM unit that is accepted for it, and how to convert.
    """

    name: str
    type: Literal["number", "integer", "category", "boolean"]
    description: str = ""
    unit: str | None = None
    valid: tuple[float, float] | None = None
    expected: tuple[float, float] | None = None
    categories: tuple[str, ...] = ()
    missing: Literal["reject", "allow"] = "reject"
    code: str | None = None
    conversions: dict[str, Conversion] = {}


class Band(_Part, frozen=True, kw_only=True):
    """A named range of the output: all values below ``below`` that no earlier band took."""

    name: str
    below: float | None = None


class Output(_Part, frozen=True, kw_only=True):
    """What the model answers.

    Attributes:
        name: Its name in the Open Inference Protocol and in metrics.
        type: ``probability`` of the class ``positive``, a ``class`` label, or a ``value`` with a ``unit``.
        positive: The label whose probability is answered; only for ``probability``.
        unit: UCUM unit of a ``value``.
        bands: Ascending; the last one has no ``below``. Empty where the author declared none.
    """

    name: str
    type: Literal["probability", "class", "value"]
    positive: int | str | bool | None = None
    unit: str | None = None
    bands: tuple[Band, ...] = ()

    def band(self, value: Scalar) -> str | None:
        """Return the name of the band that ``value`` falls in, ``None`` where there are no bands."""
        if isinstance(value, str):
            return None
        for band in self.bands:
            if band.below is None or value < band.below:
                return band.name
        return None


class File(_Part, frozen=True, kw_only=True):
    """One file of the release, path relative to contract.json with forward slashes."""

    path: str
    sha256: str
    size: int


class Global(_Part, frozen=True, kw_only=True):
    """One importable name that loading a pickled model resolves."""

    module: str
    name: str


class Model(_Part, frozen=True, kw_only=True):
    """The artifact, and what inspecting it at package time found.

    Attributes:
        framework: As the author declared it.
        format: How the artifact is stored.
        artifact: Path of the artifact in the release.
        source: Where the artifact is fetched from, ``s3://``, ``gs://`` or ``az://``; ``None`` where the release and
            its image carry it. Its size and sha256 stand in ``files`` either way.
        code: Paths of the author's modules in the release, in import order. Where one of them defines
            ``transform(rows)``, the model input is what it returns.
        features: The model's own feature names, in the model's order; the inputs in their declared order
            where the model carries no names.
        layout: What the model is handed: a pandas ``frame`` with named columns, one numeric ``array`` of
            shape (rows, features), one array per input (``tensors``, ONNX), or what ``code`` returns.
        globals: All that unpickling may resolve, sorted; empty for formats without code.
        trained_with: Versions that the artifact says it was made with.
    """

    framework: Framework
    format: ArtifactFormat
    artifact: str
    source: str | None = None
    code: tuple[str, ...] = ()
    features: tuple[str, ...]
    layout: Literal["frame", "array", "tensors", "code"]
    globals: tuple[Global, ...] = ()
    trained_with: dict[str, str] = {}


class Golden(_Part, frozen=True, kw_only=True):
    """The golden cases: path in the release, how many, and how far an answer may be from the study's."""

    path: str
    cases: int
    tolerance: float


class Environment(_Part, frozen=True, kw_only=True):
    """Fingerprint of the environment that the golden cases passed in.

    Attributes:
        python: Full version, ``3.11.7``.
        implementation: ``cpython``.
        machine: ``x86_64``.
        libc: Name and version, ``glibc 2.36``.
        blas: Libraries that compute, name to version, as they report themselves; empty without NumPy.
        threads: Thread-count settings in force, ``{"OMP_NUM_THREADS": "1"}``.
        distributions: Every installed distribution, normalized name (PEP 503) to version.
    """

    python: str
    implementation: str
    machine: str
    libc: str
    blas: dict[str, str]
    threads: dict[str, str]
    distributions: dict[str, str]


EngineName: TypeAlias = Literal["folded", "trees", "booster", "onnx"]


class Proof(_Part, frozen=True, kw_only=True):
    """That an engine answered as the model itself, when the release was packaged.

    Attributes:
        inputs: How many were tried: the golden cases, and a draw across the declared inputs.
        borders: How many more, each as close to another band or label as doubles can be.
        seed: Of the draw.
        tolerance: Largest absolute difference that passed; the band was always the same.
        largest_difference: Largest absolute difference found.
    """

    inputs: int
    borders: int
    seed: int
    tolerance: float
    largest_difference: float


class Converted(_Part, frozen=True, kw_only=True):
    """The model in another form, written when the release was packaged, for the engine that reads it.

    Attributes:
        path: Of the file in the release.
        converters: What wrote it, distribution to version.
        opsets: The operator sets that it uses, domain to version.
    """

    path: str
    converters: dict[str, str]
    opsets: dict[str, int]


class Engine(_Part, frozen=True, kw_only=True):
    """What computes the answers.

    Attributes:
        name: ``native`` asks the model as its author did; any other stands in for it, with a proof.
        proof: ``None`` for ``native``.
        batch_invariant: Whether a case gets the same bits alone and in any batch. Where it does not, the engine's
            arithmetic sums a batch in another order; the golden cases hold either way.
        passed_over: Under ``auto``, the engines that come first and cannot compute this model, each with why; no key
            where there are none.
        converted: What the engine ``onnx`` reads; no other engine's contract has the key.
    """

    name: EngineName | Literal["native"] = "native"
    proof: Proof | None = None
    batch_invariant: bool = False
    passed_over: dict[EngineName, str] | msgspec.UnsetType = msgspec.UNSET
    converted: Converted | msgspec.UnsetType = msgspec.UNSET


AuthMethod: TypeAlias = Literal["none", "api-key", "jwt", "mtls"]
Algorithm: TypeAlias = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Signatures of tokens (RFC 7518, RFC 8037); none that is made with a shared secret."""


class Jwt(_Part, frozen=True, kw_only=True):
    """Which bearer tokens are believed (RFC 7519, RFC 9068).

    Attributes:
        issuer: What ``iss`` must be.
        audience: What must be ``aud``, or one of it.
        jwks: https address of the issuer's key set (RFC 7517); ``None`` where it is mounted as ``jwks.json``.
        algorithms: Signatures that are taken.
        identity: The claim that names the caller.
        scopes: What a token must be good for, all of them.
        skew_seconds: How far the issuer's clock may be from ours.
        refresh_seconds: How often the key set is fetched.
        stale_seconds: How long a key set is believed that could not be fetched again.
    """

    issuer: str
    audience: str
    jwks: str | None = None
    algorithms: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    identity: str = "sub"
    scopes: tuple[str, ...] = ()
    skew_seconds: float = 30.0
    refresh_seconds: float = 300.0
    stale_seconds: float = 86_400.0


class Auth(_Part, frozen=True, kw_only=True):
    """Who may ask on the public port. Probes alone are open to everybody.

    Attributes:
        methods: How callers show who they are; one that is good is enough. ``none`` stands alone, and is served on
            loopback only, unless ``acknowledged``.
        acknowledged: That something in front of every pod authenticates the callers.
        jwt: Which bearer tokens are believed; for the method ``jwt`` alone.
    """

    methods: tuple[AuthMethod, ...] = ("none",)
    acknowledged: Literal["mesh terminates it"] | None = None
    jwt: Jwt | None = None


class Tls(_Part, frozen=True, kw_only=True):
    """TLS on the public port, with a mounted certificate and key.

    Attributes:
        minimum: The oldest version that is spoken.
    """

    minimum: Literal["1.2", "1.3"] = "1.2"


class Serve(_Part, frozen=True, kw_only=True):
    """How the runtime serves.

    Attributes:
        max_body: Largest request body, bytes.
        max_instances: Most rows in one request.
        max_batch: Most rows of concurrent requests that the model is asked at once; 1 asks for each request alone.
        batch_wait_ms: How long a lone request waits for others to join its batch, milliseconds.
        max_in_flight: Most requests between their arrival and their answer; one more is answered 503.
        max_connections: Most open connections; one more is answered 503 and closed.
        deadline_seconds: Longest that a request may wait for the model; a caller may ask for less.
        header_seconds: Longest that the head of a request may take to arrive.
        body_seconds: Longest that its body may take to arrive.
        idle_seconds: How long a connection without a request stays open.
        drain_seconds: How long answering goes on after SIGTERM while endpoints still point here.
        shutdown_seconds: How long in-flight requests may take to finish after that.
        self_check_seconds: How often the predict loop must answer a golden case to stay ready.
        failed_exit_seconds: How long a process whose release failed stays up, live and never ready, so that
            its reason can be read, before it exits non-zero. 0 exits at once.
        openapi: Whether /openapi.json is answered on the public port.
        workers: Processes that answer on the one public port; every limit above is for each of them.
        auth: Who may ask.
        tls: ``None`` where something in front of the process ends TLS.
        tracing: Whether spans are sent to an OpenTelemetry collector.
    """

    max_body: int = 1_048_576
    max_instances: int = 1_000
    max_batch: int = 64
    batch_wait_ms: float = 0.0
    max_in_flight: int = 128
    max_connections: int = 1_000
    deadline_seconds: float = 30.0
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    idle_seconds: float = 75.0
    drain_seconds: float = 10.0
    shutdown_seconds: float = 20.0
    self_check_seconds: float = 10.0
    failed_exit_seconds: float = 300.0
    openapi: bool = False
    workers: int = 1
    auth: Auth = Auth()
    tls: Tls | None = None
    tracing: bool = False


class Audit(_Part, frozen=True, kw_only=True):
    """How every answer is recorded. Sizes in bytes, times in seconds.

    Attributes:
        path: Directory of the log; every pod writes in a folder of its own below.
        payload: What is kept of the inputs: ``none``, ``hmac`` with a mounted key, or ``encrypted`` to a mounted
            public key.
        signed: Whether checkpoints must be signed, with a mounted key.
        on_failure: What happens when the log takes no record: ``refuse`` answers nobody, and ends the process
            unless the disk hangs without an error; ``answer-and-alarm`` answers unrecorded and says so in readiness
            and metrics.
        checkpoint_every: Most records between two checkpoints.
        checkpoint_seconds: Longest time between two checkpoints while there are records.
        heartbeat_seconds: Longest time without any record.
        segment_bytes: A segment that has grown to this size is closed.
        segment_seconds: And one of this age.
        low_water_bytes: With less free space the process is not ready.
    """

    path: str = "/var/log/model"
    payload: Literal["none", "hmac", "encrypted"] = "hmac"
    signed: bool = False
    on_failure: Literal["refuse", "answer-and-alarm"] = "refuse"
    checkpoint_every: int = 1_000
    checkpoint_seconds: float = 60.0
    heartbeat_seconds: float = 30.0
    segment_bytes: int = 67_108_864
    segment_seconds: float = 86_400.0
    low_water_bytes: int = 268_435_456


class Contract(_Part, frozen=True, kw_only=True):
    """All of contract.json. ``files`` is sorted by path and names every other file of the release.

    ``accelerator`` is what it computes on: it decides what its image stands on and may carry.
    ``audit`` is ``None`` where the author asked for no audit log; `/model` says so.
    """

    schema: Literal[1] = 1
    name: str
    version: str
    title: str
    model: Model
    inputs: tuple[Input, ...]
    output: Output
    golden: Golden
    environment: Environment
    accelerator: Accelerator = "cpu"
    engine: Engine = Engine()
    serve: Serve
    audit: Audit | None = None
    files: tuple[File, ...]

    @property
    def ref(self) -> str:
        """Name and version as people write them, ``icu-mortality 1.0.0``."""
        return f"{self.name} {self.version}"


class DownloadRequest(_Part, frozen=True, kw_only=True):
    """What packaging asks to be brought from object storage, inside the locked environment. ``target`` is absolute."""

    source: str
    sha256: str
    target: str


class InspectionRequest(_Part, frozen=True, kw_only=True):
    """What packaging asks about an artifact, inside the locked environment. Paths are absolute."""

    framework: Framework
    artifact: str
    code: tuple[str, ...]
    inputs: tuple[Input, ...]
    output: Output


class ConversionRequest(_Part, frozen=True, kw_only=True):
    """What packaging asks to be converted to ONNX, where the converters are installed. ``target`` is absolute."""

    model: InspectionRequest
    target: str


class Inspection(_Part, frozen=True, kw_only=True):
    """What the artifact turned out to be: the parts of ``Model`` and ``Environment`` nobody declares."""

    format: ArtifactFormat
    features: tuple[str, ...]
    layout: Literal["frame", "array", "tensors", "code"]
    globals: tuple[Global, ...]
    trained_with: dict[str, str]
    environment: Environment


def encode(contract: Contract) -> bytes:
    """Return the canonical bytes of ``contract``; their sha256 is the release digest."""
    return canonical.encode(msgspec.to_builtins(contract, str_keys=True))


def decode(data: bytes) -> Contract:
    """Parse and check the bytes of a contract.json.

    Raises:
        ContractInvalid: Not strict JSON, another schema, an unknown or missing key, or bytes that are not
            the canonical form of what they say.
    """
    try:
        value = canonical.decode(data)
    except canonical.NotStrictJSON as error:
        raise ContractInvalid(f"{FILE_NAME} cannot be read: {error}") from None
    if isinstance(value, dict) and value.get("schema") != SCHEMA:
        raise ContractInvalid(
            f"{FILE_NAME} has schema {value.get('schema')!r}; this runtime reads schema {SCHEMA}",
            remedy="Serve the release with the bedside-runtime version that its requirements.lock names.",
        )
    try:
        contract = msgspec.convert(value, Contract)
    except msgspec.ValidationError as error:
        raise ContractInvalid(f"{FILE_NAME} does not follow schema {SCHEMA}: {error}") from None
    if encode(contract) != data:
        raise ContractInvalid(f"{FILE_NAME} is not in canonical form, so its digest would stand for nothing")
    return contract
