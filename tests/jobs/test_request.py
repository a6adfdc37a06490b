"""Job ids, which are the tag at the front of the uploaded name."""

import re

from mvsep_async.jobs.request import ID_PATTERN, new_id


def test_ids_are_short_plain_and_never_the_same() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert len(set(ids)) == len(ids)
    assert all(id.isalnum() and re.fullmatch(ID_PATTERN, id) for id in ids)
