"""`python -m serving.kit` from a checkout: the same as `itembed kit`."""

import sys

from itembed_tf.kit import main

if __name__ == "__main__":
    sys.exit(main())
