"""A PostgreSQL server with pgvector of a test's own: on a socket in a folder, ended with it."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def postgres_programs() -> Path | None:
    """Folder of initdb and pg_ctl of a PostgreSQL that has pgvector; None without one."""
    folders = [Path(each) for each in os.environ.get("PATH", "").split(os.pathsep) if each]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    bundled = importlib.util.find_spec("pgserver")  # a package that brings both
    if bundled is not None and bundled.origin is not None:
        folders.insert(0, Path(bundled.origin).parent / "pginstall/bin")
    for each in folders:
        if all((each / name).exists() for name in ("initdb", "pg_ctl", "pg_config")):
            shared = subprocess.run(
                [each / "pg_config", "--sharedir"], capture_output=True, text=True, check=False
            ).stdout.strip()
            places = [Path(shared), each.parent / "share/postgresql"]
            if any((place / "extension/vector.control").exists() for place in places):
                return each
    return None


@contextmanager
def postgres_server(programs: Path) -> Iterator[str]:
    """Context of a server; yields the text of its connection."""
    # PostgreSQL refuses to run as root, and long paths of sockets.
    user = "nobody" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    try:
        shutil.chown(folder, user)

        def run(*command: str) -> None:
            subprocess.run(
                command, check=True, stdout=subprocess.DEVNULL, cwd=folder, timeout=120,
                user=user if os.getuid() == 0 else None,
                env={**os.environ, "HOME": str(folder)},
            )  # fmt: skip

        data = str(folder / "data")
        run(str(programs / "initdb"), "-D", data, "-U", "test", "-A", "trust", "-E", "UTF8", "-N")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        control, log = str(programs / "pg_ctl"), str(folder / "log")
        run(control, "-D", data, "-l", log, "-w", "-o", options, "start")
        try:
            yield f"host={folder} user=test dbname=postgres"
        finally:
            run(control, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
