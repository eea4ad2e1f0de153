"""The shape of bedside.toml, section by section, and what of the design is not supported yet."""

from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import Field, Strict

from bedside.spec.deploy import DeploySection
from bedside.spec.section import Section
from bedside_runtime.contract import Algorithm, Audit, Auth, AuthMethod, Jwt, Serve

_Number = float
_Interval = Annotated[tuple[_Number, _Number], Strict(strict=False)]
_Words = Annotated[tuple[str, ...], Strict(strict=False)]

_SERVE: Final = Serve()
_AUDIT: Final = Audit()
_AUTH: Final = Auth()
_JWT: Final = Jwt(issuer="", audience="")


class ModelSection(Section):
    """Who the model is, and where its files lie."""

    name: str = Field(description="DNS-1123 label; image and Deployment take it.", examples=["icu-mortality"])
    version: str = Field(description="SemVer without build metadata; the one place where the version is written.")
    title: str = Field(description="What it predicts, in a clinician's words.", min_length=1)
    framework: Literal["sklearn", "xgboost", "lightgbm", "onnx"] = Field(description="The library that predicts.")
    artifact: str = Field(
        description="The model file, relative to bedside.toml; or where it lies: s3://, gs:// or az://.",
        examples=["model/icu.joblib", "s3://models/icu/1.0.0/icu.ubj"],
    )
    sha256: str | None = Field(
        default=None,
        description="What its bytes must have; needed for one in object storage.",
        pattern=r"^[0-9a-f]{64}$",
    )
    card: str = Field(description="The model card, a JSON object.")
    code: _Words = Field(default=(), description="Python modules that loading or transform(rows) needs.")
    signed: bool = Field(
        default=False, description="Whether its runtime can verify contract.sig, with the public key that it is given."
    )


class EnvironmentSection(Section):
    """What it runs on."""

    python: str = Field(description="Minor version of the Python that was validated.", examples=["3.11"])
    requirements: str = Field(description="Requirements file; resolved and hashed when packaging.")
    accelerator: Literal["cpu", "cuda"] = Field(default="cpu", description="What it computes on.")


class InputSection(Section):
    """One input: what a request may say about a patient."""

    name: str = Field(description="Key in a request, and the model's own column name.", min_length=1, max_length=128)
    type: Literal["number", "integer", "category", "boolean"] = Field(description="What a value of it is.")
    unit: str | None = Field(default=None, description="UCUM unit of a bare number.", examples=["mm[Hg]"])
    valid: _Interval | None = Field(default=None, description="Closed interval; a value outside is refused (422).")
    expected: _Interval | None = Field(default=None, description="Closed interval; outside: answered and flagged.")
    categories: _Words = Field(default=(), description="All admissible values of a category.")
    missing: Literal["reject", "allow"] = Field(default="reject", description="Whether it may be left out or null.")
    code: str | None = Field(default=None, description="Terminology code, system:code.", examples=["loinc:8480-6"])
    description: str = Field(default="", description="What it means, in a clinician's words.")


class BandSection(Section):
    """One named range of the output."""

    name: str = Field(min_length=1)
    below: float | None = Field(default=None, description="Upper bound, exclusive; the last band has none.")


class OutputSection(Section):
    """What the model answers."""

    name: str = Field(description="Name in the Open Inference Protocol and in metrics.", min_length=1, max_length=128)
    type: Literal["probability", "class", "value"]
    positive: int | str | bool | None = Field(default=None, description="Class whose probability is answered.")
    unit: str | None = Field(default=None, description="UCUM unit of a value.")
    bands: Annotated[tuple[BandSection, ...], Strict(strict=False)] = Field(default=(), description="Ascending.")


class GoldenSection(Section):
    """The validation study's own cases."""

    cases: str = Field(description='JSON Lines: {"id", "inputs", "expected"}; expected comes from the study.')
    tolerance: float = Field(default=1e-9, ge=0, description="Largest absolute difference; 0 is bit for bit.")


class JwtSection(Section):
    """Which bearer tokens are believed."""

    issuer: str = Field(description="What `iss` must be.", min_length=1)
    audience: str = Field(description="What must be `aud`, or one of it.", min_length=1)
    jwks: str | None = Field(
        default=None,
        description="https address of the issuer's key set; left out, it is mounted as jwks.json.",
        pattern=r"^https://[^\s/?#@]+(/[^\s#]*)?$",
    )
    algorithms: Annotated[tuple[Algorithm, ...], Strict(strict=False)] = Field(
        default=_JWT.algorithms, min_length=1, description="Signatures that are taken."
    )
    identity: str = Field(default=_JWT.identity, min_length=1, description="The claim that names the caller.")
    scopes: _Words = Field(default=(), description="What a token must be good for, all of them.")
    skew_seconds: float = Field(default=_JWT.skew_seconds, ge=0, le=300, description="Difference of clocks.")
    refresh_seconds: float = Field(default=_JWT.refresh_seconds, ge=10, description="How often keys are fetched.")
    stale_seconds: float = Field(default=_JWT.stale_seconds, ge=10, description="How long old keys are believed.")


class AuthSection(Section):
    """Who may ask for predictions; probes alone are open to everybody."""

    methods: Annotated[tuple[AuthMethod, ...], Strict(strict=False)] = Field(
        default=_AUTH.methods, min_length=1, description="How callers show who they are; one that is good is enough."
    )
    acknowledged: Literal["mesh terminates it"] | None = Field(
        default=None, description="Beside none: something in front of every pod authenticates the callers."
    )
    jwt: JwtSection | None = Field(default=None, description="Whose tokens; needed by the method jwt.")


class TlsSection(Section):
    """TLS on the public port; certificate and key are mounted."""

    minimum: Literal["1.2", "1.3"] = Field(default="1.2", description="The oldest version that is spoken.")


class ServeSection(Section):
    """How the runtime serves."""

    engine: Literal["native", "auto", "folded", "trees", "booster", "onnx"] = Field(
        default="native",
        description="What computes: the framework's own predict, or a faster engine that is proven; onnx by name only.",
    )
    max_body: int = Field(default=_SERVE.max_body, ge=1_024, le=2**30, description="Largest request body, bytes.")
    max_instances: int = Field(default=_SERVE.max_instances, ge=1, description="Most rows in one request.")
    max_batch: int = Field(default=_SERVE.max_batch, ge=1, le=65_536, description="Most rows asked at once.")
    batch_wait_ms: float = Field(default=_SERVE.batch_wait_ms, ge=0, le=1_000, description="Waiting for others.")
    max_in_flight: int = Field(default=_SERVE.max_in_flight, ge=1, description="One request more is answered 503.")
    max_connections: int = Field(default=_SERVE.max_connections, ge=1, description="One more is refused.")
    deadline_seconds: float = Field(default=_SERVE.deadline_seconds, gt=0, description="Longest wait for an answer.")
    header_seconds: float = Field(default=_SERVE.header_seconds, gt=0, description="For a request's head to arrive.")
    body_seconds: float = Field(default=_SERVE.body_seconds, gt=0, description="For a request's body to arrive.")
    idle_seconds: float = Field(default=_SERVE.idle_seconds, gt=0, description="A connection without a request.")
    drain_seconds: float = Field(default=_SERVE.drain_seconds, ge=0, description="Answering after SIGTERM.")
    shutdown_seconds: float = Field(default=_SERVE.shutdown_seconds, gt=0, description="Finishing after that.")
    self_check_seconds: float = Field(default=_SERVE.self_check_seconds, gt=0, description="Golden case, how often.")
    failed_exit_seconds: float = Field(default=_SERVE.failed_exit_seconds, ge=0, description="A failed start exits.")
    openapi: bool = Field(default=_SERVE.openapi, description="Whether /openapi.json is answered.")
    workers: int = Field(default=_SERVE.workers, ge=1, le=64, description="Processes on one port; replicas scale too.")
    auth: AuthSection = Field(default=AuthSection(), description="Left out: nobody authenticates; loopback alone.")
    tracing: bool = Field(default=_SERVE.tracing, description="Whether spans go to an OpenTelemetry collector.")
    tls: TlsSection | None = Field(default=None, description="Left out: something in front of the pod ends TLS.")


class AuditSection(Section):
    """How every answer is recorded."""

    path: str = Field(default=_AUDIT.path, description="Directory of the log in the container.", pattern="^/")
    payload: Literal["none", "hmac", "encrypted"] = Field(default=_AUDIT.payload, description="What stays of inputs.")
    signed: bool = Field(default=_AUDIT.signed, description="Whether checkpoints are signed, with a mounted key.")
    on_failure: Literal["refuse", "answer-and-alarm"] = Field(
        default=_AUDIT.on_failure, description="Whether anybody is answered while nothing can be recorded."
    )
    checkpoint_every: int = Field(default=_AUDIT.checkpoint_every, ge=1, description="Records between checkpoints.")
    checkpoint_seconds: float = Field(default=_AUDIT.checkpoint_seconds, gt=0, description="Time between them.")
    heartbeat_seconds: float = Field(default=_AUDIT.heartbeat_seconds, gt=0, description="Longest silence.")
    segment_bytes: int = Field(default=_AUDIT.segment_bytes, ge=65_536, description="Size of a file of the log.")
    segment_seconds: float = Field(default=_AUDIT.segment_seconds, gt=0, description="Age of a file of the log.")
    low_water_bytes: int = Field(default=_AUDIT.low_water_bytes, ge=0, description="Not ready with less free space.")


class Document(Section):
    """bedside.toml: everything that an author decides."""

    schema_: Literal[1] = Field(alias="schema", description="Schema of this file.")
    model: ModelSection
    environment: EnvironmentSection
    inputs: list[InputSection] = Field(min_length=1, description="Every input of the model.")
    output: OutputSection
    golden: GoldenSection
    serve: ServeSection = ServeSection()
    audit: AuditSection | None = Field(default=None, description="Left out: no answer is recorded.")
    deploy: DeploySection | None = Field(default=None, description="Left out: no manifests can be written.")


NOT_YET_WORDS: Final = MappingProxyType(
    {
        ("model.framework", "torch"): "PyTorch models",
        ("inputs.type", "image"): "image inputs",
        ("output.type", "segmentation"): "segmentation outputs",
    }
)
"""Words of the design whose support is not there yet, by the key that would take them."""
