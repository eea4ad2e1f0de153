"""A release on disk: loaded when it is whole, refused for every way of tampering with it."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import msgspec
import pytest
from cohort import DIED, FRAME, NUMBERS, PROBABILITY, asked, rows
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from bedside_runtime import contract, environment, loading, signature, signing_key
from bedside_runtime.__main__ import main
from bedside_runtime.adapters.edges import AtEdges
from bedside_runtime.contract import Contract, Converted, Engine, File, Golden, Model, Serve
from bedside_runtime.errors import (
    BedsideRuntimeError,
    EnvironmentMismatch,
    GoldenMismatch,
    IntegrityError,
    SignatureInvalid,
)

NAMES = [item.name for item in NUMBERS]


def written(directory: Path, **changes: object) -> str:
    """Write a release and return its digest."""
    (directory / "model").mkdir(parents=True)
    artifact = directory / "model" / "m.joblib"
    joblib.dump(make_pipeline(SimpleImputer(), LogisticRegression()).fit(FRAME[NAMES], DIED), artifact)
    found, predictor = asked(artifact, "sklearn", NUMBERS, PROBABILITY)
    cases = [
        {"id": f"c{place}", "inputs": dict(zip(NAMES, row, strict=True)), "expected": predictor.predict([row])[0]}
        for place, row in enumerate(rows(NUMBERS)[:5])
    ]
    (directory / "golden.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    parts: dict[str, object] = {
        "name": "icu",
        "version": "1.0.0",
        "title": "A test model",
        "model": Model(
            framework="sklearn",
            format=found.format,
            artifact="model/m.joblib",
            features=found.features,
            layout=found.layout,
            globals=found.globals,
        ),
        "inputs": NUMBERS,
        "output": PROBABILITY,
        "golden": Golden(path="golden.jsonl", cases=len(cases), tolerance=1e-9),
        "environment": environment.fingerprint(),
        "serve": Serve(),
        "files": tuple(described(directory, path) for path in ("golden.jsonl", "model/m.joblib")),
    }
    return seal(directory, Contract(**{**parts, **changes}))  # type: ignore[arg-type]  # of mixed types by design


def described(directory: Path, path: str) -> File:
    data = (directory / path).read_bytes()
    return File(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def seal(directory: Path, value: Contract) -> str:
    data = contract.encode(value)
    (directory / "contract.json").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def release(tmp_path: Path) -> Path:
    written(tmp_path / "r")
    return tmp_path / "r"


def test_a_whole_release_loads_and_proves_itself(tmp_path: Path) -> None:
    digest, stages = written(tmp_path / "r"), list[str]()
    loaded = loading.load(tmp_path / "r", on_stage=stages.append, digest=f"sha256:{digest}")
    assert (loaded.digest, loaded.report.cases, stages) == (digest, 5, ["loading", "verifying"])
    assert loaded.report.largest_difference == 0
    assert set(loaded.timings) == {"files", "environment", "model", "golden"}


def test_what_no_digest_covers_may_lie_beside(release: Path) -> None:
    (release / "measurements.json").write_text("{}")
    (release / "contract.sig").write_text("{}")
    assert loading.load(release).report.cases == 5


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    target = path.parent.parent.parent / f"elsewhere-{path.name}"
    path.rename(target)
    path.symlink_to(target)


def link_folder(release: Path) -> None:
    (release / "model").rename(release.parent / "elsewhere")
    (release / "model").symlink_to(release.parent / "elsewhere")


TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit of the model": (lambda at: flip(at / "model/m.joblib"), "m.joblib is not the file"),
    "a bit of the golden cases": (lambda at: flip(at / "golden.jsonl"), "golden.jsonl is not the file"),
    "a file taken away": (lambda at: (at / "golden.jsonl").unlink(), "golden.jsonl is missing"),
    "a file added": (lambda at: (at / "model/more.py").write_text(""), "model/more.py is not part"),
    "a hidden file added": (lambda at: (at / ".hidden").write_text(""), ".hidden is not part"),
    "a file cut": (lambda at: os.truncate(at / "model/m.joblib", 9), "m.joblib is not the file"),
    "a file linked": (lambda at: link(at / "model/m.joblib"), "m.joblib is a link"),
    "a folder linked": (link_folder, "model is a link"),
    "a pipe for a file": (lambda at: os.mkfifo(at / "pipe"), "pipe is no regular file"),
    "no contract": (lambda at: (at / "contract.json").unlink(), "this directory is no release"),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_release_that_was_tampered_with_is_refused(release: Path, how: str) -> None:
    tamper, why = TAMPERED[how]
    tamper(release)
    with pytest.raises(IntegrityError, match=why):
        loading.load(release)


def test_every_flipped_byte_of_the_contract_is_refused(tmp_path: Path) -> None:
    digest = written(tmp_path / "r")
    path = tmp_path / "r" / "contract.json"
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(IntegrityError, match="was asked for"):
            loading.load(tmp_path / "r", digest=digest)


def test_a_path_that_leaves_the_release_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("x")
    outside = File(path="../outside", sha256=hashlib.sha256(b"x").hexdigest(), size=1)
    written(tmp_path / "r", files=(outside,))
    with pytest.raises(IntegrityError, match=r"\.\./outside is missing"):
        loading.load(tmp_path / "r")


@pytest.mark.parametrize("path", ["golden.jsonl", "model/m.joblib"])
def test_a_file_that_is_used_without_a_digest_is_refused(release: Path, path: str) -> None:
    before = contract.decode((release / "contract.json").read_bytes())
    files = tuple(item for item in before.files if item.path != path)
    seal(release, msgspec.structs.replace(before, files=files))
    with pytest.raises(IntegrityError, match=f"{path} is used, and no digest"):
        loading.load(release)


def test_a_converted_model_that_is_used_without_a_digest_is_refused(tmp_path: Path) -> None:
    graph = Converted(path="engine/model.onnx", converters={}, opsets={})
    written(tmp_path / "r", engine=Engine(name="onnx", converted=graph))
    with pytest.raises(IntegrityError, match=r"engine/model\.onnx is used, and no digest"):
        loading.load(tmp_path / "r")


def test_an_engine_is_told_between_which_ends_its_proof_drew_numbers_of_no_declared_range(tmp_path: Path) -> None:
    written(tmp_path / "r", engine=Engine(name="folded"))
    found, files = loading.verified(tmp_path / "r")
    engine = loading.open_model(found, files, "folded")
    cells = [case.row.cells for case in loading.golden_cases(found, files)]
    assert isinstance(engine, AtEdges)
    assert None not in engine.at_once(cells)
    for place in range(len(NUMBERS)):
        far = (*cells[0][:place], 1e12, *cells[0][place + 1 :])
        assert engine.at_once([far]) == [None]


def test_golden_cases_that_went_missing_are_counted(release: Path) -> None:
    before = contract.decode((release / "contract.json").read_bytes())
    seal(release, msgspec.structs.replace(before, golden=msgspec.structs.replace(before.golden, cases=6)))
    with pytest.raises(IntegrityError, match="5 golden cases stand in the file; 6 were validated"):
        loading.load(release)


def test_another_library_version_is_refused_before_the_model_is_built(tmp_path: Path) -> None:
    here = environment.fingerprint()
    other = msgspec.structs.replace(here, distributions={**here.distributions, "numpy": "0.0.1"})
    written(
        tmp_path / "r",
        environment=other,
        model=Model(framework="sklearn", format="joblib", artifact="model/m.joblib", features=(), layout="array"),
    )
    with pytest.raises(EnvironmentMismatch, match=r"numpy: validated with 0\.0\.1"):
        loading.load(tmp_path / "r")


def test_an_answer_that_the_study_did_not_record_is_refused(release: Path) -> None:
    first, *others = (release / "golden.jsonl").read_text().splitlines()
    case = json.loads(first)
    case["expected"] = 1 - case["expected"]
    (release / "golden.jsonl").write_text("\n".join([json.dumps(case), *others]))
    before = contract.decode((release / "contract.json").read_bytes())
    files = tuple(described(release, item.path) for item in before.files)
    seal(release, msgspec.structs.replace(before, files=files))
    with pytest.raises(GoldenMismatch, match="1 of 5"):
        loading.load(release)


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-m", "bedside_runtime", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_says_what_it_measured_in_one_line(tmp_path: Path) -> None:
    digest = written(tmp_path / "r")
    done = run("verify", str(tmp_path / "r"), "--digest", digest, "--json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["digest"], said["cases"]) == (0, digest, 5)
    assert said["rss_bytes"] > 10_000_000


def test_the_command_says_a_refusal_on_both_streams(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "nothing"), "--json"]) == IntegrityError.exit_code
    said = capsys.readouterr()
    assert json.loads(said.out)["code"] == "integrity"
    assert said.err.startswith("error: nothing cannot be read")
    assert "\nremedy: " in said.err


def test_the_command_inspects_and_answers_a_file_that_is_no_release_yet(release: Path) -> None:
    request = {
        "framework": "sklearn",
        "artifact": str(release / "model/m.joblib"),
        "code": [],
        "inputs": [],
        "output": msgspec.to_builtins(PROBABILITY),
    }
    done = run("inspect", "--json", given=json.dumps(request))
    assert json.loads(done.stdout)["features"] == NAMES
    request["inputs"] = msgspec.to_builtins(NUMBERS)
    lines = (release / "golden.jsonl").read_text().splitlines()
    cases = [json.loads(line) for line in lines]
    done = run("answer", given=json.dumps({"request": request, "rows": [case["inputs"] for case in cases]}))
    assert json.loads(done.stdout) == pytest.approx([case["expected"] for case in cases], abs=1e-12)


def test_a_request_that_is_none_is_refused_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    done = run("inspect", "--json", given="{")
    assert done.returncode == 2
    assert "stdin cannot be read" in done.stderr
    assert BedsideRuntimeError.__name__ not in done.stderr


# -- signed releases


@pytest.fixture
def key(release: Path) -> Path:
    """Sign the release, and return the public key."""
    private = ec.generate_private_key(ec.SECP256R1())
    path = release.parent / "release.pub"
    path.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signed = (
        *sorted(item.path for item in contract.decode((release / "contract.json").read_bytes()).files),
        "contract.json",
    )
    sha256 = {name: described(release, name).sha256 for name in signed}
    statement = {
        "_type": signature.STATEMENT,
        "subject": [{"name": "icu", "digest": {"sha256": signature.root(list(sha256.values()))}}],
        "predicateType": signature.PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256"},
            "resources": [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in sha256.items()],
        },
    }
    payload = json.dumps(statement).encode()
    made = private.sign(signature.pae(payload), ec.ECDSA(hashes.SHA256()))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": signature.PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(made).decode()}],
    }
    (release / "contract.sig").write_text(json.dumps({"mediaType": signature.BUNDLE, "dsseEnvelope": envelope}))
    return path


def test_a_signed_release_loads_with_the_key_that_signed_it(release: Path, key: Path) -> None:
    (release / "measurements.json").write_text("{}")
    assert main(["verify", str(release), "--key", str(key)]) == 0


def test_the_key_may_be_named_by_the_environment(
    release: Path, key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEDSIDE_RELEASE_KEY", str(key))
    assert main(["verify", str(release)]) == 0
    (release / "contract.sig").unlink()
    assert main(["verify", str(release), "--json"]) == 3
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["code"] == "signature-invalid"


def reseal(release: Path) -> None:
    """Make another release of it that is whole in itself: a file more, and a contract that names it."""
    (release / "more.txt").write_text("more")
    found = contract.decode((release / "contract.json").read_bytes())
    files = tuple(sorted((*found.files, described(release, "more.txt")), key=lambda item: item.path))
    seal(release, msgspec.structs.replace(found, files=files))


UNSIGNED: dict[str, Callable[[Path], object]] = {
    "no signature": lambda at: (at / "contract.sig").unlink(),
    "an empty signature": lambda at: (at / "contract.sig").write_bytes(b""),
    "another release, whole in itself": reseal,
    "a flipped bit": lambda at: flip(at / "contract.sig"),
    "a file that nobody signed": lambda at: (at / "more.txt").write_text("more"),
}


@pytest.mark.parametrize("case", UNSIGNED)
def test_where_a_key_is_given_nothing_else_than_what_it_signed_loads(release: Path, key: Path, case: str) -> None:
    UNSIGNED[case](release)
    with pytest.raises(SignatureInvalid):
        loading.load(release, key=signing_key.read(key))


def test_a_key_that_cannot_be_used_is_refused_before_anything_is_loaded(release: Path, key: Path) -> None:
    assert main(["verify", str(release), "--key", str(release / "nothing.pub")]) == 2
    key.write_text("no key")
    assert main(["verify", str(release), "--key", str(key)]) == 2
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    key.write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert main(["serve", str(release), "--key", str(key), "--port", "0", "--admin-port", "0"]) == 2
