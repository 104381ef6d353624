"""Configs are found by name, by path and by a folder of images; what is not found is refused with help."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from itembed_tf.config import ConfigError, check_config, list_configs, load_config, named_config, resolve_config

CONFIGS = Path(__file__).parents[2] / "configs"


def named(config: str | None, *overrides: str, out: str | None = None):
    return named_config(Namespace(config=config, out=out, set=list(overrides)))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "2024"  # a name that is a number in TOML
    folder.mkdir()
    (folder / "captions.csv").write_text("image,caption\na.jpg,a red ball\n", encoding="utf-8")
    return folder


def test_a_shipped_config_is_found_by_its_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, run = named("flickr8k_best", "seed=3")
    assert config == load_config(CONFIGS / "flickr8k_best.toml", ["seed=3"])
    assert run == Path("runs/flickr8k_best")
    config, run = named("paper/table1_flickr30k_resnet50", out="elsewhere")
    assert (config.dataset.name, run) == ("flickr30k", Path("elsewhere"))
    assert named(None)[0] == load_config(CONFIGS / "openmoji.toml")


def test_a_toml_file_is_taken_as_a_path(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("seed = 7\n", encoding="utf-8")
    config, run = named(str(file))
    assert (config.seed, run) == (7, Path("runs/mine"))


def test_a_folder_of_images_is_trained_by_the_photos_config(images, monkeypatch):
    monkeypatch.chdir(images.parent)
    config, run = named("2024")
    assert (config.dataset.name, config.dataset.root, run) == ("folder", "2024", Path("runs/2024"))
    assert config.dataset.splits == ("train", "dev", "test")
    check_config(config)
    assert config == load_config(CONFIGS / "photos.toml", ['dataset.root="2024"'])


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("flickr8k_bset", ["mean 'flickr8k_best'", "captions.csv", "photos"]),
        ("nothing_like_it", ["was not found", "photos", "itembed configs"]),
        ("gone.toml", ["gone.toml", "no such config file", "itembed configs"]),
    ],
)
def test_what_is_not_found_is_refused_with_help(name, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        named(name)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_a_similar_file_is_suggested(tmp_path):
    (tmp_path / "mine.toml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mean 'mine\.toml'"):
        named(str(tmp_path / "mnie.toml"))


def test_a_folder_without_captions_is_refused_and_a_run_directory_is_known(tmp_path):
    with pytest.raises(ConfigError, match=r"without captions\.csv or captions\.jsonl.*docs/your_images\.md"):
        named(str(tmp_path))
    (tmp_path / "config.toml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"is a run directory.*config\.toml"):
        named(str(tmp_path))


@pytest.mark.parametrize("file", ["mine.tsv", "00000.tar", "data/train-0.parquet", "train/a.txt"])
def test_a_folder_with_captions_in_another_layout_is_a_dataset(file, tmp_path):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert resolve_config(tmp_path).path == CONFIGS / "photos.toml"


def test_a_folder_without_captions_does_not_hide_a_config_of_its_name(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_config("photos").path == CONFIGS / "photos.toml"


def test_configs_are_listed_with_a_line_each():
    names = dict(list_configs())
    assert set(names) == {path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.toml")}
    for name, description in names.items():
        assert 10 < len(description) <= 118 and description[0].isupper(), (name, description)
        assert description.endswith("."), f"{name}: the first line is no sentence: {description}"


def test_the_config_package_is_light():
    """Help and refusals come without TensorFlow, Keras, NumPy or a TOML writer."""
    code = (
        "import sys, itembed_tf.config as c\n"
        "c.list_configs(), c.check_settings(c.load_config())\n"
        "print([m for m in ('tensorflow', 'keras', 'numpy', 'tomli_w') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
