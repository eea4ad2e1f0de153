import pytest

from bedside.locking.lockfile import Locked, LockInvalid, parse, without

A, B = "a" * 64, "b" * 64


def test_names_versions_and_digests_are_read_over_continued_lines() -> None:
    text = f"Scikit_Learn==1.9.1 \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n    # via -r requirements.in\n"
    assert parse(text) == (Locked("scikit-learn", "1.9.1", (A, B)),)


def test_a_line_for_another_platform_is_left_out() -> None:
    assert parse(f"colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:{A}\n") == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("numpy==2.4.6", "numpy has no sha256"),
        (f"numpy==2.4.6 --hash=md5:{A}", "numpy has no sha256"),
        (f"numpy==2.4.6 --hash=sha256:{A[:-1]}", "numpy has no sha256"),
        (f"numpy>=2 --hash=sha256:{A}", "not locked to one exact version"),
        (f"numpy==2.* --hash=sha256:{A}", "not locked to one exact version"),
        (f"numpy --hash=sha256:{A}", "not locked to one exact version"),
        (f"numpy @ https://example.org/numpy.whl --hash=sha256:{A}", "locked to an address"),
        ("--index-url https://example.org/simple", "no requirement"),
        ("-e .", "no requirement"),
    ],
)
def test_a_line_that_locks_nothing_is_refused(line: str, said: str) -> None:
    with pytest.raises(LockInvalid, match=said):
        parse(line)


def test_one_distribution_can_be_left_out() -> None:
    kept = f"anyio==4.16.0 \\\n    --hash=sha256:{A}\n"
    left = f"bedside-runtime==0.1.0 \\\n    --hash=sha256:{A} \\\n    --hash=sha256:{B}\n"
    assert without(kept + left + kept, "bedside-runtime") == kept + kept
    assert without(kept, "bedside-runtime") == kept
