"""The runtime's one family of errors: each class carries its exit code, its reason code and what to do next.

Exit codes follow the command line's contract: 1 a check said no, 2 usage or an invalid contract,
3 verification failed, 4 something outside failed or is missing.

Messages are for the person who packages or operates a release. They may name files, versions, inputs and
golden cases, never a request's values; what leaves the process over HTTP is the fixed ``code`` alone.
"""

from typing import ClassVar


class BedsideRuntimeError(Exception):
    """Anything the runtime refuses to do, with the remedy.

    Attributes:
        exit_code: What the process exits with when nobody handles the error.
        code: Fixed, kebab-case reason, safe to log, to label a metric with and to answer over HTTP.
        remedy: What the operator or author can do next, one sentence.
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "refused"
    remedy: str = ""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        if remedy:
            self.remedy = remedy


class ContractInvalid(BedsideRuntimeError):
    """contract.json is unreadable, of another schema, or not in canonical form."""

    exit_code = 2
    code = "contract-invalid"
    remedy = "Package the release again with `bedside package`; never edit contract.json."


class IntegrityError(BedsideRuntimeError):
    """A file is missing, unexpected, or differs from the digest that the contract records."""

    exit_code = 3
    code = "integrity"
    remedy = "Restore the release from where it was packaged, or package it again."


class SignatureInvalid(IntegrityError):
    """The release must be signed by a key that is trusted here, and it is not."""

    code = "signature-invalid"
    remedy = "Sign the release with `bedside sign`, or find out who changed it."


class SignatureKeyInvalid(BedsideRuntimeError):
    """The key that releases must be signed with is missing or is none."""

    exit_code = 2
    code = "signature-key-invalid"
    remedy = (
        "Mount the public key of `bedside sign`, a P-256 key in PEM, and name it with --key or BEDSIDE_RELEASE_KEY."
    )


class EnvironmentMismatch(BedsideRuntimeError):
    """The Python or the libraries here are not the ones that were validated."""

    exit_code = 3
    code = "environment-mismatch"
    remedy = "Install exactly requirements.lock of the release, with the Python version that it names."


class ForbiddenGlobal(BedsideRuntimeError):
    """A pickle reaches for a global that loading this model must not touch; nothing of it was run."""

    exit_code = 3
    code = "forbidden-global"
    remedy = "Do not load this file. Find out who made it, or save the model in a format without code."


class ModelMismatch(BedsideRuntimeError):
    """The model and the declared inputs or output do not belong together."""

    exit_code = 2
    code = "model-mismatch"
    remedy = "Make [[inputs]] and [output] in bedside.toml say what the model was trained on."


class OutputInvalid(BedsideRuntimeError):
    """The model answered something that the declared output cannot be: NaN, infinite, outside [0, 1]."""

    exit_code = 3
    code = "output-invalid"
    remedy = "Find out why the model answers this before it meets a patient."


class GoldenMismatch(BedsideRuntimeError):
    """A golden case is not answered as the validation study recorded it."""

    exit_code = 3
    code = "golden-mismatch"
    remedy = "What runs here is not what was validated; compare model file, library versions and code."


class NeverReady(BedsideRuntimeError):
    """A server that is asked its golden cases does not become ready."""

    exit_code = 3
    code = "never-ready"
    remedy = "Look at the reason that /readyz gives, and at what the server logged."


class LibraryMissing(BedsideRuntimeError):
    """A library that the model needs cannot be imported here."""

    exit_code = 4
    code = "library-missing"
    remedy = "Install requirements.lock of the release in this environment."


class PortUnavailable(BedsideRuntimeError):
    """A port that the server should listen on belongs to another process, or may not be used."""

    exit_code = 4
    code = "port-unavailable"
    remedy = "Choose another port, or 0 for a free one."


class AuthRefused(BedsideRuntimeError):
    """Serving here would answer callers that nobody has authenticated."""

    exit_code = 2
    code = "auth-refused"
    remedy = (
        "Set [serve.auth] methods in bedside.toml and package again; or serve on 127.0.0.1; or, where a mesh lets only "
        'authenticated callers through, write acknowledged = "mesh terminates it".'
    )


class AuthKeysInvalid(BedsideRuntimeError):
    """A file that authentication believes is missing, or is none. The message never holds a key."""

    exit_code = 2
    code = "auth-keys-invalid"
    remedy = "Mount what [serve.auth] in bedside.toml asks for; docs/architecture/17-authentication.md lists the files."


class TracingUnsuitable(BedsideRuntimeError):
    """The variables of OpenTelemetry ask for something that is not there."""

    exit_code = 2
    code = "tracing-unsuitable"
    remedy = "Spans are sent as OTLP over HTTP: leave OTEL_TRACES_EXPORTER and OTEL_EXPORTER_OTLP_PROTOCOL out."


class TlsInvalid(BedsideRuntimeError):
    """Certificate, key or authorities of the public port cannot be used. The message never holds a key."""

    exit_code = 2
    code = "tls-invalid"
    remedy = "Mount a tls.crt and tls.key that belong together and are valid today, the server's own certificate first."


class AuditUnavailable(BedsideRuntimeError):
    """The audit log takes no record, so nobody may be answered."""

    exit_code = 4
    code = "audit-unavailable"
    remedy = "Look at the volume of the audit log: space, mount, errors of the disk. Then start the process again."


class EngineUnsuitable(BedsideRuntimeError):
    """An engine cannot compute this model."""

    exit_code = 1
    code = "engine-unsuitable"
    remedy = 'Write engine = "auto", which takes the fastest engine that is proven, or engine = "native".'


class EquivalenceFailed(BedsideRuntimeError):
    """An engine does not answer as the model itself."""

    exit_code = 1
    code = "equivalence-failed"
    remedy = 'Write engine = "native", and report this: an engine that differs is a defect.'


class Overloaded(BedsideRuntimeError):
    """As many requests are in flight as this process takes."""

    exit_code = 4
    code = "overloaded"
    remedy = "Ask again after the seconds of Retry-After; where it lasts, run more replicas."


class DeadlineExceeded(BedsideRuntimeError):
    """The caller's deadline, or the release's own, passed before there was an answer."""

    exit_code = 4
    code = "deadline-exceeded"
    remedy = "Allow more time, or run more replicas so that requests wait less."


class AuditBusy(BedsideRuntimeError):
    """Another process writes this audit log."""

    exit_code = 4
    code = "audit-busy"
    remedy = "Give every pod an audit directory of its own; end the other process."


class AuditUnreadable(BedsideRuntimeError):
    """The last segment of the audit log holds nothing that a new one could follow."""

    exit_code = 3
    code = "audit-unreadable"
    remedy = "Keep the directory as it is for `bedside audit verify`, and start with another one."


class AuditKeyInvalid(BedsideRuntimeError):
    """A key of the audit log is missing or is none. The message never holds the key."""

    exit_code = 2
    code = "audit-key-invalid"
    remedy = "Mount the key that [audit] in bedside.toml asks for; docs/audit-format.md says how to make one."


class RecordTooLarge(BedsideRuntimeError):
    """A request is larger than one audit record holds, so it is not answered."""

    exit_code = 2
    code = "record-too-large"
    remedy = "Send fewer instances in one request."


class AuditCheckpointInvalid(BedsideRuntimeError):
    """A checkpoint that was kept elsewhere is none, is about another log, or is not signed by a trusted key."""

    exit_code = 3
    code = "audit-checkpoint-invalid"
    remedy = "Take the checkpoints from where the cluster keeps the pod's standard output."


class AddressInvalid(BedsideRuntimeError):
    """What should be an address in object storage is none. The message does not repeat it."""

    exit_code = 2
    code = "address-invalid"
    remedy = "Write s3://BUCKET/KEY, gs://BUCKET/KEY or az://CONTAINER/KEY, without user, token or query."


class ArtifactMismatch(IntegrityError):
    """The model file in object storage is not the one that was validated; nothing of it has a name."""

    code = "artifact-mismatch"
    remedy = "Put the validated file back, best under a key of its own and versioned; or package what is there now."


class StorageUnavailable(BedsideRuntimeError):
    """Object storage does not answer, or not to the end."""

    exit_code = 4
    code = "storage-unavailable"
    remedy = "Run it again: it goes on where it ended. Where it lasts, look at network policy, endpoint and region."


class StorageRefused(BedsideRuntimeError):
    """Object storage has no such object, or not for whoever asks. The message never holds a credential."""

    exit_code = 4
    code = "storage-refused"
    remedy = "Look at bucket and key, and at the role that [deploy.model_store] gives to the ServiceAccount."


class StaticCredentials(BedsideRuntimeError):
    """A key that does not expire stands in the environment, or nothing says who asks. The message never holds it."""

    exit_code = 2
    code = "static-credentials"
    remedy = "Give the ServiceAccount a role with [deploy.model_store]; take keys out of the environment."


class VolumeFull(BedsideRuntimeError):
    """There is no room for the model file."""

    exit_code = 4
    code = "volume-full"
    remedy = "Give it a volume with room for the whole file; `bedside manifests` sizes it from the contract."


class FetchBusy(BedsideRuntimeError):
    """Another process is fetching the same file."""

    exit_code = 4
    code = "fetch-busy"
    remedy = "Wait for the other one."
