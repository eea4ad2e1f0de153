import hashlib
from pathlib import Path

import msgspec
import pytest

from bedside.errors import UsageError
from bedside.release.compare import differences
from bedside.release.reading import describe, open_release, survey
from bedside_runtime.contract import Contract, File
from bedside_runtime.contract import encode as encoded
from bedside_runtime.errors import ContractInvalid

FILES = {"model/m.ubj": b"model bytes", "code/prepare.py": b"x = 1\n", "golden.jsonl": b"{}\n"}


@pytest.fixture
def release(tmp_path: Path, a_contract: Contract) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    files = tuple(
        File(path=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data)) for name, data in sorted(FILES.items())
    )
    (tmp_path / "contract.json").write_bytes(encoded(msgspec.structs.replace(a_contract, files=files)))
    (tmp_path / "measurements.json").write_text("{}")
    return tmp_path


def rules(release: Path) -> list[tuple[str, str]]:
    found = differences(open_release(release).contract, survey(release))
    return [(finding.rule, finding.file) for finding in found]


def test_a_release_as_it_was_written_has_no_difference(release: Path) -> None:
    assert rules(release) == []


def test_a_missing_file_is_named(release: Path) -> None:
    (release / "model/m.ubj").unlink()
    assert rules(release) == [("BED-REL-001", "model/m.ubj")]


@pytest.mark.parametrize("name", ["model/other.bin", "extra.txt", "code/__pycache__/p.pyc", ".hidden"])
def test_a_file_that_nobody_validated_is_named(release: Path, name: str) -> None:
    (release / name).parent.mkdir(exist_ok=True)
    (release / name).write_bytes(b"")
    assert rules(release) == [("BED-REL-002", name)]


def test_a_symbolic_link_is_never_followed(release: Path) -> None:
    (release / "model/m.ubj").rename(release.parent / "elsewhere")
    (release / "model/m.ubj").symlink_to(release.parent / "elsewhere")
    assert rules(release) == [("BED-REL-003", "model/m.ubj")]


def test_a_directory_that_is_a_symbolic_link_is_named(release: Path) -> None:
    (release / "more").symlink_to(release.parent)
    assert rules(release) == [("BED-REL-002", "more")]


def test_another_size_and_another_digest_are_told_apart(release: Path) -> None:
    (release / "model/m.ubj").write_bytes(b"model bytes!")
    (release / "golden.jsonl").write_bytes(b"[]\n")
    assert rules(release) == [("BED-REL-005", "golden.jsonl"), ("BED-REL-004", "model/m.ubj")]


def test_every_single_flipped_bit_of_every_file_is_found(release: Path) -> None:
    contract = open_release(release).contract
    for name, data in FILES.items():
        for bit in range(len(data) * 8):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            (release / name).write_bytes(flipped)
            assert len(list(differences(contract, survey(release)))) == 1
        (release / name).write_bytes(data)


def test_a_file_is_described_in_chunks(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "big").write_bytes(data)
    described = describe("big", tmp_path / "big")
    assert (described.size, described.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_a_folder_without_a_contract_is_no_release(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no contract\.json") as refused:
        open_release(tmp_path)
    assert "bedside package" in refused.value.remedy


def test_an_edited_contract_is_refused(release: Path) -> None:
    path = release / "contract.json"
    path.write_bytes(path.read_bytes().replace(b'"icu-test"', b'"icu-tess"') + b" ")
    with pytest.raises(ContractInvalid):
        open_release(release)
