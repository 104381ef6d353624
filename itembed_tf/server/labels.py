"""Labels of model versions on the command line: NAME=N."""

from __future__ import annotations

import argparse
import re


def version_label(text: str) -> tuple[str, int]:
    """Parse ``stable=1`` into ("stable", 1), as the type of an argparse option."""
    match = re.fullmatch(r"([A-Za-z0-9][\w.-]*)=([0-9]{1,18})", text, re.ASCII)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=N with a version number N, for example stable=1")
    return match[1], int(match[2])
