"""Requests and answers of the service, as in its OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "EnrolOptions",
    "Enrolled",
    "Failure",
    "ForgetRequest",
    "Forgotten",
    "Health",
    "Keypoint",
    "Match",
    "Person",
    "Problem",
    "Ranking",
    "SearchOptions",
    "Stats",
    "Threshold",
    "Verdict",
    "WhyLine",
    "WhyPart",
]

Text = Annotated[str, Field(min_length=1, max_length=4096)]
Labels = Annotated[list[Text], Field(min_length=1, max_length=1000)]
Time = (
    Annotated[float, Field(allow_inf_nan=False, ge=-1e11, le=1e11)]
    | Annotated[str, Field(max_length=40)]
)
Fraction = Annotated[float, Field(gt=0, lt=1)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SearchOptions(_Request):
    """Options of a search."""

    k: int = Field(10, ge=1, le=100, description="Most matches.")
    where: dict[str, Any] = Field(
        {}, max_length=20,
        description="Conditions on fields of items (id, identity, tracklet, camera, path, time, "
        "metadata.KEY): a value, several values, or a range {min, max}.",
    )  # fmt: skip
    after: Time | None = Field(None, description="Earliest time: seconds since 1970, or ISO text.")
    before: Time | None = Field(None, description="Time that all are earlier than.")
    cameras: Labels | None = Field(None, description="Cameras of the matches.")
    identities: Labels | None = Field(None, description="Identities of the matches.")
    camera: Text | None = Field(None, description="Camera of the image.")
    exclude_same_camera: bool = Field(False, description="Leave out matches of this camera.")
    exhaustive: bool = Field(False, description="Compare with all items.")
    min_shared: float = Field(0.0, ge=0, le=1, description="Least shared fraction of the image.")
    false_accept_rate: Fraction | None = Field(
        None, description="Rate of a verdict: match, not in the gallery, or not enough seen."
    )
    per: Literal["search", "comparison"] = Field("search", description="What the rate counts.")
    why: bool = Field(True, description="Contributions of body parts to each similarity.")


class EnrolOptions(_Request):
    """Labels of enrolled images."""

    identity: Text | None = None
    tracklet: Text | None = None
    camera: Text | None = None
    time: Time | None = Field(None, description="Seconds since 1970, or ISO text.")
    id: Text | None = Field(None, description="Of one image; by default the digest of its pixels.")
    metadata: dict[str, Any] = Field({}, max_length=50, description="Further plain values.")
    thumbnail: bool = Field(True, description="Keep a small image beside the embedding.")


class ForgetRequest(_Request):
    """Items to remove; all given conditions hold."""

    identity: Text | None = None
    item: Text | None = Field(None, description="Id of one item.")
    before: Time | None = None

    @model_validator(mode="after")
    def _some(self) -> ForgetRequest:
        if self.identity is None and self.item is None and self.before is None:
            raise ValueError("identity, item or before must be given")
        return self


class Problem(BaseModel):
    """Reason of a refusal."""

    detail: str


class WhyPart(BaseModel):
    """Contribution of a body part to a similarity."""

    name: str
    contribution: float
    weight: float | None
    similarity: float | None


class WhyLine(BaseModel):
    """One of the strongest matches of cells: (x, y) in [0, 1] of both images."""

    part: int
    contribution: float
    query: tuple[float, float]
    item: tuple[float, float]


class Match(BaseModel):
    """Item of a ranking."""

    id: str
    identity: str | None
    tracklet: str | None
    camera: str | None
    time: float | None
    name: str | None
    metadata: dict[str, Any]
    score: float
    shared: float | None
    probability: float | None
    image: str | None = Field(description="Thumbnail as a data URI.")
    parts: list[WhyPart]
    lines: list[WhyLine]


class Verdict(BaseModel):
    """Decision on a search."""

    answer: Literal["match", "not in the gallery", "not enough seen"]
    item: str | None
    identity: str | None
    threshold: float | None


class Ranking(BaseModel):
    """Answer to a search."""

    matches: list[Match]
    compared: int | None = Field(description="Items compared by local features; null: all.")
    items: int = Field(description="Items of the gallery.")
    verdict: Verdict | None
    notes: list[str]


class Keypoint(BaseModel):
    """Keypoint in pixels of the image."""

    name: str
    x: float
    y: float
    score: float
    visibility: float


class Person(BaseModel):
    """Keypoints of the person in an image, and hidden surface."""

    width: int
    height: int
    keypoints: list[Keypoint]
    bones: list[tuple[int, int]]
    visible: dict[str, float] = Field(description="Visible fraction of each body part.")
    hidden: str | None = Field(description="PNG that veils what is not the person's own surface.")
    notes: list[str]


class Failure(BaseModel):
    """Image that was not enrolled."""

    name: str
    reason: str


class Enrolled(BaseModel):
    """Outcome of an enrolment."""

    ids: list[str]
    new: int
    replaced: int
    unchanged: int
    failed: list[Failure]


class Forgotten(BaseModel):
    """Outcome of forgetting."""

    forgotten: int


class Threshold(BaseModel):
    """Smallest score of a match."""

    threshold: float
    false_accept_rate: float
    per: str


class Stats(BaseModel):
    """Numbers of the gallery."""

    items: int
    identities: int
    cameras: list[str]
    unlabelled: int
    first: float | None
    last: float | None
    disk_bytes: int
    measured: bool = Field(description="True if thresholds have been measured (build).")
    search: str


class Health(BaseModel):
    """Sign of life."""

    status: Literal["ok", "stopping"]
    version: str
