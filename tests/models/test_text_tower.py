"""The text tower: published parameter counts, padding and masks, and the effect of each setting."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.config.text_variants import trailing_padding
from itembed_tf.models.text_tower import text_tower

PLAIN: dict[str, Any] = {
    "vocabulary_size": 12,
    "length": 8,
    "embedding_size": 16,
    "variant": "wide",
    "depth": 50,
    "width": 0.05,
    "word_width": 10,
    "stem": 0,
    "blocks": (),
    "strides": (),
    "zero_gamma": False,
    "mask_padding": True,
    "pooling": "variant",
    "head": "variant",
    "hidden": 7,
    "dropout": 0.5,
}
FLICKR30K = {"vocabulary_size": 20_074 + 1, "length": 32, "embedding_size": 2048, "width": 1.0, "word_width": 300}


def tower(**changes: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    return text_tower(**(PLAIN | changes))


def randomised(model: keras.Model) -> keras.Model:
    """The model with random batch norm parameters and statistics, so that none of them is 0 or 1."""
    random = np.random.default_rng(5)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "moving_mean"):
            variable.assign(random.normal(0, 0.3, variable.shape))
    return model


def embed(model: keras.Model, ids: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(np.asarray(ids, np.int32), training=False))


def convolutions(blocks: tuple[int, ...], words: int, *, released: bool) -> tuple[int, int]:
    """Weights of all convolutions, and channels of all batch norms, from the tables in paper and released code."""
    weights = channels = 0
    width = words
    for stage, count in enumerate(blocks, 1):
        out = (256, 512, 1024, 2048)[stage - 1]
        for block in range(count):
            middle = out // 4
            if released and block == 0:
                middle = 128 if stage == 1 else out
            weights += width * middle + 2 * middle * middle + middle * out  # 1x1, 1x2, 1x1
            channels += middle + middle + out
            if block == 0:
                weights += width * out
                channels += out
            width = out
    return weights, channels


def test_paper_variant_has_the_parameter_count_of_the_paper():
    """29,248,100 by the paper's text (29,191,012 trainable); ours adds the batch norm of the words, as released."""
    weights, channels = convolutions((3, 4, 6, 3), 300, released=False)
    head = 2 * (2048 * 2048 + 2048) + 4 * 2048  # two fc with biases, one batch norm between
    assert 20_075 * 300 + weights + 4 * channels + head == 29_248_100
    model = tower(variant="paper", **FLICKR30K)
    assert model.count_params() == 29_248_100 + 4 * 300
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == 29_191_012 + 2 * 300


def test_released_variant_has_the_parameter_count_of_the_table():
    weights, channels = convolutions((3, 4, 6, 1), 300, released=True)
    model = tower(variant="released", **FLICKR30K)
    head = sum(layer.count_params() for layer in model.layers if layer.name.startswith("text_"))
    trunk = model.count_params() - head - 20_075 * 300
    assert trunk == weights + 4 * channels + 4 * 300
    assert round((weights + 2 * channels) / 1e6, 1) == 26.1
    assert model.get_layer("text_fc1").count_params() == 2048 * 2048  # 4.2 M, no bias
    assert head == 2048 * 2048 + 4 * 2048


@pytest.mark.parametrize(("variant", "blocks"), [("paper", 3 + 8 + 36 + 3), ("released", 3 + 8 + 36 + 1), ("wide", 11)])
def test_depth_152_builds(variant, blocks):
    model = tower(variant=variant, depth=152, length=16)
    assert sum(layer.name.endswith("_add") for layer in model.layers) == blocks
    assert embed(model, np.ones((2, 16))).shape == (2, 16)


def test_sequence_lengths_of_the_released_stages():
    model = tower(variant="released", length=32)
    lengths = [model.get_layer(f"stage{n}_block1_add").output.shape[2] for n in (1, 2, 3, 4)]
    assert lengths == [32, 16, 8, 8]


def test_last_positions_have_no_effect_with_the_released_left_padding():
    """With all padding on the left, the last 3 of 32 positions do not affect the output, as in the released code."""
    model = randomised(tower(variant="released", length=32, mask_padding=False))
    ids = np.random.default_rng(0).integers(1, 12, (1, 32))
    rows = np.repeat(ids, 32, axis=0)
    rows[np.arange(32), np.arange(32)] = rows[0] % 11 + 1  # row n: another word at position n
    unchanged = embed(model, np.repeat(ids, 32, axis=0))  # of the same batch size: rounding depends on it
    changed = np.abs(embed(model, rows) - unchanged).max(axis=1) > 1e-6
    assert not any(changed[29:])
    assert changed[28] and sum(changed[:29]) > 20  # elsewhere only the maximum over time can hide a word


def test_mask_follows_the_released_strides():
    """The output of a strided left-padded convolution for the last word must not be masked."""
    model = randomised(tower(variant="released", length=32))
    ids = np.zeros((1, 32), np.int32)
    ids[0, :4] = [3, 4, 5, 6]  # the last word at 3: the stride-2 convolution sees (1, 2) and (3, 4)
    other = ids.copy()
    other[0, 3] = 7
    assert np.abs(embed(model, ids) - embed(model, other)).max() > 1e-6


@pytest.mark.parametrize("variant", ["paper", "released", "wide"])
@pytest.mark.parametrize("mask_padding", [True, False])
def test_embedding_of_the_padding_id_has_no_effect(variant, mask_padding):
    model = randomised(tower(variant=variant, mask_padding=mask_padding))
    ids = [[1, 2, 3, 0, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0, 0, 0]]
    before = embed(model, ids)
    words = model.get_layer("words").embeddings
    table = keras.ops.convert_to_numpy(words).copy()
    table[0] = 100.0
    words.assign(table)
    np.testing.assert_array_equal(embed(model, ids), before)
    table[1] += 1.0
    words.assign(table)
    after = embed(model, ids)
    assert np.abs(after[0] - before[0]).max() > 1e-4
    np.testing.assert_array_equal(after[1], before[1])


@pytest.mark.parametrize("pooling", ["mean", "max", "mean+max"])
def test_masked_padding_does_not_change_the_embedding(pooling):
    """The same words in a row of 8 and in a row of 14 positions give the same embedding; unmasked means do not."""
    for mask_padding in (True, False):
        settings = {"mask_padding": mask_padding, "pooling": pooling, "blocks": (1, 2)}
        short, long = randomised(tower(**settings)), randomised(tower(**settings, length=14))
        long.set_weights(short.get_weights())
        ids = np.array([[1, 2, 3, 4, 0, 0, 0, 0], [5, 0, 0, 0, 0, 0, 0, 0]])
        apart = np.abs(embed(short, ids) - embed(long, np.pad(ids, ((0, 0), (0, 6))))).max()
        if mask_padding:
            assert apart < 1e-5
        elif pooling != "max":  # the maximum counts padding once in either row
            assert apart > 1e-4


def test_embedding_is_shift_invariant_without_strides():
    model = randomised(tower(blocks=(1, 1)))
    left = embed(model, [[1, 2, 3, 0, 0, 0, 0, 0]])
    # A 1x2 window sees the next position, so only the position before the first word differs; the mask zeroes it.
    np.testing.assert_allclose(embed(model, [[0, 0, 1, 2, 3, 0, 0, 0]]), left, atol=1e-5)


@pytest.mark.parametrize("variant", ["paper", "released", "wide"])
def test_zero_gamma_initialises_every_block_as_the_identity(variant):
    model = tower(variant=variant, zero_gamma=True, blocks=(1, 2))
    names = {layer.name for layer in model.layers if layer.name.endswith("_add")}
    inside = keras.Model(model.input, [model.get_layer(name).input for name in sorted(names)])
    out = keras.Model(model.input, [model.get_layer(name.replace("_add", "_relu3")).output for name in sorted(names)])
    ids = np.array([[1, 2, 3, 4, 5, 0, 0, 0]])
    for (shortcut, branch), result in zip(inside(ids), out(ids), strict=True):
        np.testing.assert_array_equal(branch, 0)
        np.testing.assert_array_equal(result, np.maximum(shortcut, 0))
    plain = tower(variant=variant, zero_gamma=False, blocks=(1,))
    assert float(keras.ops.min(plain.get_layer("stage1_block1_bn3").gamma)) == 1.0


def test_pooling_covers_known_words_only():
    """Mean and maximum over the words of the output of the trunk, computed in NumPy."""
    for pooling in ("mean", "max", "mean+max"):
        model = randomised(tower(pooling=pooling, blocks=(1, 1)))
        fc = model.get_layer("text_fc1")
        trunk = keras.Model(model.input, [model.get_layer("stage2_block1_relu3").output, fc.input])
        rows, pooled = (keras.ops.convert_to_numpy(x) for x in trunk(np.array([[1, 2, 3, 0, 0, 0, 0, 0]])))
        known = rows[0, 0, :3]
        parts = {"mean": [known.mean(0)], "max": [known.max(0)], "mean+max": [known.mean(0), known.max(0)]}[pooling]
        np.testing.assert_allclose(pooled[0], np.concatenate(parts), rtol=1e-5, atol=1e-6)


def test_embedding_of_a_caption_without_known_words_is_finite():
    assert np.isfinite(embed(randomised(tower()), np.zeros((1, 8)))).all()


def test_variants_choose_pooling_and_head():
    paper, released, wide = (tower(variant=v) for v in ("paper", "released", "wide"))
    assert [len(m.get_layer("text_fc1").weights) for m in (paper, released, wide)] == [2, 1, 1]  # biases in the paper's
    assert any(layer.name == "text_fc2" for layer in paper.layers)
    assert any(layer.name == "mean_and_max" for layer in wide.layers)
    assert not any(layer.name == "stem" for layer in wide.layers)
    assert tower(stem=100, width=1.0, blocks=(1,)).get_layer("stem").filters == 100


def test_tower_without_blocks_pools_the_stem():
    """Words, batch norm, one 1x2 convolution and pooling, computed in NumPy."""
    model = randomised(tower(variant="wide", blocks=(0,), width=1.0, stem=6))
    assert not any(layer.name.startswith("stage") for layer in model.layers)
    inside = keras.Model(model.input, [model.get_layer(n).output for n in ("words_bn", "stem_bn", "mean_and_max")])
    words, stem, pooled = (keras.ops.convert_to_numpy(x) for x in inside(np.array([[1, 2, 3, 0, 0, 0, 0, 0]])))
    words = words[0, 0] * np.array([1, 1, 1, 0, 0, 0, 0, 0])[:, None]
    kernel = keras.ops.convert_to_numpy(model.get_layer("stem").kernel)[0]  # [2, words, 6]
    pairs = words[:3] @ kernel[0] + words[1:4] @ kernel[1]
    norm = model.get_layer("stem_bn")
    np.testing.assert_allclose(norm(pairs[None, None])[0, 0], stem[0, 0, :3], rtol=1e-4, atol=1e-5)
    rows = np.maximum(stem[0, 0, :3], 0)
    np.testing.assert_allclose(pooled[0], [*rows.mean(0), *rows.max(0)], rtol=1e-5, atol=1e-6)


def test_width_scales_the_channels():
    model = tower(variant="paper", width=0.25)
    assert model.get_layer("stage4_block1_conv3").filters == 512
    assert model.get_layer("stage1_block1_conv1").filters == 16


def test_invalid_settings_are_refused():
    with pytest.raises(ValueError, match=r"strides: 1 strides for 2 stages"):
        tower(blocks=(1, 1), strides=(1,))
    with pytest.raises(ValueError, match=r"depth: 101 is not one of 50, 152"):
        tower(depth=101)


@pytest.mark.parametrize(
    "changes, padding",
    [
        ({}, 1),
        ({"blocks": (1, 1), "strides": (2, 1), "stem": 20}, 2),
        ({"blocks": (1, 1), "strides": (3, 2)}, 6),
        ({"variant": "paper", "blocks": (1, 1, 1, 1)}, 8),
        ({"variant": "released", "blocks": (1, 1), "strides": (1, 2)}, 2),
    ],
    ids=["wide", "strides", "stride 3", "paper", "released"],
)
def test_a_text_needs_the_trailing_padding_and_no_more(changes: dict[str, Any], padding: int) -> None:
    length, settings = 20, PLAIN | changes
    assert trailing_padding([settings], "left") == padding
    model = randomised(tower(**changes, length=length))
    embed_any = tf.function(
        lambda ids: model(ids, training=False), input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False
    )
    for words in range(length + 1):
        ids = np.zeros((1, length), np.int32)
        ids[0, :words] = 1 + np.arange(words) % 11
        whole = embed(model, ids)
        np.testing.assert_allclose(embed_any(ids[:, : words + padding]), whole, atol=1e-5)
        if padding == 1 and 0 < words < length:
            assert np.abs(embed_any(ids[:, :words]) - whole).max() > 1e-3


@pytest.mark.parametrize(
    "towers, shifts",
    [([PLAIN | {"mask_padding": False}], "left"), ([PLAIN, PLAIN | {"variant": "features"}], "left"), ([PLAIN], "all")],
    ids=["unmasked", "features", "shifts"],
)
def test_where_every_id_counts_there_is_no_trailing_padding(towers: list[dict[str, Any]], shifts: str) -> None:
    assert trailing_padding(towers, shifts) is None


def test_members_need_the_trailing_padding_of_the_largest() -> None:
    assert trailing_padding([PLAIN, PLAIN | {"blocks": (1, 1), "strides": (2, 1)}, PLAIN], "left") == 2
