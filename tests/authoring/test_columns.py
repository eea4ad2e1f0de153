import pytest

from bedside.authoring.columns import Column, infer, read
from bedside.errors import UsageError


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "-2", "3"], Column("c", "integer", (1, -2, 3), observed=(-2.0, 3.0))),
        (["1", "NA", "3"], Column("c", "integer", (1, None, 3), observed=(1.0, 3.0))),
        (["1.5", "2", "1e3"], Column("c", "number", (1.5, 2.0, 1000.0), observed=(1.5, 1000.0))),
        (["True", "false"], Column("c", "boolean", (True, False))),
        (["Yes", "No", ""], Column("c", "category", ("Yes", "No", None), ("No", "Yes"))),
        (["None", "Coma"], Column("c", "category", ("None", "Coma"), ("Coma", "None"))),
        (["0", "1"], Column("c", "integer", (0, 1), observed=(0.0, 1.0))),
    ],
)
def test_a_column_is_what_all_its_values_are(cells: list[str], expected: Column) -> None:
    assert infer("c", cells) == expected


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["", "NA"], "no value at all"),
        (["2026-11-23", "2026-01-01"], "dates"),
        (["23.11.2026"], "dates"),
        (["1,234.5", "2"], "numbers with separators"),
        ([f"id-{index}" for index in range(51)], "51 different texts"),
    ],
)
def test_a_column_that_no_model_takes_is_refused_with_its_name(cells: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        infer("admitted", cells)
    assert "'admitted'" in str(refused.value)
    assert refused.value.remedy


def test_cells_are_read_by_heading() -> None:
    assert read(b'\xef\xbb\xbfage, name \n1,"a,b"\n\n2,c\n', "c.csv") == {"age": ["1", "2"], " name ": ["a,b", "c"]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no rows"),
        (b"age,sex\n", "no rows"),
        (b"age,age\n1,2\n", "heading twice"),
        (b"age,sex\n1\n", "row 2 has 1 cells"),
        (b"age\n\xff\n", "not UTF-8"),
        (b'age\n"a"b\n', "no CSV"),
    ],
)
def test_a_csv_that_cannot_be_read_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(data, "cohort.csv")
