"""`python -m serving.local` from a checkout: the same as itembed_tf.server.app."""

import sys

from itembed_tf.server.app import main

if __name__ == "__main__":
    sys.exit(main())
