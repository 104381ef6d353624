"""Invalid lines in an error message: a few are listed, many with the same problem are reported once."""

from __future__ import annotations

from itembed_tf.data.readers.problems import format_problems


def test_a_problem_of_forty_thousand_lines_is_reported_once() -> None:
    problems = [f"line {n}: 3 columns instead of 2 in 'a{n}.jpg'" for n in range(2, 40_002)] + ["line 9: no image"]
    assert format_problems(problems, "lines").splitlines() == [
        "40,001 invalid lines:",
        "  line 2: 3 columns instead of 2 in 'a2.jpg'",
        "  ... and 39,999 more lines with this problem",
        "  line 9: no image",
    ]


def test_few_problems_are_listed_each() -> None:
    text = format_problems(["line 1: no image", "line 3: no image"], "lines")
    assert text == "2 invalid lines:\n  line 1: no image\n  line 3: no image"
