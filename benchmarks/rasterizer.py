"""The native rasteriser against its twin in plain torch and against Open3D's ray casting.

Programs alternate in one process and one thread; times are medians of CPU seconds. A ratio is that
of two medians of one run. Ray casting builds its scene for each image, as a posed body does; the
rays of one camera are made beforehand.

    OMP_NUM_THREADS=1 python benchmarks/rasterizer.py   # a minute
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import timed

from meshes.rasterizer import (
    coverage,
    raster_info,
    rasterize,
    rasterize_layers,
    rasterize_torch,
    vertex_normals,
    visible_in,
)
from meshes.world import Scene, draw_camera, sample_scene
from meshes.world.imaging.camera import View
from meshes.world.people.clothing import world_body
from meshes.world.surfaces.pieces import closed_faces, merge

SAMPLES = 2.0  # sub-pixels along a side of a pixel
FACING = 0.05  # least z of the normal of a vertex that is turned to the camera
ROWS = (400, 800)  # of the raster that decides on visibility; the lift has 400


def scene_of(seed: int) -> Scene:
    """A person of the world in one of its cameras, with something in front."""
    generator = torch.Generator().manual_seed(seed)
    return sample_scene(seed, draw_camera(3, 1 + seed % 7), generator, "furniture")


def rays_of(view: View) -> Tensor:
    """(H, W, 6) float32 origins and directions through the pixel centres, world frame."""
    row, column = torch.meshgrid(torch.arange(view.height), torch.arange(view.width), indexing="ij")
    pixels = torch.stack([column, row], -1).reshape(-1, 2) + 0.5
    rays = torch.cat([view.center.expand(len(pixels), 3), view.rays(pixels)], 1)
    return rays.reshape(view.height, view.width, 6)


def ray_scene(vertices: Tensor, faces: Tensor) -> Any:
    """Open3D's scene of a mesh, for one thread."""
    import open3d

    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(vertices.numpy(), faces.numpy().astype(np.uint32))
    return scene


def cast(scene: Any, rays: np.ndarray) -> np.ndarray:
    """Depths along the rays."""
    depths: np.ndarray = scene.cast_rays(rays, nthreads=1)["t_hit"].numpy()
    return depths


def report(name: str, seconds: Mapping[str, float]) -> None:
    """One line: milliseconds of each program, and how often the native one goes into it."""
    native = seconds["native"]
    times = "  ".join(
        f"{key} {1e3 * value:.2f} ms" + ("" if key == "native" else f" ({value / native:.1f}x)")
        for key, value in seconds.items()
    )
    print(f"{name:38s} {times}")


def drawing(repeats: int) -> None:
    """A dressed person and the bare body at 256 x 128 pixels of 2 x 2 samples."""
    scene = scene_of(1)
    view = scene.view.scaled(SAMPLES)
    rays = rays_of(view).numpy()
    people = {
        "bare body": (scene.figure.vertices, world_body().faces, None),
        "dressed person": dressed(scene),
    }
    for name, (vertices, faces, sides) in people.items():
        points = view.project(vertices)[None]
        size = (view.height, view.width)

        given = (points, faces, *size)
        options = {"perspective": True, "one_sided": sides}
        built = ray_scene(vertices, faces)
        seconds = timed(
            {
                "native": partial(rasterize, *given, **options),
                "torch": partial(rasterize_torch, *given, **options),
                "ray casting": partial(build_and_cast, vertices, faces, rays),
                "rays alone": partial(cast, built, rays),
                "coverage": partial(coverage, *given, **options),
            },
            repeats,
        )
        hit = np.isfinite(cast(built, rays))
        drawn = (rasterize(*given, perspective=True).face[0] >= 0).numpy()
        report(f"{name}, {len(faces)} faces, {size[0]} x {size[1]}", seconds)
        print(f"{'':38s} pixels unlike those of ray casting: {(hit != drawn).mean():.6f}")


def build_and_cast(vertices: Tensor, faces: Tensor, rays: np.ndarray) -> np.ndarray:
    """Depths along the rays, the scene included."""
    return cast(ray_scene(vertices, faces), rays)


def dressed(scene: Scene) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices, faces and one-sided faces of the person with clothes."""
    vertices, faces, owners = merge(scene.figure.pieces)
    return vertices, faces, closed_faces(owners, scene.figure.pieces)


def uses(repeats: int) -> None:
    """Outlines for placing, layers, and the raster of the lift."""
    scene = scene_of(1)
    vertices, faces, owners = merge((*scene.figure.pieces, *scene.front))
    sides = closed_faces(owners, (*scene.figure.pieces, *scene.front))
    small, fine = scene.view.scaled(0.25), scene.view.scaled(SAMPLES)
    size = (small.height, small.width)
    given = (small.project(vertices)[None], faces, *size)
    options = {"perspective": True, "one_sided": sides}
    seconds = timed(
        {
            "native": partial(coverage, *given, **options),
            "torch": partial(rasterize_torch, *given, **options),
        },
        repeats,
    )
    report(f"outline, {size[0]} x {size[1]}", seconds)
    own = sum(len(piece.faces) for piece in scene.figure.pieces)
    points, size = fine.project(vertices)[None], (fine.height, fine.width)
    counts = (own, len(faces) - own)

    def in_turn() -> None:
        for start, end in ((0, own), (own, len(faces))):
            side = sides[start:end]
            rasterize_torch(points, faces[start:end], *size, perspective=True, one_sided=side)

    seconds = timed(
        {
            "native": partial(rasterize_layers, points, faces, counts, *size, **options),
            "torch": in_turn,
        },
        repeats,
    )
    report(f"two layers, {size[0]} x {size[1]}", seconds)
    for batch in (1, 32):
        bodies = [lifted(scene_of(seed), ROWS[0]) for seed in range(min(batch, 4))]
        size = (ROWS[0], max(width for *_, width in bodies))
        together = torch.stack([points for _, points, *_ in bodies] * (batch // len(bodies)))
        given = (together, world_body().faces, *size)
        seconds = timed(
            {"native": partial(rasterize, *given), "torch": partial(rasterize_torch, *given)},
            repeats if batch == 1 else max(3, repeats // 8),
        )
        report(f"body of the lift, {size[0]} x {size[1]}, batch {batch}", seconds)


def lifted(scene: Scene, rows: int) -> tuple[Tensor, Tensor, int, int]:
    """Vertices (V, 3) before the camera, the same in a raster of some rows (V, 3), its size."""
    vertices = (scene.figure.vertices - scene.figure.vertices.mean(0)) @ scene.view.turn.T
    low, high = vertices[:, :2].amin(0), vertices[:, :2].amax(0)
    scale = rows / float((high - low).max())
    x, y, z = vertices.unbind(1)
    points = torch.stack([(x - low[0]) * scale, (high[1] - y) * scale, -z], 1)
    width, height = (max(1, round(float(length) * scale)) for length in high - low)
    return vertices, points, height, width


def visibility(people: int) -> None:
    """Precision and recall of visible vertices turned to the camera, against ray casting."""
    faces = world_body().faces
    counts = {rows: np.zeros(3, np.int64) for rows in ROWS}
    for seed in range(people):
        scene = scene_of(seed)
        vertices = lifted(scene, 1)[0]
        normals = vertex_normals(vertices[None], faces)[0]
        target = ray_scene(vertices, faces)
        # One millimetre off the surface, so that a ray does not meet its own faces.
        start = vertices + 0.001 * normals
        rays = torch.cat([start, torch.tensor([0.0, 0.0, 1.0]).expand(len(start), 3)], 1)
        free = ~torch.from_numpy(target.test_occlusions(rays.numpy()).numpy())
        facing = normals[:, 2] > FACING
        for rows in ROWS:
            _, points, height, width = lifted(scene, rows)
            raster = rasterize(points[None], faces, height, width)
            seen = visible_in(raster, points[None], faces)[0] & facing
            truth = free & facing
            counts[rows] += [int((seen & truth).sum()), int(seen.sum()), int(truth.sum())]
    for rows, (both, seen, true) in counts.items():
        print(
            f"visible vertices of {people} bodies, raster of {rows} rows: "
            f"precision {both / seen:.4f}, recall {both / true:.4f}"
        )


def main() -> None:
    """Print all lines."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=40, help="runs of each program")
    parser.add_argument("--people", type=int, default=32, help="bodies of the visibility test")
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"native code: {raster_info()['cpu_level']}, {torch.get_num_threads()} thread")
    drawing(given.repeats)
    uses(given.repeats)
    visibility(given.people)


if __name__ == "__main__":
    main()
