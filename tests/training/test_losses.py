"""Losses against hand-worked values and a reference implementation in plain loops."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import tensorflow as tf

from itembed_tf.config import DISTILLATION, HARD_NEGATIVES, LOSS_SETTINGS
from itembed_tf.config.losses import INSTANCE_LOSSES
from itembed_tf.training.distillation import distillation_loss
from itembed_tf.training.losses import LOSSES, hardest_candidate, instance_loss

E1, E2, BETWEEN = [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]


def test_parameters_of_every_loss_match_its_settings():
    """Losses with a different signature, which the step and the localisation call directly, are excluded.

    A setting has no default in the function; what has one is given by the step, such as the drawn classes.
    """
    assert set(LOSSES) == set(LOSS_SETTINGS) - {*INSTANCE_LOSSES, HARD_NEGATIVES, DISTILLATION}
    functions = LOSSES | dict.fromkeys(INSTANCE_LOSSES, instance_loss) | {DISTILLATION: distillation_loss}
    for name, function in functions.items():
        parameters = inspect.signature(function).parameters.values()
        keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
        assert keywords == set(LOSS_SETTINGS[name]().parameters), name


def value(name, image, text, labels, margin=0.2, temperature=0.05, top=3):
    batch = tf.constant(image), tf.constant(text), tf.constant(labels)
    loss = LOSSES[name](*batch, **accepted(name, margin=margin, temperature=temperature, top=top))
    assert loss.dtype == tf.float32 and loss.shape == ()
    return float(loss)


def accepted(name, **parameters):
    """The parameters that the loss accepts."""
    return {key: value for key, value in parameters.items() if key in LOSS_SETTINGS[name]().parameters}


def unit(rng, rows, width=8):
    matrix = rng.normal(size=(rows, width)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def reference_loss(name, image, text, labels, margin, temperature, top=3):
    """Each loss pair by pair, in float64."""
    image, text = image.astype(np.float64), text.astype(np.float64)
    if name.startswith(("topk", "structure")):
        return reference_distance_loss(name, image, text, labels, margin, top)
    rows, score = len(image), lambda i, j: float(image[i] @ text[j])
    total = 0.0
    if name == "ranking":
        half = rows // 2
        for i in range(half):
            if labels[i] != labels[i + half]:
                total += max(0, margin - score(i, i) + score(i, i + half))
                total += max(0, margin - score(i, i) + score(i + half, i))
        return total / half
    for i in range(rows):
        others = [j for j in range(rows) if labels[j] != labels[i]]
        to_text = [max(0, margin - score(i, i) + score(i, j)) for j in others]
        to_image = [max(0, margin - score(i, i) + score(j, i)) for j in others]
        if name == "ranking_sum":
            total += sum(to_text) + sum(to_image)
        elif name == "ranking_max":
            total += max(to_text, default=0) + max(to_image, default=0)
        elif name == "infonce":
            for logits in ([score(i, j) for j in [i, *others]], [score(j, i) for j in [i, *others]]):
                powers = [math.exp(logit / temperature) for logit in logits]
                total -= math.log(powers[0] / sum(powers)) / 2
        elif name == "sigmoid":
            for j in range(rows):
                sign = 1 if labels[i] == labels[j] else -1
                total += math.log1p(math.exp(-sign * (score(i, j) - margin) / temperature))
    return total / rows


def reference_distance_loss(name, image, text, labels, margin, top):
    """The two-branch terms triplet by triplet, with distances computed from differences."""
    kind, side = name.split("_")
    anchors, others = {"image": (image, text), "text": (text, image)}[side]
    others = anchors if kind == "structure" else others
    rows, total = len(anchors), 0.0
    others_are_images = others is image
    for i in range(rows):
        d = [math.sqrt(((anchors[i] - others[j]) ** 2).sum() + 1e-4) for j in range(rows)]
        nearest = max(d[j] for j in range(rows) if labels[j] == labels[i]) if kind == "structure" else d[i]
        hinges, seen = [], set()
        for j in range(rows):
            key = (labels[j], others[j].tobytes()) if others_are_images else j
            if labels[j] != labels[i] and key not in seen:
                seen.add(key)
                hinges.append(max(0.0, margin + nearest - d[j]))
        kept = sorted(hinges, reverse=True)[: top or None]
        total += sum(kept) / max(len(kept), 1)
    return total / rows


def test_instance_loss_by_hand():
    # softmax of (ln 3, 0) is (3/4, 1/4): losses ln(4/3) and ln 4
    logits = [[math.log(3), 0.0], [math.log(3), 0.0]]
    assert float(instance_loss(logits, [0, 1], label_smoothing=0.0)) == pytest.approx(
        (math.log(4 / 3) + math.log(4)) / 2, rel=1e-6
    )
    # smoothing 0.2 of two classes: target 0.9 and 0.1
    assert float(instance_loss(logits[:1], [0], label_smoothing=0.2)) == pytest.approx(
        0.9 * math.log(4 / 3) + 0.1 * math.log(4), rel=1e-6
    )


def test_instance_loss_refuses_smoothing_of_one():
    with pytest.raises(ValueError, match="label_smoothing"):
        instance_loss([[0.0, 1.0]], [0], label_smoothing=1.0)


def test_instance_loss_of_half_precision_logits_is_float32():
    # in float16 exp(12) overflows: 12 classes apart by 12 still have a finite, exact loss
    logits = tf.constant([[12.0] + [0.0] * 11], tf.float16)
    loss = instance_loss(logits, [1], label_smoothing=0.0)
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(math.log(math.exp(12) + 11), rel=1e-6)


def test_ranking_by_hand():
    # h = 1: anchor I0 = e1, T0 = (.6, .8); negatives T1 = e1 and I1 = e2.
    # s(I0,T0) = .6, s(I0,T1) = 1, s(I1,T0) = .8: hinges .1-.6+1 = .5 and .1-.6+.8 = .3
    assert value("ranking", [E1, E2], [BETWEEN, E1], [0, 1], margin=0.1) == pytest.approx(0.8, rel=1e-6)
    # a third row has no partner and is not used
    assert value("ranking", [E1, E2, E1], [BETWEEN, E1, E2], [0, 1, 2], margin=0.1) == pytest.approx(0.8, rel=1e-6)
    # h = 2, and the second anchor's negative is of its own group: it adds 0 and still counts, 0.8 / 2
    image, text = [E1, E1, E2, E2], [BETWEEN, E1, E1, E1]
    assert value("ranking", image, text, [0, 7, 1, 7], margin=0.1) == pytest.approx(0.4, rel=1e-6)


def test_ranking_with_weight_one_equals_the_released_weight_two():
    # released: every gradient is that of (2 * sum over the h anchors of the hinges) / (2h rows)
    rng = np.random.default_rng(3)
    image, text, labels = unit(rng, 8), unit(rng, 8), np.arange(8)
    summed = 0.0
    for i in range(4):
        summed += max(0, 1 - image[i] @ text[i] + image[i] @ text[i + 4])
        summed += max(0, 1 - image[i] @ text[i] + text[i] @ image[i + 4])
    assert value("ranking", image, text, labels, margin=1.0) == pytest.approx(2 * summed / 8, rel=1e-5)


# cosines of images (rows) and captions (columns):   1   .6  0
#                                                    0   .8  1
#                                                    .6  1   .8
THREE = ([E1, E2, BETWEEN], [E1, BETWEEN, E2])


def test_ranking_sum_by_hand():
    # margin .3. Images: I1 vs T2 .3-.8+1 = .5; I2 vs T0 .1, vs T1 .5. Captions: T1 vs I0 .1, vs I2 .5; T2 vs I1 .5.
    assert value("ranking_sum", *THREE, [0, 1, 2], margin=0.3) == pytest.approx(2.2 / 3, rel=1e-5)
    # rows 1 and 2 one group: of the above, I2 vs T0 and T1 vs I0 remain
    assert value("ranking_sum", *THREE, [0, 1, 1], margin=0.3) == pytest.approx(0.2 / 3, rel=1e-5)


def test_ranking_max_by_hand():
    # the largest each: images 0, .5, .5; captions 0, .5, .5
    assert value("ranking_max", *THREE, [0, 1, 2], margin=0.3) == pytest.approx(2.0 / 3, rel=1e-5)


def test_infonce_by_hand():
    # cosines 1 on the diagonal, 0 off it; temperature 1 / ln 3: softmax of (ln 3, 0), each term -ln(3/4)
    loss = value("infonce", [E1, E2], [E1, E2], [0, 1], temperature=1 / math.log(3))
    assert loss == pytest.approx(math.log(4 / 3), rel=1e-5)
    # a third row of group 1: it leaves the denominators of row 1, and those of row 0 have three members:
    # image 0: 3, 1, 1 -> ln(5/3); caption 0 the same; rows 1 and 2: 3 against 1 -> ln(4/3)
    loss = value("infonce", [E1, E2, E2], [E1, E2, E2], [0, 1, 1], temperature=1 / math.log(3))
    assert loss == pytest.approx((math.log(5 / 3) + 2 * math.log(4 / 3)) / 3, rel=1e-5)


def test_sigmoid_by_hand():
    # margin .5, temperature .5 / ln 3: logits ln 3 on the diagonal, -ln 3 off it: each of 4 terms ln(4/3), over B = 2
    arguments = {"margin": 0.5, "temperature": 0.5 / math.log(3)}
    assert value("sigmoid", [E1, E2], [E1, E2], [0, 1], **arguments) == pytest.approx(2 * math.log(4 / 3), rel=1e-5)
    # one group: the two pairs off the diagonal are positives of cosine 0, each ln(1 + 3)
    expected = (2 * math.log(4 / 3) + 2 * math.log(4)) / 2
    assert value("sigmoid", [E1, E2], [E1, E2], [4, 4], **arguments) == pytest.approx(expected, rel=1e-5)


# squared distances of THREE, 2 - 2 cos: images to captions  0   .8  2    between images  0   2   .8
#                                                            2   .4  0                    2   0   .4
#                                                            .8  0   .4                   .8  .4  0


def d(squared):
    return math.sqrt(squared + 1e-4)


def test_topk_by_hand():
    # images, margin .5: I0 (own at 0) has .5+.01-.9 = 0 and 0; I1 (own at .4) has .5+d(.4)-d(2) = 0 and
    # .5+d(.4)-d(0) = 1.1225; I2 (own at .4) has .5+d(.4)-d(.8) = .2381 and .5+d(.4)-d(0) = 1.1225
    one, both = (2 * (0.5 + d(0.4) - d(0))) / 3, (2 * (0.5 + d(0.4) - d(0)) + 0.5 + d(0.4) - d(0.8)) / 6
    assert value("topk_image", *THREE, [0, 1, 2], margin=0.5, top=1) == pytest.approx(one, rel=1e-5)
    for top in (0, 2, 50):  # all negatives
        assert value("topk_image", *THREE, [0, 1, 2], margin=0.5, top=top) == pytest.approx(both, rel=1e-5)
    # captions: T0 (0) none; T1 (.4) has I0 at .8, .2381, and I2 at 0; T2 (.4) has I1 at 0, and I0 at 2
    assert value("topk_text", *THREE, [0, 1, 2], margin=0.5, top=2) == pytest.approx(both, rel=1e-5)
    # rows 1 and 2 of one group: I1 and I2 have the one negative T0, at 2 and at .8, and a mean over one
    expected = (0.5 + d(0.4) - d(0.8)) / 3
    assert value("topk_image", *THREE, [0, 1, 1], margin=0.5, top=2) == pytest.approx(expected, rel=1e-5)


def test_structure_by_hand():
    # captions T0 = e1, T1 = (.6, .8), T2 = e2; T1 and T2 of one image, .4 apart. margin .5:
    # T0 alone, at .01 of itself: none within .51; T1: .5+d(.4)-d(.8) = .2381; T2: .5+d(.4)-d(2) = 0
    expected = (0.5 + d(0.4) - d(0.8)) / 3
    assert value("structure_text", *THREE, [0, 1, 1], margin=0.5, top=50) == pytest.approx(expected, rel=1e-5)
    # images I0 = e1, I1 = e2, I2 = (.6, .8), one per group: I1 and I2 are .6325 apart, less than the margin 1:
    # 1.01 - .6325 twice, I0 and I2 1.01 - .8945 twice
    expected = (2 * (1 + d(0) - d(0.4)) + 2 * (1 + d(0) - d(0.8))) / 6
    assert value("structure_image", *THREE, [0, 1, 2], margin=1.0, top=2) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["topk_image", "topk_text", "structure_image", "structure_text"])
@pytest.mark.parametrize("top", [0, 1, 5, 1000])
def test_two_branch_terms_match_the_reference(name, top):
    """With every image in two rows, and with groups of several images."""
    rng = np.random.default_rng(top)
    image, text, labels = np.repeat(unit(rng, 20), 2, axis=0), unit(rng, 40), np.repeat(rng.integers(0, 12, 20), 2)
    for margin in (0.05, 0.7):
        expected = reference_distance_loss(name, image.astype(np.float64), text.astype(np.float64), labels, margin, top)
        assert value(name, image, text, labels, margin, top=top) == pytest.approx(expected, abs=1e-5)
        assert expected > 0


def test_image_in_two_rows_counts_once_among_the_hardest():
    """With top = 2, the second-hardest image counts, not the hardest one again."""
    image = [E1, E1, BETWEEN, BETWEEN, E2, E2]
    text = [E2, E2, BETWEEN, BETWEEN, E2, E2]
    labels = [0, 0, 1, 1, 2, 2]
    # the first two captions are far from their image, at 2: I1 at .4 and I2 at 0 are the two hardest
    first = (0.1 + d(2) - d(0)) + (0.1 + d(2) - d(0.4))
    assert value("topk_text", image, text, labels, margin=0.1, top=2) == pytest.approx(first / 2 / 3, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("rows", [2, 7, 16])
def test_losses_match_the_reference(name, rows):
    rng = np.random.default_rng(rows)
    image, text, labels = unit(rng, rows), unit(rng, rows), rng.integers(0, max(rows // 2, 2), rows)
    for margin, temperature in ((0.2, 0.1), (1.0, 0.5)):
        expected = reference_loss(name, image, text, labels, margin, temperature)
        assert value(name, image, text, labels, margin, temperature) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_equal_in_eager_graph_and_xla_mode(name):
    rng = np.random.default_rng(5)
    image, text, labels = unit(rng, 6), unit(rng, 6), np.array([0, 1, 2, 0, 3, 4])
    eager = value(name, image, text, labels)

    def step(image, text, labels):
        with tf.GradientTape() as tape:
            tape.watch([image, text])
            loss = LOSSES[name](image, text, labels, **accepted(name, margin=0.2, temperature=0.05, top=3))
        return loss, tape.gradient(loss, text if name == "structure_text" else image)

    specs = [tf.TensorSpec([None, 8]), tf.TensorSpec([None, 8]), tf.TensorSpec([None], tf.int64)]
    loss, gradient = tf.function(step, input_signature=specs, autograph=False)(image, text, labels)
    jit = tf.function(step, jit_compile=True, autograph=False)
    compiled, compiled_gradient = jit(*map(tf.constant, (image, text, labels)))
    assert float(loss) == pytest.approx(eager, rel=1e-5)
    assert float(compiled) == pytest.approx(eager, rel=1e-5)
    np.testing.assert_allclose(gradient, compiled_gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_half_precision_is_cast_to_float32_before_sums(name, dtype):
    rng = np.random.default_rng(6)
    image, text = tf.cast(unit(rng, 6), dtype), tf.cast(unit(rng, 6), dtype)
    exact = value(name, tf.cast(image, tf.float32), tf.cast(text, tf.float32), range(6))
    assert value(name, image, text, range(6)) == exact


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("labels", [[0], [3, 3, 3, 3], [0, 1, 2, 3]])
def test_gradients_are_finite_and_zero_without_negatives(name, labels):
    # identical rows on both sides: all hinges tie, and the smallest temperature makes logits of 1000
    image = tf.Variable([E1] * len(labels))
    text = tf.Variable([E1] * len(labels))
    with tf.GradientTape() as tape:
        loss = LOSSES[name](image, text, tf.constant(labels), **accepted(name, margin=0.2, temperature=0.001, top=3))
    gradients = tape.gradient(loss, [image, text], unconnected_gradients="zero")
    assert np.isfinite(loss) and all(np.isfinite(gradient).all() for gradient in gradients)
    if len(set(labels)) == 1 and name != "sigmoid":
        assert float(loss) == 0 and not any(np.any(gradient) for gradient in gradients)
    else:
        assert float(loss) > 0 or name == "sigmoid"


@pytest.mark.parametrize("name", LOSSES)
def test_false_negatives_have_no_gradient(name):
    # row 1 of row 0's group is no negative, so it has no gradient on row 0
    image, text = tf.Variable([E1, E2]), tf.Variable([BETWEEN, E1])
    side = text if name == "structure_text" else image
    with tf.GradientTape(persistent=True) as tape:
        parameters = accepted(name, margin=2.0, temperature=1.0, top=3)
        apart = LOSSES[name](image, text, tf.constant([0, 1]), **parameters)
        together = LOSSES[name](image, text, tf.constant([5, 5]), **parameters)
    assert np.any(tape.gradient(apart, side)[0] != 0)
    gradient = tape.gradient(together, side)[0].numpy()
    if name == "sigmoid":
        assert gradient[0] < 0  # towards both captions, which are positives
    else:
        np.testing.assert_array_equal(gradient, [0, 0])


@pytest.mark.parametrize("name", LOSSES)
def test_mismatched_shapes_are_refused(name):
    with pytest.raises(ValueError, match=r"B \(rows\), which is 2, 1, 2"):
        value(name, [E1, E2], [E1], [0, 1])
    with pytest.raises(ValueError, match=r"D \(columns\), which is 2, 3"):
        value(name, [E1], [[1.0, 0.0, 0.0]], [0])
    with pytest.raises(ValueError, match=r"labels \[B\]"):
        value(name, [E1, E2], [E1, E2], [[0], [1]])


@pytest.mark.parametrize("name", ["infonce", "sigmoid"])
def test_temperature_must_be_positive(name):
    with pytest.raises(ValueError, match="temperature"):
        value(name, [E1, E2], [E1, E2], [0, 1], temperature=0)


def test_hardest_candidate_by_hand():
    # image e1 of group 0: candidate 0 (cosine 1) is of its group; 2 and 3 (.6) tie, the lower wins; image e2 takes e2
    candidates = [E1, E2, BETWEEN, BETWEEN]
    found = hardest_candidate([E1, E2], candidates, [0, 1, 2, 3], [0, 9])
    assert found.dtype == tf.int32
    assert found.numpy().tolist() == [2, 1]
    # negative cosines too: only candidate 1 is of another group
    assert hardest_candidate([E1], [E1, [-1.0, 0.0]], [4, 5], [4]).numpy().tolist() == [1]


def test_hardest_candidate_matches_numpy_under_xla():
    rng = np.random.default_rng(8)
    image, candidates = unit(rng, 16), unit(rng, 256)
    labels, candidate_labels = rng.integers(0, 9, 16), rng.integers(0, 9, 256)
    scores = image @ candidates.T
    scores[labels[:, None] == candidate_labels] = -2
    found = tf.function(hardest_candidate, jit_compile=True, autograph=False)(
        tf.cast(image, tf.float32), tf.constant(candidates), tf.constant(candidate_labels), tf.constant(labels)
    )
    np.testing.assert_array_equal(found, scores.argmax(axis=1))
