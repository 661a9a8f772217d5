"""Old public names give the objects of the new ones, with a warning at the user's line."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.util import find_spec

import pytest

from interpreter import run_python
from pose import deprecation, renamed
from pose.deprecation import COMMANDS, FLAGS, MEMBERS, MODULES, NAMES, rename_arguments

MEMBER_ROWS = [(kind, old, new) for kind, rows in MEMBERS.items() for old, new in rows.items()]
NAME_ROWS = [(module, old, new) for module, rows in NAMES.items() for old, new in rows.items()]


@pytest.fixture
def forgotten():
    """Old modules are imported anew by each test, and by what comes after it."""
    for name in MODULES:
        sys.modules.pop(name, None)
    yield
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.filterwarnings("ignore:.* is deprecated and goes")
@pytest.mark.parametrize(("old", "new"), MODULES.items())
def test_an_old_module_path_warns_and_has_the_names_of_the_new_module(old, new, forgotten):
    with pytest.warns(DeprecationWarning, match=f"^{old} is deprecated.* use {new}$") as warned:
        module = import_module(old)
    assert warned[-1].filename == __file__
    target = import_module(new)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in getattr(target, "__all__", ()):
            if name not in NAMES.get(old, {}):
                assert getattr(module, name) is getattr(target, name)


@pytest.mark.filterwarnings("ignore:.* is deprecated and goes")
@pytest.mark.parametrize(("module", "old", "new"), NAME_ROWS)
def test_an_old_name_warns_and_is_the_object_of_the_new_one(module, old, new):
    home = import_module(module)
    with pytest.warns(DeprecationWarning, match=f"^{module}.{old} is deprecated.* use {new}$") as w:
        found = getattr(home, old)
    assert w[0].filename == __file__
    path, _, name = new.rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a new name is no old one
        assert found is getattr(import_module(path), name)


@pytest.mark.parametrize(("kind", "old", "new"), MEMBER_ROWS)
def test_an_old_attribute_warns_and_is_the_new_one(kind, old, new):
    home, _, name = kind.rpartition(".")
    kind = getattr(import_module(home), name)
    value = object.__new__(kind)
    object.__setattr__(value, "__dict__", {new: "found"})
    if isinstance(vars(kind).get(new), property):
        assert vars(kind)[old].__doc__ == f"Deprecated name of `{new}`."
        return
    with pytest.warns(DeprecationWarning, match=f"^{name}.{old} is .* use {name}.{new}$") as warned:
        assert getattr(value, old) == "found"
    assert warned[0].filename == __file__


def test_old_paths_are_gone_and_their_last_part_is_no_name_of_the_package():
    """An import of an old module would put itself in the place of such a name."""
    for old in MODULES:
        parent, _, name = old.rpartition(".")
        if parent not in MODULES:
            package = import_module(parent)
            assert name not in {*getattr(package, "__all__", ()), *NAMES.get(parent, {})}, old
            assert type(find_spec(old).loader).__name__ == "_OldModules", old


def test_an_old_module_is_imported_by_every_statement(forgotten):
    program = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "import og_reid.data.store\n"
        "import og_reid.data.clouds.store\n"
        "from og_reid.checkpoint import StoredModel\n"
        "from og_reid.schedule import *\n"
        "from og_reid.bulk.embedding import embed_files\n"
        "from meshes import zbuffer\n"
        "assert og_reid.data.store.CloudStore is og_reid.data.clouds.store.CloudStore\n"
        "assert learning_rate and StoredModel and embed_files and zbuffer.rasterize\n"
    )
    done = run_python(program)
    assert done.returncode == 0, done.stderr


def test_the_line_of_the_user_is_named():
    program = "\nfrom og_reid.checkpoint import StoredModel\nfrom og_reid.ops import Nearest"
    done = run_python(f"exec(compile({program!r}, 'user.py', 'exec'))")
    lines = [line for line in done.stderr.splitlines() if "DeprecationWarning" in line]
    places = [line.partition(": Deprecation")[0] for line in lines]
    assert places == ["user.py:2", "user.py:2", "user.py:3"]


def test_a_name_of_no_table_is_refused_as_ever(forgotten):
    import og_reid.ops

    with pytest.raises(AttributeError, match=r"module 'og_reid.ops' has no attribute 'gone'"):
        og_reid.ops.gone  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        import_module("og_reid.gone")
    with (
        pytest.warns(DeprecationWarning, match="og_reid.checkpoint"),
        pytest.raises(AttributeError),
    ):
        import_module("og_reid.checkpoint").gone  # noqa: B018


def test_the_finder_stands_last_and_once():
    program = (
        "import sys; before = list(sys.meta_path)\n"
        "import og_reid, pose.deprecation\n"
        "assert sys.meta_path[:len(before)] == before\n"
        "assert len(sys.meta_path) == len(before) + 1\n"
        "print(sorted({'torch', 'numpy', 'yaml'} & set(sys.modules)))"
    )
    done = run_python(program)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_old_arguments_of_the_command_line_become_new_ones():
    (old, new), *_ = COMMANDS.items()
    given = [old, "--test-view=none", "--by", "occlusion", old, "--", "--by"]
    with pytest.warns(DeprecationWarning, match="is deprecated") as warned:
        renamed = rename_arguments(given)
    assert renamed == [new, "--tta=none", "--slice-by", "occlusion", old, "--", "--by"]
    assert len(warned) == 3
    assert not {*FLAGS} & {*FLAGS.values()}


def test_tables_are_sorted_out_by_one_row_a_name():
    rows = [(old, name) for old, name, _ in deprecation._rows(renamed.NAMES)]
    assert len(rows) == len(set(rows))
    assert not {*MODULES} & {*MODULES.values()}
