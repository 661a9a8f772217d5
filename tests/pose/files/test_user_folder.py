"""Folders of a user by environment variables, and without a home folder."""

from pathlib import Path

import pytest

from pose.files.user_folder import user_folder


def test_the_variable_comes_before_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_ANY_HOME", str(tmp_path / "x"))
    assert user_folder("XDG_ANY_HOME", ".any") == tmp_path / "x" / "og-reid"
    for ignored in ("", "relative/folder"):
        monkeypatch.setenv("XDG_ANY_HOME", ignored)
        assert user_folder("XDG_ANY_HOME", ".a/b") == tmp_path / "home" / ".a" / "b" / "og-reid"
    monkeypatch.delenv("XDG_ANY_HOME")
    assert user_folder("XDG_ANY_HOME", ".any") == tmp_path / "home" / ".any" / "og-reid"


@pytest.mark.parametrize("home", [RuntimeError("no home"), Path("relative")])
def test_without_a_home_folder_there_is_none(monkeypatch, home):
    def find() -> Path:
        if isinstance(home, Exception):
            raise home
        return home

    monkeypatch.delenv("XDG_ANY_HOME", raising=False)
    monkeypatch.setattr(Path, "home", find)
    assert user_folder("XDG_ANY_HOME", ".any") is None
