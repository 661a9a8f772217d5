"""Settings from YAML: what small text may stand for, and how values are converted."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import pytest

from og_reid.config.load import load_config
from og_reid.files.from_mapping import build, read_yaml
from og_reid.inference.fusion import FusionConfig

LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{y: {{<<: [{', '.join([f'*{before}'] * 9)}]}}, <<: *{before}, "
    f"z: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS, MERGES, "&a [*a]", "&a {b: *a}", "[" * 20_000, "{a: " * 5_000, "- " * 20_000,
        "a: " + "1:" * 8_000 + "1", "a: 0x" + "f" * 20_000, "a: " + "9" * 9_000, "x" * 300_000,
        "- a\n" * 20_000, "a: !!python/object/apply:os.system [true]", "a: !!python/name:os.system",
        "? [1]\n: 2", "? {a: 1}\n: 2", "a: *b", "a: \x00", "a: 'b", "%YAML 9.9\n---\na: 1",
        "a: 1\n---\nb: 2", "!!set 3", "!!omap [1]", "!!timestamp 2020-99-99", "a: 2020-13-45",
        "!!int a", "!!float a", "!!binary é", "a: 1e", "\ufeff\ufeff", "a:\tb: c", "<<: 3",
        "<<: [1]",
    ],
    ids=lambda text: repr(text[:24]),
)  # fmt: skip
def test_any_text_is_read_or_refused_at_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    tracemalloc.start()
    begin = time.process_time()
    with pytest.raises(ValueError, match=r"a\.yaml") as caught:
        load_config(path)
    assert time.process_time() - begin < 5
    assert tracemalloc.get_traced_memory()[1] < 1 << 26
    tracemalloc.stop()
    assert len(str(caught.value)) < 1500


def test_the_document_of_nested_aliases_is_small() -> None:
    assert len(LAUGHS) < 500


def test_aliases_of_few_values_are_read_and_stay_apart(tmp_path: Path) -> None:
    text = "augment: &a {mirror: 0.25}\nloss: {circle: &c 0.5, triplet: *c}\n"
    (tmp_path / "a.yaml").write_text(text)
    config = load_config(tmp_path / "a.yaml")
    assert (config.loss.circle, config.loss.triplet, config.augment.mirror) == (0.5, 0.5, 0.25)
    found = read_yaml("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}")
    assert found == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1, "y": 2}}
    assert found["a"] is not found["b"], "changing one by an override must not change the other"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_and_newlines_of_other_systems_are_read(
    tmp_path: Path, encoding: str, newline: str
) -> None:
    text = "# für uns\nseed: 3\nmodel:\n  init_from: default\n".replace("\n", newline)
    (tmp_path / "a.yaml").write_bytes(text.encode(encoding))
    config = load_config(tmp_path / "a.yaml")
    assert (config.seed, config.model.init_from) == (3, "default")


def test_latin_letters_are_refused_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes("# für uns\nseed: 3\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.yaml is no valid YAML"):
        load_config(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["null", "none", "None", "NONE", "~", ""])
def test_none_is_null(tmp_path: Path, text: str) -> None:
    settings = [f"model.init_from={text}", f"budget.epochs={text}", f"loss.triplet_margin={text}"]
    config = load_config("synthetic/default", settings)
    assert config.model.init_from is None
    assert config.budget.epochs is None
    assert config.loss.triplet_margin is None
    (tmp_path / "a.yaml").write_text(f"model: {{init_from: {text}}}\nbudget: {{epochs: {text}}}\n")
    assert load_config(tmp_path / "a.yaml").model.init_from is None
    assert (
        load_config("occluded_duke/fusion", [f"cloud_weight={text}"], FusionConfig).cloud_weight
        is None
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lr=.nan", r"optim\.lr must be a number; got nan"),
        ("optim.lr=nan", r"optim\.lr must be a number; got nan"),
        ("data.num_instances=1" + "0" * 400, r"data\.num_instances must be smaller than 2\^62"),
        ("optim.lr=1" + "0" * 400, r"optim\.lr must be float"),
        ("model.embedding_dim=100000000", r"model\.embedding_dim must hold whole numbers in"),
        ("model.k=100000000", r"model\.k must hold whole numbers in"),
        ("model.stripes=[[99999]]", r"model\.stripes must hold whole numbers in"),
        ("data.num_points=99999999", r"data\.num_points must hold whole numbers in"),
        ("device=[cpu]", "device must be one of"),
        ("device={}", "device must be one of"),
        ("model.bnneck=1", r"model\.bnneck must be bool"),
        ("model.ball_samples=" + str([1] * 5000), "must be a list of 3 values"),
        ("a." * 3000 + "b=1", "unknown setting a.a"),
        ("=1", "must look like"),
        ("x" * 5000 + "=1", "unknown setting xxx"),
    ],
    ids=lambda value: value[:24],
)
def test_odd_values_are_refused_by_name(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load_config("synthetic/default", [override])
    assert len(str(caught.value)) < 400


def test_mistakes_in_the_file_name_it_and_those_in_overrides_do_not(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("optim: {lr: fast}\n")
    for overrides in ([], ["seed=3"]):
        with pytest.raises(ValueError, match=r"a\.yaml: optim\.lr must be float"):
            load_config(path, overrides)
    path.write_text("seed: 3\n")
    with pytest.raises(ValueError, match=r"^optim\.lr must be float; got 'fast'"):
        load_config(path, ["optim.lr=fast"])


@dataclass(frozen=True)
class _Inner:
    size: int = 1


@dataclass(frozen=True)
class _Outer:
    inner: _Inner | None = None


def test_an_optional_group_is_a_group_or_null() -> None:
    assert build(_Outer, {"inner": {"size": 3}}) == _Outer(_Inner(3))
    assert build(_Outer, {"inner": None}) == _Outer()
    with pytest.raises(ValueError, match=r"inner\.size must be int"):
        build(_Outer, {"inner": {"size": "many"}})
    with pytest.raises(ValueError, match=r"unknown setting inner\.sise"):
        build(_Outer, {"inner": {"sise": 3}})
    with pytest.raises(ValueError, match="inner must be a group"):
        build(_Outer, {"inner": 3})
