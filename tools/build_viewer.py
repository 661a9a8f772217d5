"""Build og_reid/viz/static/viewer.js from tools/viewer: the script of the 3D viewer's page.

Needs npm, for three.js and esbuild in the versions of tools/viewer/package-lock.json. The script
starts with a digest of its sources; tests/og_reid/viz/test_viewer.py compares it.

    make viewer
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "viewer"
STATIC = SOURCE.parent.parent / "og_reid" / "viz" / "static"


def sources_digest() -> str:
    """Digest of the sources of the script."""
    digest = hashlib.sha256()
    for path in (*sorted(SOURCE.glob("src/*.js")), SOURCE / "package-lock.json"):
        digest.update(path.name.encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()


def build() -> None:
    """Fetches the packages, and writes viewer.js."""
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=SOURCE, check=True)
    STATIC.mkdir(exist_ok=True)
    banner = f"/* og_reid viewer, sources {sources_digest()}; three.js, MIT licence */"
    subprocess.run(
        ["npx", "esbuild", "src/main.js", "--bundle", "--minify", "--format=iife",
         "--target=es2022", "--legal-comments=inline", "--charset=ascii",
         f"--banner:js={banner}", f"--outfile={STATIC / 'viewer.js'}"],
        cwd=SOURCE, check=True,
    )  # fmt: skip


if __name__ == "__main__":
    build()
