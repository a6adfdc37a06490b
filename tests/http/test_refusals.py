"""The texts of refusals."""

import pytest

from mvsep_async.http.refusals import Refusal, about_slots, classify_refusal_text


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("You already have unprocessed file in queue. Please wait before adding new file!", Refusal.NO_SLOT),
        ("you already have an unprocessed  job in the queue", Refusal.NO_SLOT),
        (
            (
                "You have reached the limit of separations for today. Please try again tomorrow or consider signing up "
                "for a premium account."
            ),
            Refusal.DAILY_LIMIT,
        ),
        ("Seperation type is unavailable until you purchase premium membership", Refusal.NEEDS_PREMIUM),
        ("Seperation type is not set", Refusal.UNKNOWN_ALGORITHM),
        ("Separation type is not set.", Refusal.UNKNOWN_ALGORITHM),
        ("hash: File or File Hash not found", Refusal.NOT_FOUND),
        ("Too many concurrent jobs", None),
        ("", None),
    ],
)
def test_known_texts(text: str, refusal: Refusal | None) -> None:
    assert classify_refusal_text(text) is refusal
    assert about_slots(text) is (refusal is Refusal.NO_SLOT or text.startswith("Too many"))
