"""Training of words and images in one space, on generated people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR

from ..losses.instance import instance_in_batch
from ..models.words import WordModel

__all__ = ["train_words"]

#: Sentence number -> (text, stated facts) of an identity.
Describe = Callable[[int, int], tuple[str, Sequence[tuple[str, str]]]]


def train_words(
    model: WordModel,
    inputs: Tensor,
    identities: Sequence[int],
    facts: Sequence[Mapping[str, str]],
    describe: Describe,
    *,
    steps: int = 1500,
    batch: int = 192,
    lr: float = 3e-3,
    gamma: float = 20.0,
    sentences: int = 40,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Trains by the in-batch instance loss; image embeddings are constant.

    A batch has distinct identities. A sentence that fits another person of the batch, too, is no
    negative of their image.

    Args:
        model: network to train, in place.
        inputs: (N, F) of `AppearanceHead.inputs`.
        identities: N identities, from 0 to I - 1.
        facts: facts of the I identities.
        describe: sentence of an identity by its number.
        steps: optimiser steps.
        batch: pairs of image and sentence in a step.
        lr: largest learning rate of AdamW, in one cycle.
        gamma: scale of the cosines.
        sentences: number of different sentences of an identity.
        seed: seed of batches, sentences and dropout.
        progress: called with (steps done, steps in all).

    Returns:
        Mean loss of the last tenth of the steps.

    Raises:
        ValueError: fewer than two identities, or sizes that do not belong together.
    """
    if len(inputs) != len(identities) or len(facts) < 2:
        raise ValueError(
            "inputs and identities must be of the same images, of at least two identities; got "
            f"{len(inputs)}, {len(identities)} and {len(facts)} identities"
        )
    generator = torch.Generator().manual_seed(seed)
    rows = _rows_of(identities, len(facts))
    sentence = _Sentences(model, facts, describe)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.02)
    schedule = OneCycleLR(optimizer, max_lr=lr, total_steps=steps, pct_start=0.1)
    size, losses = min(batch, len(facts)), []
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of dropout
        for step in range(steps):
            people = torch.randperm(len(facts), generator=generator)[:size]
            chances = torch.rand(size, 2, generator=generator).tolist()
            pictures, texts, fits = [], [], []
            for person, (first, second) in zip(people.tolist(), chances, strict=True):
                pictures.append(rows[person][int(first * len(rows[person]))])
                indices, suited = sentence(person, int(second * sentences))
                texts.append(indices)
                fits.append(suited[people])
            words = model.words(torch.nn.utils.rnn.pad_sequence(texts, batch_first=True))
            images = model.head(inputs[torch.tensor(pictures)])
            loss = instance_in_batch(images, None, gamma, words, ignored=torch.stack(fits).T)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            if progress is not None:
                progress(step + 1, steps)
    model.eval()
    last = losses[-max(1, steps // 10) :]
    return sum(last) / len(last)


class _Sentences:
    """Indices of a sentence, and which of I identities it fits; each is made once."""

    def __init__(
        self, model: WordModel, facts: Sequence[Mapping[str, str]], describe: Describe
    ) -> None:
        self._model, self._describe = model, describe
        self._values = {name: _numbers([each[name] for each in facts]) for name in facts[0]}
        self._made: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def __call__(self, person: int, number: int) -> tuple[Tensor, Tensor]:
        """(T,) int64 indices and (I,) bool of a sentence of an identity."""
        if (person, number) not in self._made:
            text, said = self._describe(person, number)
            fits = torch.ones(len(next(iter(self._values.values()))), dtype=torch.bool)
            for name, _ in said:
                fits &= self._values[name] == self._values[name][person]
            self._made[person, number] = (self._model.words.indices([text])[0], fits)
        return self._made[person, number]


def _rows_of(identities: Sequence[int], count: int) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(count)]
    for row, identity in enumerate(identities):
        rows[identity].append(row)
    if not all(rows):
        raise ValueError(f"each of the {count} identities must have an image; some have none")
    return rows


def _numbers(values: Sequence[str]) -> Tensor:
    names = {name: number for number, name in enumerate(sorted(set(values)))}
    return torch.tensor([names[value] for value in values])
