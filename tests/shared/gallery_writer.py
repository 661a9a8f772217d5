"""Writer of a gallery that logs what it begins and what is done, to be killed."""

from __future__ import annotations

import random

import og_reid
from local_people import views

ROWS = 6


def write(folder: str, log: str, seed: int) -> None:
    """Adds, forgets and compacts until it is killed; logs before and after."""
    draw = random.Random(seed)
    gallery = og_reid.Gallery(folder)
    with open(log, "a", buffering=1) as file:
        number = 0
        while True:
            number += 1
            group = f"s{seed}n{number}"
            print("adding", group, file=file)
            made = views(list(range(ROWS)), seed * 1000 + number)
            gallery.add(made, [f"{group}-{n}" for n in range(ROWS)], identities=group)
            print("added", group, file=file)
            if draw.random() < 0.5:
                other = f"s{seed}n{draw.randint(1, number)}"
                print("forgetting", other, file=file)
                gallery.forget(identity=other)
                print("forgot", other, file=file)
            if draw.random() < 0.2:
                gallery.compact()
