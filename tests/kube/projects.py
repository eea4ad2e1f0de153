"""A project with a release in its dist/, small and whole, for tests of everything that starts from one."""

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

import msgspec

from bedside_runtime import canonical
from bedside_runtime.contract import Audit, Auth, Contract, File, Serve, Tls, encode

DIGEST = "sha256:" + hashlib.sha256(b"an image").hexdigest()
IMAGE = f"registry.example.org/icu/test@{DIGEST}"

GATEWAY = """
[deploy]
namespace = "icu"
host = "icu.example.org"
callers = ["ehr"]

[deploy.gateway]
name = "public"
namespace = "gateway"

[deploy.secrets.store]
name = "vault"
path = "icu-test"

[deploy.staging]
host = "icu.staging.example.org"
"""

INGRESS = """
[deploy]
exposure = "ingress"
host = "icu.example.org"
mesh = "istio"
priority_class = "clinical"

[deploy.ingress]
class = "traefik"
namespace = "traefik"
tls_secret = "icu-tls"

[deploy.replicas]
min = 2
max = 6
custom_metrics = true

[deploy.resources]
cpu = "2500m"
memory = "2Gi"
gpus = 1

[deploy.audit_volume]
kind = "scratch"
size = "5Gi"

[deploy.secrets]
audit = "icu-keys"
pull = "registry"
"""

ISSUER = """
[deploy]
exposure = "none"

[deploy.issuer]
namespace = "keycloak"
cidrs = ["203.0.113.0/28"]
"""

TLS = """
[deploy]
host = "icu.example.org"
callers = ["ehr"]

[deploy.gateway]
name = "public"
namespace = "gateway"
backend_ca = "internal-ca"

[deploy.secrets]
tls = "icu-certificate"
"""

COLLECTOR = """
[deploy.tracing]
endpoint = "http://collector.observability.svc:4318"
namespace = "observability"
ratio = 0.05
"""

S3 = """
[deploy.model_store]
cidrs = ["203.0.113.0/28"]
region = "eu-central-1"
aws_role = "arn:aws:iam::123456789012:role/icu-models"
"""

GCS = """
[deploy.model_store]
cidrs = ["203.0.113.0/28"]
google_account = "icu-models@hospital.iam.gserviceaccount.com"
"""

BLOB = """
[deploy.model_store]
cidrs = ["203.0.113.0/28"]
account = "icumodels"
azure_client = "11111111-2222-3333-4444-555555555555"
"""

NOTHING = """
[deploy]
exposure = "none"

[deploy.monitoring]
enabled = false
"""

LOCK = f"bedside-runtime==0.1.0 --hash=sha256:{'0' * 64}\n"
AUDITED = Audit(payload="encrypted", signed=True)
GUARDED = Auth(methods=("api-key",))


def make(
    root: Path,
    deploy: str = GATEWAY,
    *,
    name: str = "icu-test",
    auth: Auth = GUARDED,
    tls: Tls | None = None,
    source: str | None = None,
    lock: str | None = None,
    **changes: Any,
) -> Path:
    """Write a project to ``root`` and return its release; ``changes`` are of the contract.

    With a ``source``, the release does not carry its model.
    """
    contracts, served = importlib.import_module("contracts"), importlib.import_module("served")
    files = {
        "model/m.joblib": b"model",
        "model_card.json": b"{}",
        "golden.jsonl": served.GOLDEN + b"\n",
        "requirements.lock": (lock or LOCK).encode(),
    }
    recorded = tuple(File(path=path, sha256=_sha256(data), size=len(data)) for path, data in sorted(files.items()))
    plain = contracts.contract()
    golden = {"golden": type(plain.golden)(path="golden.jsonl", cases=1, tolerance=1e-9)}
    changes["serve"] = msgspec.structs.replace(changes.get("serve", Serve()), auth=auth, tls=tls)
    model = {"model": msgspec.structs.replace(plain.model, source=source)}
    contract: Contract = contracts.contract(
        **{"name": name, "audit": AUDITED, "files": recorded, **golden, **model, **changes}
    )
    release = root / "dist" / f"{contract.name}-{contract.version}"
    data = encode(contract)
    if source is not None:
        del files["model/m.joblib"]
    for path, content in {**files, "contract.json": data}.items():
        (release / path).parent.mkdir(parents=True, exist_ok=True)
        (release / path).write_bytes(content)
    measured = {"digest": canonical.digest(data), "timings": {"model": 2.5, "golden": 1.5}, "rss_bytes": 200 * 2**20}
    (release / "measurements.json").write_text(json.dumps(measured))
    (root / "bedside.toml").write_text(f'schema = 1\n[model]\nname = "{name}"\n{deploy}')
    return release


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
