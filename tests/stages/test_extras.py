"""What a release locks of the runtime: the extras that its settings use, and no other."""

from types import SimpleNamespace
from typing import Any

import pytest

from bedside.stages import package
from bedside_runtime.contract import Audit, Auth, Jwt, Serve, Tls

TOKENS = Auth(methods=("api-key", "jwt"), jwt=Jwt(issuer="https://login.example.org", audience="icu"))


@pytest.mark.parametrize(
    ("serve", "audit", "signed", "source", "extras"),
    [
        (Serve(), None, False, None, ()),
        (Serve(auth=Auth(methods=("api-key",))), None, False, None, ()),
        (Serve(auth=Auth(methods=("mtls",)), tls=Tls()), None, False, None, ()),
        (Serve(auth=TOKENS), None, False, None, ("auth",)),
        (Serve(tracing=True), None, False, None, ("tracing",)),
        (Serve(), Audit(), False, None, ()),
        (Serve(), Audit(payload="encrypted"), False, None, ("audit",)),
        (Serve(auth=TOKENS, tracing=True), Audit(signed=True), True, None, ("audit", "auth", "signature", "tracing")),
        (Serve(), None, False, "s3://models/icu.ubj", ("fetch",)),
        (Serve(), None, True, "s3://models/icu.ubj", ("fetch", "signature")),
    ],
)
def test_a_release_locks_the_extras_that_its_settings_use(
    serve: Serve, audit: Audit | None, signed: bool, source: str | None, extras: tuple[str, ...]
) -> None:
    spec: Any = SimpleNamespace(serve=serve, audit=audit, model=SimpleNamespace(signed=signed, source=source))
    assert package._extras(spec) == extras
