"""`python -m serving.load` from a checkout: the same as itembed_tf.client.load_test."""

import sys

from itembed_tf.client.load_test import main

if __name__ == "__main__":
    sys.exit(main())
