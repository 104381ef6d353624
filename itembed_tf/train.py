"""Train both encoders on a dataset, evaluate them, and write the report and the encoders."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from itembed_tf.config import check_config, dump_config, named_config
from itembed_tf.extras import require_training
from itembed_tf.interruption import resumable
from itembed_tf.pipeline.steps import LOAD, training_steps
from itembed_tf.program import Parser, add_config, command_line, config_words, program
from itembed_tf.quiet import load_tensorflow
from itembed_tf.training.cluster import check_shares, read_cluster

if TYPE_CHECKING:
    from itembed_tf.api import ImageTextModel

EXAMPLES = """
  itembed train                                              OpenMoji, into runs/openmoji
  itembed train photos runs/mine --set dataset.root=FOLDER   your own images: docs/your_images.md
  itembed train flickr8k_best --set dataset.root=FOLDER      into runs/flickr8k_best
  itembed train photos --print-config                        all settings, without training

An interrupted run continues from its last checkpoint when the same command is given again.
All settings: itembed configs --settings
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("train", __doc__, examples=EXAMPLES.strip("\n"))
    add_config(parser, "RUN", "run directory (default: runs/<name of the config>)")
    parser.add_argument("--print-config", action="store_true", help="print all settings as TOML and stop")
    args = parser.parse_args(argv)
    config, run = named_config(args)
    if args.print_config:
        print(dump_config(config), end="")
        return 0
    check_config(config)
    cluster = read_cluster()
    if cluster:
        check_shares(config, cluster.size, workers=cluster.size)
    require_training(config)
    steps = training_steps(config)
    with resumable(command_line("train", *config_words(args))):
        steps.start(LOAD)
        load_tensorflow()
        from itembed_tf.evaluation.formatting import format_table
        from itembed_tf.pipeline.train import train
        from itembed_tf.retrieval import RetrievalTable

        metrics: dict[str, Any] = train(config, run, steps)
    if cluster and cluster.number:
        print(f"worker {cluster.number} of {cluster.size}: finished; worker 0 has written the run directory")
        return 0
    table = metrics.get("test") or metrics.get("dev")
    print(f"\n{format_table(RetrievalTable.from_json(table))}\n" if table else "")
    print(f"report:    {run / 'report' / 'index.html'}")
    print(f"encoders:  {run / 'encoders'}  (SavedModels, and the text encoder for LiteRT)")
    print("next:")
    print(f"  {command_line('demo', run)}")
    print(f"  {command_line('evaluate', run, '--split', 'dev')}")
    print(f"  {command_line('export', run, f'exports/{run.name}')}")
    print("  your own images: docs/your_images.md")
    return 0


class _CallableModule(ModuleType):
    """``itembed_tf.train`` is this module, and the library's function too: `itembed_tf.api.train`."""

    def __call__(self, *args: Any, **settings: Any) -> ImageTextModel:
        from itembed_tf.api import train

        return train(*args, **settings)


sys.modules[__name__].__class__ = _CallableModule

if __name__ == "__main__":
    sys.exit(main())
