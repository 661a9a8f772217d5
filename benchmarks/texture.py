"""Textures of lifted people, and re-rendering, on people of the held-out world.

    python benchmarks/texture.py --people 60
    python benchmarks/texture.py --people 60 --bodies true --clear
    python benchmarks/texture.py --people 5 --sheet sheet.png

Each person is rendered clear in a camera of the held-out galleries and in one of its queries. The
first image is unwrapped with three bodies: the true one (joint rotations, shape and camera of the
world, mask of the own surface), one fitted to the true keypoints, with the same mask, and one
estimated by mediapipe, with its mask. Printed are

- texture: mean absolute error of colours on seen texels against the paint of the world, after gain
  and offset of each channel (an image has light and a camera's response), and the seen fraction;
- round trip: PSNR and intersection over union of the person drawn again in the view of its image;
- rank-1 of re-rendered people (other pose, heading, light and place, in a camera of the held-out
  world, or with --clear of the default world) by the default model, among the first and among the
  second images of all people, beside that of the first images among the second ones;
- median processor time of one call, one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares
from scipy.spatial import cKDTree
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import og_reid
from meshes import (
    BodyFit,
    CropCamera,
    Lift,
    Texture,
    complete_texture,
    fit_body,
    lift_image,
    load_body,
    rerender,
)  # fmt: skip
from meshes import unwrap as unwrap_person
from meshes.body.atlas import load_atlas
from meshes.rasterizer import vertex_normals
from meshes.world import Rendered, Scene, draw_camera, render, sample_scene, world_settings
from meshes.world.heldout.cameras import GALLERY, QUERY
from meshes.world.imaging.camera import draw_light
from meshes.world.imaging.conditions import NOON
from meshes.world.people.clothing import build_outfit, world_body
from meshes.world.people.poses import draw_motion
from meshes.world.rng import Rng
from pose import MediapipePose

__all__ = ["painted_texture", "true_fit"]

_SETTINGS = world_settings("held-out")
_FIRST = 7000  # number of the first identity: no other benchmark draws these
_KINDS = {
    "true": "true body",
    "fitted": "fitted to true keypoints",
    "estimated": "estimated body",
}
_REACH = 0.12  # metres from the bare body to clothes


@dataclass
class Scores:
    """Values of one kind of body, one of each person."""

    error: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    drawn: list[np.ndarray | None] = field(default_factory=list)


SECONDS: dict[str, list[float]] = {}


def _timed(name: str, call: Callable[[], Any]) -> Any:
    start = time.process_time()
    result = call()
    SECONDS.setdefault(name, []).append(time.process_time() - start)
    return result


@lru_cache(maxsize=1)
def painted_texture(scene: Scene, size: int = 256) -> Tensor:
    """(S, S, 3) sRGB paint of a figure's outermost surface at each texel of the bare body."""
    body, figure = world_body(), scene.figure
    texels = load_atlas(body).texels(size)
    covered = texels.covered
    points = torch.cat([piece.vertices for piece in figure.pieces])
    owner = torch.cat([torch.full((len(p.vertices),), n) for n, p in enumerate(figure.pieces)])
    normals = vertex_normals(figure.vertices[None], body.faces)[0]
    place = texels.interpolate(figure.vertices, body.faces)[covered]
    out = texels.interpolate(normals, body.faces)[covered]
    rest = texels.interpolate(body.v_template, body.faces)[covered]
    distance, index = cKDTree(points.numpy()).query(place.numpy(), k=16)
    candidates = torch.from_numpy(index)
    height = ((points[candidates] - place[:, None]) * out[:, None]).sum(-1)
    height = torch.where(torch.from_numpy(distance) < _REACH, height, -1.0)
    chosen = candidates.gather(1, height.argmax(1, keepdim=True))[:, 0]
    colors = torch.zeros(len(place), 3)
    layers = len(build_outfit(figure.identity).layers)
    coords = torch.cat([piece.coords for piece in figure.pieces])
    for number, piece in enumerate(figure.pieces):
        mine = owner[chosen] == number
        where = rest if number < layers else coords[chosen]
        colors[mine] = piece.paint(where[mine]).clamp(0, 1)
    result = torch.zeros(size, size, 3)
    result[covered] = colors
    return result


def true_fit(truth: Rendered) -> BodyFit:
    """Fit with the true body of a rendered person and the closest camera of a fit."""
    body = load_body()
    posed = body.pose(truth.rotations[None], truth.betas[None])
    place = posed.vertices[0] - posed.joints[0, 0] + truth.joints[0]
    depth = -place[:, 2]
    view = truth.view
    target = torch.stack(
        [
            view.principal[0] + view.focal[0] * place[:, 0] / depth,
            view.principal[1] - view.focal[1] * place[:, 1] / depth,
        ],
        1,
    )
    x, y = posed.vertices[0, :, 0].double().numpy(), posed.vertices[0, :, 1].double().numpy()
    goal = target.double().numpy()

    def miss(values: np.ndarray) -> np.ndarray:
        scale, aspect, kappa, shift_x, shift_y = values
        gain = np.exp(scale) * (1 + kappa * y)
        column = gain * x + shift_x
        row = -gain * np.exp(aspect) * y + shift_y
        return np.concatenate([column - goal[:, 0], row - goal[:, 1]])

    mean = float(depth.mean())
    start = [np.log(view.focal[0] / mean), np.log(view.focal[1] / view.focal[0]), 0.0,
             goal[:, 0].mean(), goal[:, 1].mean()]  # fmt: skip
    best = least_squares(miss, start).x
    camera = CropCamera(
        scale=torch.tensor([np.exp(best[0])]).float(),
        shift=torch.tensor([[best[3], best[4]]]).float(),
        log_aspect=torch.tensor([best[1]]).float(),
        kappa=torch.tensor([best[2]]).float(),
    )
    return BodyFit(
        body, truth.rotations[None], truth.betas[None], camera, torch.tensor([truth.pitch]),
        torch.zeros(1),
    )  # fmt: skip


def _texture_error(texture: Texture, truth: Tensor) -> float:
    """Mean absolute error on seen texels, after gain and offset of each channel."""
    seen = texture.visibility > 0
    weight = texture.visibility[seen].sqrt().double().numpy()
    total = 0.0
    for channel in range(3):
        given = texture.color[seen][:, channel].double().numpy()
        goal = truth[seen][:, channel].double().numpy()
        system = np.stack([goal, np.ones_like(goal)], 1)
        line = np.linalg.lstsq(system * weight[:, None], given * weight, rcond=None)[0]
        total += float((weight * np.abs(system @ line - given)).sum() / weight.sum())
    return total / 3


def _score(
    scores: Scores,
    scene: Scene,
    truth: Rendered,
    source: Any,
    mask: Tensor | None,
    number: int,
    clear: bool,
) -> None:
    """Unwrap, compare, draw again."""
    fit = source if isinstance(source, BodyFit) else source.fit
    image = truth.image.numpy()
    texture = _timed("unwrap", lambda: unwrap_person(source, image, mask=mask))
    if not bool((texture.visibility > 0).any()):
        scores.drawn.append(None)
        return
    scores.error.append(_texture_error(texture, painted_texture(scene)))
    covered = load_atlas(fit.body).texels(texture.size).covered
    scores.seen.append(float((texture.visibility > 0).sum() / covered.sum()))
    plain = unwrap_person(source, image, mask=mask, relight=False)
    back = rerender(plain, pose=fit, camera=fit, backdrop=image)
    both = back.mask & truth.mask
    wrong = (back.image.double() - truth.image.double())[both]
    scores.psnr.append(float(10 * torch.log10(255**2 / wrong.square().mean())))
    scores.iou.append(float(both.sum() / (back.mask | truth.mask).sum()))
    rng = Rng.seeded("re-rendered", number)
    person = scene.figure.identity
    motion = draw_motion(rng, person, world_body().rest_joints(person.betas[None])[0])
    number_of_camera = rng.integer(1, 10)
    camera = draw_camera(1, number_of_camera) if clear else _SETTINGS.camera(1, number_of_camera)
    turned = float(truth.yaw) + rng.sign() * rng.uniform(0.3, 1.2)
    full = _timed("complete", lambda: complete_texture(texture))
    made = _timed(
        "rerender",
        lambda: rerender(
            full, pose=motion.rotations, camera=camera, heading=turned,
            light=draw_light(camera, rng), backdrop=_SETTINGS.backdrop(NOON, rng), seed=number,
        ),
    )  # fmt: skip
    scores.drawn.append(made.image.numpy())


def _rank_1(queries: list[np.ndarray | None], gallery: Any) -> float:
    """Percentage of queries whose own image comes first; None does not count."""
    present = [number for number, image in enumerate(queries) if image is not None]
    described = og_reid.describe([queries[number] for number in present])
    best = og_reid.similarity(described, gallery).argmax(1)
    hits = sum(int(best[row]) == number for row, number in enumerate(present))
    return 100 * hits / len(present)


def _cameras(number: int) -> tuple[int, int]:
    """Numbers of a person's cameras, in turn."""
    low, high = GALLERY
    first, last = QUERY
    return low + number % (high - low + 1), first + number % (last - first + 1)


def _scene(number: int, camera: int) -> Scene:
    rng = Rng.seeded("texture benchmark", number, camera)
    return sample_scene(
        _FIRST + number, _SETTINGS.camera(0, camera), rng.generator, passers_by=0,
        settings=_SETTINGS,
    )  # fmt: skip


def _body(kind: str, truth: Rendered, estimator: MediapipePose) -> tuple[Any, Tensor | None]:
    """Source and mask of a kind of body, one of ``_KINDS``."""
    image = truth.image.numpy()
    if kind == "true":
        return true_fit(truth), truth.mask
    if kind == "fitted":
        return fit_body(truth.keypoints, (len(image), image.shape[1])), truth.mask
    pose = estimator(image)
    return lift_image(image, pose), pose.mask


def _row(truth: Rendered, source: BodyFit | Lift, mask: Tensor | None, number: int) -> np.ndarray:
    """Tiles of one person: image, texture, six headings, another pose, another light and place."""
    image = truth.image.numpy()
    fit = source.fit if isinstance(source, Lift) else source
    full = complete_texture(unwrap_person(source, image, mask=mask))
    rng = Rng.seeded("sheet", number)
    camera = _SETTINGS.camera(1, 2)
    light, place = draw_light(camera, rng), _SETTINGS.backdrop(NOON, rng)
    tiles = [image, full.image.numpy()]
    options: list[dict[str, Any]] = [{"heading": k * np.pi / 3, "pose": fit} for k in range(6)]
    options += [{}, {"pose": fit, "camera": camera, "light": light, "backdrop": place}]
    tiles += [rerender(full, **each).image.numpy() for each in options]
    return np.concatenate(tiles, 1)


def draw_sheet(path: Path, people: int) -> None:
    """Picture of some people in three rows each, one of each kind of body."""
    from PIL import Image

    estimator, rows = MediapipePose(), []
    for number in range(people):
        truth = render(_scene(number, _cameras(number)[0]))
        for kind in _KINDS:
            rows.append(_row(truth, *_body(kind, truth, estimator), number))
    Image.fromarray(np.concatenate(rows)).save(path)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--bodies", nargs="+", choices=_KINDS, default=list(_KINDS))
    parser.add_argument("--clear", action="store_true", help="draw in cameras of the default world")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="draw a picture of them instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.sheet is not None:
        draw_sheet(options.sheet, options.people)
        return
    estimator = MediapipePose()
    kinds: dict[str, Scores] = {}
    first, second = [], []
    for number in range(options.people):
        near, far = _cameras(number)
        scene = _scene(number, near)
        truth = render(scene)
        first.append(truth.image.numpy())
        second.append(render(_scene(number, far)).image.numpy())
        for kind in options.bodies:
            scores = kinds.setdefault(_KINDS[kind], Scores())
            source, mask = _body(kind, truth, estimator)
            _score(scores, scene, truth, source, mask, number, options.clear)
        if (number + 1) % 20 == 0 or number + 1 == options.people:
            _report(kinds, first, second)


def _report(kinds: dict[str, Scores], first: list[np.ndarray], second: list[np.ndarray]) -> None:
    galleries = {"first": og_reid.describe(first), "second": og_reid.describe(second)}
    print(f"{len(first)} people of the held-out world")
    for name, scores in kinds.items():
        found = [image is not None for image in scores.drawn]
        print(
            f"{name}: {sum(found)} with a texture; error {np.mean(scores.error):.3f}, seen "
            f"{np.mean(scores.seen):.2f} of the body; round trip {np.median(scores.psnr):.1f} dB "
            f"(median), intersection over union {np.mean(scores.iou):.2f}"
        )
        for gallery, described in galleries.items():
            rank = _rank_1(scores.drawn, described)
            print(f"  rank-1 among {gallery} images: {rank:.1f} of those with a texture")
    print(f"rank-1 of first among second images: {_rank_1(list(first), galleries['second']):.1f}")
    times = {name: 1e3 * float(np.median(each)) for name, each in SECONDS.items()}
    print(
        "CPU ms: " + ", ".join(f"{name} {value:.0f}" for name, value in times.items()), flush=True
    )


if __name__ == "__main__":
    main()
