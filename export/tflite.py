"""`python -m export.tflite` from a checkout: the same as itembed_tf.export_litert."""

import sys

from itembed_tf.export_litert import main

if __name__ == "__main__":
    sys.exit(main())
