"""Build the documentation as a site: README, docs, results, and an API reference made from the docstrings.

    python docs/build_site.py        (make docs)

Writes build/site, which needs no network. A dead link, a page that the navigation lacks, or a public name of the
reference without a docstring stops it. MkDocs takes its pages from one folder, so they are copied into one first, with
the layout of the checkout, so that the links of the files hold in both places.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import griffe
import yaml

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # of the end of the life of MkDocs, in 2027
SOURCE = ROOT / "build" / "site_source"
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "docs",
    "benchmarks/RESULTS.md",
    "configs",
    "export/edge",
)
REFERENCE = {  # package: what it is for
    "api": "Load a run or an export, embed, rank, evaluate, train",
    "client": "Client of the local server and of TF Serving",
    "config": "Settings",
    "data": "Readers of data sets, images, batches",
    "models": "Towers, backbones, ensembles",
    "text": "Tokenizers, vocabulary, word vectors",
    "retrieval": "Ranks, recall, hubness correction",
    "evaluation": "Protocols and comparison",
}


def copy_pages() -> None:
    """Copy the pages and the files that they link to into one folder."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for name in PAGES:
        source, target = ROOT / name, SOURCE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.py", "__pycache__", "node_modules"))
        else:
            shutil.copy(source, target)


def write_reference() -> None:
    """Write a page for each package of the reference, with a section for each of its modules."""
    package = griffe.load("itembed_tf", search_paths=[str(ROOT)])
    missing: list[str] = []
    for name, purpose in REFERENCE.items():
        modules = [m for m in _modules(package[name]) if m.docstring and _public(m, missing)]
        page = [f"# itembed_tf.{name}", "", f"{purpose}.", ""]
        for module in modules:
            page += [f"::: {module.path}", ""]
        target = SOURCE / "reference" / f"{name}.md"
        target.parent.mkdir(exist_ok=True)
        target.write_text("\n".join(page), encoding="utf-8")
    if missing:
        raise SystemExit("error: public names without a docstring:\n  " + "\n  ".join(missing))


def _modules(package: griffe.Object) -> list[griffe.Object]:
    """The modules of a package and of the packages in it, without private ones."""
    found = []
    for module in sorted(package.modules.values(), key=lambda each: each.name):
        if module.is_package:
            found += _modules(module)
        elif not module.name.startswith("_"):
            found.append(module)
    return found


def _public(module: griffe.Object, missing: list[str]) -> bool:
    """Whether a module has a public function or class; those without a docstring are added to `missing`."""
    members = [m for m in module.members.values() if not m.is_alias and not m.name.startswith("_")]
    members = [m for m in members if m.is_function or m.is_class]
    methods = [f for c in members if c.is_class for f in c.functions.values() if not f.name.startswith("_")]
    missing += [each.path for each in [*members, *methods] if not each.has_docstring]
    return bool(members)


def complete_navigation(config: Path) -> Path:
    """Write mkdocs.yml with the pages of the reference in its navigation; a page of docs that it lacks stops it."""
    text = config.read_text(encoding="utf-8")
    pages = "".join(f"\n      - {name}: reference/{name}.md" for name in REFERENCE)
    named = {path.name for path in (ROOT / "docs").glob("*.md")}
    if lacking := sorted(name for name in named if f"docs/{name}" not in text):
        raise SystemExit(f"error: mkdocs.yml has no entry for docs/{', docs/'.join(lacking)}; add it to nav")
    written = config.with_name("build") / "mkdocs.yml"
    text = text.replace("API reference: reference/", f"API reference:{pages}")
    written.write_text(text.replace("build/site", "site").replace("paths: [.]", "paths: [..]"), encoding="utf-8")
    yaml.compose(text)
    return written


def main() -> int:
    copy_pages()
    write_reference()
    config = complete_navigation(ROOT / "mkdocs.yml")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "-f", config], check=False, env=ENVIRONMENT
    )
    if not built.returncode:
        print(f"site: {ROOT / 'build' / 'site'}\n  next: python -m http.server --bind 127.0.0.1 -d build/site 8700")
    return built.returncode


if __name__ == "__main__":
    sys.exit(main())
