from bedside.spec.positions import line_of, lines

TEXT = '''\
schema = 1
[model]   # who
name = "a"
title = """
[inputs]
name = "not a key"
"""
"version" = "1"
[[inputs]]
name = "x"
[[inputs]]
name = "y"
[serve]
a.b = 1
'''


def test_keys_and_headers_have_their_line() -> None:
    assert lines(TEXT) == {
        "schema": 1,
        "model": 2,
        "model.name": 3,
        "model.title": 4,
        "model.version": 8,
        "inputs[0]": 9,
        "inputs[0].name": 10,
        "inputs[1]": 11,
        "inputs[1].name": 12,
        "serve": 13,
        "serve.a.b": 14,
    }


def test_an_unknown_place_has_the_line_around_it_or_none() -> None:
    found = lines(TEXT)
    assert line_of(found, "inputs[1].valid[0]") == 11
    assert line_of(found, "model.missing") == 2
    assert line_of(found, "golden.cases") == 0
