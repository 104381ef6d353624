"""``python -m itembed_tf``: the same as the command ``itembed``."""

import sys

from itembed_tf.cli import main

if __name__ == "__main__":
    sys.exit(main())
