"""Bearer tokens and certificates, from where an `Access` says; asked for again when they expire or are refused."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from bedside.errors import ClusterDenied, ToolFailed
from bedside.kube.cluster.access import Access, ClientCertificate, Plugin, Token, TokenFile
from bedside.process import Runner

_PLUGIN_SECONDS: Final = 60.0
_EARLY: Final = 30.0
"""Seconds before its end at which a token counts as expired."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is shown to the API server. ``expires`` counts seconds since 1970; infinity where nobody said."""

    token: str | None = field(default=None, repr=False)
    certificate: ClientCertificate | None = None
    expires: float = float("inf")


class Wallet:
    """The credentials of one access, kept in memory until they end."""

    def __init__(self, access: Access, runner: Runner, now: Callable[[], float] = time.time) -> None:
        self._access, self._runner, self._now = access, runner, now
        self._held: Credentials | None = None

    @property
    def renews(self) -> bool:
        """Whether asking again may give other credentials."""
        return isinstance(self._access.login, Plugin | TokenFile)

    def forget(self) -> None:
        """Ask again next time: the API server refused what is held."""
        self._held = None

    def credentials(self) -> Credentials:
        """Return what to show now.

        Raises:
            ClusterDenied: A plugin gave none, or a token cannot be read.
        """
        if self._held is None or self._held.expires - _EARLY <= self._now():
            self._held = self._ask()
        return self._held

    def _ask(self) -> Credentials:
        match self._access.login:
            case None:
                return Credentials(None, self._access.certificate)
            case Token(secret):
                return Credentials(secret, self._access.certificate)
            case TokenFile(path):
                try:
                    token = path.read_text(encoding="utf-8").strip()
                except OSError as error:
                    raise ClusterDenied(f"the token {path} cannot be read: {error.strerror}") from None
                return Credentials(token, self._access.certificate, self._now() + 2 * _EARLY)
            case Plugin() as plugin:
                return self._run(plugin)

    def _run(self, plugin: Plugin) -> Credentials:
        """Run the plugin as client.authentication.k8s.io says: told by a variable, answers on stdout."""
        spec: dict[str, Any] = {"interactive": False}
        if plugin.cluster is not None:
            spec["cluster"] = dict(plugin.cluster)
        asked = {"apiVersion": plugin.version, "kind": "ExecCredential", "spec": spec}
        env = {**plugin.environment, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
        program = plugin.command[0]
        try:
            done = self._runner.run(plugin.command, env=env, timeout=_PLUGIN_SECONDS)
        except ToolFailed as error:
            raise ClusterDenied(f"the kubeconfig's plugin: {error}", remedy=plugin.hint or error.remedy) from None
        if not done.ok:
            raise ClusterDenied(
                f"{program}, which logs in for {self._access.context}, ended with {done.returncode}",
                remedy=f"Run `{program}` by hand, log in again, and run the command again.",
            )
        return self._decoded(done.stdout, program)

    def _decoded(self, text: str, program: str) -> Credentials:
        try:
            status = json.loads(text)["status"]
            token, ends = status.get("token"), status.get("expirationTimestamp")
            pem = status.get("clientCertificateData"), status.get("clientKeyData")
            certificate = ClientCertificate(pem[0].encode(), pem[1].encode()) if all(pem) else self._access.certificate
            expires = datetime.fromisoformat(ends).astimezone(UTC).timestamp() if ends else float("inf")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ClusterDenied(f"{program} answered something that is no credential") from None
        if token is None and certificate is None:
            raise ClusterDenied(f"{program} answered without a token and without a certificate")
        return Credentials(token, certificate, expires)
