"""`python -m export.tflite RUN OUT` from a checkout: the same as `itembed export RUN OUT --to litert`."""

import sys

from itembed_tf.export import main

if __name__ == "__main__":
    sys.exit(main(["--to", "litert", *sys.argv[1:]]))
