"""Old public names give the objects of the new ones, with a warning at the user's line."""

from __future__ import annotations

import inspect
import sys
import warnings
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

import pytest
import torch

import meshes.world
import og_reid.models
from interpreter import run_python
from pose import deprecation, renamed
from pose.deprecation import (
    COMMANDS,
    FLAGS,
    KEYWORDS,
    MEMBERS,
    MODULES,
    NAMES,
    REMOVED,
    rename_arguments,
)

MEMBER_ROWS = [(kind, old, new) for kind, rows in MEMBERS.items() for old, new in rows.items()]
BUILD, RENDER = og_reid.models.build, meshes.world.render
NAME_ROWS = [(module, old, new) for module, rows in NAMES.items() for old, new in rows.items()]


@pytest.fixture
def forgotten():
    """Old modules are imported anew by each test, and by what comes after it."""
    forget_old_modules()
    yield
    forget_old_modules()


def forget_old_modules():
    for name in MODULES:
        old = sys.modules.pop(name, None)
        parent, _, last = name.rpartition(".")
        if old is not None and vars(sys.modules.get(parent, old)).get(last) is old:
            delattr(sys.modules[parent], last)
    og_reid.models.build, meshes.world.render = BUILD, RENDER  # which an import hides


def bare(found):
    """The object, of functions without the decorator that takes their old keywords."""
    return inspect.unwrap(found, stop=lambda each: "old_keywords" not in vars(each))


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
                assert bare(getattr(module, name)) is bare(getattr(target, name))


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
        assert bare(found) is bare(getattr(import_module(path), name))


@pytest.mark.parametrize(("kind", "old", "new"), MEMBER_ROWS)
def test_an_old_attribute_warns_and_is_the_new_one(kind, old, new):
    home, _, name = kind.rpartition(".")
    kind = getattr(import_module(home), name)
    assert vars(kind)[old].__doc__ == f"Deprecated name of `{new}`."
    first, *rest = new.split(".")
    known = vars(kind).get(first, kind.__annotations__.get(first))
    assert known is not None or first == "images"  # set by the initializer of ImageTask
    owned = type(name, (), {})()
    value = found = object()
    for each in reversed(rest):
        value, inner = type(name, (), {})(), value
        setattr(value, each, inner)
    setattr(owned, first, value)
    with pytest.warns(DeprecationWarning, match=f"^{name}.{old} is .* use {name}.{new}$") as warned:
        assert vars(kind)[old].__get__(owned, kind) is found
    assert warned[0].filename == __file__


@pytest.mark.filterwarnings("ignore:.* is deprecated and goes")
@pytest.mark.parametrize("path", KEYWORDS)
def test_old_keywords_are_taken_for_parameters(path):
    home, _, name = path.rpartition(".")
    try:
        owner = import_module(home)
    except ModuleNotFoundError:
        module, _, kind = home.rpartition(".")
        owner = getattr(import_module(module), kind)
    parameters = inspect.signature(getattr(owner, name)).parameters
    assert {*KEYWORDS[path].values()} <= {*parameters}
    assert not {*KEYWORDS[path]} & {*parameters}


@pytest.mark.filterwarnings(
    "ignore:.*market3d is deprecated", "ignore:og_reid.train.processes.Processes"
)
def test_old_keywords_of_functions_and_fields_work_with_a_warning(forgotten):
    with pytest.warns(DeprecationWarning, match="train.processes"):
        from og_reid.train.processes import Processes
    with pytest.warns(DeprecationWarning, match=r"^DistInfo\(world=\) is .* use world_size=$"):
        info = Processes(rank=1, world=2)
    with pytest.warns(DeprecationWarning, match=r"^DistInfo\.world is "):
        assert info.world == 2
    with pytest.warns(DeprecationWarning, match=r"^DistInfo\(world=\) is .* use world_size=$"):
        assert replace(info, world=3).world_size == 3
    with pytest.warns(DeprecationWarning, match="market3d is|market3d.slim is"):
        from og_reid.data.market3d import slim
    with pytest.warns(DeprecationWarning, match=r"^subsample\(share=\) is .* use fraction=$"):
        assert slim(torch.rand(2, 6), share=1.0).shape == (2, 6)


@pytest.mark.filterwarnings("ignore:.* is deprecated and goes")
@pytest.mark.parametrize("path", REMOVED)
def test_a_name_that_is_gone_is_refused_with_what_to_use(path, forgotten):
    module, _, name = path.rpartition(".")
    if path in deprecation._CALLS:
        assert callable(getattr(import_module(module), name))
        return
    use = (
        "from og_reid.models import PGFA; PGFA.loss(None)"
        if path == "og_reid.models.pgfa.PGFA.loss"
        else f"from {module} import {name}"
    )
    with pytest.raises((ImportError, AttributeError), match=f"^{path} is gone: use ") as refused:
        exec(use)
    assert REMOVED[path] in str(refused.value)


def test_the_old_model_kind_predicate_gives_the_old_result(tmp_path, forgotten):
    with pytest.warns(DeprecationWarning, match="fusion_run"):
        from og_reid.fusion_run import is_fusion
    assert not is_fusion(tmp_path)
    (tmp_path / "fusion.json").touch()
    assert is_fusion(tmp_path)


def test_functions_stay_callable_by_their_name_after_an_import_of_their_old_module():
    program = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "import meshes.part_visibility, og_reid.models.build, meshes.world.render\n"
        "from og_reid.rerank.gnn import gnn\n"
        "from og_reid.models import build, OGNet\n"
        "assert isinstance(build('ognet-small', num_classes=2), OGNet)\n"
        "from og_reid.rerank import gnn\n"
        "for each in (meshes.part_visibility, meshes.world.render, gnn):\n"
        "    try: each()\n"
        "    except TypeError as error: assert 'missing' in str(error), error\n"
    )
    done = run_python(program)
    assert done.returncode == 0, done.stderr


def test_old_paths_are_gone_and_their_last_part_is_at_most_a_function_of_the_package():
    """An import of an old module puts itself in the place of such a name, and can be called."""
    for old in MODULES:
        parent, _, name = old.rpartition(".")
        if parent not in MODULES:
            package = import_module(parent)
            if name in {*getattr(package, "__all__", ()), *NAMES.get(parent, {})}:
                with warnings.catch_warnings(action="ignore"):
                    assert callable(getattr(package, name)), old
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


def test_an_unknown_name_is_an_attribute_error(forgotten):
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
