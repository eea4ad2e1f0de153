"""Leave out of an installation what serving does not need; keep each RECORD true."""

import csv
import hashlib
import pathlib
import re
import shutil
import sys

site = pathlib.Path(sys.argv[1])
shutil.rmtree(site / "bin", ignore_errors=True)
for folder in sorted(site.glob("*/**/")):
    if folder.name in ("test", "tests") and (any(folder.glob("__init__.py")) or any(folder.glob("test_*.py"))):
        shutil.rmtree(folder)
tests = r"(^|/)(conftest\.py|_test_\w+\.[\w-]+\.so|\w+_tests\.[\w-]+\.so|_simd\.[\w-]+\.so)\Z"
sources = r"\.(c|cc|cpp|h|hpp|a|f|f90|pyi|(pyx|pxd|pxi)(\.tp|\.in)?)\Z"
notes = r"^[^/]+\.dist-info/(INSTALLER|REQUESTED|direct_url\.json|uv_\w+\.json)\Z|^\.lock\Z"
samples = r"^sklearn/datasets/(data|descr|images)/.*(?<!\.py)\Z"
unused = re.compile(f"{tests}|{sources}|{notes}|{samples}")
for path in sorted(site.rglob("*")):
    if path.is_file() and unused.search(path.relative_to(site).as_posix()):
        path.unlink()
for folder in sorted(site.glob("**/"), reverse=True):
    if not any(folder.iterdir()):
        folder.rmdir()
for record in sorted(site.glob("*.dist-info/RECORD")):
    rows = csv.reader(record.read_text(encoding="utf-8").splitlines())
    kept = sorted(row for row in rows if row and (site / row[0]).is_file())
    record.unlink()
    with record.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(kept)
first: dict[str, pathlib.Path] = {}
for path in sorted(site.rglob("*.so*")):
    found = first.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    if found is not path:
        path.unlink()
        path.hardlink_to(found)
