"""What makes sense in a bedside.toml whose shape is right. Pure: nothing here looks at a file."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bedside.spec import units
from bedside.spec.document import (
    AuthSection,
    EnvironmentSection,
    InputSection,
    ModelSection,
    OutputSection,
    ServeSection,
)

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
)
_PYTHON = re.compile(r"3\.(\d{2})")
_INPUT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\- ]*")
_CODE = re.compile(r"[a-z][a-z0-9-]*:\S+")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_OLDEST_PYTHON = 11


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that makes no sense: rule, TOML path, what, and what to do."""

    rule: str
    path: str
    message: str
    remedy: str


def model(section: ModelSection) -> Iterator[Problem]:
    """Check names and versions that the cluster will have to take."""
    if not _DNS_LABEL.fullmatch(section.name):
        yield Problem(
            "BED-SPEC-010",
            "model.name",
            f"{section.name!r} is no DNS-1123 label",
            "Use at most 63 lowercase letters, digits and hyphens, with a letter or digit at both ends.",
        )
    if not _SEMVER.fullmatch(section.version):
        yield Problem(
            "BED-SPEC-011",
            "model.version",
            f"{section.version!r} is no version",
            "Use SemVer such as 1.0.0 or 1.0.0-rc.1; no build metadata (+...), which an image tag cannot hold.",
        )


def environment(section: EnvironmentSection) -> Iterator[Problem]:
    """Check the Python version."""
    match = _PYTHON.fullmatch(section.python)
    if match is None or int(match[1]) < _OLDEST_PYTHON:
        yield Problem(
            "BED-SPEC-012",
            "environment.python",
            f"{section.python!r} is no Python that the runtime runs on",
            'Name the minor version that was validated, "3.11" or newer, without a patch level.',
        )


def inputs(sections: Sequence[tuple[int, InputSection]]) -> Iterator[Problem]:
    """Check every input, and that no two share a name. ``sections`` come with their index in the file."""
    counts = Counter(section.name for _, section in sections)
    for index, section in sections:
        path = f"inputs[{index}]"
        if counts[section.name] > 1:
            message = f"the name {section.name!r} stands {counts[section.name]} times"
            yield Problem("BED-SPEC-020", f"{path}.name", message, "Give every input a name of its own.")
        yield from _input(path, section)


def _input(path: str, section: InputSection) -> Iterator[Problem]:
    if not _INPUT_NAME.fullmatch(section.name):
        yield Problem(
            "BED-SPEC-021",
            f"{path}.name",
            f"{section.name!r} cannot be the name of an input",
            "Start with a letter or underscore; then letters, digits, spaces and _ . - are possible.",
        )
    yield from _ranges(path, section)
    yield from _categories(path, section)
    yield from _unit(path, section)
    if section.code is not None and not _CODE.fullmatch(section.code):
        yield Problem(
            "BED-SPEC-026", f"{path}.code", f"{section.code!r} is no code", 'Write "system:code", as in "loinc:8480-6".'
        )


def _ranges(path: str, section: InputSection) -> Iterator[Problem]:
    for key, interval in (("valid", section.valid), ("expected", section.expected)):
        if interval is None:
            continue
        place, (low, high) = f"{path}.{key}", interval
        if section.type not in ("number", "integer"):
            yield Problem("BED-SPEC-022", place, f"a {section.type} has no range", f"Remove {key}.")
        elif not low < high:
            yield Problem(
                "BED-SPEC-022", place, f"[{low:g}, {high:g}] is no interval", "Write [low, high] with low below high."
            )
        elif section.type == "integer" and not (low.is_integer() and high.is_integer()):
            yield Problem("BED-SPEC-022", place, "an integer's range has a fraction", "Use whole numbers.")
    if section.valid is not None and section.expected is not None:
        inside = section.valid[0] <= section.expected[0] and section.expected[1] <= section.valid[1]
        if not inside:
            yield Problem(
                "BED-SPEC-023",
                f"{path}.expected",
                "expected reaches outside of valid, where values are refused and never flagged",
                "Narrow expected or widen valid.",
            )


def _categories(path: str, section: InputSection) -> Iterator[Problem]:
    place, listed = f"{path}.categories", section.categories
    if section.type == "category" and not listed:
        yield Problem("BED-SPEC-024", place, "a category needs its values", "List every admissible value.")
    if section.type != "category" and listed:
        yield Problem("BED-SPEC-024", place, f"a {section.type} has no categories", "Remove categories.")
    if len(set(listed)) != len(listed) or "" in listed:
        yield Problem("BED-SPEC-024", place, "a value is empty or stands twice", "List each value once.")


def _unit(path: str, section: InputSection) -> Iterator[Problem]:
    if section.unit is None:
        return
    if section.type not in ("number", "integer"):
        yield Problem("BED-SPEC-025", f"{path}.unit", f"a {section.type} has no unit", "Remove unit.")
    else:
        yield from _ucum(f"{path}.unit", section.unit)


def _ucum(path: str, unit: str) -> Iterator[Problem]:
    if not units.is_valid(unit):
        yield Problem(
            "BED-SPEC-025",
            path,
            f"{unit!r} is no UCUM unit",
            "Write the UCUM code, case-sensitive: mm[Hg], Cel, /min, mg/dL, a (year), 1 (no unit).",
        )


def output(section: OutputSection) -> Iterator[Problem]:
    """Check that positive, unit and bands fit the type of the output."""
    if section.type == "probability" and section.positive is None:
        yield Problem(
            "BED-SPEC-030",
            "output.positive",
            "a probability needs the class that it is of",
            "Set positive to the label in the training data, for example 1.",
        )
    if section.type != "probability" and section.positive is not None:
        yield Problem("BED-SPEC-030", "output.positive", f"a {section.type} has no positive class", "Remove positive.")
    if section.unit is not None and section.type != "value":
        yield Problem("BED-SPEC-031", "output.unit", f"a {section.type} has no unit", "Remove unit.")
    elif section.unit is not None:
        yield from _ucum("output.unit", section.unit)
    yield from _bands(section)


def _bands(section: OutputSection) -> Iterator[Problem]:
    bands = section.bands
    if not bands:
        return
    if section.type == "class":
        yield Problem("BED-SPEC-032", "output.bands", "a class label falls in no band", "Remove bands.")
        return
    if len({band.name for band in bands}) != len(bands):
        yield Problem("BED-SPEC-032", "output.bands", "two bands share a name", "Give every band a name of its own.")
    bounds = [band.below for band in bands[:-1]]
    if bands[-1].below is not None or None in bounds:
        yield Problem(
            "BED-SPEC-033",
            "output.bands",
            "some values fall in no band, or in two",
            "Give every band but the last a `below`, and the last one none.",
        )
        return
    ordered = [bound for bound in bounds if bound is not None]
    if sorted(set(ordered)) != ordered:
        yield Problem("BED-SPEC-033", "output.bands", "the bands do not ascend", "Sort them by `below`.")
    if section.type == "probability" and any(not 0 < bound < 1 for bound in ordered):
        yield Problem(
            "BED-SPEC-033", "output.bands", "a bound is no probability between 0 and 1", "Use bounds inside (0, 1)."
        )


def serve(section: ServeSection) -> Iterator[Problem]:
    """Check that the ways to authenticate go together."""
    auth = section.auth
    if len(set(auth.methods)) != len(auth.methods):
        yield Problem("BED-SPEC-070", "serve.auth.methods", "a method stands twice", "Name each method once.")
    if "none" in auth.methods and len(auth.methods) > 1:
        yield Problem(
            "BED-SPEC-070",
            "serve.auth.methods",
            "where nobody authenticates, no other method is asked for",
            'Remove "none", or the others.',
        )
    if auth.acknowledged is not None and "none" not in auth.methods:
        yield Problem(
            "BED-SPEC-071",
            "serve.auth.acknowledged",
            "callers authenticate here, so there is nothing to acknowledge",
            "Remove acknowledged.",
        )
    if "mtls" in auth.methods and section.tls is None:
        yield Problem(
            "BED-SPEC-075", "serve.auth.methods", "client certificates are shown in TLS alone", "Add [serve.tls]."
        )
    yield from _tokens(auth)


def _tokens(auth: AuthSection) -> Iterator[Problem]:
    path, jwt = "serve.auth.jwt", auth.jwt
    if "jwt" in auth.methods and jwt is None:
        yield Problem(
            "BED-SPEC-073", "serve.auth", "tokens are taken and nobody says whose", f"Add [{path}]: issuer, audience."
        )
    if jwt is None:
        return
    if "jwt" not in auth.methods:
        yield Problem("BED-SPEC-073", path, "no tokens are taken", 'Add "jwt" to methods, or remove the section.')
    for scope in jwt.scopes:
        if not _SCOPE.fullmatch(scope):
            remedy = "A scope is printable ASCII without space, quote and backslash (RFC 6749, section 3.3)."
            yield Problem("BED-SPEC-074", f"{path}.scopes", f"{scope[:80]!r} is no scope", remedy)
    if jwt.stale_seconds < jwt.refresh_seconds:
        yield Problem(
            "BED-SPEC-074",
            f"{path}.stale_seconds",
            "keys would be dropped before they are fetched again",
            "Raise stale_seconds above refresh_seconds.",
        )


def narrowest_band(section: OutputSection) -> float:
    """Return the width of the narrowest band between two bounds; infinite where there are fewer than two."""
    bounds = [band.below for band in section.bands if band.below is not None]
    return min((high - low for low, high in itertools.pairwise(bounds)), default=math.inf)
