"""Processes to be killed: one embeds files in shards of one, one holds a folder."""

from __future__ import annotations

import time
from pathlib import Path


def embed(paths: list[str], model: str, out: str) -> None:
    from og_reid.pipelines.embed_shards import embed_shards

    embed_shards([Path(path) for path in paths], model, out, files_per_shard=1)


def hold(folder: str) -> None:
    from og_reid.data.files.folder_lock import locked_folder

    with locked_folder(folder, "x"):
        (Path(folder) / "held").touch()
        time.sleep(60)
