"""Copies of a gallery's items in Qdrant, a server or the embedded mode of its client."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ..models.embedding import Embedding
from ..models.local_features import LocalFeatures
from .filters import METADATA, Condition
from .outside import PLACE, Stored
from .packing import unpack
from .store import LABELS, Columns

__all__ = ["QdrantItems"]

#: How Qdrant selects candidates: by global embeddings, or by MaxSim of the local features.
Select = Literal["global", "maxsim"]
_SEEN = 0.5  # weight of a local feature that shows the person
_NAMESPACE = uuid.UUID("8f0d8a52-9a54-4c5e-9a50-0e8c4f0a7a11")


class QdrantItems:
    """Items of a gallery in a collection of Qdrant (extra ``qdrant``).

    The embedded mode of the client compares with all items; a server has an index, whose recall
    is Qdrant's.

    Args:
        client: `qdrant_client.QdrantClient`, of a server, a folder or ``":memory:"``.
        collection: Name of the collection; it is made by the first `put`.
        select: ``global``: candidates by global embeddings. ``maxsim``: by the local features
            that show the person, each with the most similar one of the item, which Qdrant holds
            as multivectors of 4 bytes a number.

    Raises:
        ImportError: qdrant-client is missing.
        ValueError: ``select`` is another word.
    """

    def __init__(self, client: Any, collection: str, select: Select = "global") -> None:
        try:
            from qdrant_client import models
        except ImportError as error:
            raise ImportError(
                "items in Qdrant need qdrant-client: pip install 'og-reid[qdrant]'"
            ) from error
        if select not in get_args(Select):
            raise ValueError(f"select must be global or maxsim; got {select!r}")
        self._client, self._collection, self._select = client, collection, select
        self._models: Any = models

    def __len__(self) -> int:
        """Number of items."""
        if not self._client.collection_exists(self._collection):
            return 0
        return int(self._client.count(self._collection, exact=True).count)

    def put(self, columns: Columns, form: Stored) -> None:
        """Adds items, see `og_reid.gallery.outside.ItemEngine.put`."""
        m = self._models
        self._make(form)
        other = m.Filter(must_not=[_is("model", form.digest, m)])
        if self._client.count(self._collection, count_filter=other, exact=True).count:
            raise ValueError(
                f"collection {self._collection} must hold items of one model; it has others than "
                f"those of digest {form.digest[:12]}: give another collection"
            )
        made = unpack(columns, form.layout)
        points = []
        for row, name in enumerate(columns["id"]):
            payload = {key: columns[key][row] for key in LABELS if columns[key][row] is not None}
            if "metadata" in payload:
                payload["metadata"] = json.loads(payload["metadata"])
            payload |= {PLACE: columns[PLACE][row], "model": form.digest}
            if "packed" in columns:
                payload["packed"] = base64.b64encode(columns["packed"][row].tobytes()).decode()
            vectors: dict[str, Any] = {}
            if self._select == "maxsim":
                assert made.local is not None
                vectors["cells"] = _cells(made.local, row).tolist()
            if "features" in columns:
                vectors["features"] = columns["features"][row].tolist()
            points.append(m.PointStruct(id=_number(name), vector=vectors, payload=payload))
        self._client.upsert(self._collection, points, wait=True)

    def remove(self, ids: Sequence[str]) -> None:
        """Removes items."""
        chosen = self._models.PointIdsList(points=[_number(each) for each in ids])
        self._client.delete(self._collection, chosen, wait=True)

    def nearest(
        self,
        query: Embedding,
        count: int,
        conditions: Sequence[Condition],
        left_out: Mapping[str, str],
        form: Stored,
    ) -> Columns:
        """Candidates of a query, see `og_reid.gallery.outside.ItemEngine.nearest`."""
        m = self._models
        if self._select == "maxsim":
            assert query.local is not None
            asked = _cells(query.local, 0).tolist()
        else:
            assert query.features is not None
            asked = query.features[0].tolist()
        chosen = m.Filter(
            must=[_is("model", form.digest, m), *(_holds(each, m) for each in conditions)],
            must_not=[_is(name, value, m) for name, value in left_out.items()],
        )
        found = self._client.query_points(
            self._collection, query=asked, limit=count, query_filter=chosen, with_payload=True,
            using="cells" if self._select == "maxsim" else "features",
            with_vectors=["features"] if form.layout.features else False,
        ).points  # fmt: skip
        columns: Columns = {
            name: [each.payload.get(name) for each in found] for name in (*LABELS, PLACE)
        }
        columns["metadata"] = [
            None if each is None else json.dumps(each, sort_keys=True)
            for each in columns["metadata"]
        ]
        layout = form.layout
        if layout.features:
            rows = [each.vector["features"] for each in found]
            columns["features"] = np.array(rows, np.float32).reshape(-1, layout.features)
        if layout.packed_bytes:
            joined = b"".join(base64.b64decode(each.payload["packed"]) for each in found)
            columns["packed"] = np.frombuffer(joined, np.uint8).reshape(-1, layout.packed_bytes)
        return columns

    def _make(self, form: Stored) -> None:
        m, layout = self._models, form.layout
        if self._client.collection_exists(self._collection):
            return
        vectors: dict[str, Any] = {}
        if layout.features:
            vectors["features"] = m.VectorParams(size=layout.features, distance=m.Distance.COSINE)
        if self._select == "maxsim":
            if not layout.cells:
                raise ValueError("select must be global for items without local features")
            vectors["cells"] = m.VectorParams(
                size=layout.channels,
                distance=m.Distance.COSINE,
                multivector_config=m.MultiVectorConfig(comparator=m.MultiVectorComparator.MAX_SIM),
            )
        elif not layout.features:
            raise ValueError("select must be maxsim for items without global embeddings")
        self._client.create_collection(self._collection, vectors_config=vectors)


def _number(name: str) -> str:
    """Id of a point, which Qdrant wants as a UUID."""
    return str(uuid.uuid5(_NAMESPACE, name))


def _cells(local: LocalFeatures, row: int) -> Tensor:
    """(n, C) local features that show the person; all, where none does."""
    features, weights = local.features[row].float(), local.weights[row].sum(1)
    seen = features[weights > _SEEN]
    found = seen if len(seen) else features
    return torch.nn.functional.normalize(found, dim=1)


def _is(field: str, value: Any, m: Any) -> Any:
    """Condition of one value."""
    field = _path(field)
    if value is None:
        return m.IsEmptyCondition(is_empty=m.PayloadField(key=field))
    if isinstance(value, float):
        return m.FieldCondition(key=field, range=m.Range(gte=value, lte=value))
    return m.FieldCondition(key=field, match=m.MatchValue(value=value))


def _path(field: str) -> str:
    """Path of a field: the key of a metadata is one name, never text of a path.

    Raises:
        ValueError: The key has quotes, which a path cannot express.
    """
    if not field.startswith(METADATA):
        return field
    key = field.removeprefix(METADATA)
    if '"' in key or not key:
        raise ValueError(f"where must have keys without quotes for Qdrant; got {key[:60]!r}")
    return f'{METADATA}"{key}"'


def _holds(condition: Condition, m: Any) -> Any:
    """Filter of a condition.

    Raises:
        ValueError: It is a range of texts, which Qdrant has not.
    """
    name = condition.field
    if condition.values is not None:
        if not condition.values:  # none of no values
            return m.Filter(must_not=[_is("model", None, m)], must=[_is("model", None, m)])
        return m.Filter(should=[_is(name, each, m) for each in condition.values])
    bounds = {"gte": condition.low, "lte": condition.high, "lt": condition.below}
    given = {key: value for key, value in bounds.items() if value is not None}
    if any(isinstance(each, str) for each in given.values()):
        kind = "metadata" if name.startswith(METADATA) else name
        raise ValueError(f"where must have ranges of numbers for Qdrant; got texts for {kind}")
    return m.FieldCondition(key=_path(name), range=m.Range(**given))
