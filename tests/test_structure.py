"""The tree: arrows between its rooms go down, nothing goes in a circle, functions are short."""

import ast
import graphlib

import pytest

from tests.helpers import tiny

# From the bottom up: a module imports from its own room and from those before it.
ROOMS = (
    ("multi_object_datasets",),
    ("iodine.errors", "iodine.startup"),
    (
        "iodine.build",
        "iodine.entries",
        "iodine.checkpoints",
        "iodine.optimizer",
        "iodine.shipped_models",
    ),
    ("iodine.data", "iodine.figures", "iodine.modules.utils"),
    ("iodine.model",),
    ("iodine.modules", "iodine.train"),
    ("iodine.baselines",),
    ("iodine.configurations",),
    ("iodine.config", "iodine.reference_checkpoints"),
    ("iodine.evaluate", "iodine.loading"),
    ("iodine.command_line",),
    ("iodine.main",),
    ("iodine.__main__", "iodine"),
    ("export", "experiments", "benchmarks"),
)
PACKAGES = ("iodine", "multi_object_datasets", "export", "experiments", "benchmarks")
MAX_LINES = 60


def module_name(path):
    parts = path.relative_to(tiny.ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(p): p for package in PACKAGES for p in (tiny.ROOT / package).rglob("*.py")}
TREES = {name: ast.parse(path.read_text()) for name, path in FILES.items()}


def imports(name):
    """Modules of ours that a module imports, inside functions too."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield from (n for n in (whole,) if n in FILES)
                if whole not in FILES and node.module in FILES:
                    yield node.module


def floor(name):
    """The floor of a module's room: that of the longest name that it begins with."""
    rooms = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}
    found = [room for room in rooms if name == room or name.startswith(f"{room}.")]
    return rooms[max(found, key=len)]


def test_the_rooms_are_those_of_the_tree():
    for room in (room for rooms in ROOMS for room in rooms):
        assert room in FILES, room
    assert floor("iodine.modules.iodine") == floor("iodine.train.loop")


@pytest.mark.parametrize("name", FILES)
def test_a_module_imports_from_its_floor_and_below(name):
    for imported in imports(name):
        assert floor(imported) <= floor(name), imported


def test_no_module_imports_in_a_circle():
    graph = {name: set(imports(name)) - {name} for name in FILES}
    assert "iodine.errors" in graph["iodine.build"]
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("name", [n for n in FILES if not n.startswith("iodine.configurations")])
def test_no_function_is_longer_than_a_page(name):
    functions = (n for n in ast.walk(TREES[name]) if isinstance(n, ast.FunctionDef))
    for function in functions:
        length = function.end_lineno - function.lineno + 1
        assert length <= MAX_LINES, f"{function.name} has {length} lines"


def test_nothing_outside_the_tests_imports_them():
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("tests"), name
