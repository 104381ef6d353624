"""Check a dataset before training: near-duplicates, leakage between splits, unreadable images, misleading captions."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from itembed_tf.config import check_dataset, named_config
from itembed_tf.extras import require_data
from itembed_tf.program import Parser, add_config, command_line, config_words, program
from itembed_tf.quiet import load_tensorflow

EXAMPLES = """
  itembed doctor                                                OpenMoji, into runs/openmoji-doctor
  itembed doctor photos checked --set dataset.root=FOLDER

Writes index.html (a page), doctor.json (all findings) and merge.jsonl (groups with the same image, for dataset.merge).
The exit code is 1 where the same image is in several splits, unless dataset.leaks = "keep".
"""


@program
def main(argv: Sequence[str]) -> int:
    parser = Parser("doctor", __doc__, examples=EXAMPLES.strip("\n"))
    add_config(parser, "OUT", "output folder (default: runs/<name of the config>-doctor)")
    args = parser.parse_args(argv)
    config, folder = named_config(args, "-doctor")
    check_dataset(config)
    require_data(config)
    load_tensorflow()
    from itembed_tf.doctor.run import doctor, summary

    findings = doctor(config, folder)
    print(f"\n{summary(findings)}\n")
    print(f"page:      {folder / 'index.html'}")
    print(f"findings:  {folder / 'doctor.json'}")
    print(f"merge:     {folder / 'merge.jsonl'}  (delete the lines that are wrong)")
    leaks = findings.leaks > 0 and config.dataset.leaks != "keep"
    if findings.near_duplicates:
        merge = [
            "--set",
            f"dataset.merge={folder / 'merge.jsonl'}",
            *(["--set", "dataset.leaks=drop"] if leaks else []),
        ]
        print("next: check the page, then train with each set of duplicates as one class:")
        args.out = None
        print(f"  {command_line('train', *config_words(args), *merge)}")
    if leaks:
        print(
            f"error: {findings.leaks:,} images are in several splits, so training would see evaluation images. "
            'Set dataset.leaks = "drop" to remove them from the training split, or "keep" to accept this.',
            file=sys.stderr,
        )
    return int(leaks)


if __name__ == "__main__":
    sys.exit(main())
