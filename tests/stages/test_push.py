"""Pushing to a registry that is there, and to one that breaks at every stage."""

import json
import logging
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.image.images import LARGE, artifact, image
from tests.image.simulated_registry import (
    Handler,
    Registry,
    altered,
    drop_midway,
    drop_unanswered,
    drop_unread,
    matching,
    numbered,
    running,
    status,
)

from bedside.errors import (
    BedsideError,
    ImageInvalid,
    RegistryDenied,
    RegistryFailed,
    RegistryInterrupted,
    TagTaken,
    UsageError,
)
from bedside.image import layout as layouts
from bedside.image import oci
from bedside.image.authentication import Credential, Password
from bedside.image.layout import Layout
from bedside.image.oci import Descriptor
from bedside.image.reference import Digest, Reference
from bedside.image.registry import Repository, referrers_tag
from bedside.image.transport import Session
from bedside.image.uploading import How
from bedside.stages.push import Pushed, Watch, push

ALICE = Password("alice", "correct horse")
NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no certificate; made once, as these tests talk without TLS."""


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running() as started:
        yield started


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return layouts.create(tmp_path / "images")


def _push(
    registry: Registry,
    layout: Layout,
    what: Descriptor,
    *,
    tag: str | None = "1.0.0",
    name: str = "icu",
    credential: Credential | None = None,
    move: bool = False,
    waits: list[float] | None = None,
    watch: Watch | None = None,
) -> Pushed:
    target = Reference(registry.host, name, tag)
    pause = waits.append if waits is not None else lambda _: None
    with Session(registry.host, lambda: credential, trust=NOBODY, plain_http=True, pause=pause) as session:
        return push(layout, what, target, Repository(session, name), move_tag=move, watch=watch)


def _uploads(registry: Registry) -> list[str]:
    return [item.path for item in registry.seen if item.method in ("PATCH", "PUT") and "/blobs/" in item.path]


def test_a_pushed_image_is_there_whole_and_named(registry: Registry, layout: Layout) -> None:
    what = image(layout)
    pushed = _push(registry, layout, what)
    held = registry.repository("icu")
    assert str(pushed.reference) == f"{registry.host}/icu@{what.digest}"
    assert held.tags == {"1.0.0": what.digest}
    assert LARGE in held.blobs.values()
    assert registry.whole()
    assert {item.how for item in pushed.blobs} == {How.SENT}
    assert pushed.bytes_sent == sum(item.blob.size for item in pushed.blobs)


def test_the_tag_is_written_last_and_the_image_read_back_before(registry: Registry, layout: Layout) -> None:
    what = image(layout)
    _push(registry, layout, what)
    order = [(item.method, item.path.rpartition("/")[2]) for item in registry.seen if "/manifests/" in item.path]
    assert order == [
        ("GET", "1.0.0"),
        ("PUT", what.digest),
        ("GET", what.digest),
        ("GET", "1.0.0"),
        ("PUT", "1.0.0"),
        ("GET", "1.0.0"),
    ]


def test_pushing_again_sends_nothing(registry: Registry, layout: Layout) -> None:
    what = image(layout)
    _push(registry, layout, what)
    registry.seen.clear()
    again = _push(registry, layout, what)
    assert (again.bytes_sent, _uploads(registry)) == (0, [])
    assert {item.how for item in again.blobs} == {How.PRESENT}


def test_a_new_model_sends_its_layer_and_the_config_alone(registry: Registry, layout: Layout) -> None:
    _push(registry, layout, image(layout))
    pushed = _push(registry, layout, image(layout, "model 2", "icu:1.0.1"), tag="1.0.1")
    sent = [item.blob for item in pushed.blobs if item.how is How.SENT]
    assert [blob.media_type for blob in sent] == [oci.LAYER, oci.CONFIG]
    assert sent[0].digest == Digest.of(b"model 2")
    assert pushed.bytes_sent < 1000


def test_a_version_never_goes_to_another_image(registry: Registry, layout: Layout) -> None:
    first = image(layout)
    _push(registry, layout, first)
    second = image(layout, "model 2", "other")
    registry.seen.clear()
    for move in (False, True):
        with pytest.raises(TagTaken, match="names sha256"):
            _push(registry, layout, second, move=move)
    assert registry.repository("icu").tags == {"1.0.0": first.digest}
    assert _uploads(registry) == []


def test_another_tag_moves_only_when_told(registry: Registry, layout: Layout) -> None:
    _push(registry, layout, image(layout), tag="candidate")
    second = image(layout, "model 2", "other")
    with pytest.raises(TagTaken, match="candidate") as refused:
        _push(registry, layout, second, tag="candidate")
    assert "--move-tag" in refused.value.remedy
    _push(registry, layout, second, tag="candidate", move=True)
    assert registry.repository("icu").tags == {"candidate": second.digest}


def test_a_tag_that_somebody_takes_during_the_push_is_left_alone(registry: Registry, layout: Layout) -> None:
    other = image(layout, "model 2", "other")
    _push(registry, layout, other, tag=None)

    def take(handler: Handler) -> None:
        registry.repository("icu").tags["1.0.0"] = other.digest
        handler.route(handler.path, {})

    what = image(layout)
    registry.trouble.append(matching("GET", f"manifests/{what.digest}", take))
    with pytest.raises(TagTaken):
        _push(registry, layout, what)
    assert registry.repository("icu").tags == {"1.0.0": other.digest}


def test_a_reference_with_another_digest_is_refused(registry: Registry, layout: Layout) -> None:
    what = image(layout)
    target = Reference(registry.host, "icu", None, Digest.of(b"other"))
    with Session(registry.host, lambda: None, plain_http=True) as session, pytest.raises(UsageError):
        push(layout, what, target, Repository(session, "icu"))
    assert registry.seen == []


def test_layers_of_the_base_are_mounted_from_its_repository(registry: Registry, layout: Layout) -> None:
    _push(registry, layout, image(layout), name="bases/python")
    base = {"org.opencontainers.image.base.name": f"{registry.host}/bases/python:3.11"}
    pushed = _push(registry, layout, image(layout, "model 2", "two", annotations=base))
    hows = [item.how for item in pushed.blobs]
    assert hows == [How.MOUNTED, How.MOUNTED, How.SENT, How.SENT]
    assert registry.whole()


def test_what_is_attached_goes_with_the_image(registry: Registry, layout: Layout) -> None:
    what = image(layout)
    sbom = artifact(layout, what, "sbom")
    signature = artifact(layout, sbom, "signature of the sbom", "application/x-signature")
    pushed = _push(registry, layout, what)
    assert pushed.attached == (sbom.digest, signature.digest)
    held = registry.repository("icu")
    listed = json.loads(held.manifests[held.tags[referrers_tag(what.digest)]][1])
    assert [item["digest"] for item in listed["manifests"]] == [sbom.digest]
    assert listed["manifests"][0]["artifactType"] == "application/x-sbom"


def test_a_signature_kept_by_name_goes_under_its_name(registry: Registry, layout: Layout) -> None:
    what = image(layout)
    name = f"sha256-{what.digest.hex}.sig"
    signature = image(layout, "signature", name)
    image(layout, "another image", "sha256-" + "0" * 64 + ".sig")
    _push(registry, layout, what)
    assert registry.repository("icu").tags == {"1.0.0": what.digest, name: signature.digest}


def test_an_index_goes_with_its_images(registry: Registry, layout: Layout) -> None:
    children = tuple(image(layout, f"model {number}", str(number)) for number in range(2))
    index = layout.write_document(oci.Index(media_type=oci.INDEX, manifests=children))
    layout.add(index, "all")
    _push(registry, layout, layout.find("all"))
    held = registry.repository("icu")
    assert set(held.manifests) == {index.digest, *(child.digest for child in children)}
    assert held.tags == {"1.0.0": index.digest}


def test_an_altered_layer_never_arrives(registry: Registry, layout: Layout) -> None:
    what = image(layout)
    layout.path(Digest.of(LARGE)).write_bytes(LARGE[:-1] + b"!")
    with pytest.raises(ImageInvalid, match="another digest"):
        _push(registry, layout, what)
    assert registry.repository("icu").blobs == {}
    assert registry.repository("icu").tags == {}


def test_progress_ends_at_the_whole(registry: Registry, layout: Layout) -> None:
    told: list[tuple[int, int]] = []
    registry.trouble.append(matching("PATCH", "", drop_midway))
    pushed = _push(registry, layout, image(layout), watch=Watch(sent=lambda *item: told.append(item)))
    assert sum(further for further, _ in told) == pushed.bytes_sent == told[-1][1]


# The way there breaks.


def _requests(registry: Registry, layout: Layout, what: Descriptor) -> int:
    _push(registry, layout, what)
    count = len(registry.seen)
    registry.seen.clear()
    registry.repositories.clear()
    return count


@pytest.mark.parametrize("act", [drop_unread, drop_unanswered, drop_midway, status(500), status(429), status(503)])
def test_one_failure_at_any_stage_is_overcome(
    registry: Registry, layout: Layout, act: Callable[[Handler], None]
) -> None:
    what = image(layout)
    artifact(layout, what, "sbom")
    for number in range(_requests(registry, layout, what)):
        registry.repositories.clear()
        registry.trouble[:] = [numbered(number, act)]
        _push(registry, layout, what)
        assert registry.repository("icu").tags["1.0.0"] == what.digest
        assert registry.whole()


@pytest.mark.parametrize("act", [drop_unread, drop_unanswered, drop_midway, status(500), status(507), status(404)])
def test_failing_from_any_stage_on_leaves_nothing_half_named_and_is_repeated(
    registry: Registry, layout: Layout, act: Callable[[Handler], None]
) -> None:
    what = image(layout)
    artifact(layout, what, "sbom")
    for number in range(_requests(registry, layout, what)):
        registry.repositories.clear()
        registry.trouble[:] = [numbered(number, act, forever=True)]
        with pytest.raises(RegistryFailed) as failed:
            _push(registry, layout, what)
        assert failed.value.exit_code == 4
        assert "run the command again" in failed.value.remedy.lower() or "Look at the name" in failed.value.remedy
        assert registry.whole()
        registry.trouble.clear()
        _push(registry, layout, what)
        assert registry.repository("icu").tags["1.0.0"] == what.digest


def test_an_interrupted_layer_goes_on_where_it_was(registry: Registry, layout: Layout) -> None:
    registry.trouble.append(matching("PATCH", "", drop_midway))
    _push(registry, layout, image(layout))
    patches = [item.headers for item in registry.seen if item.method == "PATCH"]
    half = len(LARGE) // 2
    assert [item.get("Content-Range") for item in patches] == [None, f"{half}-{len(LARGE) - 1}"]
    assert patches[1]["Content-Length"] == str(len(LARGE) - half)


def test_an_upload_that_the_registry_forgot_begins_again(registry: Registry, layout: Layout) -> None:
    def forget(handler: Handler) -> None:
        registry.uploads.clear()
        drop_unread(handler)

    registry.trouble.append(matching("PATCH", "", forget))
    what = image(layout)
    _push(registry, layout, what)
    assert registry.repository("icu").tags["1.0.0"] == what.digest


def test_a_busy_registry_is_left_alone_as_long_as_it_asks(registry: Registry, layout: Layout) -> None:
    waits: list[float] = []
    registry.trouble.append(matching("HEAD", "", status(429, headers={"Retry-After": "7"})))
    _push(registry, layout, image(layout), waits=waits)
    assert waits == [7.0]


def test_a_full_disk_at_the_registry_is_said(registry: Registry, layout: Layout) -> None:
    registry.trouble.append(matching("PUT|PATCH", "/blobs/", status(500), times=1000))
    with pytest.raises(RegistryInterrupted, match=r"could not take the bytes of sha256:\w+: status 500 \(UNKNOWN\)"):
        _push(registry, layout, image(layout))


def test_a_registry_that_gives_another_manifest_back_gets_no_tag(registry: Registry, layout: Layout) -> None:
    what = image(layout)
    registry.trouble.append(matching("GET", f"manifests/{what.digest}", altered(lambda body: body + b" ")))
    with pytest.raises(ImageInvalid, match="has the digest"):
        _push(registry, layout, what)
    assert registry.repository("icu").tags == {}


def test_a_registry_that_forgets_the_manifest_gets_no_tag(registry: Registry, layout: Layout) -> None:
    what = image(layout)
    registry.trouble.append(matching("GET", f"manifests/{what.digest}", status(404, "MANIFEST_UNKNOWN")))
    with pytest.raises(RegistryFailed):
        _push(registry, layout, what)
    assert registry.repository("icu").tags == {}


def test_a_registry_that_stores_under_another_digest_gets_no_tag(registry: Registry, layout: Layout) -> None:
    def lie(handler: Handler) -> None:
        handler.body()
        handler.answer(201, {"Docker-Content-Digest": str(Digest.of(b"other"))})

    what = image(layout)
    registry.trouble.append(matching("PUT", "/manifests/", lie))
    with pytest.raises(ImageInvalid, match="under another digest"):
        _push(registry, layout, what)
    assert registry.repository("icu").tags == {}


# Who may.


def test_a_password_is_given_when_asked_for(registry: Registry, layout: Layout) -> None:
    registry.password = (ALICE.user, ALICE.secret)
    _push(registry, layout, image(layout), credential=ALICE)
    assert registry.seen[0].authorization is None
    assert all(item.authorization == ALICE.header for item in registry.seen[1:])


def test_a_token_is_fetched_with_the_password_and_used(registry: Registry, layout: Layout) -> None:
    registry.password, registry.tokens = (ALICE.user, ALICE.secret), set()
    _push(registry, layout, image(layout), credential=ALICE)
    asked = [item for item in registry.seen if item.path.startswith("/token")]
    assert [item.authorization for item in asked] == [ALICE.header]
    assert "scope=repository%3Aicu%3Apull%2Cpush" in asked[0].path
    assert all("Basic" not in (item.authorization or "") for item in registry.seen if item not in asked)


def test_a_token_that_expires_on_the_way_is_fetched_again(registry: Registry, layout: Layout) -> None:
    registry.tokens, registry.token_uses = set(), 0
    what = image(layout)
    _push(registry, layout, what)
    assert len([item for item in registry.seen if item.path.startswith("/token")]) > 3
    assert registry.repository("icu").tags["1.0.0"] == what.digest


@pytest.mark.parametrize("credential", [None, Password("alice", "wrong secret")])
@pytest.mark.parametrize("bearer", [False, True])
def test_who_may_not_push_is_told_without_the_password(
    registry: Registry,
    layout: Layout,
    credential: Password | None,
    bearer: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    registry.password, registry.tokens = (ALICE.user, ALICE.secret), set() if bearer else None
    with pytest.raises(RegistryDenied) as denied:
        _push(registry, layout, image(layout), credential=credential)
    assert "Log in" in denied.value.remedy
    for secret in ("wrong secret", credential.header if credential else ALICE.header):
        assert secret not in f"{denied.value!r} {denied.value} {denied.value.remedy} {caplog.text}"


def test_no_error_of_any_stage_holds_a_secret(
    registry: Registry, layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    registry.password = (ALICE.user, ALICE.secret)
    what = image(layout)
    for number in range(1, 12):
        for act in (drop_unread, status(500), status(400, "DENIED"), status(403)):
            registry.repositories.clear()
            registry.trouble[:] = [numbered(number, act, forever=True)]
            with pytest.raises(BedsideError) as failed:
                _push(registry, layout, what, credential=ALICE)
            said = f"{failed.value!r} {failed.value} {failed.value.remedy} {caplog.text}"
            assert ALICE.secret not in said
            assert ALICE.header not in said
            assert "state=secret" not in str(failed.value)
