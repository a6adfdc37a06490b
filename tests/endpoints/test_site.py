import pytest

from mvsep_async.endpoints.site import SiteAPI
from mvsep_async.errors import InvalidRequestError, ProtocolError
from mvsep_async.http.call import Auth, Call, Json
from mvsep_async.models.site import Queue, QueuePlan, QueueSummary
from tests.endpoints.fake import FakeCaller
from tests.recorded import recorded


async def test_algorithms_of_the_default_scope() -> None:
    caller = FakeCaller(recorded("algorithms_sample"))
    algorithms = await SiteAPI(caller).algorithms()
    assert [algorithm.sep_type for algorithm in algorithms] == [63, 40, 37, 56, 103]
    assert (caller.last.path, caller.last.query, caller.last.auth) == ("app/algorithms", {}, Auth.NONE)


async def test_several_scopes_take_one_call_each() -> None:
    sample = recorded("algorithms_sample")
    assert isinstance(sample, list)
    caller = FakeCaller(sample[:3], {"data": sample[2:]})
    algorithms = await SiteAPI(caller).algorithms(["single_upload", "no_upload", "single_upload"])
    assert [call.query for call in caller.calls] == [{"scopes": "single_upload"}, {"scopes": "no_upload"}]
    assert sorted(algorithms.names) == [37, 40, 56, 63, 103]


async def test_news() -> None:
    caller = FakeCaller(recorded("news_ru"), [])
    (item,) = await SiteAPI(caller).news(lang="ru", limit=1)
    assert item.id == 33
    assert caller.last.query == {"start": 0, "limit": 1, "lang": "ru"}
    assert await SiteAPI(caller).news() == []
    assert caller.last.query == {"start": 0, "limit": 10}


async def test_queue_with_and_without_a_plan() -> None:
    counts = {"in_process": 1, "premium": 2, "registered": 3, "unregistered": 4}
    caller = FakeCaller(
        {"success": True, "data": {"queue": counts}}, {"queue": counts, "plan": {"plan": "p", "queue": 2}}
    )
    plain = Queue(in_process=1, premium=2, registered=3, unregistered=4)
    assert await SiteAPI(caller).queue() == plain
    assert (await SiteAPI(caller).queue()).plan == QueuePlan(plan="p", queue=2)
    assert (caller.last.path, caller.last.auth) == ("app/queue", Auth.OPTIONAL)


async def test_queue_summary() -> None:
    caller = FakeCaller({"ahead": 4, "estimated_wait_seconds": 90})
    assert await SiteAPI(caller).queue_summary() == QueueSummary(ahead=4, estimated_wait_seconds=90.0)
    assert (caller.last.path, caller.last.auth) == ("app/queue/summary", Auth.REQUIRED)


async def test_demo_with_its_filters() -> None:
    caller = FakeCaller(recorded("demo"))
    entries = await SiteAPI(caller).demo(limit=2, algorithm_id=37, options={"add_opt1": "7"})
    assert [entry.hash[:14] for entry in entries] == ["20240514123536", "20240514122600"]
    assert caller.last.query == {"start": 0, "limit": 2, "algorithm_id": 37, "options[add_opt1]": "7"}
    assert caller.last.auth is Auth.NONE


def _page(call: Call) -> Json:
    start, limit = int(call.query["start"]), int(call.query["limit"])
    return [{"id": n, "hash": f"h{n}", "title": "t"} for n in range(start, min(start + limit, 45))]


async def test_all_pages_of_the_listings() -> None:
    caller = FakeCaller(by=_page)
    api = SiteAPI(caller)
    assert len([item async for item in api.news_all(lang="en")]) == 45
    assert all(call.query["lang"] == "en" for call in caller.calls)
    assert [entry.hash async for entry in api.demo_all(start=40, algorithm_id=1)] == [f"h{n}" for n in range(40, 45)]
    assert len(await api.demo(limit=33)) == 33
    assert max(int(call.query["limit"]) for call in caller.calls) == 20


async def test_a_refusal_has_the_services_text() -> None:
    answer = (400, {"success": False, "errors": {"lang": ["must be 2 characters"]}})
    with pytest.raises(InvalidRequestError, match="must be 2 characters"):
        await SiteAPI(FakeCaller(answer)).news(lang="english")


@pytest.mark.parametrize("garbage", [b"7", b'"x"', b'{"success": true}', b"[7]", b'[{"fish": 1}, 3]', b'{"queue": 7}'])
@pytest.mark.parametrize("name", ["algorithms", "news", "queue", "queue_summary", "demo"])
async def test_garbage(name: str, garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        await getattr(SiteAPI(FakeCaller((200, garbage))), name)()
