import pytest
from tests.provenance.images import BASE, debian, python

from bedside.provenance.inventory import Inventory, OperatingSystem, Survey, wanted


def survey(*layers: dict[str, bytes], removed: str = "") -> Inventory:
    found = Survey()
    for files in layers:
        if removed and files is layers[-1]:
            found.remove(removed)
        for path, data in files.items():
            found.add(path, data if wanted(path) else None)
        found.close_layer()
    return found.done()


def test_packages_of_a_distroless_base_and_of_wheels_are_counted() -> None:
    found = survey(dict(BASE), python("Scikit_Learn", "1.7.0"))
    assert found.system == OperatingSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)")
    assert [(item.kind, item.name, item.version) for item in found.packages] == [
        ("deb", "base-files", "12.4+deb12u9"),
        ("pypi", "scikit-learn", "1.7.0"),
    ]


STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc (2.36)
Version: 2.36-9
Description: x
 Package: not-a-field

Package: gone
Status: deinstall ok config-files
Version: 1.0
"""


def test_of_dpkg_s_list_only_what_is_installed_counts() -> None:
    (package,) = survey({"var/lib/dpkg/status": STATUS}).packages
    assert (package.name, package.version, package.source, package.architecture) == (
        "libc6",
        "2.36-9",
        "glibc",
        "amd64",
    )


def test_alpine_s_list_is_read() -> None:
    (package,) = survey({"lib/apk/db/installed": b"C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n\n"}).packages
    assert (package.kind, package.name, package.version, package.licenses) == ("apk", "musl", "1.2.5-r0", ("MIT",))


def test_a_later_layer_replaces_and_removes() -> None:
    first, second = python("numpy", "1.0"), {"x": b""}
    assert survey(first, second, removed="opt/bedside").packages == ()
    assert len(survey(first, second, removed="opt/bed").packages) == 1
    newer = {next(iter(debian("a", "1"))): debian("a", "2").popitem()[1]}
    assert [item.version for item in survey(debian("a", "1"), newer).packages] == ["2"]


def test_a_layer_that_empties_a_directory_keeps_what_it_puts_there_itself() -> None:
    found = Survey()
    found.add(*next(iter(python("old", "1.0").items())))
    found.close_layer()
    found.add(*next(iter(python("new", "1.0").items())))
    found.remove("opt/bedside")
    found.close_layer()
    assert [item.name for item in found.done().packages] == ["new"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("var/lib/rpm/rpmdb.sqlite", "unread"),
        ("opt/conda/conda-meta/numpy-1.0.json", "unread"),
        ("usr/local/bin/python3.11", "interpreters"),
        ("usr/bin/python3.11", ""),
        ("etc/passwd", ""),
    ],
)
def test_what_is_not_read_here_is_named(path: str, kind: str) -> None:
    found = survey({path: b""})
    assert {"unread": found.unread, "interpreters": found.interpreters}.get(kind, ()) == ((path,) if kind else ())


@pytest.mark.parametrize(
    ("headers", "licenses"),
    [
        (
            ("License-Expression: MIT AND BSD-3-Clause", "Classifier: License :: OSI Approved :: X"),
            ("MIT AND BSD-3-Clause",),
        ),
        (("Classifier: License :: OSI Approved :: MIT License",), ("MIT License",)),
        (("License: BSD",), ("BSD",)),
        (("License: UNKNOWN",), ()),
        ((f"License: {'long text ' * 50}",), ()),
        ((), ()),
    ],
)
def test_licenses_are_what_the_metadata_says_most_exactly(headers: tuple[str, ...], licenses: tuple[str, ...]) -> None:
    (package,) = survey(python("x", "1.0", *headers)).packages
    assert package.licenses == licenses


def test_debian_s_copyright_files_name_licenses_where_they_have_the_form() -> None:
    text = b"Format: https://x\n\nFiles: *\nLicense: GPL-2+\n\nFiles: a\nLicense: MIT\n text\n"
    free = {"usr/share/doc/a/copyright": text, "usr/share/doc/b/copyright": b"This is free text. License: any\n"}
    found = survey({**debian("a", "1"), **debian("b", "1"), **free})
    assert [item.licenses for item in found.packages] == [("GPL-2+", "MIT"), ()]
