"""Truth of scenes, against geometry and slower twins."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from meshes.body.atlas import load_atlas
from meshes.body.model import SMPL_JOINTS
from meshes.body.parts import OFF_BODY
from meshes.world import (
    TRUTH,
    CameraMatrices,
    Scene,
    Truth,
    draw_camera,
    draw_identity,
    render,
    sample_scene,
    scene_truth,
    world_settings,
)
from meshes.world.imaging.shading import cast_rays
from meshes.world.people.clothing import world_body
from meshes.world.people.figure import pose_figure
from meshes.world.people.poses import draw_motion
from meshes.world.rng import Rng
from meshes.world.scenery.occluders import bystander, translated
from meshes.world.surfaces.primitives import turn_y
from meshes.world.truth import GARMENTS, maps
from meshes.world.truth.surface import FaceIndex, find_surface, find_surfaces, placed
from meshes.world.truth.values import THING
from pose.keypoints import COCO_17_FEET


def _scene(seed: int, occlusion: str | None, settings: str = "default", **given: int) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    return sample_scene(
        seed, draw_camera(0, 1 + seed % 7), generator, occlusion,
        settings=world_settings(settings), **given,
    )  # fmt: skip


SCENES = [
    _scene(11, None),
    _scene(3, "person", passers_by=2),
    _scene(4, "fence", passers_by=1),
    _scene(5, "person", "held-out", passers_by=3),
]


@pytest.fixture(scope="module", params=range(len(SCENES)), ids=["clear", "person", "fence", "held"])
def scene(request: pytest.FixtureRequest) -> tuple[Scene, Truth]:
    chosen = SCENES[request.param]
    return chosen, scene_truth(chosen)


def _unprojected(truth: Truth, depth: Tensor) -> Tensor:
    """(H, W, 3) world points of a depth map, by the matrices of the camera alone."""
    height, width = truth.size
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([column + 0.5, row + 0.5, torch.ones(height, width)], -1)
    local = pixels.double() @ torch.linalg.inv(truth.camera.intrinsics.double()).T
    local = local * depth.double()[..., None] - truth.camera.translation.double()
    return (local @ truth.camera.rotation.double()).float()


def test_camera_matrices_project_like_the_view(scene):
    chosen, truth = scene
    points = chosen.figure.joints
    camera = truth.camera
    found = (points @ camera.rotation.T + camera.translation) @ camera.intrinsics.T
    expected = chosen.view.project(points)
    assert torch.allclose(found[:, :2] / found[:, 2:], expected[:, :2], atol=2e-2)
    assert torch.allclose(found[:, 2], expected[:, 2], atol=1e-4)


def test_lens_and_shutter_of_a_camera():
    """The division model, solved by bisection."""
    view = replace(SCENES[0].view, distortion=-0.08, skew=0.03)
    camera = CameraMatrices.of(view)
    points = SCENES[0].figure.joints[:8]
    local = points @ camera.rotation.T + camera.translation
    expected = view.project(points)
    for row, (x, y) in enumerate((local[:, :2] / local[:, 2:]).double().tolist()):
        radius = (x * x + y * y) ** 0.5
        low, high = 0.0, radius
        for _ in range(60):
            middle = (low + high) / 2
            far = middle / (1 + camera.distortion * middle**2) > radius
            low, high = (low, middle) if far else (middle, high)
        moved = torch.tensor([x * low / radius, y * low / radius, 1.0])
        assert torch.allclose((camera.intrinsics @ moved)[:2], expected[row, :2], atol=2e-2)


def test_truth_of_a_city():
    scene = _scene(21, "any", "city")
    truth = scene_truth(scene)
    made = render(scene)
    own = truth.instance == 1
    assert float((own & made.mask).sum()) / float((own | made.mask).sum()) > 0.85
    assert truth.conditions == scene.conditions
    assert len(truth.light.lamps) == len(scene.light.lamps)


def test_skin_lies_at_the_place_on_the_bare_body_that_depth_and_vertex_give(scene):
    chosen, truth = scene
    own = find_surface(chosen.figure.pieces, chosen.view)
    vertices, weights = (each.T for each in own.body_weights)
    assert torch.allclose(weights.sum(1), torch.ones(len(weights)), atol=1e-4)
    on_body = (chosen.figure.vertices[vertices] * weights[..., None]).sum(1)
    seen = _unprojected(truth, truth.depth)[own.covered]
    garment = truth.garment[own.covered]
    head = (truth.part[own.covered] == SMPL_JOINTS.index("head")) | (
        truth.part[own.covered] == SMPL_JOINTS.index("neck")
    )
    bare = (garment == GARMENTS.index("skin")) & ~head  # faces are smoothed
    assert int(bare.sum()) > 50
    gap = (seen - on_body).norm(dim=1)
    assert float(gap[bare].max()) < 2e-3
    # Clothes that follow the skin lie within some centimetres of their place on it.
    worn = torch.isin(garment, torch.tensor([GARMENTS.index(n) for n in ("top", "trousers")]))
    if int(worn.sum()) > 50:
        assert float(gap[worn].quantile(0.95)) < 0.12
    # Of the three vertices of the face, the given one is nearest, or nearly so.
    vertex = truth.vertex[own.covered].long()
    distance = (seen - chosen.figure.vertices[vertex]).norm(dim=1)
    assert float(distance[bare].max()) < 0.05


def test_parts_that_follow_no_skin_are_at_the_nearest_vertex_of_the_body(scene):
    chosen, _ = scene
    own = find_surface(chosen.figure.pieces, chosen.view)
    vertices, weights = own.body_weights
    checked = 0
    for number, part in enumerate(own.parts):
        if part.origin.follows is not None:
            continue
        start = sum(len(each.vertices) for each in own.parts[:number])
        there = (own.owner == number).nonzero()[:40, 0]
        points = part.origin.vertices[own.corners[there] - start]
        apart = points[:, :, None] - chosen.figure.vertices
        assert torch.equal(vertices[:3, there].T, apart.square().sum(-1).argmin(2))
        assert not weights[3:, there].any()
        checked += len(there)
    assert checked > 20


def test_faces_are_found_by_their_vertices_in_any_order():
    faces = torch.tensor([[4, 1, 2], [1, 3, 2], [5, 6, 4]])
    index = FaceIndex(faces)
    columns = torch.tensor([
        [2, 4, 1, 4, 4, 4],  # the first, its vertices named twice
        [3, 3, 3, 2, 1, 1],
        [4, 5, 6, 6, 6, 6],
        [1, 2, 1, 2, 2, 2],  # two vertices alone
        [3, 3, 3, 3, 3, 3],
        [1, 2, 3, 4, 1, 1],  # four
        [1, 2, 6, 6, 6, 6],  # no face
    ]).T  # fmt: skip
    assert index.find(columns).tolist() == [0, 1, 2, -1, -1, -1, -1]
    assert index.first[1:].tolist() == [0, 0, 1, 0, 2, 2]


@pytest.mark.parametrize("settings", ["default", "city", "held-out"])
def test_surroundings_are_traced_to_the_points_that_are_seen(settings):
    for seed in range(8):
        scene = _scene(seed, None, settings)
        pixels = torch.rand(400, 2, generator=torch.Generator().manual_seed(seed))
        rays = scene.view.rays(pixels * torch.tensor([128.0, 256.0]))
        _, points, _ = scene.backdrop.look(scene.view.center, rays)
        assert torch.equal(scene.backdrop.trace(scene.view.center, rays), points)


def test_depth_is_that_of_the_projected_vertex(scene):
    chosen, truth = scene
    projected = chosen.view.project(chosen.figure.vertices)
    bare = truth.garment == GARMENTS.index("skin")
    row, column = bare.nonzero(as_tuple=True)
    vertex = truth.vertex[row, column].long()
    assert (projected[vertex, 2] - truth.depth[row, column]).abs().max() < 0.06
    away = projected[vertex, :2] - torch.stack([column + 0.5, row + 0.5], 1)
    scale = chosen.view.focal[0] / projected[vertex, 2]  # pixels per metre
    assert (away.norm(dim=1) / scale).max() < 0.06


def test_parts_are_those_of_the_vertices(scene):
    _, truth = scene
    on_person = truth.vertex >= 0
    expected = world_body().part[truth.vertex[on_person].long()].to(torch.uint8)
    assert torch.equal(truth.part[on_person], expected)
    assert bool((truth.part[~on_person] == OFF_BODY).all())


def test_uv_leads_back_to_the_surface(scene):
    """The texel's own point of the body is the one under the pixel."""
    chosen, truth = scene
    body = world_body()
    atlas = load_atlas(body)
    texels = atlas.texels(512)
    on_person = truth.depth.isfinite()
    assert bool(truth.uv[~on_person].isnan().all())
    uv = truth.uv[on_person]
    assert float(uv.min()) >= 0
    assert float(uv.max()) <= 1
    place = (uv * 512).long().clamp(max=511)
    rows, columns = place[:, 1], place[:, 0]
    known = texels.covered[rows, columns]
    assert float(known.float().mean()) > 0.9
    posed = texels.interpolate(chosen.figure.vertices, body.faces)[rows, columns]
    seen = _unprojected(truth, truth.depth)[on_person]
    bare = (truth.garment[on_person] == GARMENTS.index("skin")) & known
    gap = (seen - posed).norm(dim=1)[bare]
    assert float(gap.quantile(0.95)) < 0.02
    # Also at all others, the place in the texture is near the given vertex.
    vertex = chosen.figure.vertices[truth.vertex[on_person].long()]
    assert float((vertex - posed)[known].norm(dim=1).quantile(0.98)) < 0.05


def test_normals_are_unit_and_face_the_camera_and_agree_with_the_depths(scene):
    chosen, truth = scene
    there = truth.depth.isfinite()
    normal = truth.normal
    assert torch.allclose(normal[there].norm(dim=1), torch.ones(int(there.sum())), atol=1e-5)
    points = _unprojected(truth, torch.where(there, truth.depth, 1.0))
    local = chosen.view.to_camera(points.reshape(-1, 3)).reshape(points.shape)
    to_eye = torch.nn.functional.normalize(-local, dim=-1)
    assert float((normal * to_eye).sum(-1)[there].min()) > -1e-5
    # Finite differences of the depth map, inside of smooth skin and cloth.
    across, down = local[1:-1, 2:] - local[1:-1, :-2], local[2:, 1:-1] - local[:-2, 1:-1]
    found = torch.nn.functional.normalize(torch.linalg.cross(down, across, dim=-1), dim=-1)
    inner = there[1:-1, 1:-1] & there[1:-1, 2:] & there[1:-1, :-2] & there[2:, 1:-1]
    inner &= there[:-2, 1:-1] & (across.norm(dim=-1) < 0.05) & (down.norm(dim=-1) < 0.05)
    cosine = (found * normal[1:-1, 1:-1]).sum(-1)[inner]
    assert float(cosine.median()) > 0.97
    assert float((cosine > 0.5).float().mean()) > 0.93


def test_instances_are_the_owners_of_the_nearest_faces(scene):
    chosen, truth = scene
    pieces = (*chosen.figure.pieces, *chosen.front, *chosen.behind)
    hit = cast_rays(pieces, chosen.view)
    numbers = {}
    for piece in (*chosen.front, *chosen.behind):
        bearer = None if piece.origin is None else piece.origin.bearer
        alone = find_surface([p for p in pieces if p.origin and p.origin.bearer is bearer],
                             chosen.view) if bearer else None  # fmt: skip
        if bearer not in numbers and bearer is not None and bool(alone.covered.any()):
            numbers[bearer] = 2 + len(numbers)
    own = chosen.figure.pieces[0].origin.bearer
    table = [
        THING
        if p.origin is None
        else 1
        if p.origin.bearer is own
        else numbers.get(p.origin.bearer, 254)  # 254: beside the image
        for p in pieces
    ]  # fmt: skip
    expected = torch.zeros_like(hit.face)
    on = hit.face >= 0
    expected[on] = torch.tensor(table)[hit.owners[hit.face[on]]]
    assert torch.equal(truth.instance.long().flatten(), expected)
    assert [person.number for person in truth.people] == sorted(numbers.values())


def test_masks_of_people_are_disjoint_and_within_their_amodal_masks(scene):
    chosen, truth = scene
    image = render(chosen)
    own = truth.instance == 1
    assert float((own & image.mask).sum()) / float((own | image.mask).sum()) > 0.92
    amodal = truth.vertex >= 0
    assert float((amodal & image.amodal).sum()) / float((amodal | image.amodal).sum()) > 0.95
    assert bool((own <= amodal).all())
    for person in truth.people:
        assert bool(((truth.instance == person.number) <= person.amodal).all())
        assert bool(person.amodal.any())
    covered = amodal.clone()
    for person in truth.people:
        covered |= person.amodal
    inside = (truth.instance >= 1) & (truth.instance < THING)
    assert bool((inside <= covered).all())


def test_depth_of_the_scene_is_the_least(scene):
    _, truth = scene
    assert bool((truth.scene_depth <= truth.depth).all())
    own = truth.instance == 1
    assert torch.equal(truth.scene_depth[own], truth.depth[own])
    empty = truth.instance == 0
    points = _unprojected(truth, truth.scene_depth)[empty]
    assert float(points[:, 1].min()) > -0.02  # ground, walls and sky
    assert float(truth.scene_depth.max()) <= 60.5


def test_joints_of_people_project_into_their_masks(scene):
    _, truth = scene
    for person in truth.people:
        xy, state = person.keypoints.xy, person.keypoints.visibility
        assert set(state.tolist()) <= {0.0, 0.5, 1.0}
        for index, name in enumerate(COCO_17_FEET):
            x, y = xy[index].long().tolist()
            if 3 <= x < 125 and 3 <= y < 253 and name.split("_")[-1] in ("hip", "shoulder", "knee"):
                near = person.amodal[y - 3 : y + 4, x - 3 : x + 4]
                assert bool(near.any()), (person.number, name)
            if state[index] == 1.0:
                # Small joints may project beside the outline.
                near = truth.instance[max(0, y - 5) : y + 6, max(0, x - 5) : x + 6]
                assert bool((near == person.number).any()), (person.number, name)


def test_a_moved_person_takes_its_joints_along():
    rng = Rng.seeded("moved")
    pieces = bystander(rng)
    bearer = pieces[0].origin.bearer
    turn, shift = turn_y(0.9), torch.tensor([0.4, 0.0, -2.5])
    moved = translated(translated(pieces, shift, turn), torch.tensor([0.1, 0.0, 0.2]))
    expected = bearer.joints @ turn.T + shift + torch.tensor([0.1, 0.0, 0.2])
    for piece in moved:  # whichever piece gives the motion
        assert torch.allclose(placed(piece, bearer.joints), expected, atol=2e-5)
    assert placed(pieces[0], bearer.joints) is bearer.joints
    with pytest.raises(ValueError, match="part"):
        placed(replace(pieces[0], origin=None), bearer.joints)


def test_others_have_the_keypoints_of_a_person_of_their_own():
    """A scene seen with another person as its subject has that person's visibility."""
    chosen = SCENES[1]
    truth = scene_truth(chosen)
    own = render(chosen).keypoints
    bearer = chosen.figure.pieces[0].origin.bearer
    first = truth.people[0]
    pieces = {id(p.origin.bearer): [] for p in chosen.front if p.origin}
    for piece in chosen.front:
        pieces[id(piece.origin.bearer)].append(piece)
    front = next(iter(pieces.values()))
    swapped = replace(
        chosen,
        figure=replace(chosen.figure, pieces=tuple(front)),
        front=chosen.figure.pieces,
    )
    other = scene_truth(swapped)
    person = next(p for p in other.people if p.identity == bearer.seed)
    assert torch.allclose(person.keypoints.xy, own.xy, atol=1e-2)
    same = person.keypoints.visibility == own.visibility
    assert float(same.float().mean()) > 0.9  # the image's are found at twice the resolution
    assert torch.equal(other.instance == 1, truth.instance == first.number)


def test_garments_are_those_of_the_identity():
    seen: set[str] = set()
    chosen = {}
    for identity in map(draw_identity, range(120)):
        jacket = "none" if identity.jacket is None else identity.jacket.kind
        for kind in (jacket, identity.bottom.kind, identity.bag, identity.headwear):
            chosen.setdefault(kind, identity)
    for seed, identity in enumerate(set(chosen.values())):
        joints = world_body().rest_joints(identity.betas[None])[0]
        figure = pose_figure(
            identity, draw_motion(Rng.seeded(seed), identity, joints), 0.3, (0.0, 0.0)
        )
        labels = {piece.origin.label for piece in figure.pieces}
        expected = {"skin", "shoes", identity.top.kind, identity.bottom.kind}
        expected |= set() if identity.jacket is None else {identity.jacket.kind}
        expected |= {"bag"} if identity.bag != "none" else set()
        expected |= {"hat"} if identity.headwear != "none" else set()
        assert expected <= labels <= expected | {"hair"}
        seen |= labels
    assert seen <= set(GARMENTS)
    assert {"coat", "skirt", "dress", "jacket", "bag", "hat"} <= seen


def test_only_what_is_selected_is_made(monkeypatch):
    chosen = SCENES[1]
    whole = scene_truth(chosen)
    calls = []

    def counted(parts, view):
        calls.append(len(parts))
        return find_surface(parts, view)

    def counted_groups(groups, view):
        calls.extend(len(parts) for parts in groups)
        return find_surfaces(groups, view)

    monkeypatch.setattr(maps, "find_surface", counted)
    monkeypatch.setattr(maps, "find_surfaces", counted_groups)
    none = scene_truth(chosen, ())
    assert calls == []
    assert all(getattr(none, name) is None for name in TRUTH)
    for name in TRUTH:
        calls.clear()
        some = scene_truth(chosen, [name])
        assert [n for n in TRUTH if getattr(some, n) is not None] == [name]
        if name == "people":
            assert len(some.people) == len(whole.people)
        else:
            assert torch.equal(getattr(some, name).nan_to_num(), getattr(whole, name).nan_to_num())
        assert len(calls) == (4 if name in ("instance", "scene_depth", "people") else 1)


@pytest.mark.parametrize("wrong", [["colour"], ["part", "part"], "everything"])
def test_unknown_names_are_refused(wrong):
    with pytest.raises(ValueError, match="truth must be different names"):
        scene_truth(SCENES[0], wrong)


def test_truth_checks_itself(scene):
    _, truth = scene
    with pytest.raises(ValueError, match="part must be"):
        replace(truth, part=truth.part[:5])
    with pytest.raises(ValueError, match="depth must be"):
        replace(truth, depth=truth.depth.double())
    wrong = truth.vertex.clone()
    wrong[truth.vertex >= 0] = -1
    with pytest.raises(ValueError, match="must cover the pixels of"):
        replace(truth, vertex=wrong)
    with pytest.raises(ValueError, match="rotation"):
        replace(truth.camera, rotation=torch.ones(3, 3))
    for person in truth.people[:1]:
        with pytest.raises(ValueError, match="number"):
            replace(person, number=1)
        with pytest.raises(ValueError, match="order"):
            replace(truth, people=(person, person))
