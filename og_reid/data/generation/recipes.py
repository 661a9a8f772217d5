"""Plan of generated images: operations, donors and seeds."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["OPERATIONS", "Operation", "Person", "Recipe", "plan_recipes"]

#: ``view``: another heading, camera, light and place. ``pose``: also the pose of another person.
#: ``dress``: also the garments of another person. ``occlude``: the image with a thing or another
#: person in front. ``style``: the image in the colours of another camera. ``turn``: all headings in
#: equal steps, in one camera, light and place.
Operation = Literal["view", "pose", "dress", "occlude", "style", "turn"]
#: All operations.
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
#: Operations that take something of another person.
_WITH_DONOR = ("pose", "dress", "occlude")
_PEOPLE_IN_FRONT = 0.3  # fraction of occluders that are people of the set


@dataclass(frozen=True)
class Person:
    """Labels of a lifted person.

    Attributes:
        file: Name of its file.
        split: ``train``, ``query`` or ``gallery``.
        pid: Identity.
        camid: Camera.
        frame: Number of its image in the data set.
    """

    file: str
    split: str
    pid: int
    camid: int
    frame: int = 0


@dataclass(frozen=True)
class Recipe:
    """One image to generate.

    Attributes:
        operation: Operation.
        number: Number among those of one person and operation, from 0.
        person: Person who is shown.
        donor: Person who gives the pose, the garments or stands in front; None without one.
        steps: Headings of ``turn``.
        seed: Seed of all draws.
    """

    operation: Operation
    number: int
    person: Person
    donor: Person | None
    steps: int
    seed: int


def plan_recipes(
    people: Sequence[Person],
    operations: Sequence[Operation],
    *,
    each: int,
    steps: int,
    seed: int,
) -> list[Recipe]:
    """Images of all people, by operation, then person.

    Donors have another identity and are of the same split. A recipe depends on the people of its
    split, the operation, the person and the seed, not on the other operations.

    Args:
        people: Lifted people.
        operations: Operations, without duplicates.
        each: Images of each person for each operation but ``turn``.
        steps: Images of each person for ``turn``.
        seed: Seed.

    Raises:
        ValueError: An operation needs a donor, and a split holds one identity only.
    """
    ordered = sorted(people, key=lambda person: person.file)
    by_split: dict[str, list[Person]] = {}
    for person in ordered:
        by_split.setdefault(person.split, []).append(person)
    recipes = []
    for operation in operations:
        for person in ordered:
            for number in range(steps if operation == "turn" else each):
                key = f"{seed}/{operation}/{person.file}/{number}"
                digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
                own = int.from_bytes(digest[:6], "little")
                donor = _donor(by_split, person, operation, own)
                recipes.append(Recipe(operation, number, person, donor, steps, own))
    return recipes


def _donor(
    by_split: Mapping[str, Sequence[Person]], person: Person, operation: Operation, seed: int
) -> Person | None:
    if operation not in _WITH_DONOR:
        return None
    draws = random.Random(seed)
    if operation == "occlude" and draws.random() >= _PEOPLE_IN_FRONT:
        return None
    others = [each for each in by_split[person.split] if each.pid != person.pid]
    if others:
        return draws.choice(others)
    if operation == "occlude":
        return None
    raise ValueError(
        f"operation {operation} needs people of at least two identities in {person.split}; all "
        f"are of {person.pid}: leave it out"
    )
