"""Whether a file should not be in an image at all: keys, credentials, histories, notebooks, dumps. Pure.

trivy looks for secrets in text; this looks where it does not: in pickles and other data, in archives, and at files
whose name alone says that they hold credentials.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from bedside.findings import Finding, Severity
from bedside.provenance import rules
from bedside.provenance.contents import File

_KEY: Final = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]{0,40})PRIVATE KEY-----\s{0,4}(?:[\w-]{1,40}:[^\n]{0,200}\n){0,5}\s{0,4}"
    rb"[A-Za-z0-9+/=\r\n\\]{64}"
)
_NAMES: Final = re.compile(
    r"(?:^|/)(?:\.netrc|_netrc|\.pgpass|\.my\.cnf|\.git-credentials|\.htpasswd|\.dockercfg|\.env(?:\.[a-z]+)?"
    r"|\.aws/credentials|\.docker/config\.json|\.kube/config|\.azure/[^/]*tokens?[^/]*\.json|\.config/gcloud/[^/]+\.db"
    r"|\.ssh/id_[a-z0-9]+|id_(?:rsa|dsa|ecdsa|ed25519)|cosign\.key|[^/]+\.(?:p12|pfx|jks|keystore|kdbx))$"
)
_SAMPLE: Final = re.compile(r"\.env\.(?:example|sample|template|dist)$")
_HISTORY: Final = re.compile(r"(?:^|/)(\.git|\.hg|\.svn)/(?:HEAD|index|config|store/|wc\.db|entries)")
_DUMPS: Final = (b"PGDMP", b"REDIS0", b"SQLite format 3\0", b"JAVA PROFILE", b"\x6d\xe2\x99\x81")
_SQL: Final = re.compile(
    rb"\A(?:\s|--[^\n]*\n|/\*.{0,200}?\*/)*"
    rb"(?:-- (?:MySQL|MariaDB|PostgreSQL)|PRAGMA foreign_keys|(?:CREATE|DROP) (?:TABLE|DATABASE)"
    rb"|COPY [\w.\"]+ .{0,400}?FROM stdin|INSERT INTO)",
    re.DOTALL,
)


_ELF: Final = b"\x7fELF"
"""Programs and libraries: those of cryptography carry keys for testing themselves (libgnutls does)."""


def judge(file: File) -> Iterator[Finding]:
    """Give what a file is that an image should not have."""
    for window in file.windows if not file.head.startswith(_ELF) else ():
        if (found := _KEY.search(window)) is not None:
            kind = found[1].decode().strip().lower()
            yield _finding(
                "BED-SCN-002",
                file,
                f"holds {'an' if kind[:1] in 'aeio' and kind else 'a'} {f'{kind} ' if kind else ''}private key",
            )
            break
    if _NAMES.search(file.path) and not _SAMPLE.search(file.path) and file.size:
        yield _finding("BED-SCN-003", file, "is a file that holds credentials")
    if file.name.endswith(".ipynb"):
        yield from _notebook(file)
    if file.head.startswith(_DUMPS) or _is_core(file.head):
        yield _finding("BED-SCN-015", file, "is a dump or a database")
    elif file.name.endswith((".sql", ".dump")) and _SQL.search(file.head[:65536]):
        yield _finding("BED-SCN-015", file, "is a dump of a database")


def history(path: str) -> str | None:
    """Return the directory of a version control system that ``path`` is in, ``None`` where it is in none."""
    found = _HISTORY.search(path)
    return path[: found.end(1)] if found is not None else None


def history_found(directory: str, layer: str) -> Finding:
    """Return the finding about such a directory."""
    message = f"/{directory} is the history of a project, with everything that was ever in it; layer {layer}"
    return rules.finding("BED-SCN-014", message, file=f"/{directory}", path=layer)


def unopened(file: File, why: str) -> Finding:
    """Return the finding about an archive that was not looked into."""
    message = f"/{file.path} is an archive that was not looked into: {why}; layer {file.layer}"
    return rules.finding("BED-SCN-016", message, file=f"/{file.path}", path=file.layer)


def _notebook(file: File) -> Iterator[Finding]:
    try:
        cells = json.loads(file.head).get("cells", [])
        shown = any(cell.get("outputs") for cell in cells)
    except (ValueError, AttributeError, RecursionError):
        shown = True
    if shown:
        yield _finding("BED-SCN-013", file, "is a notebook with results, which may show patients")
    else:
        yield _finding("BED-SCN-013", file, "is a notebook", Severity.NOTE)


def _is_core(head: bytes) -> bool:
    """Whether this is the memory of a process: an ELF file of the type ET_CORE."""
    return head.startswith(_ELF) and int.from_bytes(head[16:18], "little" if head[5:6] == b"\x01" else "big") == 4


def _finding(rule: str, file: File, what: str, severity: Severity | None = None) -> Finding:
    message = f"/{file.path} {what}; layer {file.layer}"
    return rules.finding(rule, message, file=f"/{file.path}", path=file.layer, severity=severity)
