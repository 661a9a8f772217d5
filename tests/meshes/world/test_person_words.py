"""Descriptions in words say true facts, differ by their seed, and show what images show."""

from __future__ import annotations

import pytest
import torch

from meshes.world import draw_identity
from meshes.world.people.words import agrees, describe_in_words, person_facts, seen_facts

COLOR_WORDS = {
    "grey": ("grey", "gray"), "purple": ("purple", "violet"), "blue": ("blue", "navy"),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_a_description_states_facts_of_its_person_alone(seed: int) -> None:
    person = draw_identity(seed)
    facts = person_facts(person)
    texts = set()
    for number in range(5):
        made = describe_in_words(person, number)
        assert made == describe_in_words(person, number)
        assert made.said
        assert agrees(facts, made.said)
        texts.add(made.text)
    assert len(texts) > 1


def test_what_is_said_is_in_the_words() -> None:
    for seed in range(30):
        made = describe_in_words(draw_identity(seed), 0, fraction=1.0)
        said = dict(made.said)
        for name, value in said.items():
            if name.endswith("_color"):
                assert any(word in made.text for word in COLOR_WORDS.get(value, (value,)))
            if name == "upper" and value in ("jacket", "dress", "coat"):
                assert value in made.text


def test_a_contradiction_does_not_agree() -> None:
    facts = {"upper_color": "red", "bag": "none"}
    assert agrees(facts, [("upper_color", "red"), ("hair", "long")])
    assert not agrees(facts, [("upper_color", "blue")])


def test_hidden_and_rear_views_show_fewer_facts() -> None:
    facts = person_facts(draw_identity(3))
    everything = torch.ones(21)
    assert seen_facts(facts, everything, 0.0) == facts
    behind = seen_facts(facts, everything, 3.1)
    assert set(facts) - set(behind) == {"glasses", "beard"}
    assert set(seen_facts(facts, everything, -3.1)) == set(behind)
    legs_hidden = everything.clone()
    legs_hidden[11:] = 0  # from the hips down
    found = seen_facts(facts, legs_hidden, 0.0)
    assert "lower_color" not in found
    assert "shoes" not in found
    assert "upper_color" in found
    assert seen_facts(facts, torch.zeros(21), 0.0) == {}


def test_bad_input_is_refused() -> None:
    person = draw_identity(0)
    for fraction in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="fraction must be"):
            describe_in_words(person, 0, fraction=fraction)
    with pytest.raises(ValueError, match="seed at least 0"):
        describe_in_words(person, -1)
    with pytest.raises(ValueError, match="visibility must be"):
        seen_facts({}, torch.ones(17), 0.0)
