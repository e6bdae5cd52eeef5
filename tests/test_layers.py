"""The shape of the code, read from its syntax trees: imports point one way, nothing unsafe, nothing oversized."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("domains", "judges", "experts", "router", "ui")
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60


def imported(tree: ast.AST) -> set[str]:
    """Every module that a file imports, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


def wrong_imports(layer: str, tree: ast.AST) -> set[str]:
    """Imports of a layer above, of tests, and relative ones."""
    refused = {*LAYERS[LAYERS.index(layer) + 1 :], "tests"}
    return {name for name in imported(tree) if name.partition(".")[0] in refused or name.startswith(".")}


def unsafe(tree: ast.AST) -> set[str]:
    """Calls and imports that can run code from a file."""
    found = {name for name in imported(tree) if name.partition(".")[0] in {"pickle", "dill", "cloudpickle", "joblib"}}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"torch.load", "torch.save"}:
            found.add(ast.unparse(node))
        if isinstance(node, ast.keyword) and node.arg == "trust_remote_code":
            found.add("trust_remote_code")
    return found


def long_functions(tree: ast.AST) -> dict[str, int]:
    """Functions over the limit, with their number of lines."""
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    sizes = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}
    return {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES}


def parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_there_are_files_in_every_layer():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_file(path):
    tree = parsed(path)
    assert wrong_imports(path.relative_to(ROOT).parts[0], tree) == set()
    assert unsafe(tree) == set()
    assert long_functions(tree) == {}
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    assert path.stem not in {"utils", "common", "helpers", "misc"}


@pytest.mark.parametrize(
    "source",
    ["import router", "from ui.cli import main", "def f():\n    from router.route import Route", "from . import x"],
)
def test_a_planted_wrong_import_is_found(source):
    assert wrong_imports("experts", ast.parse(source))


def test_a_right_import_is_not():
    assert wrong_imports("experts", ast.parse("import judges, domains.domain\nfrom experts.batch import Row")) == set()
    assert wrong_imports("ui", ast.parse("import router.route")) == set()


@pytest.mark.parametrize(
    "source",
    [
        "torch.load('x')",
        "torch.save(a, 'x')",
        "import pickle",
        "from pickle import loads",
        "f(trust_remote_code=True)",
        "f(trust_remote_code=flag)",
    ],
)
def test_planted_unsafe_code_is_found(source):
    assert unsafe(ast.parse(source))


def test_a_planted_long_function_is_found():
    lines = "\n".join(["    pass"] * MAX_FUNCTION_LINES)
    assert long_functions(ast.parse(f"def f():\n{lines}\n")) == {"f": MAX_FUNCTION_LINES + 1}
