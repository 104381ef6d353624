"""Checks of the section card."""

from __future__ import annotations

import re

from itembed_tf.config.measurement import Card
from itembed_tf.config.refuse import refuse

LANGUAGE = re.compile("[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
LICENSE = re.compile("[a-z0-9][a-z0-9.-]*")


def check_card(card: Card) -> None:
    """Raise ConfigError for a language or licence that is not in the form of its identifiers."""
    for language in card.languages:
        if not LANGUAGE.fullmatch(language):
            refuse(
                "card.languages", language, 'write codes of ISO 639, such as ["en"], "pt-BR" for Brazilian Portuguese'
            )
    if not LICENSE.fullmatch(card.license):
        allowed = "write an identifier of Hugging Face, in small letters: apache-2.0, mit, cc-by-4.0, other, unknown"
        refuse("card.license", card.license, allowed)
    if not card.data_license.isprintable():
        refuse("card.data_license", card.data_license, "write it on one line")
