"""What a release locks of the runtime: the extras that its settings use, and no other."""

from types import SimpleNamespace
from typing import Any

import pytest

from bedside.stages import package
from bedside_runtime.contract import Audit, Auth, Jwt, Serve, Tls

TOKENS = Auth(methods=("api-key", "jwt"), jwt=Jwt(issuer="https://login.example.org", audience="icu"))


@pytest.mark.parametrize(
    ("serve", "audit", "signed", "extras"),
    [
        (Serve(), None, False, ()),
        (Serve(auth=Auth(methods=("api-key",))), None, False, ()),
        (Serve(auth=Auth(methods=("mtls",)), tls=Tls()), None, False, ()),
        (Serve(auth=TOKENS), None, False, ("auth",)),
        (Serve(tracing=True), None, False, ("tracing",)),
        (Serve(), Audit(), False, ()),
        (Serve(), Audit(payload="encrypted"), False, ("audit",)),
        (Serve(auth=TOKENS, tracing=True), Audit(signed=True), True, ("audit", "auth", "signature", "tracing")),
    ],
)
def test_a_release_locks_the_extras_that_its_settings_use(
    serve: Serve, audit: Audit | None, signed: bool, extras: tuple[str, ...]
) -> None:
    spec: Any = SimpleNamespace(serve=serve, audit=audit, model=SimpleNamespace(signed=signed))
    assert package._extras(spec) == extras
