"""What an error means for the create that raised it."""

from __future__ import annotations

import pytest

from mvsep_async.errors import (
    AuthenticationError,
    ConfigurationError,
    DownloadError,
    InvalidRequestError,
    JobNotFoundError,
    JournalError,
    MVSepError,
    NoFreeSlotError,
    ProtocolError,
    RateLimitedError,
    ServiceUnavailableError,
    TransportError,
    UploadError,
)
from mvsep_async.submission.create import Fate, fate_of

NOT_SAID = [
    TransportError("gone"),
    ServiceUnavailableError("502", status=502),
    ProtocolError("cut"),
    ProtocolError("x", status=200),
    # A redirect, an error page or a 404 may follow an accepted job: none of them is an answer to a create.
    *(ProtocolError("elsewhere", status=status) for status in (301, 302, 303, 307, 308)),
    JobNotFoundError("no such path", status=404),
]


@pytest.mark.parametrize("error", NOT_SAID, ids=repr)
def test_without_an_answer_it_depends_on_whether_the_service_can_have_it(error: MVSepError) -> None:
    assert fate_of(error, handed_over=True) is Fate.LOST
    assert fate_of(error, handed_over=False) is Fate.NOT_ACCEPTED


@pytest.mark.parametrize("handed_over", [False, True])
@pytest.mark.parametrize(
    ("error", "fate"),
    [
        (NoFreeSlotError("full", status=400), Fate.REFUSED),
        (InvalidRequestError("?", status=400), Fate.REFUSED),
        (InvalidRequestError("?", status=200), Fate.REFUSED),
        (InvalidRequestError("too large", status=413), Fate.REJECTED),
        (InvalidRequestError("ours"), Fate.REJECTED),
        (AuthenticationError("who?", status=401), Fate.NOT_ACCEPTED),
        (JournalError("disk full"), Fate.NOT_ACCEPTED),
        (UploadError("the file shrank"), Fate.REJECTED),
        (DownloadError("the target folder is read-only"), Fate.REJECTED),
        (RateLimitedError("too many"), Fate.NOT_ACCEPTED),
    ],
)
def test_with_an_answer_it_does_not(error: MVSepError, fate: Fate, handed_over: bool) -> None:
    assert fate_of(error, handed_over=handed_over) is fate


def test_a_proxy_or_a_redirect_that_needs_other_settings_may_follow_an_accepted_job() -> None:
    error = ConfigurationError("the proxy asks for a password")
    assert fate_of(error, handed_over=True) is Fate.LOST
    assert fate_of(error, handed_over=False) is Fate.REJECTED
