"""Generated parts of the documentation site: hooks of mkdocs.

Reference pages are made from ``__all__`` and docstrings, one per subpackage; the command line from
its own help. In hand-written pages, markers are replaced by tables generated from the repository:

    <!-- reproduce: FOLDER -->   files of configs/FOLDER with their published metrics
    <!-- benchmark: NAME -->     benchmarks/results/NAME.txt
    <!-- migrating: all -->      the tables of pose/deprecation.py

Most is read from files; only the command line and the table of renamed names are imported.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("og_reid", "pose", "meshes")
# Subpackages without a page of their own: code of other languages, data, and the command line.
NO_PAGE = {"cli", "csrc", "weights"}
MARKER = re.compile(r"^<!-- (reproduce|benchmark|migrating): ([\w/.-]+) -->$", re.MULTILINE)
PUBLISHED = re.compile(r"([\d.]+) \(([\d.]+)\) %(?: on ([\w-]+))?")


def public_names(path: Path) -> list[str]:
    """Names in ``__all__`` of a source file; none where it has no such list."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(each, ast.Name) and each.id == "__all__" for each in targets):
                return list(ast.literal_eval(node.value)) if node.value else []
    return []


def rooms() -> dict[str, Path]:
    """Dotted name and folder of each subpackage with a reference page."""
    found = {"og_reid": ROOT / "og_reid", "pose": ROOT / "pose", "meshes": ROOT / "meshes"}
    for folder in sorted((ROOT / "og_reid").iterdir()):
        if (folder / "__init__.py").exists() and folder.name not in NO_PAGE:
            found[f"og_reid.{folder.name}"] = folder
    found["meshes.world"] = ROOT / "meshes" / "world"
    return found


def room_modules(room: str) -> Iterator[tuple[str, list[str]]]:
    """Public modules of a subpackage with the names that it does not export itself."""
    folders = rooms()
    exported = set(public_names(folders[room] / "__init__.py"))
    others = [folder for name, folder in folders.items() if name.startswith(f"{room}.")]
    for path in sorted(folders[room].rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        hidden = any(part.startswith("_") and part != "__init__" for part in parts)
        if hidden or any(path.is_relative_to(other) for other in others):
            continue
        if room == "og_reid" and len(parts) > 2:
            continue
        if parts[-1] == "__init__":
            parts = parts[:-1]
        names = [name for name in public_names(path) if name not in exported]
        if names and ".".join(parts) != room:
            exported.update(names)
            yield ".".join(parts), names


def shadowed(room: str) -> list[str]:
    """Exported names that are also names of modules, and would be mistaken for them."""
    folder = rooms()[room]
    stems = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
    return [name for name in public_names(folder / "__init__.py") if name in stems]


def anchors(room: str) -> dict[str, str]:
    """Public names with their anchors on the subpackage's page."""
    hidden = shadowed(room)
    exported = public_names(rooms()[room] / "__init__.py")
    found = {f"{room}.{name}": f"{room}.{name}" for name in exported}
    found.update({f"{room}.{name}": f"{room}.{name}.{name}" for name in hidden})
    for module, names in room_modules(room):
        found.update({f"{module}.{name}": f"{module}.{name}" for name in names})
    return found


def reference_page(room: str) -> str:
    """Markdown of a subpackage: its exports, then the names of its modules."""
    lines = [f"# {room}", "", f"::: {room}", "    options:", "      heading_level: 2"]
    lines += ["      show_root_heading: false", "      show_root_toc_entry: false"]
    exported = public_names(rooms()[room] / "__init__.py")
    own = [name for name in exported if name not in shadowed(room)]
    lines += (
        ["      members:", *(f"        - {name}" for name in own)]
        if own
        else ["      members: false"]
    )
    for name in shadowed(room):
        lines += ["", f"::: {room}.{name}.{name}", "    options:", "      heading_level: 2"]
        lines += [f"      heading: {name}", f"      toc_label: {name}"]
    modules = list(room_modules(room))
    if modules and exported:
        lines += ["", "## Modules", "", "Public names that are imported from their own modules."]
    for module, names in modules:
        lines += ["", f"::: {module}", "    options:", "      heading_level: 2"]
        lines += ["      members:", *(f"        - {name}" for name in names)]
    return "\n".join(lines) + "\n"


def page_of(room: str) -> str:
    """Path of a subpackage's page in the site's sources."""
    return f"reference/{room}.md"


def command_help(*arguments: str) -> str:
    """Help text that ``og-reid ARGUMENTS --help`` prints, 88 columns wide."""
    import_from_here()
    from og_reid.cli import main

    printed = io.StringIO()
    columns = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "88"
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([*arguments, "--help"])
    finally:
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    return re.sub(r"\x1b\[[\d;]*m", "", printed.getvalue())


def commands() -> list[str]:
    """Names of the commands of ``og-reid``, in the order of its help."""
    listed = command_help().partition("commands:")[2]
    return re.findall(r"^    ([a-z][\w-]*)(?:\s|$)", listed, re.MULTILINE)


def command_page() -> str:
    """Markdown of the command line: the help of every command."""
    lines = ["# Command line", "", "Help of `og-reid` and of each of its commands."]
    lines += ["", "```text", command_help().rstrip(), "```"]
    for name in commands():
        lines += ["", f"## {name}", "", "```text", command_help(name).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def config_header(path: Path) -> tuple[str, list[str]]:
    """Text and commands in the comment at the head of a configuration file."""
    text, found = [], []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        words = line[1:].strip()
        if words.startswith("og-reid "):
            found.append(words.partition("  #")[0])
        elif line.startswith("#  ") and found:  # a command goes on
            found[-1] += f" {words}"
        else:
            text.append(words)
    return " ".join(text).replace("|", "\\|"), found


def reproduce_table(folder: str) -> str:
    """Rows of a folder of configurations: file, subject, published metrics, notes."""
    lines = ["| config | subject | published, % | notes |", "|---|---|---|---|"]
    for path in sorted((ROOT / "configs" / folder).glob("*.yaml")):
        header, calls = config_header(path)
        subject, colon, notes = header.partition(": ")
        if not colon or len(subject) > 90:
            subject, _, notes = header.partition(". ")
        own = "for comparison" not in header.lower() and folder != "synthetic"
        second = "mAP" if "(mAP)" in header else "rank-3"
        rows = [
            f"rank-1 {one}, {second} {two}" + (f" on {where}" if where else "")
            for one, two, where in PUBLISHED.findall(header if own else "")
        ]
        found = re.match(r"(published )?rank-1 \(mAP\) [\d.]+ \([\d.]+\) %[.,]? ?", notes)
        notes = notes[found.end() :] if found and rows else notes
        notes += "".join(f" `{call}`" for call in calls)
        published = "<br>".join(rows).replace(" ", "&nbsp;").replace("-", "&#8209;") or "none"
        lines.append(f"| `{folder}/{path.stem}` | {subject} | {published} | {notes} |")
    return "\n".join(lines)


def benchmark_block(name: str) -> str:
    """Printed output of a benchmark; its commands are the lines that begin with ``$``."""
    text = (ROOT / "benchmarks" / "results" / f"{name}.txt").read_text().rstrip()
    return f"```text\n{text}\n```"


def migrating_tables(_: str) -> str:
    """Old and new names: the tables of `pose.deprecation`, a section for each."""
    import_from_here()
    from pose import deprecation

    lines = []
    for name in sorted(each for each in deprecation.__all__ if each.isupper()):
        rows = []
        for old, new in sorted(getattr(deprecation, name).items()):
            if isinstance(new, Mapping):
                rows += [(f"{old}.{each}", value) for each, value in sorted(new.items())]
            else:
                rows.append((old, new))
        lines += [f"## {name.replace('_', ' ').capitalize()}", ""]
        lines += ['<div class="renamed" markdown>', "", "| old | new |", "|---|---|"]
        lines += [f"| `{old}` | `{new}` |" for old, new in rows]
        lines += ["", "</div>", ""]
    return "\n".join(lines)


def import_from_here() -> None:
    """Makes the packages beside this folder importable; none of them imports torch here."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


GENERATORS = {
    "benchmark": benchmark_block,
    "migrating": migrating_tables,
    "reproduce": reproduce_table,
}


def fill(markdown: str) -> str:
    """Markdown with its markers replaced."""
    return MARKER.sub(lambda found: GENERATORS[found[1]](found[2]), markdown)


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages (a hook of mkdocs)."""
    from mkdocs.structure.files import File

    for room in rooms():
        files.append(File.generated(config, page_of(room), content=reference_page(room)))
    files.append(File.generated(config, "reference/cli.md", content=command_page()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fills the markers of a page (a hook of mkdocs)."""
    return fill(markdown)
