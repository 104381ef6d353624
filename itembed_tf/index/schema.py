"""The tables of ``index.sqlite``: the truth of an index. Everything else in its folder is derived from them.

One row of `items` is one image file, one row of a table or one sentence, by its place. The same image at two places is
two items of one `content`; its vector is computed, and its thumbnail stored, once.

A vector belongs to a generation: all vectors of a generation come from encoders of one contract hash, or were mapped
into their space. A row number of `vectors` is never used again, so that files derived from the table know by the
highest one what they lack; `removed` has the numbers that are gone.
"""

from __future__ import annotations

APPLICATION_ID = 0x69746D62  # "itmb", which `file` and SQLite's own tools show
SCHEMA = 2

TABLES = """
-- revision: counts the transactions that changed the index; created: ISO 8601; identity: a random name;
-- removed_since: `removed` is complete for the revisions above it
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- text_encoder: a LiteRT file; tokenizer: JSON with words, tokenizer, lowercase, length;
-- calibration: an .npz with the banks of the hubness correction and the bands, or NULL
CREATE TABLE encoders (
    contract TEXT PRIMARY KEY,
    dimensions INTEGER NOT NULL,
    text_encoder BLOB NOT NULL,
    tokenizer TEXT NOT NULL,
    calibration BLOB
);

-- state: building, current (exactly one), or previous (kept to go back to)
CREATE TABLE generations (
    number INTEGER PRIMARY KEY,
    contract TEXT NOT NULL REFERENCES encoders,
    state TEXT NOT NULL CHECK (state IN ('building', 'current', 'previous')),
    created TEXT NOT NULL
);
CREATE UNIQUE INDEX one_current_generation ON generations (state) WHERE state = 'current';

-- encoders whose text encoder was taught names; base: the contract hash that they had before any lesson, of which the
-- index has the image encoder
CREATE TABLE taught (contract TEXT PRIMARY KEY, base TEXT NOT NULL) WITHOUT ROWID;

-- names that were taught to the encoders of a base contract, in the order of their numbers
-- images: JSON list of SHA-256 (hex); vectors: of these images, n x D float32, little-endian, unit length
-- recall_before, recall_after: mean R@1 of both directions on dev, in percent
-- words: JSON list of those that the vocabulary lacked; word_rows: their rows of the word table, float32
-- problem: why the encoders do not have the lesson, after an upgrade; '' where they have it
CREATE TABLE lessons (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    base TEXT NOT NULL,
    name TEXT NOT NULL,
    images TEXT NOT NULL,
    vectors BLOB NOT NULL,
    created TEXT NOT NULL,
    recall_before REAL NOT NULL,
    recall_after REAL NOT NULL,
    words TEXT NOT NULL,
    word_rows BLOB NOT NULL,
    problem TEXT NOT NULL
);

-- images of lessons that are no items, small enough to keep, to be encoded again by other encoders; content: SHA-256
-- (hex) of the file that the user gave
CREATE TABLE lesson_images (content TEXT PRIMARY KEY, image BLOB NOT NULL) WITHOUT ROWID;

-- what was given to `itembed index`: kind is that of `itembed_tf.index.sources.Source`; settings: JSON
CREATE TABLE sources (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    location TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL
);

-- place: absolute path of a file, or location and row, such as captions.csv#12
-- content: SHA-256 (hex) of the file or the sentence; stamp: size and time of the file when it was read
-- captions: JSON list of texts; date: ISO 8601; fields: JSON object of the user's columns
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source INTEGER NOT NULL REFERENCES sources,
    place TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'text')),
    content TEXT NOT NULL,
    stamp TEXT NOT NULL,
    name TEXT NOT NULL,
    folder TEXT NOT NULL,
    captions TEXT NOT NULL,
    date TEXT,
    width INTEGER,
    height INTEGER,
    size INTEGER,
    fields TEXT NOT NULL
);
CREATE INDEX items_by_content ON items (content);
CREATE INDEX items_by_source ON items (source);

-- vector: D float16, little-endian, unit length before rounding
-- text_bias, image_bias: hubness correction for a text query and for an image query, subtracted from the cosine
-- mapped: 1 for a vector that was mapped from another encoder's space
CREATE TABLE vectors (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    generation INTEGER NOT NULL REFERENCES generations,
    item INTEGER NOT NULL REFERENCES items,
    vector BLOB NOT NULL,
    text_bias REAL NOT NULL DEFAULT 0,
    image_bias REAL NOT NULL DEFAULT 0,
    mapped INTEGER NOT NULL DEFAULT 0,
    UNIQUE (generation, item)
);
CREATE INDEX vectors_by_item ON vectors (item);

-- rows that are gone from `vectors`, and the revision that removed them
CREATE TABLE removed (row INTEGER PRIMARY KEY, generation INTEGER NOT NULL, revision INTEGER NOT NULL);
CREATE INDEX removed_by_revision ON removed (revision);

CREATE TABLE thumbnails (content TEXT PRIMARY KEY, image BLOB NOT NULL) WITHOUT ROWID;

-- files that cannot be read, so that the next run need not try them again while their stamp is the same
CREATE TABLE unreadable (
    place TEXT PRIMARY KEY, source INTEGER NOT NULL REFERENCES sources, stamp TEXT NOT NULL, reason TEXT NOT NULL
) WITHOUT ROWID;

CREATE VIRTUAL TABLE texts USING fts5(captions, name, folder, tokenize = "unicode61 remove_diacritics 2");
"""
