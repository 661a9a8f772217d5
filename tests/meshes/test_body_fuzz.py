"""Whatever bytes a body file has: a body, or an error with its name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz_bodies import TARGETS

SETTINGS = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A sound file with bytes changed, cut out, put in or repeated."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        # Names, types and shapes lie at the beginning, and the list of a zip's files at the end.
        place = draw(
            st.one_of(st.integers(0, 400), st.integers(0, len(content)), st.integers(-400, -1))
        )
        match draw(st.sampled_from(("change", "cut", "put in", "repeat", "end"))):
            case "change":
                content[place : place + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut":
                del content[place : place + draw(st.integers(1, 40))]
            case "put in":
                content[place:place] = draw(st.binary(max_size=8))
            case "repeat":
                content[place:place] = content[place : place + draw(st.integers(1, 100))]
            case "end":
                del content[place:]
    return bytes(content)


@pytest.mark.parametrize("name", TARGETS)
def test_sound_files_are_read(tmp_path: Path, name: str) -> None:
    ending, reader, seeds = TARGETS[name]
    for number, seed in enumerate(seeds):
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(seed)
        assert reader(path) is not None


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused_by_name(tmp_path: Path, name: str) -> None:
    ending, reader, seeds = TARGETS[name]
    path = tmp_path / f"input{ending}"

    @SETTINGS
    @given(content=st.one_of(damaged(seeds), st.binary(max_size=200)))
    def run(content: bytes) -> None:
        path.write_bytes(content)
        message = ""
        try:
            reader(path)
        except (ValueError, OSError) as error:
            message = str(error)
        assert not message or str(path) in message

    run()
