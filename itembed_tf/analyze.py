"""Show what the encoders of a run learned from a split, as a page and as a JSON file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from itembed_tf.program import Parser, add_settings, command_line, program, run_config
from itembed_tf.quiet import load_tensorflow

CAPTIONS = 2_000  # four times as many as for the report at the end of a training
EXAMPLES = """
  itembed analyze runs/openmoji                      into runs/openmoji/analysis/dev
  itembed analyze runs/openmoji pages/test --split test
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("analyze", __doc__, examples=EXAMPLES.strip("\n"))
    parser.add_argument("run", metavar="RUN", help="run directory of a finished run")
    parser.add_argument("out", nargs="?", metavar="OUT", help="output folder (default: RUN/analysis/SPLIT)")
    parser.add_argument("--split", default="dev", choices=("train", "dev", "test"), help="default: dev")
    parser.add_argument(
        "--captions",
        type=int,
        default=CAPTIONS,
        metavar="N",
        help=f"captions that the leave-one-word-out analysis uses (default: {CAPTIONS})",
    )
    add_settings(parser, "override a setting of the run, for example dataset.root=FOLDER where its images have moved")
    args = parser.parse_args(argv)
    if args.captions < 1:
        parser.error(f"--captions is {args.captions}; the minimum is 1")
    run_config(args.run, args.set)
    load_tensorflow()
    from itembed_tf.pipeline.analyze import analyze_run, format_analysis

    out = Path(args.out or Path(args.run) / "analysis" / args.split)
    analysis = analyze_run(args.run, out, args.split, args.captions, args.set)
    print(f"{format_analysis(analysis)}\n")
    print(f"page:      {out / 'index.html'}")
    print(f"figures:   {out / 'analysis.json'}")
    print("next: open the page in a browser (docs/analysis.md explains it), or measure the same split:")
    print(f"  {command_line('evaluate', args.run, '--split', args.split)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
