"""Our own split: by each id's checksum, and by their order where that leaves a split empty."""

from __future__ import annotations

from collections import Counter

from itembed_tf.data.readers.group import bucket
from itembed_tf.data.readers.own_split import hold_out


def ids(count: int) -> list[str]:
    return [f"{n}.jpg" for n in range(count)]


def test_the_split_of_many_depends_on_each_id_alone() -> None:
    splits, by_order = hold_out(ids(500), 10)
    assert not by_order
    assert all((split == "dev") == (bucket(id, 100) < 10) for id, split in splits.items())
    assert all((split == "test") == (10 <= bucket(id, 100) < 20) for id, split in splits.items())
    assert hold_out(ids(600), 10)[0].items() >= splits.items()


def test_few_get_their_share_at_least_one_each() -> None:
    for count in range(3, 40):
        sizes = Counter(hold_out(ids(count), 10)[0].values())
        assert min(sizes["train"], sizes["dev"], sizes["test"]) >= 1 and sizes["train"] >= sizes["dev"]


def test_thirty_images_of_which_no_checksum_says_test() -> None:
    folders = ([f"{folder}/{n}.jpg" for n in range(30)] for folder in range(1000))
    few = next(own for own in folders if not any(10 <= bucket(id, 100) < 20 for id in own))
    splits, by_order = hold_out(few, 10)
    assert by_order and Counter(splits.values()) == {"train": 24, "dev": 3, "test": 3}
    lowest = sorted(few, key=lambda id: bucket(id, 100))
    assert {splits[id] for id in lowest[:2]} == {"dev"} and splits[lowest[-1]] == "train"
    assert hold_out(few[::-1], 10)[0] == splits


def test_too_few_to_split_are_left_as_they_are() -> None:
    assert hold_out(ids(2), 10)[1] is False
    assert Counter(hold_out(["a", "b", "c"], 1)[0].values()) == {"train": 3}, "1 % of 3 asks for none"
