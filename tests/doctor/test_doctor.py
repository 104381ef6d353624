"""The doctor finds near-duplicates, and nothing else; its merge file repairs the dataset."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from itembed_tf.config import arguments, load_config
from itembed_tf.config.schema import Dataset
from itembed_tf.data.readers import EmptyCaption, Group, read_dataset
from itembed_tf.data.readers.merge import connected_sets, merge_groups, read_merge
from itembed_tf.doctor.__main__ import main
from itembed_tf.doctor.captions import check_captions
from itembed_tf.doctor.near_duplicates import RADIUS, find_near_duplicates, near_hashes, perceptual_hash


def scene(seed: int) -> Image.Image:
    """An image like a photograph: smooth noise at several scales."""
    random = np.random.default_rng(seed)
    layers = [Image.fromarray(random.integers(0, 256, (n, n, 3), np.uint8)).resize((240, 200), 3) for n in (3, 7, 20)]
    mixed = sum(np.asarray(layer, np.float32) * weight for layer, weight in zip(layers, (0.55, 0.3, 0.15)))
    return Image.fromarray(mixed.astype(np.uint8))


def small(image: Image.Image) -> np.ndarray:
    return np.asarray(image.resize((32, 32), Image.Resampling.BOX))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(io.BytesIO(out.getvalue()))


COPIES = {
    "jpeg": lambda p: jpeg(p, 60),
    "half": lambda p: p.resize((p.width // 2, p.height // 2)),
    "cropped": lambda p: p.crop((2, 2, p.width - 2, p.height - 2)),
    "darker": lambda p: ImageEnhance.Brightness(p).enhance(0.8),
    "mirrored": ImageOps.mirror,
}


@pytest.mark.parametrize("kind", COPIES)
def test_an_altered_copy_is_found_and_nothing_else(kind):
    images = [scene(seed) for seed in range(12)]
    pixels = np.stack([small(p) for p in [*images, COPIES[kind](images[5])]])
    found = find_near_duplicates(pixels, np.arange(13), mirrored=True)
    assert [(pair.first, pair.second, pair.mirrored) for pair in found] == [(5, 12, kind == "mirrored")]
    assert find_near_duplicates(pixels, np.array([*range(12), 5]), mirrored=True) == [], "images of one group"
    if kind == "mirrored":
        assert find_near_duplicates(pixels, np.arange(13), mirrored=False) == []


def test_drawings_with_a_small_difference_are_not_duplicates():
    def face(mouth: int, colour: str) -> np.ndarray:
        image = Image.new("RGB", (256, 256), "white")
        from PIL import ImageDraw

        draw = ImageDraw.Draw(image)
        draw.ellipse((40, 40, 216, 216), fill=colour, outline="black", width=8)
        draw.ellipse((90, 100, 106, 116), fill="black")
        draw.ellipse((150, 100, 166, 116), fill="black")
        draw.arc((90, 130, 166, 180), *((0, 180) if mouth > 0 else (180, 360)), fill="black", width=8)
        return small(image)

    pixels = np.stack([face(1, "yellow"), face(-1, "yellow"), face(1, "orange"), face(1, "yellow")])
    assert [pair[:2] for pair in find_near_duplicates(pixels, np.arange(4), mirrored=True)] == [(0, 3)]


def test_plain_images_are_duplicates_only_in_the_same_colour():
    colours = [(255, 255, 255), (0, 0, 0), (220, 30, 30), (30, 30, 220), (220, 30, 30)]
    pixels = np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in colours])
    assert [pair[:2] for pair in find_near_duplicates(pixels, np.arange(5), mirrored=True)] == [(2, 4)]


def test_plain_swatches_are_duplicates_only_in_nearly_the_same_colour():
    """Contrast and brightness, which copies may differ in, would turn one colour into another."""
    colours = [(120, 40, 40), (150, 60, 60), (160, 50, 50), (90, 90, 90), (120, 120, 120), (121, 120, 119)]
    pixels = np.stack([np.full((32, 32, 3), colour, np.uint8) for colour in colours])
    assert [pair[:2] for pair in find_near_duplicates(pixels, np.arange(6), mirrored=True)] == [(4, 5)]


def test_a_thousand_copies_give_a_thousand_pairs():
    pixels = np.repeat(small(scene(1))[None], 1001, axis=0)
    found = find_near_duplicates(pixels, np.arange(1001), mirrored=True)
    assert len(found) == 1000
    assert find_near_duplicates(pixels[:0], np.arange(0), mirrored=True) == []


def test_near_hashes_equal_an_exhaustive_comparison(monkeypatch):
    monkeypatch.setattr("itembed_tf.doctor.near_duplicates.ROWS", 3)
    monkeypatch.setattr("itembed_tf.doctor.near_duplicates.COLUMNS", 6)
    random = np.random.default_rng(0)
    base = random.integers(0, 2**63, 4, np.uint64)
    hashes = np.concatenate([base ^ np.uint64(sum(1 << int(b) for b in random.choice(63, k))) for k in (0, 3, 12, 13)])
    expected = {
        (i, j) for i in range(16) for j in range(i + 1, 16) if bin(int(hashes[i]) ^ int(hashes[j])).count("1") <= RADIUS
    }
    assert {tuple(pair) for near in near_hashes(hashes, hashes) for pair in near.tolist()} == expected
    assert perceptual_hash(np.zeros((1, 32, 32, 3), np.uint8)) == 0


def group(id: str, split: str, *captions: str, label: str = "") -> Group:
    return Group(id, (f"{id}.jpg",), captions, split, label)


def test_misleading_captions_are_counted():
    groups = [
        group("a", "train", "A dog, running!", "two   CATS", "x y z", "red"),
        group("b", "train", "a dog running", "a dog running .", "green", "blue"),
        group("c", "train", "...", "one two three four five", "x"),
        group("d", "train", "two", "three", "four", "five"),
        group("e", "dev", "A Dog Running", "zebra"),
        group("f", "dev", "a", "dog"),
    ]
    settings = load_config(None, ["text.length=4", "word_vectors.source=random"])
    findings = check_captions(groups, settings, [EmptyCaption("c", "train")])
    first = findings.duplicates.shown[0]
    assert (first.caption, first.groups, first.splits) == ("a dog running", ["a", "b", "e"], ["dev", "train"])
    assert findings.duplicates.count == findings.duplicates.in_training == 1
    assert [each.group for each in findings.empty.shown] == ["c"]
    assert [each.caption for each in findings.without_words.shown] == ["..."]
    assert [each.caption for each in findings.unknown.shown] == ["zebra"]
    assert [(each.group, each.known_words) for each in findings.truncated.shown] == [("c", 5)]
    assert findings.few.count == 0
    findings = check_captions([*groups, group("g", "train", "one")], load_config(None, ["word_vectors.source=random"]))
    assert [each.group for each in findings.few.shown] == ["g"]


def write_merge(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


GROUPS = [
    group("a", "train", "one", label="thing"),
    group("b", "train", "two"),
    group("c", "dev", "three"),
    group("d", "test", "four"),
    group("e", "train", "five"),
]


def ids(groups: list[Group]) -> list[tuple[str, tuple[str, ...]]]:
    return [(g.id, g.captions) for g in groups]


def test_merged_groups_are_one_class(tmp_path):
    merge = write_merge(
        tmp_path / "m.jsonl", '{"groups": ["e", "b"], "why": "x"}', "", '{"groups": ["b", "a", "gone"]}'
    )
    assert read_merge(merge) == [("a", "b", "e", "gone")]
    merged = merge_groups(GROUPS, merge=merge, leaks="refuse")
    assert ids(merged) == [("a", ("one", "two", "five")), ("c", ("three",)), ("d", ("four",))]
    assert merged[0].images == ("a.jpg", "b.jpg", "e.jpg")
    assert (merged[0].label, merged[0].split) == ("thing", "train")
    assert merge_groups(GROUPS, merge="", leaks="refuse") == GROUPS
    assert connected_sets([("b", "a"), ("d", "c"), ("c", "b")]) == [("a", "b", "c", "d")]


def test_leaks_are_refused_dropped_or_kept(tmp_path):
    merge = write_merge(tmp_path / "m.jsonl", '{"groups": ["a", "b", "c"]}', '{"groups": ["d", "e"]}')
    with pytest.raises(ValueError, match=r"a \(train\), b \(train\), c \(dev\)\n.*d \(test\), e \(train\)\n.*leaks"):
        merge_groups(GROUPS, merge=merge, leaks="refuse")
    assert ids(merge_groups(GROUPS, merge=merge, leaks="drop")) == [("c", ("three",)), ("d", ("four",))]
    kept = merge_groups(GROUPS, merge=merge, leaks="keep")
    assert ids(kept) == [("a", ("one", "two")), ("c", ("three",)), ("d", ("four",)), ("e", ("five",))]
    with pytest.raises(ValueError, match="'yes' is unknown; it must be one of refuse, drop, keep"):
        merge_groups(GROUPS, merge=merge, leaks="yes")


@pytest.mark.parametrize(
    "line", ["[1, 2]", '{"groups": ["a"]}', '{"groups": ["a", 1]}', '{"ids": ["a", "b"]}', '{"groups": ', "\xff\xfe"]
)
def test_errors_of_a_merge_file_have_the_line(tmp_path, line):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"groups": ["a", "b"]}\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(ValueError, match=r"m\.jsonl, line 2"):
        read_merge(path)
    with pytest.raises(FileNotFoundError, match=r"dataset\.merge"):
        read_merge(tmp_path / "none.jsonl")
    write_merge(path, '{"groups": ["x", "y"]}')
    with pytest.warns(UserWarning, match="has none of the 5 groups"):
        assert merge_groups(GROUPS, merge=str(path), leaks="refuse") == GROUPS


def test_the_command_finds_leakage_and_its_merge_file_repairs_it(tmp_path, capsys):
    root, out = tmp_path / "images", tmp_path / "out"
    root.mkdir()
    lines = ["image,caption,split"]
    for seed in range(6):
        scene(seed).save(root / f"{seed}.png")
        lines.append(f"{seed}.png,image <b>{seed}</b>,{'dev' if seed == 5 else 'train'}")
    for name in ("spare.png", "test.png"):  # without a caption, and in a split that the config does not use
        scene(7).save(root / name)
    scene(5).save(root / "again.jpg", quality=70)
    (root / "twin.png").write_bytes((root / "0.png").read_bytes())
    (root / "cut.png").write_bytes((root / "0.png").read_bytes()[:500])
    lines += [
        "again.jpg,image again,train",
        "twin.png,a twin,train",
        "cut.png,cut,train",
        "test.png,image of test,test",
    ]
    lines.append("0.png,  ,train")
    (root / "captions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = ["dataset.name=folder", f"dataset.root={root}", 'dataset.splits=["train","dev"]']
    (tmp_path / "my.toml").write_text("")
    sets = [part for each in [*settings, "word_vectors.source=random"] for part in ("--set", each)]

    assert main([str(tmp_path / "my.toml"), str(out), *sets]) == 1
    printed = capsys.readouterr()
    assert "1 images are in several splits" in printed.err
    assert "8 train, 1 dev groups; 1 in test, not used by this config; 1 file without a caption\n" in printed.out
    report = json.loads((out / "doctor.json").read_text(encoding="utf-8"))
    leak, twins = report["near_duplicates"]
    assert (leak["splits"], sorted(leak["groups"])) == (["train", "dev"], ["5.png", "again.jpg"])
    assert (twins["pairs"][0]["same_file"], sorted(twins["groups"])) == (True, ["0.png", "twin.png"])
    assert [Path(entry["image"]).name for entry in report["unreadable"]] == ["cut.png"]
    assert report["without_caption"] == ["spare.png"] and "    spare.png" in printed.out
    assert report["captions"]["empty"]["shown"][0]["group"] == "0.png" and "1 empty" in printed.out
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/') == 4 and "&lt;b&gt;" in page and "<b>5</b>" not in page
    assert "http:" not in page and "https:" not in page

    merge = ["--set", f"dataset.merge={out / 'merge.jsonl'}"]
    assert main([str(tmp_path / "my.toml"), str(out), *sets, *merge]) == 1
    assert "5.png (dev), again.jpg (train)" in capsys.readouterr().err
    for leaks, groups in (("drop", 7), ("keep", 8)):  # of 9: twin.png is joined, again.jpg dropped or kept
        overrides = [*sets, *merge, "--set", f"dataset.leaks={leaks}"]
        assert main([str(tmp_path / "my.toml"), str(tmp_path / leaks), *overrides]) == 0
        after = json.loads((tmp_path / leaks / "doctor.json").read_text(encoding="utf-8"))
        assert sum(after["groups"].values()) == groups
        assert len(after["near_duplicates"]) == (leaks == "keep")
        assert read_merge(tmp_path / leaks / "merge.jsonl") == read_merge(out / "merge.jsonl")
    dataset = Dataset("folder", str(root), splits=("train", "dev"), merge=str(out / "merge.jsonl"), leaks="drop")
    assert {g.id for g in read_dataset(**arguments(dataset))} >= {"0.png", "5.png"}


@pytest.mark.slow
def test_the_benchmark_counts_missed_copies(monkeypatch, capsys):
    from benchmarks import doctor as benchmark

    examine, reports = benchmark.examine, []
    monkeypatch.setattr("sys.argv", ["doctor", "--quick"])
    monkeypatch.setattr(benchmark, "examine", lambda *args: reports.append(examine(*args)) or reports[-1])
    assert benchmark.main() == 0
    monkeypatch.setattr(benchmark, "examine", lambda *args: reports[-1] | {"near_duplicates": []})
    assert benchmark.main() == 1
    assert "missed: photograph" in capsys.readouterr().out
