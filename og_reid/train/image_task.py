"""Training task of images with keypoints: PGFA and its baselines, multi-granularity stripes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pose.deprecation import deprecated_members

from ..config.load import to_dict
from ..config.schema import ModelConfig, TrainConfig
from ..data.images.augment import augment_images
from ..data.images.image_set import ImageBatch, ImageSet
from ..data.samplers import step_generator
from ..evaluation import Labels, Metrics, evaluate
from ..inference.extract import embed_images
from ..inference.image_encoder import ImageEncoder
from ..inference.preprocessing import ImagePreprocessing
from ..losses.objective import CombinedLoss
from ..models.embedding import Embedding
from ..models.pgfa import CODE, PGFA, PGFAFeatures
from ..models.stripe_net import StripeNet
from .samplers import arrange
from .task import ALL_ROWS, StepOutput

__all__ = ["ImageTask", "build_image_network", "image_metrics", "stripe_counts"]

# Keys of the random streams of a run.
_BATCH, _WEIGHTS, _LOSS = 20, 21, 22
_NUMBERS = 6  # draws of `augment_images` per image


def build_image_network(config: TrainConfig, num_classes: int) -> PGFA | StripeNet:
    """Network of a configuration with random heads and a random or pretrained backbone.

    Args:
        config: All settings of the run.
        num_classes: C, number of training identities.

    Raises:
        ImportError: torchvision is missing.
        ValueError: The weights of ``model.init_from`` do not fit the backbone.
    """
    model = config.model
    generator = step_generator(config.seed, _WEIGHTS)
    if model.arch == "stripes":
        return StripeNet(
            num_classes,
            model.stripes,
            pool=model.pool,
            neck=model.bnneck,
            weights=model.init_from,
            generator=generator,
        )
    return PGFA(
        num_classes,
        model.parts,
        global_branch=model.global_branch,
        weights=model.init_from,
        generator=generator,
    )


def stripe_counts(model: ModelConfig) -> int | tuple[int, ...]:
    """Stripes of a network for `ImageSet`: a count, or one count per granularity."""
    if model.arch == "stripes":
        return tuple(count for stripes in model.stripes for count in stripes)
    return model.parts


def image_metrics(
    query: tuple[Embedding, ImageSet],
    gallery: tuple[Embedding, ImageSet],
    ap: Any,
) -> Metrics:
    """Metrics of the distance over commonly visible parts.

    Args:
        query: Embeddings of the query images, and their set.
        gallery: Embeddings of the gallery images, and their set.
        ap: Convention of average precision, as for `og_reid.evaluation.evaluate`.
    """
    (asked, query_set), (searched, gallery_set) = query, gallery
    return evaluate(asked, searched, Labels.of(query_set, gallery_set), ap=ap)


@deprecated_members
class ImageTask:
    """Identity losses of stripes and of whole images: an `og_reid.train.task.Task`.

    Args:
        config: All settings of the run; of ``loss``, terms that apply to images.
        train_set: Training images; identities may be any numbers.
        validation: Query and gallery images of other identities.
        model: Network in place of the configured one.

    Attributes:
        present: (C,) training identities in ascending order.
        labels: (n,) int64 training class of each image, -1 for unlabelled ones.
        criterion: `CombinedLoss` of the configuration, a module of the network.

    Raises:
        ValueError: The data does not fill a batch, has fewer than two identities, or is prepared
            for another number of stripes or another size than configured.
    """

    def __init__(
        self,
        config: TrainConfig,
        train_set: ImageSet,
        *,
        validation: tuple[ImageSet, ImageSet] | None = None,
        model: PGFA | StripeNet | None = None,
    ) -> None:
        self.config, self.images, self.validation = config, train_set, validation
        image = config.image
        wanted = (stripe_counts(config.model), (image.height, image.width), image.mode)
        for images in (train_set, *(validation or ())):
            if (images.parts, images.size, images.mode) != wanted:
                raise ValueError(
                    "images must be prepared as configured (model.parts or stripes, "
                    f"image.height and width, image.mode) = {wanted}; got "
                    f"{(images.parts, images.size, images.mode)}"
                )
        self.present, self.labels, self.sampler = arrange(config, train_set.pids, train_set.camids)
        model = build_image_network(config, len(self.present)) if model is None else model
        parts, whole = model.parts, isinstance(model, PGFA) and model.global_head is not None
        count = parts if isinstance(parts, int) else sum(parts)
        self.criterion = CombinedLoss(
            config.loss, CODE * (count + whole), len(self.present),
            task="image", parts=count, whole=whole, generator=step_generator(config.seed, _LOSS),
        )  # fmt: skip
        # A module of the network, like its classifiers: moved, optimised and saved with it.
        model.add_module("criterion", self.criterion)
        self.model = model

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Two groups: the backbone's learning rate is ``optim.backbone_lr_mult`` times the heads'.

        Parameters of losses have that of the heads.
        """
        groups = self.model.parameter_groups(1.0, self.config.optim.backbone_lr_mult)
        taken = {id(each) for group in groups for each in group["params"]}
        groups[-1]["params"] += [p for p in self.criterion.parameters() if id(p) not in taken]
        return groups

    def batch(self, step: int, rows: slice = ALL_ROWS) -> ImageBatch:
        """Augmented images of a step, with training classes as `ImageBatch.pids`."""
        generator = step_generator(self.config.seed, _BATCH, step)
        indices = self.sampler.indices(step)
        draws = torch.rand(len(indices), _NUMBERS, generator=generator)[rows]
        batch = self.images.batch(indices[rows])
        batch.pids.copy_(self.labels[indices[rows]])
        return augment_images(batch, self.config.image, draws)

    def features(self, batch: ImageBatch) -> dict[str, Tensor]:
        """Embeddings and logits of the stripes, logits of the whole image, visibility and labels.

        Returns:
            ``labels`` (B,); with stripes ``codes`` (B, P, 256), ``by_part`` (B, P, C) and
            ``visibility`` (B, P); with a branch for the whole image ``whole`` (B, C); for
            registered losses ``embeddings`` (B, D), all of them concatenated.
        """
        result = {"labels": batch.pids}
        if isinstance(self.model, StripeNet):
            codes = self.model(batch.images)
            by_part = self.model.classify(self.model.inference_features(codes))
            whole = code = None
        else:
            found: PGFAFeatures = self.model(batch.images, batch.heatmaps)
            codes, code = found.part_codes, found.code
            by_part, whole = self.model.classify(found)
        if self.model.parts:
            result |= {"by_part": by_part, "codes": codes, "visibility": batch.visibility}
        if whole is not None:
            result["whole"] = whole
        if self.config.loss.others:
            flat = codes.flatten(1)
            result["embeddings"] = flat if code is None else torch.cat([flat, code], 1)
        return result

    def objective(self, features: dict[str, Tensor]) -> StepOutput:
        """Configured loss of a batch; accuracy is that of the mean probabilities of all heads."""
        labels, by_part, whole = (features.get(name) for name in ("labels", "by_part", "whole"))
        assert labels is not None
        loss = self.criterion(
            self.model,
            features.get("embeddings"),
            self._ids(labels),
            labels,
            part_features=features.get("codes"),
            part_logits=by_part,
            image_logits=whole,
            visibility=features.get("visibility"),
        )
        heads = [] if whole is None else [whole.detach()]
        heads += [] if by_part is None else by_part.detach().unbind(1)
        guess = torch.stack([each.softmax(-1) for each in heads]).mean(0).argmax(-1)
        return StepOutput(loss, float((guess == labels).float().mean()))

    def _ids(self, labels: Tensor) -> Tensor:
        """Identities within a batch: every unlabelled image (-1) has a unique identity."""
        others = len(self.present) + torch.arange(len(labels), device=labels.device)
        return torch.where(labels < 0, others, labels)

    def names(self, step: int) -> list[str]:
        """Index, identity and file of each image."""
        return [
            f"{i}: identity {self.images.samples[i].pid}, {self.images.samples[i].path.name}"
            for i in self.sampler.indices(step).tolist()
        ]

    def validate(self) -> Metrics | None:
        """Metrics of the validation images; None without them."""
        if self.validation is None:
            return None
        sides = [
            (Embedding.cat(embed_images(self.model, images)), images) for images in self.validation
        ]
        return image_metrics(sides[0], sides[1], self.config.ap_method)

    def write_model(self, path: Path, provenance: Mapping[str, Any]) -> bool:
        """Model file of the network with its classifiers."""
        image = self.config.image
        preprocessing = ImagePreprocessing(image.height, image.width, image.mode)
        record = {**provenance, "people": self.present.tolist()}
        ImageEncoder(self.model, preprocessing, to_dict(self.config), provenance=record).save(path)
        return True
