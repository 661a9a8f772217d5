"""The words of the house: docstrings and messages in the field's terms, nouns first."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("pose", "meshes", "og_reid")
# Openings that are relative clauses or genitives in place of a noun.
OPENING = re.compile(
    r"(What|How|Which|Who|Whom|Whose|Where|Whether|Whatever|Wherever|As of|Of) ", re.IGNORECASE
)
# Actors, and words with a standard term: image, identity, fraction, metric.
BANNED = re.compile(
    r"\b(nobody|somebody|everybody|anybody|whom|tells?|told|photos?|photographs?|pictures?"
    r"|shares? of|figures|lends?|heeds?|goes on|go on with|as of|one's own|knows?)\b",
    re.IGNORECASE,
)
# Phrases with another meaning: titles, formats of files, names of fields.
ALLOWED = (
    "og_reid.model of photographs",  # format tag of files of the first versions
    "``figures``",  # field of saved metrics of the first versions
)
# Files whose strings are other people's words: old names, patterns of folders' names.
QUOTING = ("pose/renamed.py", "og_reid/data/datasets/layout.py")
# Room whose subject is drawings.
DRAWING = "og_reid/viz/"


def _documents(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, docstring) of the module and of its public classes, functions and methods."""
    if text := ast.get_docstring(tree):
        yield 1, text
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            if text := ast.get_docstring(node):
                yield node.lineno, text


def _messages(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, text) of the strings of a file with at least two words, without docstrings."""
    documents = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                documents.add(first.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node not in documents and len(node.value.split()) > 1:
                yield node.lineno, node.value


def _banned(text: str) -> list[str]:
    for phrase in ALLOWED:
        text = text.replace(phrase, "")
    return [found.group() for found in BANNED.finditer(" ".join(text.split()))]


def _modules() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_and_messages_are_in_the_terms_of_the_field(path: Path) -> None:
    tree = ast.parse(path.read_text())
    openings = [(line, text[:60]) for line, text in _documents(tree) if OPENING.match(text)]
    assert openings == [], "open with a noun"
    name = path.relative_to(ROOT).as_posix()
    if name in QUOTING:
        return
    texts = [*_documents(tree), *_messages(tree)]
    words = [(line, word) for line, text in texts for word in _banned(text)]
    if name.startswith(DRAWING):
        words = [each for each in words if each[1].lower() != "figures"]
    assert words == []


@pytest.mark.parametrize("text", [
    "What a cloud takes over from others.", "How far a run is.", "Whether this is rank 0.",
    "As of `knn`.",
])  # fmt: skip
def test_openings_without_a_noun_are_found(text: str) -> None:
    assert OPENING.match(text)


@pytest.mark.parametrize(
    "text", ["adds images of nobody", "a photograph", "the\n    share of both"]
)
def test_words_with_a_standard_term_are_found(text: str) -> None:
    assert _banned(text)
    assert not _banned("fraction of the images; as described")
