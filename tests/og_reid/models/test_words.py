"""Words and images in one space: tokens, training on made people, files, bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from og_reid.inference.words import load_words, save_words
from og_reid.models.embedding import Embedding
from og_reid.models.local_features import LocalFeatures
from og_reid.models.words import AppearanceHead, WordEncoder, WordModel, tokens
from og_reid.train.word_training import train_words

COLORS = ("red", "blue", "green", "white")
VOCABULARY = (*COLORS, "jacket", "trousers", ",")
SIZES = {"channels": 8, "parts": 2, "embedding_dim": 4, "part_dim": 6, "hidden": 32}


def made_model() -> WordModel:
    return WordModel(VOCABULARY, SIZES, 16, generator=torch.Generator().manual_seed(0))


def made_images(people: list[tuple[int, int]], seed: int) -> Embedding:
    """An upper and a lower cell each, whose directions are those of their colours."""
    generator = torch.Generator().manual_seed(seed)
    colors = torch.eye(8)[torch.tensor(people)] + 0.1 * torch.randn(
        len(people), 2, 8, generator=generator
    )
    weights = torch.eye(2).expand(len(people), 2, 2)
    local = LocalFeatures(functional.normalize(colors, dim=2), weights,
                          torch.ones(len(people), 2), torch.zeros(len(people), 2))  # fmt: skip
    return Embedding(torch.ones(len(people), 4), local=local)


def described(person: tuple[int, int], number: int) -> tuple[str, list[tuple[str, str]]]:
    upper, lower = (COLORS[each] for each in person)
    phrases = [f"{upper} jacket", f"{lower} trousers"]
    return ", ".join(phrases[:: -1 if number % 2 else 1]), [("upper", upper), ("lower", lower)]


def test_training_binds_colours_to_garments() -> None:
    model = made_model()
    people = [(upper, lower) for upper in range(4) for lower in range(4)]
    inputs = torch.cat([model.head.inputs(made_images(people, seed)) for seed in range(3)])
    facts = [dict(described(each, 0)[1]) for each in people]
    loss = train_words(
        model, inputs, list(range(16)) * 3, facts, lambda row, n: described(people[row], n),
        steps=150, batch=16, sentences=4,
    )  # fmt: skip
    assert loss < 1
    scores = model.similarity([described(each, 1)[0] for each in people], made_images(people, 7))
    assert (scores.argmax(1) == torch.arange(16)).float().mean() > 0.9
    assert scores.abs().max() <= 1 + 1e-5


def test_training_is_repeatable() -> None:
    people = [(0, 1), (2, 3), (1, 0)]
    facts = [dict(described(each, 0)[1]) for each in people]
    found = []
    for _ in range(2):
        model = made_model()
        inputs = model.head.inputs(made_images(people, 0))
        train_words(model, inputs, range(3), facts, lambda row, n: described(people[row], n),
                    steps=5, sentences=2)  # fmt: skip
        found.append(torch.cat([each.flatten() for each in model.parameters()]))
    assert torch.equal(*found)


def test_words_are_read_in_any_case_and_script() -> None:
    assert tokens("Red JACKET; dark-blue trousers.") == [
        "red", "jacket", ",", "dark", "blue", "trousers", ","
    ]  # fmt: skip
    assert tokens("jupe écrue") == ["jupe", "écrue"]
    assert len(tokens("red " * 500)) == 64
    encoder = WordEncoder(VOCABULARY, 16)
    assert encoder.unknown("mauve jacket") == ["mauve"]
    alone, padded = (
        encoder(encoder.indices(["red jacket", more]))[0]
        for more in ("blue", "red jacket, blue trousers, red")
    )
    torch.testing.assert_close(alone, padded)


@pytest.mark.parametrize("text", ["", "  ", ",,;", "\x00"])
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="words must describe"):
        tokens(text)


def test_a_file_gives_the_model_back(tmp_path: Path) -> None:
    model, path = made_model(), tmp_path / "words.safetensors"
    save_words(model, path, {"steps": 3})
    loaded = load_words(path)
    images = made_images([(0, 1)], 0)
    torch.testing.assert_close(
        loaded.similarity(["red jacket"], images), model.similarity(["red jacket"], images),
        atol=2e-3, rtol=0,
    )  # fmt: skip
    with torch.no_grad():
        model.head.out.bias[0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        save_words(model, path, {})


def test_damaged_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.safetensors"
    save_words(made_model(), path, {})
    data = bytearray(path.read_bytes())
    data[-3] ^= 64
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"words\.safetensors"):
        load_words(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"words\.safetensors"):
        load_words(path)


def test_other_embeddings_are_refused() -> None:
    model = made_model()
    with pytest.raises(ValueError, match="model of local features"):
        model.similarity(["red"], Embedding(torch.ones(2, 4)))
    with pytest.raises(ValueError, match="embed them by the same model"):
        WordModel(VOCABULARY).similarity(["red"], made_images([(0, 0)], 0))
    with pytest.raises(ValueError, match="distinct words"):
        WordEncoder(("red", "red"))
    with pytest.raises(ValueError, match="sizes must be at least 1"):
        AppearanceHead(parts=0)
    with pytest.raises(ValueError, match="at least two identities"):
        train_words(model, torch.zeros(1, 30), [0], [{"a": "b"}], lambda row, n: ("a", []))
