from functools import partial

import pytest
from hypothesis import given

from mvsep_async.errors import ProtocolError
from mvsep_async.http.call import Json
from mvsep_async.http.token import Token
from mvsep_async.models.decode import decode, payload
from mvsep_async.models.user import CurrentQueue, QueuedJob, User
from tests.models.mutations import mutated, outcome
from tests.recorded import recorded

USER: dict[str, Json] = {
    "name": "n",
    "email": "e@x",
    "api_token": "0123456789abcdef",
    "premium_minutes": "42.5",
    "premium_enabled": "1",
    "long_filenames_enabled": 0,
    "current_queue": [{"hash": "h1", "status": "waiting"}],
    "new_key": {"a": 1},
}


def user(**changes: Json) -> User:
    return decode({**USER, **changes}, User, what="app/user")


def test_the_recorded_login() -> None:
    found = decode(payload(recorded("login_200")), User, what="app/login")
    assert (found.premium_minutes, found.premium_enabled, found.long_filenames_enabled) == (54.0, True, True)
    assert found.api_token is None
    assert found.current_queue == CurrentQueue()
    assert not found.current_queue.known
    assert found.is_premium


def test_an_account_with_text_for_numbers() -> None:
    found = user()
    assert (found.premium_minutes, found.premium_enabled, found.long_filenames_enabled) == (42.5, True, False)
    assert found.api_token == Token("0123456789abcdef")
    assert found.extra == {"new_key": {"a": 1}}
    assert "0123456789abcdef" not in repr(found)


@pytest.mark.parametrize(
    ("sent", "queue"),
    [
        (None, CurrentQueue()),
        (0, CurrentQueue(0)),
        (3, CurrentQueue(3)),
        ("3", CurrentQueue(3)),
        ([], CurrentQueue(0, ())),
        (["h1", "h2"], CurrentQueue(2, (QueuedJob(hash="h1"), QueuedJob(hash="h2")))),
        ([{"hash": "h1", "sep_type": 40}], CurrentQueue(1, (QueuedJob(hash="h1", extra={"sep_type": 40}),))),
        ({"4": {"job_hash": "h1"}}, CurrentQueue(1, (QueuedJob(hash="h1"),))),
        ({"data": [{"hash": "h1"}]}, CurrentQueue(1, (QueuedJob(hash="h1"),))),
        ({"count": "2"}, CurrentQueue(2)),
        ({"hash": "h1"}, CurrentQueue(1, (QueuedJob(hash="h1"),))),
    ],
)
def test_the_unfinished_jobs_in_every_shape(sent: Json, queue: CurrentQueue) -> None:
    found = user(current_queue=sent)
    assert found.current_queue == queue
    assert found.current_queue.known is (sent is not None)


@pytest.mark.parametrize("sent", [True, "many", -1, [1], [{"status": "waiting"}], [[]]])
def test_unreadable_unfinished_jobs_are_unknown_and_kept_in_extra(sent: Json) -> None:
    found = user(current_queue=sent)
    assert found.current_queue == CurrentQueue()
    assert found.extra["current_queue"] == sent


@pytest.mark.parametrize(
    ("enabled", "minutes", "premium"),
    [(1, 5, True), (0, 5, False), (1, 0, False), (True, "0.5", True), (1, None, False)],
)
def test_premium_needs_credits_that_may_be_spent(enabled: Json, minutes: Json, premium: bool) -> None:
    assert user(premium_enabled=enabled, premium_minutes=minutes).is_premium is premium


def test_credits_that_are_not_a_number_are_refused() -> None:
    with pytest.raises(ProtocolError, match="premium_minutes should be a number"):
        user(premium_minutes="plenty")


def test_a_token_of_the_wrong_type_is_shown_nowhere() -> None:
    found = user(api_token=[["0123456789abcdef"]])
    assert found.api_token is None
    assert "0123456789abcdef" not in repr(found)


@given(mutated(USER))
def test_any_mutation_of_an_account_decodes_or_is_refused(answer: Json) -> None:
    found = outcome(partial(decode, answer, User, what="app/user"))
    assert "0123456789abcdef" not in f"{found} {found!r}"
