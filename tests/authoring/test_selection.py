from hypothesis import given
from hypothesis import strategies as st

from bedside.authoring.columns import Column, infer
from bedside.authoring.selection import MOST, select


def test_every_category_extreme_and_missing_value_is_among_the_chosen() -> None:
    ages = [str(20 + index % 60) for index in range(300)]
    ages[137] = ""
    wards = ["A"] * 299 + ["B"]
    columns = [infer("age", ages), infer("ward", wards)]
    chosen = select(columns, 300)
    assert len(chosen) == MOST
    values = [[column.values[row] for row in chosen] for column in columns]
    assert {20, 79, None} <= set(values[0])
    assert {"A", "B"} <= set(values[1])


@given(st.lists(st.sampled_from(["1", "2", "30", ""]), min_size=1, max_size=80).filter(lambda cells: any(cells)))
def test_the_choice_is_the_same_twice_and_never_too_large(cells: list[str]) -> None:
    columns: list[Column] = [infer("c", cells)]
    chosen = select(columns, len(cells))
    assert chosen == select(columns, len(cells))
    assert 1 <= len(chosen) <= MOST
    assert list(chosen) == sorted(set(chosen))
    assert all(0 <= row < len(cells) for row in chosen)
