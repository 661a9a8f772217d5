"""What commands do with a model of photographs and one of clouds together."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..pipelines.data import hold_out_identities, image_set, lift_samples
from ..pipelines.input_files import check_exists, check_readable
from ..pipelines.training import check_data, check_run_inputs
from .options import data_spec
from .progress import progress_stages
from .scoring import check_scoring, score_and_tell

if TYPE_CHECKING:
    from ..config.schema import FusionConfig
    from ..data import ImageSet, Sample
    from ..inference.fusion import Fusion, FusionInputs
    from ..inference.model_file import StoredImageModel, StoredModel

__all__ = ["do_fuse", "evaluate_fusion"]


def do_fuse(options: argparse.Namespace) -> None:
    """Chooses the weights of two models, and writes both as one run."""
    for path in (options.first, options.second):
        check_exists(path, "give the folder of a run, or a model")
    check_run_inputs(options.config, data_spec(options), options.settings)

    from ..config.schema import FusionConfig, load_config
    from ..inference.fusion import Fusion
    from ..inference.fusion_file import save_fusion
    from ..inference.model_file import read_image_model
    from ..inference.pretrained import load_model, model_file

    config = load_config(options.config, options.settings, FusionConfig)
    if options.data is not None:
        check_data(options.data)
    files = model_file(options.first), model_file(options.second)
    models = read_image_model(files[0]), load_model(files[1])
    if config.cloud_weight is not None and config.part_weight is not None:
        fusion = Fusion(config.cloud_weight, config.part_weight)
    else:
        fusion = _choose(config, *models, options)
    save_fusion(options.out, *files, fusion, config, options.dataset)
    told = f"share of {options.second} {fusion.second:.2f}, weight of each part {fusion.parts:.2f}"
    if fusion.mAP is not None:
        told += f"; chosen on {len(fusion.people)} people (mAP {100 * fusion.mAP:.1f} %)"
    print(f"{told}\nmodel: {options.out}")


def evaluate_fusion(options: argparse.Namespace) -> None:
    """Prints how well two fused models rank a data set, and each of them alone."""
    from ..evaluation.results import Search
    from ..inference.fusion_file import read_fusion

    if options.mirror or options.test_view != "none" or options.descriptor != "raw":
        raise ValueError("--mirror, --test-view and --descriptor are not for fused models")
    stored = read_fusion(options.model)
    images = data_spec(options).splits
    check_scoring(images, options)
    check_readable((*images.query, *images.gallery), options.workers)
    (query, asked), (gallery, searched) = (
        _embedded(stored.first, stored.second, each, options)
        for each in (images.query, images.gallery)
    )
    if options.dataset == stored.dataset:
        stored.fusion.check_people(query.pids)
    name = Path(options.model).name
    searches: dict[str, Search] = {
        name: (
            stored.fusion(asked.first, asked.second),
            stored.fusion(searched.first, searched.second),
        ),
        f"{name} first": (asked.first, searched.first),
        f"{name} second": (asked.second, searched.second),
    }
    score_and_tell(searches, query, gallery, options)


def _choose(
    config: FusionConfig,
    first: StoredImageModel,
    second: StoredModel,
    options: argparse.Namespace,
) -> Fusion:
    """The weights that are best on training people whom neither model knows."""
    from ..inference.fusion import fit_fusion_weights
    from ..inference.fusion_file import check_disjoint_identities

    if options.data is None:
        raise ValueError(
            "--data must be given to choose weights on its training people; without it, give both "
            "weights: second=0.5 parts=1"
        )
    images = data_spec(options).splits
    held = hold_out_identities(images.train, config.val_identities)
    query, gallery = ([images.train[i] for i in rows] for rows in (held.query, held.gallery))
    people = frozenset(sample.pid for sample in gallery)
    searched = people & {sample.pid for sample in images.query}
    if searched:
        raise ValueError(
            f"{len(searched)} of the people held out are among the queries of {options.data}, such "
            f"as {sorted(searched)[:5]}: weights must not be chosen on people to be tested on"
        )
    check_disjoint_identities(
        people, {str(options.first): first.origin, str(options.second): second.origin}
    )
    sides = [_embedded(first, second, each, options)[1] for each in (query, gallery)]
    tried = {
        name: (weight,)
        for name, weight in (("second", config.cloud_weight), ("parts", config.part_weight))
        if weight is not None
    }
    return fit_fusion_weights(sides[0], sides[1], ap=config.ap_method, **tried)


def _embedded(
    first: StoredImageModel,
    second: StoredModel,
    samples: Sequence[Sample],
    options: argparse.Namespace,
) -> tuple[ImageSet, FusionInputs]:
    """What both models say about photographs."""
    from ..data import CloudSet
    from ..inference.extract import embed_images, embed_set
    from ..inference.fusion import FusionInputs
    from ..models.embedding import Embedding

    wanted = second.preprocessing.point_order
    if wanted != CloudSet.point_order:  # before keypoints are looked for
        raise ValueError(
            f"the model of clouds takes layout {wanted!r}, and lifted photographs have "
            f"{CloudSet.point_order!r}: train one with data.point_order={CloudSet.point_order}"
        )
    network = first.model
    prepared = network.parts, first.preprocessing
    data, guided = data_spec(options), network.global_branch == "pose"
    with progress_stages() as show:
        people = image_set(samples, *prepared, data, guided=guided, progress=show)
        clouds = lift_samples(samples, "lifting", data, second.preprocessing.canonical, show)
        pieces = []
        for piece in embed_images(network, people):
            pieces.append(piece)
            show("embedding", sum(map(len, pieces)), 2 * len(people))
        features = embed_set(
            second.model,
            clouds,
            second.preprocessing.num_points,
            progress=lambda done, total: show("embedding", total + done, 2 * total),
        )
    joined = FusionInputs(Embedding.cat(pieces), Embedding(features), people.pids, people.camids)
    return people, joined
