"""`python -m serving.load` from a checkout: the same as `itembed load`."""

import sys

from itembed_tf.load_test import main

if __name__ == "__main__":
    sys.exit(main())
