"""`python -m serving.local` from a checkout: the same as `itembed serve`."""

import sys

from itembed_tf.serve import main

if __name__ == "__main__":
    sys.exit(main())
