"""Search of images by words: training of the word model on generated people, and the search."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .fields import as_path, check_workers
from .input_files import Bulk, check_exists, check_output, list_files
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from torch import Tensor

    from meshes.world.people.identity import Identity

    from ..models.embedding import Embedding
    from ..models.words import WordModel

__all__ = ["SearchSpec", "WordSearch", "WordsReport", "WordsSpec", "search_words", "train_words"]

_RANKS = (1, 5, 10)
_TEST, _TEST_SEED, _TEST_FIRST = 200, 32, 400_000
_FIRST, _SEED = 300_000, 30
_FRACTIONS = (0.4, 0.6, 0.8, 1.0)  # of said phrases, in turn
_SENTENCES = 40


@dataclass(frozen=True)
class WordsSpec:
    """Training of a word model.

    Attributes:
        out: Folder of the run: rendered images, and ``words.safetensors``.
        identities: Generated people to train on, a third of them in the city world.
        views: Images of each.
        steps: Optimiser steps.
        seed: Seed of the weights and batches.
        workers: Processes that render.

    Raises:
        ValueError: A value is out of its range.
    """

    out: Path
    identities: int = 1200
    views: int = 2
    steps: int = 1000
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        """Checks the values, and makes a path of a string."""
        as_path(self, "out")
        check_workers(self.workers)
        for name, least in (("identities", 4), ("views", 1), ("steps", 10), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"--{name} must be at least {least}; got {getattr(self, name)}")


@dataclass(frozen=True)
class WordsReport:
    """Outcome of `train_words`, on 200 generated people that training never has.

    Attributes:
        out: File of the word model.
        recall: Fraction of descriptions whose person is among the first 1, 5 and 10 people.
        said: The same of a search by all facts of the people, and all that agree with the
            words are equal: the ceiling of the facts said.
        seen: The same of a search by the facts that a person's images show.
        changed: Fraction of descriptions that fit their person better than with another colour.
        seconds: Processor seconds of embedding and training, without rendering.
    """

    out: Path
    recall: tuple[float, ...]
    said: tuple[float, ...]
    seen: tuple[float, ...]
    changed: float
    seconds: float

    def __str__(self) -> str:
        rows = (("found", self.recall), ("facts seen", self.seen), ("facts said", self.said))
        lines = [
            f"{name:<12}" + "".join(f"{100 * each:7.1f}" for each in values)
            for name, values in rows
        ]
        return "\n".join((
            f"{_TEST} unseen people   R@1    R@5   R@10", *lines,
            f"one colour changed: lower in {100 * self.changed:.1f} %",
            f"{self.out}: {self.seconds:.0f} processor seconds without rendering",
        ))  # fmt: skip


@dataclass(frozen=True)
class SearchSpec:
    """Search by words.

    Attributes:
        images: Folder of images, or of a gallery of ``og-reid gallery``.
        words: Description, such as "red jacket, dark trousers, backpack".
        model: File of ``og-reid words``; None: that of the package.
        k: Images to list.
        out: Table of all images, .csv; None: none.
        skip: Leave out files that fail.

    Raises:
        ValueError: A value is out of its range.
    """

    images: Path
    words: str
    model: Path | None = None
    k: int = 10
    out: Path | None = None
    skip: bool = False

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        for name in ("images", "model", "out"):
            as_path(self, name)
        if not any(each.isalnum() for each in self.words):
            raise ValueError(
                f"--words must describe a person, such as 'red jacket'; got {self.words!r}"
            )
        if self.k < 1:
            raise ValueError(f"--k must be at least 1; got {self.k}")
        if self.out is not None and self.out.suffix.lower() != ".csv":
            raise ValueError(f"--out must end in .csv; got {self.out}")


@dataclass(frozen=True)
class WordSearch(Bulk):
    """Outcome of `search_words`.

    Attributes:
        names: Images, the best first.
        scores: Their similarity to the words, in [-1, 1].
        unknown: Words that the model has never seen.
        k: Images to list.
    """

    names: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    unknown: tuple[str, ...] = ()
    k: int = 10

    def __str__(self) -> str:
        rows = zip(self.scores[: self.k], self.names[: self.k], strict=True)
        lines = [f"{score:7.3f}  {name}" for score, name in rows]
        if self.unknown:
            lines.append(f"not in the vocabulary: {', '.join(self.unknown)}")
        return "\n".join(lines)


def search_words(spec: SearchSpec, progress: StageProgress | None = None) -> WordSearch:
    """Ranks the images of a folder, or the items of a gallery, by words.

    Args:
        spec: Images and words.
        progress: Called with (stage, done, total).

    Raises:
        ValueError: There are no images, or they were embedded by another model.
    """
    check_exists(spec.images, "give a folder of images, or of a gallery")
    if spec.model is not None:
        check_exists(spec.model, "give a file of og-reid words")
    if spec.out is not None:
        check_output(spec.out)

    from ..inference.words import load_words

    model = load_words(spec.model)
    if (spec.images / "gallery.json").is_file():
        names, scores, failures = *_of_gallery(spec, model), ()
    else:
        names, scores, failures = _of_files(spec, model, progress)
    order = sorted(range(len(names)), key=lambda row: (-scores[row], names[row]))
    result = WordSearch(
        out=spec.out or Path("search.csv"), made=len(names), total=len(names) + len(failures),
        failures=failures, warnings=(),
        report=(spec.out or Path("search.csv")).with_suffix(".failures.csv"),
        names=tuple(names[row] for row in order), scores=tuple(scores[row] for row in order),
        unknown=tuple(dict.fromkeys(model.words.unknown(spec.words))), k=spec.k,
    )  # fmt: skip
    if spec.out is not None:
        _write(spec.out, result)
    return result


def _of_files(
    spec: SearchSpec, model: WordModel, progress: StageProgress | None
) -> tuple[list[str], list[float], tuple[Any, ...]]:
    from ..data.files.image_files import image_endings
    from .embed_files import embed_files

    inputs, missing = list_files([spec.images], image_endings, (), skip=spec.skip)
    made = embed_files(
        [each.path for each in inputs], progress=stage_progress(progress, "embedding")
    )
    scores: list[float] = []
    if made.embedding is not None:
        scores = model.similarity([spec.words], made.embedding)[0].tolist()
    return list(made.names), scores, (*missing, *made.failures)


def _of_gallery(spec: SearchSpec, model: WordModel) -> tuple[list[str], list[float]]:
    from ..gallery import Gallery

    names: list[str] = []
    scores: list[float] = []
    for ids, embedding in Gallery.open(spec.images).embeddings():
        names += ids
        scores += model.similarity([spec.words], embedding)[0].tolist()
    return names, scores


def _write(path: Path, result: WordSearch) -> None:
    from pose.files.atomic_write import atomic_write

    with atomic_write(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("rank", "item", "score"))
        rows = zip(result.names, result.scores, strict=True)
        table.writerows((rank, name, f"{score:.6f}") for rank, (name, score) in enumerate(rows, 1))


def train_words(spec: WordsSpec, progress: StageProgress | None = None) -> WordsReport:
    """Renders people, embeds their images by the default model, and trains words on them.

    Rendering is resumed from the folder of the run. Test people are no training people, neither of
    the words nor of the default model.

    Args:
        spec: The run.
        progress: Called with (stage, done, total).

    Raises:
        ValueError: The folder holds other images.
    """
    import torch

    from meshes.world.people.words import describe_in_words, person_facts

    from ..inference.words import load_words, save_words
    from ..models.words import AppearanceHead, WordModel, tokens
    from ..train.word_training import train_words as fit

    third = spec.identities // 3
    plans = {
        "default": (spec.identities - third, _FIRST, _SEED),
        "city": (third, _FIRST + 50_000, _SEED + 1),
    }
    people: list[Identity] = []
    rows: list[Embedding] = []
    numbers: list[int] = []
    start = time.process_time()
    rendering = 0.0
    for settings, (count, first, seed) in plans.items():
        begun = time.process_time()
        folder = spec.out / "train" / settings
        _render(folder, settings, (count, spec.views, first, seed), spec.workers, progress)
        rendering += time.process_time() - begun
        found, ids, _ = _embedded(folder, progress)
        numbers += [len(people) + each for each in ids]
        rows.append(found)
        people += _people(settings, first, count)
    vocabulary = {
        word
        for person in people
        for number in range(0, _SENTENCES, 5)
        for word in tokens(describe_in_words(person, number, fraction=1.0).text)
    }
    model = WordModel(sorted(vocabulary), generator=torch.Generator().manual_seed(spec.seed))
    inputs = torch.cat([AppearanceHead().inputs(each) for each in rows])

    def describe(person: int, number: int) -> tuple[str, Sequence[tuple[str, str]]]:
        made = describe_in_words(
            people[person], number, fraction=_FRACTIONS[number % len(_FRACTIONS)]
        )
        return made.text, made.said

    fit(
        model, inputs, numbers, [person_facts(each) for each in people], describe,
        steps=spec.steps, seed=spec.seed, sentences=_SENTENCES,
        progress=stage_progress(progress, "training"),
    )  # fmt: skip
    out = spec.out / "words.safetensors"
    seconds = time.process_time() - start - rendering
    training = {"identities": spec.identities, "views": spec.views, "steps": spec.steps}
    save_words(model, out, {**training, "seed": spec.seed, "images": "default"})
    return WordsReport(out, *_tested(spec, load_words(out), progress), seconds)


def _render(
    folder: Path, settings: str, plan: tuple[int, int, int, int], workers: int,
    progress: StageProgress | None,
) -> None:  # fmt: skip
    from meshes.world.labelled import write_labelled_world

    count, views, first, seed = plan
    write_labelled_world(
        folder, identities=count, views=views, seed=seed, first_identity=first, settings=settings,
        workers=workers if workers > 1 else 0,
        progress=stage_progress(progress, f"rendering {folder.name}"),
    )  # fmt: skip


def _people(settings: str, first: int, count: int) -> list[Identity]:
    from meshes.world import world_settings

    draw = world_settings(settings).identity
    return [draw(first + number) for number in range(count)]


def _embedded(
    folder: Path, progress: StageProgress | None
) -> tuple[Embedding, list[int], list[tuple[Tensor, float]]]:
    """Embeddings of a labelled world, its identities, and visibility and yaw of each image."""
    import torch

    from meshes.world.labelled import labelled_shards, read_labelled_shard

    from ..inference.encoder import EmbedOptions, GivenInput
    from ..inference.pretrained import encoder_for
    from ..models.embedding import Embedding

    encoder = encoder_for("default", clouds=False)
    pieces: list[Embedding] = []
    identities: list[int] = []
    shown: list[tuple[Tensor, float]] = []
    shards = labelled_shards(folder)
    for number, path in enumerate(shards):
        images = read_labelled_shard(path)
        items, _ = encoder.accept(GivenInput(list(images.image)))
        pieces += encoder.embed(items, EmbedOptions(batch_size=32))
        identities += images.identity.tolist()
        visibility = torch.from_numpy(images.keypoint_visibility)
        shown += zip(visibility, images.yaw.tolist(), strict=True)
        stage_progress(progress, f"embedding {folder.name}")(number + 1, len(shards))
    return Embedding.cat(pieces), identities, shown


def _tested(
    spec: WordsSpec, model: WordModel, progress: StageProgress | None
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], float]:
    """Recall, ceilings of facts said and seen, and the test of a changed colour."""
    import torch

    from meshes.world.people.words import agrees, describe_in_words, person_facts, seen_facts

    folder = spec.out / "test"
    _render(folder, "default", (_TEST, 2, _TEST_FIRST, _TEST_SEED), spec.workers, progress)
    images, ids, shown = _embedded(folder, progress)
    people = _people("default", _TEST_FIRST, _TEST)
    facts = [person_facts(each) for each in people]
    given = [describe_in_words(each, 1000) for each in people]
    seen: list[dict[str, str]] = [{} for _ in people]
    for person, (visibility, yaw) in zip(ids, shown, strict=True):
        seen[person].update(seen_facts(facts[person], visibility, yaw))
    owner = torch.tensor(ids)
    best = _best(model, [each.text for each in given], images, owner)
    own = best.diagonal()
    ranks = (best >= own[:, None]).sum(1)  # ties count as worse
    recall = tuple(float((ranks <= k).float().mean()) for k in _RANKS)
    ceilings = []
    for known in (facts, seen):
        equal = torch.tensor([sum(agrees(each, one.said) for each in known) for one in given])
        ceilings.append(tuple(float((k / equal).clamp(max=1).mean()) for k in _RANKS))
    others = [_recolored(each.text) for each in given]
    rows = [row for row, text in enumerate(others) if text is not None]
    changed = _best(model, [others[row] or "" for row in rows], images, owner)
    lower = [bool(changed[place, row] < own[row]) for place, row in enumerate(rows)]
    return recall, ceilings[0], ceilings[1], sum(lower) / len(lower) if lower else math.nan


def _best(model: WordModel, texts: Sequence[str], images: Embedding, owner: Tensor) -> Tensor:
    """(T, people) similarity of each text to the best image of each person."""
    import torch

    scores = model.similarity(texts, images)
    people = int(owner.max()) + 1
    return torch.stack([scores[:, owner == each].amax(1) for each in range(people)], 1)


def _recolored(text: str) -> str | None:
    """A text with its first colour replaced by a far one; None without a colour."""
    far = {"black": "white", "white": "black", "grey": "red", "red": "green", "green": "red",
           "blue": "yellow", "yellow": "blue", "orange": "blue", "purple": "yellow",
           "pink": "green", "brown": "white"}  # fmt: skip
    words = text.replace(",", " ,").split(" ")
    for place, word in enumerate(words):
        if word in far:
            return " ".join((*words[:place], far[word], *words[place + 1 :])).replace(" ,", ",")
    return None
