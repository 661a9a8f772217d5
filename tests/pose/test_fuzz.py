"""Whatever a file holds, readers give a value, a ValueError or an OSError, and name the file."""

import json
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz_poses import TARGETS


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def attempt(folder: Path, name: str, content: bytes) -> None:
    ending, read, _ = TARGETS[name]
    path = folder / f"fuzzed{ending}"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(path)
        except (ValueError, OSError) as error:
            text = str(error)
    if "text" in locals():
        assert str(path) in text, text


def changed(data, content: bytes) -> bytes:
    """Some bytes overwritten, a piece cut out or repeated, the end cut off."""
    piece = bytearray(content)
    for _ in range(data.draw(st.integers(0, 8))):
        piece[data.draw(st.integers(0, len(piece) - 1))] = data.draw(st.integers(0, 255))
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(piece))] * 2)))
    how = data.draw(st.sampled_from(["whole", "cut", "without", "twice"]))
    if how == "cut":
        return bytes(piece[:stop])
    if how == "without":
        return bytes(piece[:start] + piece[stop:])
    return bytes(piece + piece[start:stop]) if how == "twice" else bytes(piece)


@pytest.mark.parametrize("name", TARGETS)
def test_sound_files_are_read(folder, name):
    ending, read, seeds = TARGETS[name]
    assert seeds
    for i, seed in enumerate(seeds):
        path = folder / f"{i}{ending}"
        path.write_bytes(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if name == "image" and seed[:4] in (b"%!PS", b"\x00\x00\x80?"):
                continue  # refused: a program, and float pixels
            assert read(path) is not None


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_named(folder, name, data):
    attempt(folder, name, changed(data, data.draw(st.sampled_from(TARGETS[name][2]))))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                "annotations images categories keypoints id file_name image_id score people bodies "
                "pose_keypoints_2d is_target instances instance_info meta_info keypoint_id2name "
                "skeleton keypoint_scores category_id frame_id".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", [name for name, each in TARGETS.items() if each[0] == ".json"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=JSON)
def test_any_json_is_read_or_named(folder, name, content):
    attempt(folder, name, json.dumps(content).encode())


@pytest.mark.parametrize("name", [name for name, each in TARGETS.items() if each[0] == ".json"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_value_of_another_kind_is_named(folder, name, data):
    """One value anywhere in a sound file becomes any other."""
    content = json.loads(data.draw(st.sampled_from(TARGETS[name][2])).decode("utf-8-sig"))
    holder, key = None, None
    at = content
    while isinstance(at, list | dict) and at and (holder is None or data.draw(st.booleans())):
        holder = at
        keys = range(len(at)) if isinstance(at, list) else sorted(at)
        key = data.draw(st.sampled_from(list(keys)))
        at = at[key]
    value = data.draw(JSON)
    if holder is None:
        content = value
    else:
        holder[key] = value
    attempt(folder, name, json.dumps(content).encode())
