"""`python -m serving.client` from a checkout: the same as `itembed client`."""

import sys

from itembed_tf.client.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
