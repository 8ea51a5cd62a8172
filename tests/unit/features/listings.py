"""What tests of the readers look at in a listing, and how they see a list refused."""

from __future__ import annotations

import pytest
from batch_implement.core.errors import UsageError


def texts(listing):
    return [feature.text for feature in listing.features]


def needs(listing):
    return [feature.details.get("depends_on") for feature in listing.features]


def refusal(read, *args, **options):
    """The message with which a call refuses a list."""
    with pytest.raises(UsageError) as caught:
        read(*args, **options)
    assert caught.value.message.isprintable()
    return caught.value.message
