"""The entries of the listings: history, news, demo, quality, queue."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.errors import MVSepError, ProtocolError
from mvsep_async.http.call import Json
from mvsep_async.models.decode import decode, payload
from mvsep_async.models.history import HistoryEntry
from mvsep_async.models.message import Message
from mvsep_async.models.quality import Leaderboard, QualityAdded, QualityEntry
from mvsep_async.models.site import DemoEntry, FreeSeparations, NewsItem, Queue, QueuePlan, QueueSummary
from tests.models.mutations import mutated, outcome
from tests.recorded import recorded

ENTRY: Json = {
    "id": "7772",
    "dataset_type": 1,
    "date": "2024-01-19",
    "algo_name": "A",
    "main_text": "text",
    "proc": 1,
    "proc_remote_date": None,
    "msg": "OK",
    "metrics": {"sdr": {"vocals": 9}},
    "sdr_vocals": "9.61",
    "sdr_instrum": 15.9,
    "sdr_bass": None,
    "sdr_odd": "n/a",
    "dataset_name": "Multisong",
}


def test_the_recorded_history() -> None:
    first, second = decode(payload(recorded("separation_history")), list[HistoryEntry], what="history")
    assert first.hash == "20240212095132-413c481b80-10-luke-s-theme-a-madman-s-symphony.mp3"
    assert (first.id, first.job_exists, first.credits, first.time_left) == (1074358, True, 2.0, -2038.0)
    assert second.algorithm is not None
    assert (second.algorithm.sep_type, second.algorithm.group) == (20, "HQ Models")


def test_a_history_entry_whose_job_is_gone() -> None:
    found = decode({"hash": "h", "credits": None, "job_exists": 0, "algorithm": None}, HistoryEntry, what="history")
    assert (found.credits, found.job_exists, found.algorithm) == (None, False, None)


def test_the_recorded_news() -> None:
    (item,) = decode(recorded("news_ru"), list[NewsItem], what="news")
    assert (item.id, item.title, item.lang, item.status) == (33, "Обновления в декабре", "ru", 1)
    assert item.text.startswith("<p>")


def test_the_recorded_demo_page() -> None:
    first, second = decode(recorded("demo"), list[DemoEntry], what="demo")
    assert first.algorithm is not None
    assert (first.algorithm.sep_type, first.algorithm.group) == (37, None)
    assert second.input_audio is not None
    assert second.input_audio.endswith("-justin-bieber-sorry-lyrics-128k.m4a")


def test_a_quality_entry_collects_its_figures() -> None:
    found = decode(ENTRY, QualityEntry, what="entry")
    assert found.sdr == {"vocals": 9.61, "instrum": 15.9}
    assert (found.id, found.dataset_type, found.proc, found.message) == (7772, "1", "1", "OK")
    assert found.metrics == {"sdr": {"vocals": 9.0}}
    assert found.extra == {"sdr_odd": "n/a"}


def test_a_leaderboard() -> None:
    answer: Json = {"success": True, "data": [ENTRY], "dataset_type": "1", "sortables": ["sdr_vocals"], "sort": "x"}
    found = decode(answer, Leaderboard, what="leaderboard")
    assert [entry.id for entry in found.entries] == [7772]
    assert (found.dataset_type, found.sortables, found.sort) == ("1", ("sdr_vocals",), "x")


def test_an_added_entry() -> None:
    found = decode(payload(recorded("quality_checker_add")), QualityAdded, what="add")
    assert found == QualityAdded(id=7772, link="https://mvsep.com/api/quality_checker/entry?id=7772")


def test_the_queue_with_and_without_a_plan() -> None:
    counts: Json = {"in_process": 3, "premium": "4", "registered": None, "unregistered": 10}
    assert decode({"queue": counts}, Queue, what="queue") == Queue(in_process=3, premium=4, unregistered=10)
    found = decode({"success": True, "queue": counts, "plan": {"plan": "premium", "queue": 4}}, Queue, what="queue")
    assert found.plan == QueuePlan(plan="premium", queue=4)
    assert decode({"ahead": 3, "estimated_wait_seconds": "12.5"}, QueueSummary, what="s") == QueueSummary(
        ahead=3, estimated_wait_seconds=12.5
    )


def test_the_queue_of_a_free_account() -> None:
    answer: Json = {
        "queue": {"in_process": 21, "registered": 40, "unregistered": 43},
        "current": {"plan": "registered", "queue": 40},
        "free_separations": {"left": 49, "max": "50"},
    }
    found = decode(answer, Queue, what="queue")
    assert found.plan == QueuePlan(plan="registered", queue=40)
    assert found.free_separations == FreeSeparations(left=49, limit=50)
    assert found.extra == {}


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ('{"sdr": {"vocals": "9.5", "other": null}}', {"sdr": {"vocals": 9.5}}),
        ({"sdr": {}, "si_sdr": {"bass": 1}}, {"sdr": {}, "si_sdr": {"bass": 1.0}}),
        (None, {}),
    ],
)
def test_metrics_by_name_and_stem(sent: Json, read: object) -> None:
    assert decode({"id": 1, "metrics": sent}, QualityEntry, what="entry").metrics == read


def test_metrics_of_another_shape_stay_in_extra() -> None:
    found = decode({"id": 1, "metrics": {"vocals": 9}}, QualityEntry, what="entry")
    assert (found.metrics, found.extra) == ({}, {"metrics": {"vocals": 9}})


@pytest.mark.parametrize("sent", [["a", "b"], {"a": "A", "b": "B"}, '["a", "b"]'])
def test_sortables_in_every_shape(sent: Json) -> None:
    assert decode({"data": [], "sortables": sent}, Leaderboard, what="leaderboard").sortables == ("a", "b")


def test_a_queue_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ProtocolError):
        decode({"queue": "long"}, Queue, what="queue")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (recorded("register_200"), "Account verification email sent to user@example.com"),
        (recorded("enable_premium"), "successfully enabled"),
        (recorded("quality_checker_delete"), "successfully deleted"),
        ({"success": "true", "message": ["a", "b"]}, "a; b"),
        ({"success": 1, "data": "done"}, "done"),
        ({"success": 1, "message": None, "data": "done"}, "done"),
        ({"success": True, "data": []}, ""),
        ({"success": True, "data": None}, ""),
    ],
)
def test_messages(answer: Json, message: str) -> None:
    assert decode(answer, Message, what="message") == Message(success=True, message=message)


def test_unknown_keys_beside_a_message_are_kept() -> None:
    found = decode({"success": True, "message": "m", "data": [1], "new": 2}, Message, what="message")
    assert found == Message(message="m", extra={"data": [1], "new": 2})


CASES = [
    (recorded("separation_history"), list[HistoryEntry]),
    (recorded("news_ru"), list[NewsItem]),
    (recorded("demo"), tuple[DemoEntry, ...]),
    ([ENTRY], list[QualityEntry]),
    ({"data": [ENTRY], "sort": "x"}, Leaderboard),
    (recorded("enable_premium"), Message),
    ({"queue": {"in_process": 1}, "plan": {"plan": "premium", "queue": 1}}, Queue),
]


@given(st.data(), st.sampled_from(CASES))
def test_any_mutation_of_a_listing_decodes_or_is_refused(data: st.DataObject, case: tuple[Json, type[object]]) -> None:
    answer, cls = case
    changed = data.draw(mutated(answer))
    found = outcome(partial(decode, changed if cls is Leaderboard else payload(changed), cls, what="listing"))
    assert not isinstance(found, MVSepError) or len(str(found)) < 500
