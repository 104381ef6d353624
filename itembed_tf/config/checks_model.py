"""The settings of the towers, the word vectors and the classifier, checked against each other."""

from __future__ import annotations

from itembed_tf.config.backbone_forms import check_backbone_form, check_features, check_size, kind_of
from itembed_tf.config.backbones import BACKBONES
from itembed_tf.config.choices import GLOVE_WIDTH, HIDDEN_HEAD, MINILM_WIDTH, WORD_LISTS, WORD_VECTORS
from itembed_tf.config.refuse import refuse, refuse_choice, refuse_ignored
from itembed_tf.config.schema import Config


def check_model(config: Config) -> None:
    """Check sections image, image_tower, text_tower, text, word_vectors, sentence, classes, model and cca.

    Raises:
        ConfigError: naming the key, its value and what to write instead.
    """
    check_image_tower(config)
    check_text_tower(config)
    check_word_vectors(config)
    check_start(config)
    if config.text_tower.variant == "features":
        check_sentence(config)
    else:
        keys = ["kind", "words", "components", "size"]
        refuse_ignored("sentence", config.sentence, keys, 'sentence features need text_tower.variant = "features"')
    if config.model.softmax in ("full", "sharded"):
        reason = f'model.softmax = "{config.model.softmax}" draws no classes'
        refuse_ignored("model", config.model, ["sampled_classes"], reason)
    if config.model.classifier == "none":
        keys = ["scale", "bias", "dropout", "softmax", "sampled_classes"]
        refuse_ignored("model", config.model, keys, 'there is no classifier with model.classifier = "none"')
        refuse_ignored("classes", config.classes, ["clusters"], 'no classes with model.classifier = "none"')


def check_image_tower(config: Config) -> None:
    """Backbone or features, weight file, input size, levels and head of the image tower."""
    tower = config.image_tower
    if tower.features:
        check_features(config)
    elif kind_of(tower.backbone):
        check_size(config, 32, "a backbone")
        check_backbone_form(config)
    else:
        _check_backbone(config)
    if tower.head != HIDDEN_HEAD:
        refuse_ignored("image_tower", tower, ["hidden", "dropout"], f"only image_tower.head = {HIDDEN_HEAD!r} has them")


def _check_backbone(config: Config) -> None:
    """One of `BACKBONES`: weight file, pixels, levels and size."""
    tower, size = config.image_tower, config.image.size
    backbone = BACKBONES[tower.backbone]
    refuse_ignored("image_tower", tower, ["pixels"], f"{tower.backbone} has its own normalisation")
    if tower.weights not in ("imagenet", "none") and not tower.weights.endswith(backbone.suffixes):
        refuse(
            "image_tower.weights",
            tower.weights,
            f'{tower.backbone} loads {" or ".join(backbone.suffixes)} files; allowed too: "imagenet", "none"',
        )
    for level in tower.levels:
        if level not in backbone.levels:
            refuse_choice(
                "image_tower.levels", tower.levels, level, backbone.levels, f"is no block or layer of {tower.backbone}"
            )
    side = size * 7 // 8 if tower.crops == 5 else size  # as models.backbones.five_crop_size
    if backbone.family == "vgg" and tower.weights != "none" and side != 224:
        wanted = 256 if tower.crops == 5 else 224
        refuse("image.size", size, f"the fully connected layers of {tower.backbone} need image.size = {wanted}")
    check_size(config, 32, tower.backbone)


def check_text_tower(config: Config) -> None:
    """Stages and head of the text tower."""
    tower = config.text_tower
    head = {"paper": "fc-bn-relu-fc", "features": HIDDEN_HEAD}.get(tower.variant, "fc-bn")
    if (head if tower.head == "variant" else tower.head) != HIDDEN_HEAD:
        refuse_ignored("text_tower", tower, ["hidden", "dropout"], f"only text_tower.head = {HIDDEN_HEAD!r} has them")
    if tower.variant == "features":
        keys = ["depth", "width", "stem", "blocks", "strides", "zero_gamma", "mask_padding", "pooling"]
        refuse_ignored("text_tower", tower, keys, 'text_tower.variant = "features" has no convolutions')
        return
    stages = len(tower.blocks) or (2 if tower.variant == "wide" else 4)
    if tower.strides and len(tower.strides) != stages:
        refuse("text_tower.strides", tower.strides, f"give one for each of the {stages} stages, or []")
    if tower.blocks:
        refuse_ignored("text_tower", tower, ["depth"], "text_tower.blocks gives the blocks of each stage")


def check_word_vectors(config: Config) -> None:
    """Source, file and dimensions of the word vectors."""
    vectors, width = config.word_vectors, config.text_tower.word_width
    suffixes = WORD_VECTORS[vectors.source]
    if suffixes and not vectors.path:
        refuse("word_vectors.path", "", f'word_vectors.source = "{vectors.source}" reads a file; name it here')
    if vectors.path and not suffixes:
        files = ", ".join(source for source, own in WORD_VECTORS.items() if own)
        refuse(
            "word_vectors.path",
            vectors.path,
            f'would be ignored: word_vectors.source = "{vectors.source}" reads no file (sources that do: {files})',
        )
    others = {suffix for own in WORD_VECTORS.values() for suffix in own} - set(suffixes)
    wrong = next((suffix for suffix in others if vectors.path.endswith(suffix)), None)
    if vectors.path and wrong and not vectors.path.endswith(suffixes):
        refuse(
            "word_vectors.path",
            vectors.path,
            f'{wrong} is not a suffix of word_vectors.source = "{vectors.source}"; allowed: {", ".join(suffixes)}',
        )
    if vectors.extra_words and vectors.source not in WORD_LISTS:
        refuse(
            "word_vectors.extra_words",
            vectors.extra_words,
            f'word_vectors.source = "{vectors.source}" has no list of words; those with one: {", ".join(WORD_LISTS)}',
        )
    if vectors.source != "skip-gram":
        refuse_ignored("word_vectors", vectors, ["epochs"], 'only word_vectors.source = "skip-gram" is trained')
    if vectors.source == "glove-50" and width != GLOVE_WIDTH:
        refuse("text_tower.word_width", width, f'word_vectors.source = "glove-50" has {GLOVE_WIDTH} dimensions')
    if vectors.source == "minilm" and width > MINILM_WIDTH:
        refuse("text_tower.word_width", width, f'word_vectors.source = "minilm" has {MINILM_WIDTH} dimensions at most')
    if vectors.source == "random" and config.text.only_with_vectors:
        refuse(
            "text.only_with_vectors",
            True,
            'word_vectors.source = "random" has no word vectors; allowed: false, or another source',
        )


def check_sentence(config: Config) -> None:
    """Sentence features: their source, and PCA to fewer dimensions than they have."""
    sentence, source = config.sentence, config.word_vectors.source
    if sentence.kind != "tf-idf" and source == "random":
        refuse(
            "sentence.kind",
            sentence.kind,
            'is made of word vectors, and word_vectors.source = "random" has none; name another source, or set '
            'sentence.kind = "tf-idf"',
        )
    width = _sentence_width(config)
    if sentence.size > width:
        refuse("sentence.size", sentence.size, f"{sentence.kind} features have {width} dimensions, the maximum")


def _sentence_width(config: Config) -> int:
    sentence, width = config.sentence, config.text_tower.word_width
    return {"tf-idf": sentence.words, "mean": width, "hglmm": 2 * sentence.components * width}[sentence.kind]


def check_start(config: Config) -> None:
    """The initial heads by CCA: linear heads on fixed features, and no more directions than these have dimensions."""
    if config.model.start != "cca":
        refuse_ignored("cca", config.cca, ["regularisation"], 'only model.start = "cca" uses it')
        return
    needed = {"image_tower.head": "fc", "text_tower.head": "fc", "text_tower.variant": "features"}
    for key, value in needed.items():
        section, name = key.split(".")
        if getattr(getattr(config, section), name) != value:
            rest = ", ".join(f'{key} = "{value}"' for key, value in needed.items())
            refuse("model.start", "cca", f'gives linear maps of fixed features: set {rest}, or model.start = "random"')
    text, tower = config.sentence.size or _sentence_width(config), config.image_tower
    known = not (tower.levels or tower.features or kind_of(tower.backbone))
    image = BACKBONES[tower.backbone].features if known else text
    if config.embedding_size > min(image, text):
        refuse(
            "embedding_size",
            config.embedding_size,
            f"CCA of {image} image and {text} sentence dimensions has a maximum of {min(image, text)} directions",
        )
