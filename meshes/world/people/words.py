"""Facts of a person's appearance, and sentences of them in plain English words.

A description names some of the facts. Which ones it names is part of it: the facts decide how many
other people it fits, and so the best rank that any search can reach.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

from torch import Tensor

from pose.keypoints import COCO_17_FEET
from pose.runtime.defaults import plain_torch

from ..rng import Rng
from .attributes import COLORS, describe_identity, front_points
from .identity import Garment, Identity

__all__ = ["Description", "agrees", "describe_in_words", "person_facts", "seen_facts"]

Facts = Mapping[str, str]

_DARK, _LIGHT = 0.28, 0.6  # luma of a garment
_LUMA = (0.299, 0.587, 0.114)
_COLOR_WORDS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in COLORS},
    "grey": ("grey", "gray"),
    "purple": ("purple", "violet"),
}
_UPPER: dict[str, tuple[str, ...]] = {
    "top": ("top", "shirt"), "dress": ("dress",), "jacket": ("jacket",),
    "coat": ("coat", "long coat"), "poncho": ("poncho", "cape"),
}  # fmt: skip
_LOWER: dict[str, tuple[str, ...]] = {
    "trousers": ("trousers", "pants"), "shorts": ("shorts", "short trousers"), "skirt": ("skirt",),
    "dress": ("dress",),
}  # fmt: skip
_SLEEVES = {"sleeveless": "sleeveless", "short": "short-sleeved", "long": "long-sleeved"}
_HAIR = {"short": ("short hair",), "long": ("long hair",), "bald": ("bald head", "no hair")}
_HATS = {
    "cap": ("cap", "baseball cap"), "beanie": ("beanie", "knit hat"), "hood": ("hood up", "hood"),
    "scarf": ("headscarf",), "sunhat": ("sunhat", "hat with a brim"),
}  # fmt: skip
_BAGS = {
    "backpack": ("backpack", "rucksack"), "rucksack": ("large rucksack", "large backpack"),
    "shoulder": ("shoulder bag",), "tote": ("tote bag",), "hand": ("handbag",),
    "case": ("suitcase", "wheeled case"), "duffel": ("duffel bag",),
    "shopping": ("shopping bag",), "instrument": ("instrument case",), "belt": ("belt bag",),
    "carrier": ("carrier bag",),
}  # fmt: skip
_OPENINGS = ("", "a person with ", "someone wearing ", "person in ", "pedestrian, ", "wearing ")
_JOINTS = {
    "upper": ("left_shoulder", "right_shoulder", "left_hip", "right_hip"),
    "lower": ("left_hip", "right_hip", "left_knee", "right_knee"),
    "sleeves": ("left_elbow", "right_elbow"),
    "shoes": ("left_ankle", "right_ankle"),
    "head": ("nose", "left_ear", "right_ear"),
}


@dataclass(frozen=True)
class Description:
    """Words on a person.

    Attributes:
        text: words in lower case, with commas between the phrases.
        said: facts that they state, (name, value) with the names of `person_facts`.
    """

    text: str
    said: tuple[tuple[str, str], ...]


@lru_cache(maxsize=8192)
@plain_torch()
def _facts(identity: Identity) -> tuple[tuple[str, str], ...]:
    labels = asdict(describe_identity(identity))
    del labels["stature"]
    labels["beard"] = "yes" if labels["beard"] else "no"
    upper = identity.cape or identity.jacket or identity.top
    labels["upper_shade"] = _shade(upper, front_points(max(upper.hem, -0.05), 0.45, 0.14))
    lower = identity.bottom
    labels["lower_shade"] = _shade(lower, front_points(max(lower.hem, -0.75), 0.0, 0.14))
    return tuple(labels.items())


def person_facts(identity: Identity) -> dict[str, str]:
    """Facts of an identity: its `Attributes` without the stature, and shades of its clothes.

    Returns:
        Values by name; ``upper_shade`` and ``lower_shade`` are dark, medium or light, ``beard`` is
        yes or no.
    """
    return dict(_facts(identity))


def _shade(garment: Garment, points: Tensor) -> str:
    luma = float((garment.fabric(points).mean(0) * garment.fabric(points).new_tensor(_LUMA)).sum())
    return "dark" if luma < _DARK else "light" if luma > _LIGHT else "medium"


def agrees(facts: Facts, said: Sequence[tuple[str, str]]) -> bool:
    """True when no stated fact contradicts those of a person; facts without a value agree."""
    return all(facts.get(name, value) == value for name, value in said)


def seen_facts(facts: Facts, visibility: Tensor, yaw: float) -> dict[str, str]:
    """Facts that an image shows.

    Args:
        facts: facts of the person.
        visibility: (21,) of `COCO_17_FEET`: 1 seen, 0.5 hidden by the own body, 0 hidden by
            something else or outside of the image.
        yaw: heading, radians, 0 towards the camera.

    Returns:
        The facts of those body parts of which at least half of the joints are not hidden by others;
        glasses and beard not from behind.
    """
    if tuple(visibility.shape) != (len(COCO_17_FEET),):
        raise ValueError(
            f"visibility must be ({len(COCO_17_FEET)},); got {tuple(visibility.shape)}"
        )
    shown = {
        part: sum(float(visibility[COCO_17_FEET.index(joint)]) >= 0.5 for joint in joints) * 2
        >= len(joints)
        for part, joints in _JOINTS.items()
    }
    behind = abs(math.remainder(yaw, math.tau)) > math.radians(110)

    def is_shown(name: str) -> bool:
        if name.startswith(("hair", "hat", "glasses", "beard")):
            return shown["head"] and not (behind and name in ("glasses", "beard"))
        if name.startswith("bag"):
            return shown["upper"] and shown["lower"]
        return shown[name if name == "sleeves" else name.partition("_")[0]]

    return {name: value for name, value in facts.items() if is_shown(name)}


def describe_in_words(identity: Identity, seed: int = 0, *, fraction: float = 0.8) -> Description:
    """Description of an identity in words, drawn from a seed.

    Phrases, synonyms, their order and the opening are drawn; no phrase contradicts the truth.

    Args:
        identity: the person.
        seed: number of the description, at least 0.
        fraction: probability of each phrase, in (0, 1]; at least two are said.

    Raises:
        ValueError: ``fraction`` is out of its range, or ``seed`` negative.
    """
    if not 0 < fraction <= 1 or seed < 0:
        raise ValueError(
            f"fraction must be in (0, 1] and seed at least 0; got {fraction} and {seed}"
        )
    rng = Rng.seeded("words", identity.seed, seed)
    facts = person_facts(identity)
    phrases = [_upper(facts, rng), _lower(facts, rng), _bag(facts, rng), _hair(facts, rng),
               _shoes(facts, rng), _face(facts, rng)]  # fmt: skip
    usable = [each for each in phrases if each is not None]
    chances = [rng.uniform(0, 1) for _ in usable]
    least = sorted(chances)[1] if len(chances) > 1 else 1.0
    chosen = [
        each
        for each, chance in zip(usable, chances, strict=True)
        if chance < fraction or chance <= least
    ]
    order = sorted((rng.uniform(0, 1), place) for place in range(len(chosen)))
    if rng.flag(0.5):  # most people begin with the clothes
        order = [(0.0, place) for place in range(len(chosen))]
    text = rng.pick(_OPENINGS) + ", ".join(chosen[place][0] for _, place in order)
    said = [fact for _, place in order for fact in chosen[place][1]]
    return Description(text, tuple(dict.fromkeys(said)))


Phrase = tuple[str, list[tuple[str, str]]]


def _color(facts: Facts, name: str, rng: Rng, *, chance: float = 0.9) -> Phrase:
    """Words for a colour, and its facts; for clothes with a shade now and then."""
    if not rng.flag(chance):
        return "", []
    color = facts[f"{name}_color"]
    word, fact = rng.pick(_COLOR_WORDS[color]), (f"{name}_color", color)
    shade = facts.get(f"{name}_shade", "medium")
    if shade == "medium" or color in ("white", "yellow", "orange"):
        return f"{word} ", [fact]
    shades = [(f"{name}_shade", shade)]
    if shade == "dark" and rng.flag(0.3):
        return "dark ", shades
    if color == "black" or rng.flag(0.6):
        return f"{word} ", [fact]
    if shade == "dark" and color == "blue" and rng.flag(0.4):
        return "navy ", [fact, *shades]
    return f"{shade} {word} ", [fact, *shades]


def _upper(facts: Facts, rng: Rng) -> Phrase:
    color, said = _color(facts, "upper", rng)
    noun = rng.pick(_UPPER[facts["upper"]])
    said = [*said, ("upper", facts["upper"])]
    if facts["upper_pattern"] == "patterned" and rng.flag(0.5):
        color, said = f"patterned {color}", [*said, ("upper_pattern", "patterned")]
    if facts["upper"] in ("top", "dress") and rng.flag(0.4):
        color = f"{_SLEEVES[facts['sleeves']]} {color}"
        said = [*said, ("sleeves", facts["sleeves"])]
    return _article(f"{color}{noun}", rng), said


def _article(phrase: str, rng: Rng) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}" if rng.flag(0.3) else phrase


def _lower(facts: Facts, rng: Rng) -> Phrase | None:
    if facts["lower"] == "dress":
        return None
    color, said = _color(facts, "lower", rng)
    return f"{color}{rng.pick(_LOWER[facts['lower']])}", [*said, ("lower", facts["lower"])]


def _bag(facts: Facts, rng: Rng) -> Phrase:
    if facts["bag"] == "none":
        return rng.pick(("no bag", "without a bag")), [("bag", "none")]
    color, said = _color(facts, "bag", rng, chance=0.6)
    phrase = f"{color}{rng.pick(_BAGS[facts['bag']])}"
    return _article(phrase, rng), [*said, ("bag", facts["bag"])]


def _hair(facts: Facts, rng: Rng) -> Phrase:
    if facts["hat"] != "none":
        return rng.pick(_HATS[facts["hat"]]), [("hat", facts["hat"])]
    noun = rng.pick(_HAIR[facts["hair"]])
    said = [("hair", facts["hair"])]
    if facts["hair"] == "bald" or not rng.flag(0.5):
        return noun, said
    color, more = _color(facts, "hair", rng, chance=1.0)
    return f"{color}{noun}", [*said, *more]


def _shoes(facts: Facts, rng: Rng) -> Phrase | None:
    if not rng.flag(0.6):
        return None
    color, said = _color(facts, "shoes", rng, chance=1.0)
    noun = "boots" if facts["shoes"] == "boots" else rng.pick(("shoes", "sneakers"))
    return f"{color}{noun}", [*said, ("shoes", facts["shoes"])]


def _face(facts: Facts, rng: Rng) -> Phrase | None:
    if facts["beard"] == "yes" and rng.flag(0.6):
        return "beard", [("beard", "yes")]
    if facts["glasses"] == "dark":
        return "sunglasses", [("glasses", "dark")]
    if facts["glasses"] == "clear":
        return "glasses", [("glasses", "clear")]
    return None
