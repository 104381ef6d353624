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
from pathlib import Path

import pytest

from itembed_tf.config import Config, Stage, load_config
from tests.conftest import LONGEST

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "itembed_tf").rglob("*.py"))

# Lowest first; a package imports those before it. Programs, the modules at the top, import any of them.
LAYERS = (
    "errors",
    "interruption",
    "progress",
    "safe_pickle",
    "files",
    "quiet",
    "litert",
    "git_pointer",
    "locks",
    "export_layout",
    "config",
    "extras",
    "expected_errors",
    "program",
    "text",
    "sharing",
    "retrieval",
    "client",
    "models",
    "data",
    "sentence_features",
    "training",
    "evaluation",
    "exporting",
    "analysis",
    "report",
    "doctor",
    "localisation",
    "teaching",
    "pipeline",
    "api",
    "index",
    "server",
    "demo",
)
# Layers of one module.
LOW_MODULES = {
    "errors",
    "expected_errors",
    "export_layout",
    "extras",
    "files",
    "git_pointer",
    "interruption",
    "litert",
    "locks",
    "program",
    "progress",
    "quiet",
    "safe_pickle",
}  # one module each
WITHOUT_TENSORFLOW = (
    "progress",
    "config",
    "files",
    "export_layout",
    "litert",
    "text",
    "text.word_vectors",
    "retrieval",
    "sharing",
    "client",
    "data.readers",
    "evaluation.comparison",
    "evaluation.protocols",
    "evaluation.rank_files",
    "analysis.records",
    "analysis.overlap",
    "analysis.word_importance",
    "index",
    "teaching",
)
SECTIONS = [type(getattr(Config(), f.name)) for f in dataclasses.fields(Config) if f.name != "stages"]
SECTIONS = [section for section in SECTIONS if dataclasses.is_dataclass(section)]


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


def test_packages_import_only_from_lower_layers():
    packages = {p.name for p in (ROOT / "itembed_tf").iterdir() if (p / "__init__.py").exists()}
    assert packages | LOW_MODULES == set(LAYERS), "LAYERS and the packages of itembed_tf differ"
    programs = {p.stem for p in (ROOT / "itembed_tf").glob("*.py")} - {"__init__", *LOW_MODULES}
    known, wrong = packages | programs | LOW_MODULES | {"__version__"}, []
    for path in FILES:
        here = path.relative_to(ROOT / "itembed_tf").with_suffix("").parts[0]
        used = {name.split(".")[1] for name in imports(path) if name.startswith("itembed_tf.")}
        wrong += [f"{path}: there is no itembed_tf.{name}" for name in used - known]
        rank = LAYERS.index(here) if here in LAYERS else len(LAYERS)
        above = [n for n in used & known if n in programs or (n in LAYERS and LAYERS.index(n) > rank)]
        wrong += [f"{path.relative_to(ROOT)} imports {name}, a layer above" for name in above if rank < len(LAYERS)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_a_section_is_the_arguments_of_one_function(section):
    module, name = section.target.rsplit(".", 1)
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    keys = {f.name for f in dataclasses.fields(section)}
    assert not keys - parameters.keys(), f"{section.target} lacks {sorted(keys - parameters.keys())}"
    doubled = sorted(key for key in keys if parameters[key].default is not inspect.Parameter.empty)
    assert not doubled, f"{section.target}: {doubled} have defaults of their own; those of the config are the only ones"


def test_every_key_of_a_stage_is_read():
    """A stage is passed whole: a key that nothing reads is not noticed by any signature."""
    folders = [ROOT / "itembed_tf" / name for name in ("training", "pipeline")]
    source = "".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.glob("*.py"))
    unread = [f.name for f in dataclasses.fields(Stage) if not re.search(rf"\bstage\.{f.name}\b", source)]
    assert not unread


def test_every_config_loads():
    for path in (ROOT / "configs").rglob("*.toml"):
        load_config(path)


def test_no_tensorflow_where_none_is_needed():
    code = "import sys\n" + "".join(f"import itembed_tf.{m}\n" for m in WITHOUT_TENSORFLOW)
    code += "print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout or done.stderr


def test_files_and_functions_are_short():
    wrong = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 260:
            wrong.append(f"{path}: {text.count(chr(10))} lines; split it")
        functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        bodies = [(f.name, f.body[1:] or f.body if ast.get_docstring(f) else f.body) for f in functions]
        lengths = [(name, body[-1].end_lineno - body[0].lineno + 1) for name, body in bodies]
        wrong += [f"{path}: {name} has {lines} lines, 60 are allowed" for name, lines in lengths if lines > 60]
    assert not wrong, "\n".join(wrong)


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
    left_out = shutil.ignore_patterns(
        ".*", "runs", "build", "dist", "*.egg-info", "__pycache__", "shared", "node_modules"
    )
    shutil.copytree(ROOT, tmp_path / "source", ignore=left_out)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, "."]
    done = subprocess.run(command, cwd=tmp_path / "source", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    source = {path.relative_to(ROOT).as_posix() for path in (ROOT / "itembed_tf").rglob("*") if path.is_file()}
    for folder in ("configs", "serving/templates", "export/edge"):
        files = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
        source |= {f"itembed_tf/shipped/{name}" for name in files if "node_modules" not in name}
    source = {name for name in source if "__pycache__" not in name}
    assert held == source, f"missing: {sorted(source - held)}; not ours: {sorted(held - source)}"


def test_the_test_files_that_begin_first_are_there():
    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []


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
