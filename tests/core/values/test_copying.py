"""copying: nested values by their dotted names."""

from __future__ import annotations

from ztxexp_core import flat


def test_nested_values_have_dotted_names_and_an_empty_mapping_is_a_value() -> None:
    tree = {"model": {"lr": 0.1, "layers": [{"n": 2}], "extra": {}}, "seed": 1, 3: {4: 5}}
    assert dict(flat(tree)) == {
        "model.lr": 0.1,
        "model.layers": [{"n": 2}],
        "model.extra": {},
        "seed": 1,
        "3.4": 5,
    }
    assert list(flat({})) == []
