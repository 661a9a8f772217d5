"""Readers of any file give a value, a ValueError or an OSError, and name the file."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz_poses import TARGETS
from fuzzing import attempt, damaged, read_sound


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def named(folder: Path, name: str, content: bytes) -> None:
    ending, reader, _ = TARGETS[name]
    attempt(folder / f"fuzzed{ending}", reader, content, others=True)


@pytest.mark.parametrize("name", TARGETS)
def test_sound_files_are_read(folder, name):
    # Refused: a program, and float pixels.
    read_sound(folder, TARGETS[name], refused=(b"%!PS", b"\x00\x00\x80?"))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_named(folder, name, data):
    named(folder, name, data.draw(damaged(TARGETS[name][2])))


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
    named(folder, name, json.dumps(content).encode())


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
    named(folder, name, json.dumps(content).encode())
