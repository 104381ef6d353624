"""The allowed values of settings, without TensorFlow. The code that implements them is held to these by tests."""

from __future__ import annotations

SPLITS = ("train", "dev", "test")
# Datasets, each with the values of dataset.split_by that it has; the first is its usual one.
DATASETS = {
    "openmoji": ("base", "id"),
    "flickr8k": ("base", "karpathy"),
    "flickr30k": ("karpathy", "entities"),
    "coco": ("karpathy", "random"),
    "cuhk-pedes": ("base",),
    "icfg-pedes": ("base",),
    "rstpreid": ("base",),
    "folder": ("base",),
}
SPLIT_BY = tuple(dict.fromkeys(value for values in DATASETS.values() for value in values))
LEAKS = ("refuse", "drop", "keep")
FITS = ("stretch", "crop")
TOKENIZERS = ("auto", "words", "unicode")

# Sources of word vectors, each with the suffixes of its files; those without any read no file.
WORD_VECTORS = {
    "random": (),
    "glove-50": (),
    "minilm": (),
    "word2vec": (".bin", ".txt", ".vec", ".bin.gz", ".txt.gz", ".vec.gz"),
    "glove": (".txt", ".txt.gz"),
    "keyedvectors": (".kv", ".wordvectors", ".model"),
    "skip-gram": (),
}
WORD_LISTS = ("glove-50", "word2vec", "glove", "keyedvectors")  # sources with a list of words to take extra words from
GLOVE_WIDTH, MINILM_WIDTH = 50, 384  # dimensions of glove-50; maximum of minilm

# Backbones that are named by another library or are a file of the user.
BACKBONE_FORMS = ("keras:NAME", "keras_hub:PRESET_OR_FOLDER", "file:MODEL.keras")
PIXELS = ("0..255", "0..1", "-1..1", "imagenet", "bgr")  # what a network takes; imagenet: RGB, mean 0 and deviation 1

HEADS = ("fc-bn", "fc-bn-relu-fc", "fc-bn-relu-fc-bn", "fc", "fc-bn-relu-dropout-fc")  # of both towers
HIDDEN_HEAD = "fc-bn-relu-dropout-fc"  # the head that has `hidden` and `dropout`
TEXT_VARIANTS = ("paper", "released", "wide", "features")
POOLINGS = ("max", "mean", "mean+max")
SENTENCE_KINDS = ("tf-idf", "mean", "hglmm")
CLASSIFIERS = ("imprinted", "random", "none")
SOFTMAXES = ("auto", "full", "sharded", "sampled")
NEGATIVES = ("batch", "replica")
STARTS = ("random", "cca")
CROPS = (0, 1, 4, 5)
SHIFTS = ("left", "all")
DETERMINISM = ("auto", "on", "off")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

LOGGERS = ("tensorboard", "mlflow", "wandb")
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "steps", "cosine")
KEEPS = ("best", "last")
PARTS = ("backbone", "image_head", "text_tower", "words", "classifier")
# Of the backbone's layers; besides these, a block can be frozen by its name, as in backbone.block1.
FROZEN_LAYERS = ("backbone_batch_norm", "backbone_depthwise")
REPLICATION = ("backbone_gamma", "first_convolution", "classifier_bias")  # have rates of their own in the released code
MULTIPLIERS = (*PARTS, "gamma", "beta", *REPLICATION)  # gamma and beta: of all batch norms

PROTOCOLS = ("whole", "flickr-1k", "coco-1k", "coco-1k-listed", "coco-5k", "cuhk", "cxc", "eccv")
