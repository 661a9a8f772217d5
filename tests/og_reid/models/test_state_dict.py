from __future__ import annotations

import torch

from og_reid.models.state_dict import mismatched_entries, state_dict_mismatch


def test_equal_state_dicts_fit() -> None:
    state = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    assert mismatched_entries(state, {"bias": (2,), "weight": (2, 3)}) == {}
    assert state_dict_mismatch(state, state) == ""


def test_every_kind_of_difference_is_named() -> None:
    wanted = {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(())}
    found = {"b": torch.zeros(3, 1), "c": torch.zeros(()), "d": torch.zeros(1)}
    assert mismatched_entries(wanted, found) == {
        "missing": ["a"],
        "unexpected": ["d"],
        "of another shape": ["b (3, 1) instead of (3,)"],
    }
    text = "1 missing (a); 1 unexpected (d); 1 of another shape (b (3, 1) instead of (3,))"
    assert state_dict_mismatch(wanted, found) == text


def test_the_short_text_names_three_of_a_kind() -> None:
    wanted = {name: (1,) for name in "abcd"}
    assert state_dict_mismatch(wanted, {}) == "4 missing (a, b, c, ...)"
