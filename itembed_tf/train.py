"""Program: captioned pictures in, two encoders and a report out.

    python -m itembed_tf.train                                train on OpenMoji into runs/openmoji
    python -m itembed_tf.train configs/flickr8k.toml          into runs/flickr8k
    python -m itembed_tf.train my.toml runs/mine --set model.scale=10.0

A run that was stopped, even killed, goes on from its last checkpoint when the same command is given again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from itembed_tf.config import ConfigError, config_parser, dump_config, named_config
from itembed_tf.data.unreadable import TooManyUnreadable
from itembed_tf.evaluation.embeddings import format_block
from itembed_tf.pipeline.train import train
from itembed_tf.training.run_directory import RunError


def main(argv: Sequence[str] | None = None) -> int:
    writes = "run directory (default: runs/<name of the config>)"
    parser = config_parser("itembed_tf.train", __doc__, writes=writes)
    parser.add_argument("--print-config", action="store_true", help="print every setting in TOML and stop")
    args = parser.parse_args(argv)
    try:
        config, path = named_config(args)
        if args.print_config:
            print(dump_config(config), end="")
            return 0
        metrics = train(config, path)
    except (ConfigError, RunError, TooManyUnreadable, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    shown = metrics.get("test") or metrics.get("dev")
    print(f"\n{format_block(shown)}\n" if shown else "")
    print(f"report:    {path / 'report' / 'index.html'}")
    print(f"encoders:  {path / 'encoders'}  (SavedModels for TF Serving, and the text encoder for LiteRT)")
    print("next:")
    print(f"  python -m itembed_tf.evaluate {path} --split dev")
    print(f"  python -m export.saved_model {path} exports/{path.name}")
    print("  your own pictures: docs/your_pictures.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
