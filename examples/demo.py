"""`make demo`: package the ICU example, serve it, ask it about a real admission, then flip one byte of the model."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

HERE = Path(__file__).parent
BEDSIDE = Path(sys.executable).parent / "bedside"
DEADLINE = 60.0
"""Seconds until the server must be ready."""


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def bedside(work: Path, *words: str, expect: int = 0) -> None:
    """Run one bedside command in ``work``, show it and all that it says, and insist on its exit code."""
    print(f"$ bedside {' '.join(words)}", flush=True)
    done = subprocess.run([BEDSIDE, *words], cwd=work, stderr=subprocess.STDOUT, check=False)  # noqa: S603
    if done.returncode != expect:
        sys.exit(f"expected exit code {expect}, got {done.returncode}")
    if expect:
        print(f"exit code {expect}", flush=True)


def curl(url: str) -> None:
    """Show what a GET of ``url`` answers, status first."""
    answer = httpx.get(url, timeout=5.0)
    print(f"GET {url}\n{answer.status_code}  {answer.text}", flush=True)


def wait(server: subprocess.Popen[str], url: str) -> float:
    """Wait until the server is ready and return how many seconds that took."""
    started = time.monotonic()
    while time.monotonic() - started < DEADLINE:
        if server.poll() is not None:
            sys.exit(f"the server ended with {server.returncode}")
        try:
            if httpx.get(f"{url}/readyz", timeout=1.0).status_code == httpx.codes.OK:
                return time.monotonic() - started
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    sys.exit("the server was not ready in time")


def serve(work: Path, release: str, patient: Path) -> None:
    """Serve ``release``, wait until it is ready, ask about ``patient``, stop it cleanly."""
    port, admin = free_ports()
    url = f"http://127.0.0.1:{port}"
    words = ["serve", release, "--port", str(port), "--admin-port", str(admin)]
    print(f"$ bedside {' '.join(words)} &", flush=True)
    log = (work / "server.log").open("w")
    with log, subprocess.Popen([BEDSIDE, *words], cwd=work, stderr=log, text=True) as server:  # noqa: S603
        try:
            print(f"ready after {wait(server, url):.1f} s", flush=True)
            curl(f"{url}/readyz")
            print(f"$ cat {patient.name}\n{patient.read_text()}", flush=True)
            bedside(work, "predict", url, patient.name)
        finally:
            server.terminate()
            code = server.wait(30)
    print(f"stopped with SIGTERM, exit code {code}", flush=True)
    if code:
        sys.exit(code)


def free_ports() -> Sequence[int]:
    """Return two ports that nobody uses now."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def flip(file: Path) -> None:
    """Flip the lowest bit of the byte in the middle of ``file``."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bedside-demo-") as folder:
        work = Path(folder)
        project = work / "icu-mortality"
        shutil.copytree(
            HERE / "icu-mortality", project, ignore=shutil.ignore_patterns("dist", "train.py", "__pycache__")
        )
        release = "icu-mortality/dist/icu-mortality-1.0.0"
        patient = work / "admission.json"
        first = json.loads((project / "golden.jsonl").read_text().splitlines()[0])
        patient.write_text(json.dumps(first["inputs"], indent=2))

        say("1. Package: lock, inspect, and replay the study's golden cases in a fresh environment")
        bedside(work, "package", "icu-mortality")
        say("2. Verify: recompute and compare everything")
        bedside(work, "verify", release)
        say("3. Serve it and ask about one real admission")
        serve(work, release, patient)
        say(f"   The validation study recorded {first['expected']!r} for this admission.")
        say("4. Flip one bit of the model: what runs must be what was validated")
        flip(work / release / "model" / "icu.joblib")
        bedside(work, "verify", release, expect=3)
        bedside(work, "serve", release, expect=3)
        say("Refused both times, before anything of it was loaded.")


if __name__ == "__main__":
    main()
