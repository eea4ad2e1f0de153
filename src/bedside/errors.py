"""The tools' one family of errors: each class carries its exit code and what to do next.

Exit codes (every verb): 0 done; 1 a check or gate said no; 2 usage or an invalid bedside.toml;
3 verification failed (digest, signature, golden case); 4 an outside tool or service failed or is missing.
"""

from collections.abc import Sequence
from typing import ClassVar

from bedside.findings import Finding


class BedsideError(Exception):
    """Anything a verb refuses to do, with the remedy.

    Attributes:
        exit_code: What the command exits with.
        remedy: What the user can do next, one sentence.
        findings: The single problems, where there are several.
    """

    exit_code: ClassVar[int] = 1
    remedy: str = ""

    def __init__(self, message: str, *, remedy: str = "", findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)
        if remedy:
            self.remedy = remedy


class GateRefused(BedsideError):
    """A check or gate said no."""

    exit_code = 1


class TagTaken(GateRefused):
    """A tag stands for another image already; a version is given once."""

    remedy = "Raise [model] version and build again; what the tag names now may be running somewhere."


class UsageError(BedsideError):
    """A command was called with something it cannot work on."""

    exit_code = 2


class ReferenceInvalid(UsageError):
    """The name of an image, or a digest, does not follow the grammar of references."""

    remedy = "Write host[:port]/repository[:tag][@sha256:...]."


class KeyInvalid(UsageError):
    """A file or service gives no key that can be signed or verified with. The message never holds a key or password."""

    remedy = "Name a P-256 or Ed25519 key in PEM, or one of `cosign generate-key-pair`; COSIGN_PASSWORD opens it."


class TrustInvalid(UsageError):
    """A trust policy cannot be read, so nothing can be measured with it."""

    remedy = "Correct the trust policy; docs/trust.md has every key of it."


class SpecInvalid(BedsideError):
    """bedside.toml, or a file that it names, is not valid; every problem is a finding."""

    exit_code = 2
    remedy = "Correct each line above and run the command again."


class VerificationFailed(BedsideError):
    """What is here is not what was validated: a digest, a signature or a golden case differs."""

    exit_code = 3


class ImageInvalid(VerificationFailed):
    """A manifest, index, config, layer or layout is not what the OCI specifications or its digest say."""

    remedy = "Take the image again from where it was built; nothing of this one was used."


class NotTrusted(VerificationFailed):
    """An image or a release is not what the trust policy asks for; every reason is a finding."""

    remedy = "Do not run it. Find out who made it; sign it, or scan it anew, only once you know."


class ToolFailed(BedsideError):
    """An outside tool or service failed or is missing."""

    exit_code = 4


class ScanIncomplete(ToolFailed):
    """A scan could not look at everything, or at nothing; what it did not look at is never called clean."""

    remedy = "Mend what is named and scan again; until then the image counts as not scanned."


class RegistryFailed(ToolFailed):
    """A registry cannot be reached, or answers with an error. No tag was moved."""

    remedy = "Run the command again: what was uploaded whole is kept and not sent twice."


class RegistryInterrupted(RegistryFailed):
    """A registry dropped the connection, is busy or had an error of its own, each time it was asked.

    Attributes:
        after: Seconds that it asked to be left alone.
    """

    after: float = 0.0


class RegistryDenied(RegistryFailed):
    """A registry does not let these credentials do this. The message never holds them."""

    remedy = "Log in with `podman login HOST` or `docker login HOST`, with an account that may do this."


class CredentialsUnreadable(UsageError):
    """A file or helper that keeps credentials cannot be read. The message never holds them."""

    remedy = "Log in again with `podman login HOST` or `docker login HOST`."


class KubeconfigInvalid(UsageError):
    """A kubeconfig cannot be used. The message never holds a credential."""

    remedy = "Look at `kubectl config view`; name file and context with --kubeconfig and --context."


class ClusterFailed(ToolFailed):
    """A cluster cannot be reached, or its API server answers with an error.

    Attributes:
        status: HTTP status of the answer, 0 where there was none.
    """

    status: int = 0
    remedy = "Run the command again when the cluster answers: what was applied is not lost, and nothing is done twice."


class ClusterInterrupted(ClusterFailed):
    """The API server dropped the connection, is busy or had an error of its own, each time it was asked.

    Attributes:
        after: Seconds that it asked to be left alone.
    """

    after: float = 0.0


class ClusterDenied(ClusterFailed):
    """The API server does not let this account do this."""

    remedy = "Have the rights given that the message names, or choose another account with --context."


class AdmissionRefused(GateRefused):
    """The API server, or a webhook or quota of the cluster, does not take an object."""

    remedy = (
        "Change what the message names in [deploy], or have the cluster's policy changed, and run the command again."
    )


class FieldsTaken(GateRefused):
    """Another field manager owns fields that would be changed."""

    remedy = "Find out who changes them; --take-over makes them bedside's from now on."


class DeployRunning(GateRefused):
    """Somebody else deploys this model in this namespace right now."""

    remedy = "Wait until it ends: `bedside status` shows it."


class ChangedMeanwhile(GateRefused):
    """Somebody else changed the Deployment while it was followed."""


class RolloutFailed(ToolFailed):
    """A rollout came to no good end: images, nodes, space, time."""


class RolloutUnproven(VerificationFailed):
    """A pod does not answer as the validation study recorded, or is another release than was asked for."""
