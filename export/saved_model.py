"""`python -m export.saved_model` from a checkout: the same as itembed_tf.export_saved_model."""

import sys

from itembed_tf.export_saved_model import main

if __name__ == "__main__":
    sys.exit(main())
