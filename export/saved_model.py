"""`python -m export.saved_model RUN OUT` from a checkout: the same as `itembed export RUN OUT --to saved_model`."""

import sys

from itembed_tf.export import main

if __name__ == "__main__":
    sys.exit(main(["--to", "saved_model", *sys.argv[1:]]))
