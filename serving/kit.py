"""`python -m serving.kit` from a checkout: the same as itembed_tf.server.kit."""

import sys

from itembed_tf.server.kit import main

if __name__ == "__main__":
    sys.exit(main())
