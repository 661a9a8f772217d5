"""Words and images in one space: a small encoder of sentences, and a head on image embeddings.

Both sides give unit vectors, whose dot product is the similarity of a description and an image. The
head takes embeddings of a dense model (`og_reid.models.dense_reid.DenseReID`) as they are stored,
so that a gallery needs no image anew.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .embedding import Embedding
from .init import init_from_generator

__all__ = ["AppearanceHead", "WordEncoder", "WordModel", "tokens"]

#: Most tokens of a sentence that are read.
MOST_TOKENS = 64
_TOKEN = re.compile(r"[^\W_]+|,", re.UNICODE)
_BUCKETS = 64  # of words outside of the vocabulary


def tokens(text: str) -> list[str]:
    """Words of a text in lower case, and its commas; other marks end a word.

    Raises:
        ValueError: the text has no word.
    """
    found = _TOKEN.findall(text.casefold().replace(";", ",").replace(".", ","))[:MOST_TOKENS]
    if not any(each != "," for each in found):
        raise ValueError(f"words must describe a person, such as 'red jacket'; got {text!r}")
    return found


class WordEncoder(nn.Module):
    """Sentences to vectors: word embeddings, two residual convolutions, maximum over the words.

    The convolutions, of three words, bind a colour to its garment. Words outside of the vocabulary
    share 64 embeddings by a hash.

    Args:
        vocabulary: known words.
        dim: length of the vectors.
        width: channels of the convolutions.
        generator: source of the initial weights.
    """

    @init_from_generator
    def __init__(
        self,
        vocabulary: Sequence[str],
        dim: int = 192,
        width: int = 128,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not vocabulary or len(set(vocabulary)) < len(vocabulary):
            raise ValueError(f"vocabulary must hold distinct words; got {len(vocabulary)}")
        if min(dim, width) < 1:
            raise ValueError(f"dim and width must be at least 1; got {dim} and {width}")
        self.vocabulary = tuple(vocabulary)
        self._place = {word: row for row, word in enumerate(self.vocabulary, 1)}
        self.embedding = nn.Embedding(1 + len(self.vocabulary) + _BUCKETS, 64, padding_idx=0)
        self.widen = nn.Conv1d(64, width, 3, padding=1)
        self.mix = nn.Conv1d(width, width, 3, padding=1)
        self.out = nn.Linear(width, dim)
        with torch.no_grad():
            for layer in (self.embedding, self.widen, self.mix, self.out):
                nn.init.normal_(layer.weight, std=_spread(layer), generator=generator)
            self.embedding.weight[0].zero_()

    def indices(self, texts: Sequence[str]) -> Tensor:
        """(B, T) int64 rows of the embedding; 0 after the end of a sentence."""
        rows = [[self._row(word) for word in tokens(text)] for text in texts]
        longest = max(map(len, rows), default=1)
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows]).view(-1, longest)

    def unknown(self, text: str) -> list[str]:
        """Words of a text that are not in the vocabulary."""
        return [each for each in tokens(text) if each not in self._place]

    def _row(self, word: str) -> int:
        known = self._place.get(word)
        bucket = zlib.crc32(word.encode("utf-8", "surrogatepass")) % _BUCKETS
        return 1 + len(self.vocabulary) + bucket if known is None else known

    def forward(self, indices: Tensor) -> Tensor:
        """(B, dim) unit vectors of (B, T) indices."""
        there = (indices > 0)[:, None]
        features = self.widen(self.embedding(indices).transpose(1, 2)).relu() * there
        features = features + self.mix(features).relu()
        most = features.masked_fill(~there, -torch.inf).amax(2)
        return functional.normalize(self.out(most), dim=1)


class AppearanceHead(nn.Module):
    """Image embeddings to vectors in the space of words.

    Local features are averaged over each body part, under the part map, and projected by a matrix
    for each; with the global embedding they pass two layers.

    Args:
        channels: of the local features.
        parts: body parts of their weights.
        embedding_dim: of the global embedding.
        dim: length of the vectors.
        generator: source of the initial weights.
    """

    @init_from_generator
    def __init__(
        self,
        channels: int = 128,
        parts: int = 6,
        embedding_dim: int = 256,
        dim: int = 192,
        *,
        part_dim: int = 48,
        hidden: int = 256,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = (channels, parts, embedding_dim, dim, part_dim, hidden)
        if min(sizes) < 1:
            raise ValueError(f"sizes must be at least 1; got {sizes}")
        self.channels, self.parts, self.embedding_dim = channels, parts, embedding_dim
        self.part_dim, self.hidden = part_dim, hidden
        self.by_part = nn.Parameter(torch.empty(parts, channels, part_dim))
        self.norm = nn.BatchNorm1d(parts * part_dim + embedding_dim)
        self.widen = nn.Linear(parts * (part_dim + 1) + embedding_dim, hidden)
        self.out = nn.Linear(hidden, dim)
        with torch.no_grad():
            nn.init.normal_(self.by_part, std=channels**-0.5, generator=generator)
            for layer in (self.widen, self.out):
                nn.init.normal_(layer.weight, std=_spread(layer), generator=generator)
                layer.bias.zero_()

    def inputs(self, images: Embedding) -> Tensor:
        """(B, P C + P + D) inputs of `forward` from embeddings of a dense model.

        Raises:
            ValueError: the embeddings have no local or global features, or of other sizes.
        """
        local, pooled = images.local, images.features
        if local is None or pooled is None:
            raise ValueError(
                "images must be embedded by a model of local features, such as 'default'"
            )
        found = (local.features.shape[2], local.weights.shape[2], pooled.shape[1])
        wanted = (self.channels, self.parts, self.embedding_dim)
        if found != wanted:
            raise ValueError(
                f"images must have {wanted} channels, body parts and global features, as those "
                f"that the words were trained with; got {found}: embed them by the same model"
            )
        weights = local.weights.float()
        mass = weights.sum(1)
        cells = functional.normalize(local.features.float(), dim=2)  # stored ones are int8
        total = torch.einsum("nlp,nlc->npc", weights, cells)
        mean = total / (mass[..., None] + 0.5)
        unit = functional.normalize(pooled.float(), dim=1)
        return torch.cat([mean.flatten(1), local.visibility.float(), unit], 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, dim) unit vectors of the `inputs` of B images."""
        sizes = [self.parts * self.channels, self.parts, self.embedding_dim]
        mean, seen, pooled = inputs.split(sizes, 1)
        by_part = torch.einsum(
            "npc,pcd->npd", mean.unflatten(1, (self.parts, self.channels)), self.by_part
        )
        joined = self.norm(torch.cat([by_part.flatten(1), pooled], 1))
        hidden = self.widen(torch.cat([joined, seen], 1)).relu()
        if self.training:
            hidden = functional.dropout(hidden, 0.3)
        return functional.normalize(self.out(hidden), dim=1)


class WordModel(nn.Module):
    """Words and images in one space.

    Args:
        vocabulary: see `WordEncoder`.
        sizes: arguments of `AppearanceHead`.
        dim: length of the vectors.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        sizes: dict[str, int] | None = None,
        dim: int = 192,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.words = WordEncoder(vocabulary, dim, generator=generator)
        self.head = AppearanceHead(dim=dim, generator=generator, **(sizes or {}))
        self.dim = dim

    def architecture(self) -> dict[str, Any]:
        """Arguments of the network, as plain values."""
        head = self.head
        names = ("channels", "parts", "embedding_dim", "part_dim", "hidden")
        return {
            "vocabulary": list(self.words.vocabulary),
            "sizes": {name: getattr(head, name) for name in names},
            "dim": self.dim,
        }

    @torch.no_grad()
    def similarity(self, texts: Sequence[str], images: Embedding) -> Tensor:
        """(T, N) cosines in [-1, 1] of descriptions and images, on the CPU.

        Args:
            texts: T descriptions.
            images: N embeddings of the model of images that the words were trained with.

        Raises:
            ValueError: a text has no word, or see `AppearanceHead.inputs`.
        """
        training = self.training
        self.eval()
        try:
            words = self.words(self.words.indices(texts))
            return (words @ self.head(self.head.inputs(images)).T).cpu()
        finally:
            self.train(training)


def _spread(layer: nn.Module) -> float:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return float((2 / weight[0].numel()) ** 0.5) if weight.dim() > 2 else weight.shape[1] ** -0.5
