"""Parameters of a URL: the filters as one expression, and what is refused."""

from __future__ import annotations

import pytest

from itembed_tf.demo.parameters import MAX_HITS, MAX_TEXT, Parameters, WrongParameter


def test_filters_are_joined_to_one_expression_and_quoted() -> None:
    parameters = Parameters("/api/search?folder=/a/it%27s&year=2020&kind=image&where=width%3E5%20or%201")
    assert parameters.where() == (
        "(folder = '/a/it''s' or substr(folder, 1, length('/a/it''s/')) = '/a/it''s/') and year = 2020 "
        "and kind = 'image' and (width>5 or 1)"
    )
    assert Parameters("/api/search").where() == ""


def test_a_query_has_all_of_its_parameters() -> None:
    query = Parameters("/?q=a+dog&minus=snow&minus=deep+water&by=vector&sort=date&limit=7&offset=14").query()
    assert (query.text, query.minus, query.by, query.sort) == ("a dog", "snow deep water", "vector", "date")
    assert (query.limit, query.offset) == (7, 14)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/?limit=-1", "limit is '-1'; it must be a number from 0 to 1,000"),
        (f"/?limit={MAX_HITS + 1}", "limit is '1001'"),
        ("/?limit=²", "limit is"),
        ("/?sort=size", "sort is 'size'; it must be one of relevance, date"),
        ("/?kind=video", "kind is 'video'; it must be one of image, text"),
        (f"/?q={'x' * (MAX_TEXT + 1)}", "q is longer than 4,000 characters"),
        (f"/?{'&'.join(f'a{i}=1' for i in range(200))}", "the URL cannot be read"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_it_may_be(target: str, message: str) -> None:
    with pytest.raises(WrongParameter, match=message.replace("(", "\\(")):
        Parameters(target).query()


def test_a_key_is_hexadecimal() -> None:
    assert Parameters("/?like=0123456789abcdef").key("like") == "0123456789abcdef"
    for wrong in ("0123", "../../etc/passwd", "0123456789ABCDEF", "0123456789abcdef0"):
        with pytest.raises(WrongParameter, match="like is"):
            Parameters(f"/?like={wrong}").key("like")
