"""Rank a folder of images by similarity to the person of another image.

    python examples/rank_folder.py photo.jpg photos ranking.png

The ending .html instead of .png writes a page with filters.
"""

import sys
from pathlib import Path

from og_reid.pipelines import RankSpec, rank_files


def main(query: str, gallery: str, out: str) -> None:
    """The five most similar images, beside the query."""
    done = rank_files(RankSpec(Path(query), Path(gallery), k=5, grid=Path(out)))
    print(done.result)


if __name__ == "__main__":
    main(*sys.argv[1:])
