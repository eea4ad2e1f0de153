from fractions import Fraction

import pytest

from bedside.spec import units


@pytest.mark.parametrize(
    ("source", "target", "scale", "offset"),
    [
        ("[degF]", "Cel", "5/9", "-160/9"),
        ("K", "Cel", "1", "-5463/20"),
        ("Cel", "[degF]", "9/5", "32"),
        ("[lb_av]", "kg", "45359237/100000000", "0"),
        ("g", "kg", "1/1000", "0"),
        ("[in_i]", "cm", "127/50", "0"),
        ("mg/dL", "g/L", "1/100", "0"),
        ("mmol/L", "umol/L", "1000", "0"),
        ("h", "min", "60", "0"),
        ("a", "mo", "12", "0"),
        ("Hz", "/min", "60", "0"),
        ("10*3/uL", "10*9/L", "1", "0"),
        ("%", "1", "1/100", "0"),
        ("mL", "cm3", "1", "0"),
    ],
)
def test_clinical_units_convert_by_exact_fractions(source: str, target: str, scale: str, offset: str) -> None:
    conversion = units.conversions(target)[source]
    assert (conversion.scale, conversion.offset) == (scale, offset)


def test_pressure_converts_by_the_conventional_millimetre_of_mercury() -> None:
    assert units.conversions("mm[Hg]")["kPa"].apply(16.0) == pytest.approx(120.01, abs=0.005)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("mg/dL", "mmol/L"),
        ("[IU]/L", "U/L"),
        ("Hz", "Bq"),
        ("meq/L", "mmol/L"),
        ("Cel", "mm[Hg]"),
        ("[pH]", "mol/L"),
        ("dB", "1"),
    ],
)
def test_what_is_not_the_same_kind_of_quantity_never_converts(source: str, target: str) -> None:
    assert source not in units.conversions(target)


@pytest.mark.parametrize("kind", sorted(units.kinds()))
def test_every_listed_unit_is_ucum_and_converts_there_and_back(kind: str) -> None:
    listed = units.kinds()[kind]
    for unit in listed:
        assert units.is_valid(unit), unit
        for other, there in units.conversions(unit).items():
            back = units.conversions(other)[unit]
            value = Fraction(37, 10)
            converted = value * Fraction(there.scale) + Fraction(there.offset)
            assert converted * Fraction(back.scale) + Fraction(back.offset) == value


def test_no_unit_stands_in_two_kinds() -> None:
    listed = [unit for kind in units.kinds().values() for unit in kind]
    assert sorted(set(listed)) == sorted(listed)


@pytest.mark.parametrize("unit", ["mmHg", "C elsius", "", "mg//dL", "beats", "°C"])
def test_what_is_no_ucum_code_is_told(unit: str) -> None:
    assert not units.is_valid(unit)
