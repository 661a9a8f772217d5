"""Compare the people of two images, and show which places of them match.

    python examples/compare_two.py one.jpg other.jpg why.png

The ending .html instead of .png writes a page to walk through.
"""

import sys
from pathlib import Path

import og_reid
from og_reid.pipelines import ExplainSpec, explain_files


def main(first: str, second: str, out: str) -> None:
    """Similarity of two images, and a figure of its contributions."""
    found = explain_files(ExplainSpec(Path(first), Path(second), Path(out)))
    print(f"similarity {found.similarity:.3f}")
    print(og_reid.same_person(first, second))


if __name__ == "__main__":
    main(*sys.argv[1:])
