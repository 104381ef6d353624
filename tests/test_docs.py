"""Commands, snippets, settings and links of the documentation, checked against parsers, configs and source.

A command of ``itembed`` is parsed by its real parser, and its config is loaded with its ``--set`` options; it runs if
that needs neither data nor a server. A program or language without a check fails the test, so no block is skipped.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import csv
import dataclasses
import functools
import importlib
import io
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import kubernetes_validate
import pytest
import yaml

from itembed_tf import cli
from itembed_tf.config import Config, check_settings, load_config, named_config
from itembed_tf.index import Query
from itembed_tf.program import Parser
from itembed_tf.training.cluster import VARIABLE, read_cluster
from tests.test_house import LAYERS

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "export/edge/README.md",
    ROOT / "benchmarks/RESULTS.md",
]
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=IDS)


class Fence(NamedTuple):
    """A code block: its language, its text, and where it is."""

    language: str
    text: str
    place: str


def fences(page: Path) -> list[Fence]:
    text, found = page.read_text(encoding="utf-8"), []
    for match in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.M | re.S):
        lines = [line.removeprefix(match[1]) for line in match[3].splitlines()]
        place = f"{page.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}"
        found.append(Fence(match[2], "\n".join(lines) + "\n", place))
    return found


def inline_code(page: Path) -> list[str]:
    """Text in single backticks, outside code blocks."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]


# --- shell ---------------------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell block: continued lines joined, split at pipes, && and ;, comments removed."""
    logical = ""
    for line in text.splitlines():
        logical += line + "\n"
        try:
            shlex.split(logical, comments=True)
        except ValueError:  # a quotation that the next line closes
            continue
        if logical.rstrip().endswith(("\\", "|")):
            continue
        lexer = shlex.shlex(logical.replace("\\\n", " "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word and set(word) <= set(";|&()<>"):
                if words:
                    yield words
                words = []
            else:
                words.append(word)
        logical = ""
    assert not logical.strip(), f"a command without its end: {logical}"


def check_command(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    words = list(words)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):  # environment variables
        words.pop(0)
    program = Path(words[0]).name
    assert program in PROGRAMS, f"no check for the program {words[0]!r}: add one to PROGRAMS in {__file__}"
    PROGRAMS[program](words[1:], capsys)


class Parsed(BaseException):
    """The arguments of a command, raised in place of running it."""

    def __init__(self, args: Any) -> None:
        self.args_parsed = args


def parsed(module: str, words: Sequence[str]) -> Any:
    """The arguments as the real parser of a program reads them; the program does not run."""
    program = importlib.import_module(module)
    try:
        with contextlib.redirect_stderr(io.StringIO()) as printed, pytest.MonkeyPatch.context() as patch:
            if hasattr(program, "_arguments"):  # checks more than argparse does
                return program._arguments(words)
            for parser in (Parser, argparse.ArgumentParser):
                patch.setattr(parser, "parse_args", _parse_and_stop(parser.parse_args))
            program.main(list(words))
    except Parsed as stopped:
        return stopped.args_parsed
    except SystemExit:
        raise AssertionError(printed.getvalue()) from None
    raise AssertionError(f"{module} parses no arguments")


def _parse_and_stop(parse: Callable[..., Any]) -> Callable[..., None]:
    def stop(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
        raise Parsed(parse(self, args, namespace))

    return stop


def check_itembed(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    if not words or words[0].startswith("-"):
        assert cli.main(words) == 0
        return
    assert words[0] in cli.COMMANDS, f"itembed has no command {words[0]}"
    module = cli.COMMANDS[words[0]].module
    if words[0] == "configs" or "--help" in words or "--print-config" in words:
        try:
            code = cli.main(words)
        except SystemExit as stopped:  # argparse ends --help so
            code = int(stopped.code or 0)
        assert code == 0, capsys.readouterr().err
        return
    args = parsed(module, words[1:])
    if hasattr(args, "config"):
        config, _ = named_config(args)
        if words[0] == "train":
            check_settings(config)
    elif getattr(args, "set", None):
        load_config(ROOT / "configs/flickr8k.toml", args.set)


def check_python(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    if words[0] == "-c":
        compile(words[1], "<docs>", "exec")
    elif words[0] != "-m":
        assert (ROOT / words[0]).is_file(), f"{words[0]} does not exist"
    elif words[1] == "itembed_tf":
        check_itembed(words[2:], capsys)
    elif words[1] == "pip":
        check_pip(words[2:], capsys)
    elif words[1] == "pytest":
        assert all((ROOT / word).exists() for word in words[2:] if not word.startswith("-"))
    elif words[1] not in ("build", "http.server", "venv"):  # programs of others
        check_module(words[1], words[2:])


def check_module(module: str, words: Sequence[str]) -> None:
    """A program of ours exists, and parses its arguments; one that would import much has the options in its code."""
    source = module_file(module)
    assert source is not None, f"there is no module {module}"
    code = source.read_text(encoding="utf-8")
    assert "__main__" in code or source.name == "__main__.py", f"{module} is no program"
    thin = re.search(r"from (itembed_tf[.\w]+) import main", code)  # the old name of a command
    if thin:
        parsed(thin[1], [*re.findall(r'main\(\["(--\w+)", "(\w+)"', code)[0], *words] if "main([" in code else words)
        return
    if "Parser(" in code and "itembed_tf.program" in code:
        parsed(module, words)
        return
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert f'"{option}"' in code, f"{module} has no option {option}"


def check_pip(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    extras = setup_extras()
    for word in words:
        named = re.fullmatch(r"(?:\.|itembed_tf|.*dist/[^\[]*)\[(.+)\]", word)
        for extra in named[1].split(",") if named else ():
            assert extra in extras, f"setup.py has no extra {extra}"
        assert not word.endswith(".txt") or (ROOT / word).is_file()
    assert words[0] in ("install", "wheel")


def check_make(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        variable, equals, value = word.partition("=")
        if equals:
            assert re.search(rf"^{variable} \?=", makefile, re.M), f"the Makefile has no variable {variable}"
            tests = [w for w in value.split() if w.startswith("tests")]
            assert all((ROOT / test).exists() for test in tests), value
        else:
            assert re.search(rf"^{word}:", makefile, re.M), f"the Makefile has no target {word}"


def check_curl(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The URL is a route of the REST API, and the body names an encoder's input."""
    inputs = {"text_encoder": "text", "image_encoder": "image_bytes"}
    if words[-1] == "localhost:8501/v1/search":
        query = json.loads(words[words.index("-d") + 1]) if "-d" in words else {}
        assert query.keys() <= {field.name for field in dataclasses.fields(Query)}
        return
    if words[-1] == "localhost:8501/v1/embeddings":
        assert {"input", "model"} <= json.loads(words[words.index("-d") + 1]).keys()
        return
    if re.fullmatch(r"localhost:8501/v2/(health/ready|models/text_encoder)", words[-1]):
        return
    if words[-1] == "localhost:8501/v2/models/text_encoder/infer":
        (sent,) = json.loads(words[words.index("-d") + 1])["inputs"]
        assert (sent["name"], sent["shape"], sent["datatype"]) == ("text", [len(sent["data"])], "BYTES")
        return
    url = re.fullmatch(
        r"(?:http://)?localhost:8501/v1/models/(\w+)(?:/versions/\d+|/labels/\w+)?(:predict|/metadata)?", words[-1]
    )
    assert url and url[1] in inputs, f"no route: {words[-1]}"
    body = words[words.index("-d") + 1]
    if body != "@-":
        columns = json.loads(body)
        assert columns.keys() <= {"inputs", "instances"}
        assert set(columns.get("inputs", {inputs[url[1]]: []})) == {inputs[url[1]]}


def one_of(*allowed: str) -> Callable[..., None]:
    """A check for a program that is not ours: only the first argument is known."""

    def check(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert words[0] in allowed, f"{words[0]!r}; the checked ones are {allowed}"

    return check


def check_files_of_ours(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    for word in words:
        if word.startswith(("export/", "serving/", "itembed_tf/", "docs/", "configs/")):
            assert (ROOT / word).exists(), f"{word} does not exist"


def check_export(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    """TF_CONFIG, with a cluster that a training can use."""
    name, _, value = words[0].partition("=")
    assert name == VARIABLE
    with mock.patch.dict(os.environ, {name: value}):
        assert read_cluster() is not None


PROGRAMS: dict[str, Callable[..., None]] = {
    "itembed": check_itembed,
    "python": check_python,
    "python3": check_python,
    "twine": one_of("check"),
    "pip": check_pip,
    "make": check_make,
    "curl": check_curl,
    "docker": one_of("run", "compose"),
    "git": one_of("commit", "tag", "push", "clone"),
    "npm": one_of("ci"),
    "node": check_files_of_ours,
    "cd": check_files_of_ours,
    "export": check_export,
    "head": check_files_of_ours,
    "tensorboard": one_of("--logdir"),
    "hf": one_of("auth"),
}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A directory with what the examples name: a folder of images, a config of the user, a file of word vectors."""
    photos = tmp_path / "my_photos"
    photos.mkdir()
    (photos / "captions.csv").write_text("image,caption\nbeach.jpg,two children run along the beach\n")
    (tmp_path / "my.toml").write_text('base = "photos"\n[dataset]\nroot = "my_photos"\n')
    for name in ("GoogleNews-vectors-negative300.bin.gz", "cc.de.300.vec.gz"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@EACH_PAGE
def test_shell_lines_run_or_parse(page, workplace, capsys):
    for fence in fences(page):
        for words in commands(fence.text) if fence.language == "sh" else ():
            try:
                check_command(words, capsys)
            except Exception as error:
                raise AssertionError(f"{fence.place}: {shlex.join(words)}: {error}") from error


@EACH_PAGE
def test_commands_in_the_text_run_or_parse(page, workplace, capsys):
    """`itembed ...` and `python -m ...` in backticks; RUN, OUT and the like are placeholders, N a number."""
    for span in inline_code(page):
        if not re.match(r"(itembed|python -m|make|pip install) ", span):
            continue
        words = [{"N": "1", "FOLDER": "my_photos", "CONFIG": "flickr8k"}.get(word, word) for word in shlex.split(span)]
        if "COMMAND" in words or "itembed_tf.two_branch.localisation" in words:  # the grammar; a former name
            continue
        errors = []
        for missing in ([], ["RUN"], ["RUN", "OUT"], ["status"]):  # a text may leave out the last arguments
            try:
                check_command([*words, *missing], capsys)
                break
            except AssertionError as error:
                errors.append(str(error))
        assert len(errors) < 4, f"{page}: `{span}`: {errors[0]}"


# --- Python, TOML, data --------------------------------------------------------------------------------------------


def module_file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    files = [path / "__main__.py", path / "__init__.py"] if path.is_dir() else [path.with_suffix(".py")]
    return next((file for file in files if file.is_file()), None)


def resolves(dotted: str) -> bool:
    """Whether a dotted name of this repository is a module, or a name that a module defines, imports or lists."""
    parts = dotted.split(".")
    for i in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:i])
        files = [path / "__init__.py", path.with_suffix(".py")]
        file = next((file for file in files if file.is_file()), None)
        if file:
            text = file.read_text(encoding="utf-8")
            return i == len(parts) or bool(re.search(rf"(?<![\w.]){parts[i]}\b", text))
    return False


def check_snippet(code: str) -> None:
    """What it imports from this repository exists; attributes of its objects are defined somewhere in itembed_tf."""
    tree = ast.parse(code)
    ours: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name, alias in zip(names, node.names, strict=True):
            if name.split(".")[0] in ("itembed_tf", "benchmarks", "export", "serving"):
                assert resolves(name), f"{name} does not exist"
                ours.add(alias.asname or (alias.name if isinstance(node, ast.ImportFrom) else name.split(".")[0]))
    made: set[str] = set()  # objects made by a call of what is imported
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.withitem) and node.optional_vars:
            targets, value = [node.optional_vars], node.context_expr
        made |= {target.id for target in targets if isinstance(target, ast.Name) and root_name(value) in ours}
    ours |= made
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and root_name(node) in ours and isinstance(node.value, ast.Name):
            assert node.attr in defined_names(), f"nothing in itembed_tf defines {ast.unparse(node)}"


@functools.cache
def defined_names() -> frozenset[str]:
    """All functions, methods, classes, fields and strings of `__all__` and lazy imports in itembed_tf."""
    names = set()
    for path in (ROOT / "itembed_tf").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and path.name == "__init__.py":
                names.add(node.value)
    return frozenset(names)


def root_name(node: ast.expr) -> str:
    while isinstance(node, (ast.Attribute, ast.Call, ast.Await, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def check_toml(text: str) -> None:
    """The settings load as a config: over the one that they name as `base`, or over the defaults."""
    tomllib.loads(text)
    config = Path("fence.toml")
    config.write_text(text, encoding="utf-8")
    load_config(config)


def check_js(text: str) -> None:
    """Names imported from a file of the edge kit are exported there."""
    for names, file in re.findall(r'import \{(.+?)\} from "\./(.+?)"', text):
        code = (ROOT / "export/edge" / file).read_text(encoding="utf-8")
        for name in names.split(","):
            assert re.search(rf"export (async )?(class|function|const) {name.strip()}\b", code), f"{file}: {name}"


def check_csv(text: str) -> None:
    rows = list(csv.DictReader(text.splitlines()))
    assert rows and all(None not in row and None not in row.values() for row in rows)
    assert rows[0].keys() <= {"image", "caption", "split", "label"}


def check_kotlin(text: str) -> None:
    """Checks the method names against the Java class; the Kotlin code is not compiled."""
    java = (ROOT / "export/edge/java/itembed/Tokenizer.java").read_text(encoding="utf-8")
    for method in re.findall(r"tokenizer\.(\w+)\(", text):
        assert f" {method}(" in java, method


def check_yaml(text: str) -> None:
    """Manifests of Kubernetes."""
    for document in yaml.safe_load_all(text):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def check_plain(text: str) -> None:
    """A listing or an output: no command hides in it."""
    for line in text.splitlines():
        assert line.split(" ")[0] not in PROGRAMS, f"a command in a block without `sh`: {line}"


LANGUAGES: dict[str, Callable[[str], Any]] = {
    "python": lambda text: compile(text, "<docs>", "exec"),  # test_snippets_of_a_page_use_what_exists
    "toml": check_toml,
    "json": lambda text: [json.loads(line) for line in text.splitlines()],
    "csv": check_csv,
    "yaml": check_yaml,
    "js": check_js,
    "kotlin": check_kotlin,
    "": check_plain,
    "bibtex": lambda text: text.index("author"),
    "sh": lambda text: list(commands(text)),  # test_shell_lines_run_or_parse
}


@EACH_PAGE
def test_snippets_are_valid(page, workplace):
    for fence in fences(page):
        assert fence.language in LANGUAGES, f"{fence.place}: no check for {fence.language!r}: add one to LANGUAGES"
        try:
            LANGUAGES[fence.language](fence.text)
        except Exception as error:
            raise AssertionError(f"{fence.place}: {error}") from error


@EACH_PAGE
def test_snippets_of_a_page_use_what_exists(page):
    """Together: a later snippet goes on with the objects of an earlier one."""
    check_snippet("\n".join(fence.text for fence in fences(page) if fence.language == "python"))


@EACH_PAGE
def test_settings_named_in_the_text_exist(page):
    config, missing = Config(), []
    for span in inline_code(page):
        match = re.fullmatch(r"([a-z_]+)\.([a-z_]+)(\b[^/]*)?", span.removeprefix("--set "))
        match = None if span.endswith((".json", ".npz")) else match  # data.json is a file
        section = getattr(config, match[1], None) if match else None
        if match and dataclasses.is_dataclass(section) and not hasattr(section, match[2]):
            missing.append(span)
    assert not missing, f"no such settings: {missing}"


# --- files and links -----------------------------------------------------------------------------------------------


@EACH_PAGE
def test_files_and_modules_named_in_the_text_exist(page):
    missing = []
    for span in inline_code(page):
        if re.fullmatch(r"(itembed_tf|tests|configs|benchmarks|docs|export|serving)/[\w./-]+", span):
            former = page.name == "CHANGELOG.md" and "your_pictures" in span
            exists = (ROOT / span).exists() or former or Path(span).stem == "NAME"
        elif re.fullmatch(r"(itembed_tf|benchmarks|export|serving)(\.\w+)+", span):
            exists = resolves(span)
        else:
            continue
        missing += [] if exists else [span]
    assert not missing, f"named, and not in the repository: {missing}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ +(.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@EACH_PAGE
def test_links_lead_somewhere(page):
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong, f"links to nothing: {wrong}"


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in sorted((ROOT / "docs").glob("*.md")) if f"(docs/{page.name}" not in readme]
    assert not missing


def test_the_readme_lists_the_layers_in_order():
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| package | content |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == list(LAYERS)


def test_every_command_has_a_section():
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert set(cli.COMMANDS) - anchors(ROOT / "docs/commands.md") == set()
    assert all(f"itembed {name}" in text for name in cli.COMMANDS)


# --- figures, dependencies, words ----------------------------------------------------------------------------------


def test_figures_of_the_readme_are_in_the_results():
    """Each row of README's results has a program, whose rows or sections in RESULTS.md hold each of its figures."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    results = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    table = readme.partition("| what | figure | program |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1:4] for row in table.splitlines()[2:]]
    assert len(rows) >= 10
    program = ""
    for _, figure, named in rows:
        program = named.strip(" `") or program  # an empty cell repeats the one above
        lines = "\n".join(line for line in rows_of(results) if program in line)
        assert lines, f"{program} has no row in RESULTS.md"
        sections = results.partition("\n## ")[2]
        for number in re.findall(r"\d+\.\d+(?:e-\d+)?", figure):
            assert number in lines or number in sections, f"{number} ({program}) is not in RESULTS.md"


def rows_of(results: str) -> list[str]:
    """The lines of RESULTS.md; a command "the same" is that of the row before."""
    lines = results.splitlines()
    for i, line in enumerate(lines):
        if line.endswith("| the same |"):
            lines[i] = line + lines[i - 1].split("|")[-2]
    return lines


def setup_extras() -> dict[str, list[str]]:
    """EXTRAS of setup.py, and `all`."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    values = {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in ("EXTRAS", "REQUIRES")
    }
    return {**values["EXTRAS"], "all": [], "": values["REQUIRES"]}


def test_the_page_of_dependencies_lists_what_setup_names():
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    extras = setup_extras()
    always = text.partition("## Always installed")[2].partition("## Extras")[0]
    listed = text.partition("## Extras")[2].partition("\n## ")[0]
    for extra, requirements in extras.items():
        for requirement in requirements:
            package = re.split(r"[~<>=;]", requirement)[0].strip()
            assert f"`{package}`" in (listed if extra else always), f"docs/dependencies.md lacks {package} ({extra})"
        assert not extra or f"[{extra}]" in text, f"docs/dependencies.md lacks the extra {extra}"


# Words of earlier versions, with what the glossary has instead. Code is not looked at.
WORDS = {
    r"pictures?": "image",
    r"(?:sentence|picture) quer(?:y|ies)": "text → image, image → text",
}


@EACH_PAGE
def test_the_glossary_is_used(page):
    text = re.sub(r"^( *)```.*?^\1```$|`[^`]+`|\]\([^)]+\)", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = {match[0]: better for word, better in WORDS.items() for match in re.finditer(rf"\b{word}\b", text, re.I)}
    assert not found, f"say instead: {found}"
