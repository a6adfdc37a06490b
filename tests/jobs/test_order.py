"""What a job is called: the tag at the front of its uploaded name."""

import re
from collections import Counter

from mvsep_async.jobs.order import ID_LENGTH, new_id


def test_ids_are_short_plain_and_never_the_same() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert len(set(ids)) == len(ids)
    assert all(len(id) == ID_LENGTH and re.fullmatch("mv[a-z2-7]{12}", id) for id in ids)


def test_every_letter_of_an_id_may_be_any() -> None:
    for place in range(2, ID_LENGTH):
        letters = Counter(new_id()[place] for _ in range(5_000))
        assert len(letters) == 32
        assert max(letters.values()) < 5 * min(letters.values())
