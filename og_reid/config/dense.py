"""Settings of dense local features: their training set, network and loss."""

from __future__ import annotations

from dataclasses import dataclass

from ..models.dense_reid import Positions

__all__ = ["DenseConfig", "LabelledConfig"]


@dataclass(frozen=True)
class LabelledConfig:
    """Labelled images of the synthetic world, rendered by a run without a data set."""

    identities: int = 0  # 0 = none: a folder of shards must be given
    views: int = 5  # images per identity
    cameras: int = 40  # cameras
    seed: int = 0  # seed of cameras, places, poses and occlusions
    first_identity: int = 0  # number of the first identity; distinct ranges are disjoint
    occluded_fraction: float = 0.5  # fraction of images with an occluder, before compositing
    settings: str = "default"  # name of the world's settings
    without: tuple[str, ...] = ()  # groups of the settings that are off

    def __post_init__(self) -> None:
        """Checks the names of the settings and of their groups."""
        if self.settings == "default" and not self.without:
            return  # without an import of the world, which is heavy
        from meshes.world.presets import world_settings

        try:
            world_settings(self.settings, without=self.without)
        except ValueError as error:
            raise ValueError(f"labelled.{error}") from None

    @property
    def numbers(self) -> range:
        """Numbers of the identities."""
        return range(self.first_identity, self.first_identity + self.identities)


@dataclass(frozen=True)
class DenseConfig:
    """Network and loss of dense local features."""

    local_dim: int = 128  # channels of a local feature
    positions: Positions = "body"  # of the position penalty: predicted body height, or image rows
    # largest logarithm of a cell's learned weight in the similarity; 0 = all cells count alike
    reliability: float = 1.0
    context_blocks: int = 2  # blocks of the backbone at stride 32, for the part map
    sizes: tuple[tuple[int, int], ...] = ((256, 128), (192, 96))  # input sizes, steps in turn
    frozen_blocks: int = 3  # blocks of the backbone that keep their ImageNet weights
    temperature: float = 0.06  # of the contrast of similarities
    global_temperature: float = 0.08  # of the contrast of global embeddings
    part_weight: float = 2.0  # weight of the part map's cross-entropy
    height_weight: float = 0.5  # weight of the body height's absolute error
    global_weight: float = 0.5  # weight of the contrast of global embeddings
    true_weights: float = 0.5  # fraction of steps whose similarities use the true part map
    penalty: float = 1.0  # position penalty of late interaction
    background: float = 0.2  # penalty of matches off the person
    # subtracted from the background's logit in the model file: heavy composition in training makes
    # part maps too tight for ordinary images
    background_shift: float = 0.0
    symmetric: bool = True  # matches in both directions; False: queries to gallery alone

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("temperature", "global_temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"dense.{name} must be above 0; got {getattr(self, name)}")
        weights = ("part_weight", "height_weight", "global_weight", "penalty", "background",
                   "background_shift")  # fmt: skip
        for name in weights:
            if getattr(self, name) < 0:
                raise ValueError(f"dense.{name} must be at least 0; got {getattr(self, name)}")
        if not 0 <= self.reliability <= 3:
            raise ValueError(f"dense.reliability must be in [0, 3]; got {self.reliability}")
        if not 0 <= self.context_blocks <= 4:
            raise ValueError(f"dense.context_blocks must be in [0, 4]; got {self.context_blocks}")
        if not 0 <= self.true_weights <= 1:
            raise ValueError(f"dense.true_weights must be in [0, 1]; got {self.true_weights}")
        if self.local_dim < 1:
            raise ValueError(f"dense.local_dim must be at least 1; got {self.local_dim}")
        if not 0 <= self.frozen_blocks <= 11:
            raise ValueError(f"dense.frozen_blocks must be in [0, 11]; got {self.frozen_blocks}")
        wrong = [
            each for each in self.sizes if len(each) != 2 or any(s < 32 or s % 16 for s in each)
        ]
        if wrong or not self.sizes:
            raise ValueError(
                "dense.sizes must be pairs (height, width) of multiples of 16 from 32; got "
                f"{[list(each) for each in self.sizes]}"
            )
