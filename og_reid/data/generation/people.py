"""Lifted people as files: image, mask, texture, pose and camera, and labels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meshes import BodyFit, CropCamera, Lift, Texture, load_body, unwrap
from meshes.texture.values import SEEN
from pose.files.atomic_write import atomic_write
from pose.files.reading import reading
from pose.runtime.defaults import plain_torch

__all__ = ["LiftedPerson", "lifted_person", "read_person", "write_person"]

_RULE = "must be a person of og-reid generate; remove the file, and it is lifted again"
_MOST_BYTES = 1 << 24
_MOST_PIXELS = 1 << 22
_TEXELS = 256
_LEAST_MASK = 16  # pixels


@dataclass(frozen=True, eq=False)
class LiftedPerson:
    """A person as one image shows it.

    Attributes:
        name: File name of the image.
        split: ``train``, ``query`` or ``gallery``.
        pid: Identity.
        camid: Camera.
        key: Digest of the image and the settings of the lift.
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, pixels of the person.
        texture: Surface, not completed.
        fit: Body, B = 1.
        doubts: Reasons to doubt the lift.
    """

    name: str
    split: str
    pid: int
    camid: int
    key: str
    image: np.ndarray
    mask: Tensor
    texture: Texture
    fit: BodyFit
    doubts: tuple[str, ...]

    @property
    def seen(self) -> float:
        """Fraction of the texels of the body that the image shows."""
        from meshes.body.atlas import load_atlas

        covered = load_atlas(self.fit.body).texels(self.texture.size).covered
        return float((self.texture.source == SEEN).sum()) / float(covered.sum())

    @property
    def yaw(self) -> float:
        """Heading of the body, radians: 0 to the camera, positive to the image's right."""
        return float(self.fit.yaw[0])


@plain_torch()
def lifted_person(
    lift: Lift, image: np.ndarray, mask: Tensor | None, **labels: Any
) -> LiftedPerson:
    """Person of a lift.

    Args:
        lift: Lift of the image to the embedded body.
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) in [0, 1], probability of the person's own pixels; None: the pixels of the
            fitted body.
        labels: ``name``, ``split``, ``pid``, ``camid`` and ``key`` of `LiftedPerson`.
    """
    texture = unwrap(lift, image, mask=mask, size=_TEXELS)
    own = mask >= 0.5 if mask is not None else lift.view.raster.face[0] >= 0
    return LiftedPerson(
        image=image,
        mask=own,
        texture=texture,
        fit=lift.fit,
        doubts=tuple(lift.quality.reasons),
        **labels,
    )


def write_person(path: str | Path, person: LiftedPerson) -> None:
    """Writes a person as npz: about 150 kB."""
    texture, fit, camera = person.texture, person.fit, person.fit.camera
    crop = camera if isinstance(camera, CropCamera) else camera.weak()
    about = {
        "name": person.name, "split": person.split, "pid": person.pid, "camid": person.camid,
        "key": person.key, "doubts": list(person.doubts),
    }  # fmt: skip
    with atomic_write(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            image=person.image,
            mask=np.packbits(person.mask.numpy()),
            color=texture.image.numpy(),
            visibility=(texture.visibility * 255).round().to(torch.uint8).numpy(),
            source=texture.source.numpy(),
            betas=texture.betas.numpy(),
            offset=texture.offset.numpy(),
            rotations=fit.rotations[0].numpy(),
            shape=fit.betas[0].numpy(),
            camera=torch.cat(
                [crop.scale, crop.shift[0], crop.log_aspect, crop.kappa, fit.pitch]
            ).numpy(),
        )


@plain_torch()
def read_person(path: str | Path) -> LiftedPerson:
    """Reads a person of `write_person`.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, or another kind of file.
    """
    path = Path(path)
    with reading(path, _RULE):
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"must have at most {_MOST_BYTES} bytes")
        with np.load(path, allow_pickle=False) as file:
            _check_sizes(file)
            values = {name: file[name] for name in file.files}
        about = json.loads(values["about"].tobytes())
        image = values["image"]
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"must have an image (H, W, 3) uint8; got {image.shape}")
        height, width = image.shape[:2]
        mask = np.unpackbits(values["mask"], count=height * width).reshape(height, width)
        floats = {name: _floats(values[name]) for name in
                  ("betas", "offset", "rotations", "shape", "camera")}  # fmt: skip
        camera = floats["camera"]
        body = load_body()
        if camera.shape != (6,) or floats["offset"].shape != (body.num_vertices,):
            raise ValueError("must have 6 values of the camera and an offset for each vertex")
        return LiftedPerson(
            name=_text(about["name"]),
            split=_text(about["split"]),
            pid=int(about["pid"]),
            camid=int(about["camid"]),
            key=_text(about["key"]),
            doubts=tuple(map(_text, about["doubts"])),
            image=image,
            mask=torch.from_numpy(mask.astype(bool)),
            texture=Texture(
                color=torch.from_numpy(values["color"].astype(np.float32) / 255),
                visibility=torch.from_numpy(values["visibility"].astype(np.float32) / 255),
                source=torch.from_numpy(values["source"].astype(np.uint8)),
                betas=floats["betas"],
                offset=floats["offset"],
            ),
            fit=BodyFit(
                body,
                floats["rotations"][None],
                floats["shape"][None],
                CropCamera(camera[:1], camera[None, 1:3], camera[3:4], camera[4:5]),
                camera[5:6],
                torch.full((1,), torch.nan),
            ),
        )


def _check_sizes(file: Any) -> None:
    """Refuses arrays that would not fit in memory, by the headers of the members."""
    total = sum(each.file_size for each in file.zip.infolist())
    if total > 3 * _MOST_PIXELS + _MOST_BYTES:
        raise ValueError(f"must unpack to at most {3 * _MOST_PIXELS + _MOST_BYTES} bytes")


def _floats(values: np.ndarray) -> Tensor:
    if not np.issubdtype(values.dtype, np.floating) or not np.isfinite(values).all():
        raise ValueError("must have finite numbers")
    return torch.from_numpy(values.astype(np.float32))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must have a text; got {value!r}")
    return value
