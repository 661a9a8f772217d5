"""Page of a lift: image, keypoints, occlusion, fit with its errors, cloud, reasons for doubt."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from meshes.fitting.skeleton import Skeleton
from meshes.lift import Lift
from pose import Pose
from pose.files.atomic_write import atomic_write
from pose.keypoints import SKELETON, Keypoints

from .drawing import check_image
from .html_report import Html, html_page, results_table
from .lift import cloud_images
from .thumbnails import data_uri

if TYPE_CHECKING:
    from meshes.fitting.fit import BodyFit

__all__ = ["joint_errors", "lift_page", "write_lift_page"]

_LONGEST = 900  # pixels of the image on the page
_VIEWS = ((0.0, "front"), (60.0, "60°"), (180.0, "back"), (300.0, "300°"))
#: Least visibility of a state, its name, and its mark.
_STATES = ((0.5, "visible", "right"), (0.2, "unsure", "doubtful"), (-1.0, "hidden", "wrong"))
_FAR = 0.05  # body heights: keypoints farther from the fit are marked
_UNCERTAIN = 0.5  # confidence of a joint
_STYLE = """
.steps { --column: 16rem; align-items: start; }
.sides { --column: 9rem; max-width: 60rem; }
td:last-child:not(.number) { min-width: 11rem; }
.steps svg, .steps img { display: block; width: 100%; max-height: 44rem; background: var(--panel);
  border-radius: var(--round); }
.steps img { object-fit: contain; }
.joint { stroke: var(--light); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.bone, .error { fill: none; vector-effect: non-scaling-stroke; }
.bone { stroke-width: 3; }
.halo { fill: none; stroke: var(--light); stroke-width: 6; vector-effect: non-scaling-stroke; }
.error { stroke: var(--bad); stroke-width: 2.5; }
.right-mark { fill: var(--good); stroke: var(--good); } .wrong-mark { fill: var(--bad);
  stroke: var(--bad); } .doubtful-mark { fill: var(--unsure); stroke: var(--unsure); }
.fitted { fill: none; stroke: var(--fit); stroke-width: 3; vector-effect: non-scaling-stroke; }
.surface { fill: var(--fit); fill-opacity: .35; stroke: var(--fit); stroke-width: 2;
  vector-effect: non-scaling-stroke; }
.joint.right-mark, .joint.wrong-mark, .joint.doubtful-mark { stroke: var(--light); }
/* On images, in the light and in the dark form alike. */
:root { --light: #ffffff; --good: #00b37f; --unsure: #ffae1a; --bad: #ff4a30; --fit: #3aa0ff; }
.key { margin: 0; display: flex; flex-wrap: wrap; gap: var(--space-1) var(--space-4);
  list-style: none; padding: 0; font-size: var(--text-small); color: var(--soft); }
.key svg { display: inline; width: 1em; height: 1em; vertical-align: -.12em; margin-right: .3em;
  background: none; }
.bar { display: block; height: .6em; min-width: 6rem; background: var(--line); }
.bar > span { display: block; height: 100%; background: var(--series-1); }
"""


def joint_errors(keypoints: Keypoints, fit: BodyFit) -> tuple[torch.Tensor, torch.Tensor]:
    """Places of a fit for keypoints, and their distances.

    Args:
        keypoints: K keypoints of one person, pixels.
        fit: the fitted body, B = 1.

    Returns:
        (K, 2) projections of the points of the same names, pixels, NaN for names that the body
        lacks; (K,) distances in standing heights of the body, NaN also where no keypoint was found.
    """
    skeleton = Skeleton(fit.body)
    points = skeleton.pose(fit.rotations, fit.betas).points
    projected = fit.camera.project(points)[0, :, :2]
    places = torch.full((len(keypoints.names), 2), math.nan)
    for row, name in enumerate(keypoints.names):
        if name in skeleton.names:
            places[row] = projected[skeleton.index(name)]
    standing = fit.body.shaped(fit.betas)[0, :, 1]
    camera = fit.camera
    pixels = float(standing.max() - standing.min()) * float(camera.scale[0])
    pixels *= float(camera.log_aspect[0].exp())
    distance = (places - keypoints.xy.to(places)).norm(dim=-1) / max(pixels, 1e-9)
    return places, torch.where(keypoints.score > 0, distance, math.nan)


def write_lift_page(path: str | Path, page: str) -> None:
    """Write a page of `lift_page`; the write is atomic, missing folders are made.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")


def lift_page(image: np.ndarray, pose: Pose, lift: Lift, *, title: str = "Lift") -> str:
    """HTML page that walks through a lift: one file, without scripts.

    Args:
        image: (H, W, 3) uint8 RGB.
        pose: its keypoints, of one person.
        lift: its lift.
        title: title of the page.

    Raises:
        ValueError: the image is of another type.
    """
    check_image("image", image)
    places, errors = joint_errors(pose.keypoints, lift.fit)
    height, width = image.shape[:2]
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        _doubts(lift.quality.reasons),
        f'<svg width="0" height="0" aria-hidden="true" style="position: absolute"><defs><image '
        f'id="pixels" href="{data_uri(image, _LONGEST)}" width="{width}" height="{height}" '
        'preserveAspectRatio="none"/></defs></svg>',
        '<div class="grid steps">',
        _panel(image, "", f"Image, {width} x {height} pixels."),
        _panel(image, _keypoints(pose.keypoints, _unit(image)), _key()),
        _panel(image, _silhouette(lift, image), "Fitted body over the image."),
        _panel(
            image,
            _differences(pose.keypoints, places, _unit(image)),
            "Keypoints (crosses), joints of the fit (circles), and their distances (lines).",
        ),
        "</div>",
        f"<section><h2>Joints</h2>{_joint_table(pose.keypoints, lift.fit, errors)}</section>",
        f"<section><h2>Visible surface</h2>{_part_table(lift)}</section>",
        f"<section><h2>Point cloud</h2>{_clouds(lift)}</section>",
    ]
    return html_page(title, "\n".join(sections), style=_STYLE)


def _doubts(reasons: Sequence[str]) -> str:
    if not reasons:
        return '<div class="note right"><p>✓ No reason to doubt this lift was found.</p></div>'
    lines = "".join(f"<li>{html.escape(reason)}</li>" for reason in reasons)
    head = "<p><strong>! Doubtful lift</strong></p>"
    return f'<div class="note doubtful">{head}<ul>{lines}</ul></div>'


def _unit(image: np.ndarray) -> float:
    """Radius of a mark, pixels of the image."""
    return max(image.shape[:2]) / 110


def _panel(image: np.ndarray, marks: str, caption: str) -> str:
    height, width = image.shape[:2]
    alt = html.escape(caption if not caption.startswith("<") else "Keypoints by visibility.")
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" role="img" aria-label="{alt}">'
        f'<use href="#pixels"/>{marks}</svg><figcaption>{caption}</figcaption></figure>'
    )


def _state(visibility: float) -> int:
    return next(i for i, (least, _, _) in enumerate(_STATES) if visibility >= least)


def _mark(state: int, x: float, y: float, unit: float) -> str:
    """Circle, square or cross, as a path."""
    u = unit
    shape = (
        f"m{-u:.2f} 0a{u:.2f} {u:.2f} 0 1 0 {2 * u:.2f} 0a{u:.2f} {u:.2f} 0 1 0 {-2 * u:.2f} 0",
        f"m{-u:.2f} {-u:.2f}h{2 * u:.2f}v{2 * u:.2f}h{-2 * u:.2f}z",
        f"m0 {-1.4 * u:.2f}l{1.3 * u:.2f} {2.3 * u:.2f}h{-2.6 * u:.2f}z",
    )[state]
    return f'<path class="joint {_STATES[state][2]}-mark" d="M{x:.2f} {y:.2f}{shape}"/>'


def _keypoints(keypoints: Keypoints, unit: float) -> str:
    xy = keypoints.xy.tolist()
    found = (keypoints.score > 0).tolist()
    state = [_state(value) for value in keypoints.visibility.tolist()]
    index = {name: i for i, name in enumerate(keypoints.names)}
    halos, bones = [], []
    for a, b in SKELETON:
        i, j = index.get(a), index.get(b)
        if i is None or j is None or not (found[i] and found[j]):
            continue
        line = f'd="M{xy[i][0]:.2f} {xy[i][1]:.2f}L{xy[j][0]:.2f} {xy[j][1]:.2f}"'
        kind = _STATES[max(state[i], state[j])][2]
        halos.append(f'<path class="bone halo" {line}/>')
        bones.append(f'<path class="bone {kind}-mark" {line}/>')
    marks = [_mark(state[i], x, y, unit) for i, (x, y) in enumerate(xy) if found[i]]
    return "".join(halos + bones + marks)


def _key() -> str:
    items = [
        f'<li><svg viewBox="-8 -8 16 16" aria-hidden="true">{_mark(i, 0, 0, 5)}</svg>{name}</li>'
        for i, (_, name, _) in enumerate(_STATES)
    ]
    return f'<ul class="key">{"".join(items)}</ul>'


def _silhouette(lift: Lift, image: np.ndarray) -> str:
    """Outline of the fitted body as one path per region of pixels."""
    height, width = image.shape[:2]
    step = max(1, max(height, width) // 300)
    rows = torch.arange(0, height, step)
    columns = torch.arange(0, width, step)
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    covered, _ = lift.view.covers(column.flatten() + step / 2, row.flatten() + step / 2)
    inside = np.pad(covered.reshape(row.shape).numpy(), 1)
    return f'<path class="surface" fill-rule="evenodd" d="{_outline(inside, step)}"/>'


def _outline(inside: np.ndarray, step: int) -> str:
    """Closed paths around the true cells of a padded mask, along the cells' edges."""
    follows: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y, x in np.argwhere(inside).tolist():
        corners = ((x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1))
        outside = (inside[y - 1, x], inside[y, x + 1], inside[y + 1, x], inside[y, x - 1])
        for side, filled in enumerate(outside):
            if not filled:
                follows.setdefault(corners[side], []).append(corners[(side + 1) % 4])
    paths = []
    while follows:
        start = next(iter(follows))
        path, at = [start], start
        while True:
            after = follows[at].pop()
            if not follows[at]:
                del follows[at]
            if len(path) > 1 and _straight(path[-2], path[-1], after):
                path[-1] = after
            else:
                path.append(after)
            at = after
            if at == start or at not in follows:
                break
        places = "L".join(f"{(x - 1) * step} {(y - 1) * step}" for x, y in path)
        paths.append(f"M{places}z")
    return "".join(paths)


def _straight(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[0] - a[0]) * (c[1] - b[1]) == (b[1] - a[1]) * (c[0] - b[0])


def _differences(keypoints: Keypoints, places: torch.Tensor, unit: float) -> str:
    halos, drawn = [], []
    for (x, y), (u, v), score in zip(
        keypoints.xy.tolist(), places.tolist(), keypoints.score.tolist(), strict=True
    ):
        if score <= 0 or math.isnan(u):
            continue
        r = unit
        line = (
            f"M{x:.2f} {y:.2f}L{u:.2f} {v:.2f}M{x - r:.2f} {y - r:.2f}l{2 * r:.2f} {2 * r:.2f}"
            f"m0 {-2 * r:.2f}l{-2 * r:.2f} {2 * r:.2f}"
        )
        ring = f'cx="{u:.2f}" cy="{v:.2f}" r="{1.3 * r:.2f}"'
        halos.append(f'<circle class="halo" {ring}/><path class="bone halo" d="{line}"/>')
        drawn.append(f'<circle class="fitted" {ring}/><path class="error" d="{line}"/>')
    return "".join(halos + drawn)


def _joint_table(keypoints: Keypoints, fit: BodyFit, errors: torch.Tensor) -> str:
    joints = fit.body.joint_names
    confidence = fit.confidence[0]
    rows: list[dict[str, object]] = []
    for i, name in enumerate(keypoints.names):
        found = float(keypoints.score[i]) > 0
        known = float(confidence[joints.index(name)]) if name in joints else math.nan
        error = float(errors[i])
        notes = [
            text
            for text, holds in (
                ("not found", not found),
                ("! far from the fit", error > _FAR),
                ("! uncertain place", known < _UNCERTAIN),
            )
            if holds
        ]
        rows.append(
            {
                "joint": name.replace("_", " "),
                "state": _STATES[_state(float(keypoints.visibility[i]))][1] if found else None,
                "score": f"{float(keypoints.score[i]):.2f}",
                "visibility": f"{float(keypoints.visibility[i]):.2f}" if found else None,
                "error, % of height": None if math.isnan(error) else f"{100 * error:.1f}",
                "confidence": None if math.isnan(known) else f"{known:.2f}",
                "note": "; ".join(notes) or None,
            }
        )
    caption = (
        "Error: distance between keypoint and fitted joint in the image, of the standing body's "
        "height. Confidence: probability that the joint lies within a tenth of it of its true "
        "place."
    )
    return results_table(rows, caption=caption)


def _part_table(lift: Lift) -> str:
    body = lift.fit.body
    kept = ~lift.cloud.is_background
    count = min(int(kept.sum()), body.num_vertices)
    seen = lift.cloud.visible[kept][:count]
    part = lift.cloud.part[kept][:count]
    lines = []
    for number, name in enumerate(body.joint_names):
        inside = part == number
        if bool(inside.any()):
            share = float(seen[inside].float().mean())
            lines.append(
                f"<tr><th scope='row'>{html.escape(name.replace('_', ' '))}</th>"
                f'<td class="number">{100 * share:.0f}</td><td><span class="bar">'
                f'<span style="width: {100 * share:.1f}%"></span></span></td></tr>'
            )
    whole = f"{int(seen.sum()):,} of {count:,} surface points are visible."
    return (
        f"<p>{whole}</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="visible surface by part">'
        '<table><thead><tr><th scope="col">part</th><th scope="col" class="number">visible, %</th>'
        "<td></td></tr></thead><tbody>" + "".join(lines) + "</tbody></table></div>"
    )


def _clouds(lift: Lift) -> Html:
    cloud = lift.upright()
    drawn = cloud_images(cloud, [yaw for yaw, _ in _VIEWS])
    cells = [
        f'<figure><img alt="Point cloud, {name}" src="{data_uri(image, _LONGEST)}">'
        f"<figcaption>{name}</figcaption></figure>"
        for image, (_, name) in zip(drawn, _VIEWS, strict=True)
    ]
    return Html(
        '<div class="grid steps sides">' + "".join(cells) + "</div>"
        '<p class="soft">Light grey: surface that the image does not show.</p>'
    )
