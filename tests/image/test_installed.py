"""What goes from an installation into a layer, and what does not."""

from pathlib import Path

import pytest

from bedside.errors import ImageInvalid
from bedside.image import installed
from bedside.image.layers import File
from bedside.process import Subprocess

RECORD = "pkg/__init__.py,sha256=1,1\npkg/tests/__init__.py,,\n../../bin/run,sha256=2,2\npkg-1.dist-info/RECORD,,\n"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, text in {
        "pkg/__init__.py": "",
        "pkg/tests/__init__.py": "",
        "pkg/tests/data.csv": "1,2",
        "pkg/data/test/readme": "no package",
        "pkg/core/tests/test_numbers.py": "",
        "pkg/fast.pyx": "",
        "pkg/fast.pyi": "",
        "pkg/fast.cpython-311-x86_64-linux-gnu.so": "",
        "pkg/_fast_tests.cpython-311-x86_64-linux-gnu.so": "",
        "pkg/include/fast.h": "",
        "pkg/latests.py": "",
        "pkg/conftest.py": "",
        "pkg-1.dist-info/INSTALLER": "uv",
        "pkg-1.dist-info/RECORD": RECORD,
        "pkg-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: Pkg\nVersion: 1\n\nName: not this\n",
        "pkg-1.dist-info/REQUESTED": "",
        "pkg-1.dist-info/uv_cache.json": '{"time": 1}',
        "bin/run": "#!/home/alice/python",
        ".lock": "",
    }.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    site = tmp_path / "site"
    (tmp_path / "cached").hardlink_to(site / "pkg-1.dist-info" / "RECORD")  # as uv links from its cache
    installed.prune(site, Subprocess())
    return site


def test_scripts_tests_and_the_installer_s_own_notes_stay_out(site: Path) -> None:
    assert sorted(installed.entries(site, "/app")) == [
        "app/pkg-1.dist-info/METADATA",
        "app/pkg-1.dist-info/RECORD",
        "app/pkg/__init__.py",
        "app/pkg/data/test/readme",
        "app/pkg/fast.cpython-311-x86_64-linux-gnu.so",
        "app/pkg/latests.py",
    ]


def test_the_record_names_what_is_there(site: Path) -> None:
    record = installed.entries(site, "/app")["app/pkg-1.dist-info/RECORD"]
    assert isinstance(record, File)
    assert isinstance(record.source, Path)
    assert record.source.read_bytes() == b"pkg-1.dist-info/RECORD,,\npkg/__init__.py,sha256=1,1\n"


def test_pruning_leaves_the_installer_s_cache_as_it_was(site: Path, tmp_path: Path) -> None:
    assert (tmp_path / "cached").read_text() == RECORD


def test_distributions_are_those_that_the_metadata_name(site: Path) -> None:
    assert installed.distributions(site) == {("Pkg", "1")}


def test_a_link_in_an_installation_is_refused(site: Path) -> None:
    (site / "pkg" / "link").symlink_to("/etc/passwd")
    with pytest.raises(ImageInvalid, match="pkg/link is no regular file"):
        installed.entries(site, "/app")
