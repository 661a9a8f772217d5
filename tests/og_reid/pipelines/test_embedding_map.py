"""Maps of embedded files: identities of names, and the page of a command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from og_reid.pipelines.embedding_map import groups_of_names, write_embedding_map


def test_identities_are_read_from_names_and_folders() -> None:
    assert groups_of_names(["a/0002_c1s1_1.jpg", "b/-1_c3_4.jpg"]) == ["0002", "-1"]
    assert groups_of_names(["x/anna/1.jpg", "x/ben/1.jpg"]) == ["anna", "ben"]
    assert groups_of_names(["x/1.jpg", "x/2.jpg"]) is None
    assert groups_of_names([]) is None


def test_a_page_shows_images_and_leaves_out_those_that_are_gone(tmp_path: Path) -> None:
    file = tmp_path / "0001_c1s1_1.png"
    Image.fromarray(np.zeros((16, 8, 3), np.uint8)).save(file)
    gone = tmp_path / "0002_c1s1_1.png"
    page = tmp_path / "new" / "map.html"
    assert write_embedding_map(page, [file, gone], np.eye(2)) == 2
    text = page.read_text(encoding="utf-8")
    data = json.loads(re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)[0])
    assert [each["name"] for each in data["points"]] == [file.name, gone.name]
    assert [bool(each["image"]) for each in data["points"]] == [True, False]
    assert data["groups"] == ["0001", "0002"]
    with pytest.raises(ValueError, match="no embeddings"):
        write_embedding_map(page, [], np.zeros((0, 0)))
