"""The rules of the house: who may import whom, what a config key is, how long things may be, what is shipped."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.metadata
import inspect
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from itembed_tf.config import Config, Stage, load_config

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "itembed_tf").rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]

FLOORS = [
    {"config", "files", "text", "word_vectors", "retrieval", "overlap", "leave_one_out", "coco_ids", "client", "pairs"}
    | {"two_branch.cca", "two_branch.hglmm"},
    {"towers", "losses", "image", "text_graph", "optimizer", "datasets", "gallery", "classes", "word_table"}
    | {"two_branch.sentences"},
    {"model", "data", "step", "broken", "protocols", "data_summary", "two_branch.fitting"},
    {"stage", "run", "features", "rank_file", "log", "pack"},
    {"evaluate", "compare", "artifacts", "report", "frozen"},
    {"analysis", "doctor", "edge", "cut", "start", "two_branch.localisation"},
    {"finish"},
    {"train", "analyze", "prepare"},
]
WITHOUT_TENSORFLOW = [
    "config",
    "files",
    "text",
    "word_vectors",
    "retrieval",
    "overlap",
    "leave_one_out",
    "datasets",
    "client",
    "coco_ids",
    "gallery",
    "protocols",
    "rank_file",
    "compare",
]
SECTIONS = [Stage] + [type(getattr(Config(), f.name)) for f in dataclasses.fields(Config) if f.name != "stages"]
SECTIONS = [section for section in SECTIONS if dataclasses.is_dataclass(section)]


def module_of(path: Path) -> str:
    """itembed_tf/towers/text.py -> towers; itembed_tf/two_branch/cca.py -> two_branch.cca; either's __init__ -> ''."""
    return on_floor(path.relative_to(ROOT / "itembed_tf").with_suffix("").parts)


def on_floor(parts: Sequence[str]) -> str:
    """What stands in FLOORS: the first name below itembed_tf; two_branch spans several floors, so its modules do."""
    spans = parts[0] == "two_branch" and len(parts) > 1
    name = f"two_branch.{parts[1]}" if spans else parts[0]
    return "" if name.endswith("__init__") else name


def imports(path: Path) -> set[str]:
    """Every absolute dotted name that a file imports, wherever in the file."""
    package = path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_only_go_down(path):
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    here = module_of(path)
    below = {on_floor(name.split(".")[1:]) for name in imports(path) if name.startswith("itembed_tf.")}
    below -= {here, "__version__"}
    unknown = ({here} | below) - {""} - floor.keys()
    assert not unknown, f"{unknown}: on no floor; put it into FLOORS of {Path(__file__).name} and into the README's map"
    wrong = {name for name in below if name != "files" and here and floor[name] >= floor[here]}
    assert not wrong, f"{here} (floor {floor[here]}) imports {wrong}, which do not stand on a floor below"
    assert here or not below, "the package's own __init__ imports nothing of it: each import is paid by all users"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_a_section_is_the_arguments_of_one_function(section):
    module, name = section.feeds.rsplit(".", 1)
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    keys = {f.name for f in dataclasses.fields(section)}
    assert not keys - parameters.keys(), f"{section.feeds} lacks {sorted(keys - parameters.keys())}"
    doubled = sorted(key for key in keys if parameters[key].default is not inspect.Parameter.empty)
    assert not doubled, f"{section.feeds}: {doubled} have defaults of their own; those of the config are the only ones"


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.toml")), ids=lambda path: path.name)
def test_every_config_loads(path):
    load_config(path)


@pytest.mark.parametrize(
    "module",
    [m for m in WITHOUT_TENSORFLOW if (ROOT / "itembed_tf" / m).exists() or (ROOT / f"itembed_tf/{m}.py").exists()],
)
def test_no_tensorflow_where_none_is_needed(module):
    code = f"import sys, itembed_tf.{module}; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", f"itembed_tf.{module} brings in {done.stdout or done.stderr}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 260, "split it: one job a file"
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    bodies = [(f.name, f.body[1:] or f.body if ast.get_docstring(f) else f.body) for f in functions]
    lengths = [(name, body[-1].end_lineno - body[0].lineno + 1) for name, body in bodies]
    long = [(name, lines) for name, lines in lengths if lines > 60]
    assert not long, f"functions of more than 60 lines, signature and docstring aside: {long}"


def test_what_is_imported_is_declared():
    declared = re.findall(r'"([A-Za-z][\w.-]*)[~=<>]', (ROOT / "setup.py").read_text(encoding="utf-8"))
    declared = {name.lower().replace("_", "-") for name in declared}
    owners = importlib.metadata.packages_distributions()
    used = {name.split(".")[0] for path in FILES for name in imports(path)} - {"itembed_tf"}
    used -= {*sys.stdlib_module_names, "tomllib"}  # tomllib: Python 3.11 on
    by_name = {name: {d.lower().replace("_", "-") for d in owners.get(name, [name])} for name in used}
    missing = {name: sorted(dists) for name, dists in by_name.items() if not dists & declared}
    assert not missing, f"imported, but not in setup.py: {missing}"


def test_a_wheel_holds_the_package_whole_and_nothing_else(tmp_path):
    left_out = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__", "shared")
    shutil.copytree(ROOT, tmp_path / "source", ignore=left_out)
    (tmp_path / "source/export").mkdir(exist_ok=True)
    (tmp_path / "source/export/__init__.py").touch()
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, "."]
    done = subprocess.run(command, cwd=tmp_path / "source", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    source = {path.relative_to(ROOT).as_posix() for path in (ROOT / "itembed_tf").rglob("*") if path.is_file()}
    source = {name for name in source if "__pycache__" not in name}
    assert held == source, f"missing: {sorted(source - held)}; not ours: {sorted(held - source)}"


def test_no_file_names_a_place_of_one_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    hosts = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "/ro" + "ot/", "extra-index" + "-url"]
    forbidden = re.compile("|".join(map(re.escape, hosts)) + r"|(?<![\w.])/wo" + r"rk/")
    found = []
    for path in map(ROOT.joinpath, listed.stdout.splitlines()):
        text = path.read_bytes().decode("utf-8", errors="ignore") if path.is_file() else ""
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in forbidden.finditer(text)]
    assert not found
