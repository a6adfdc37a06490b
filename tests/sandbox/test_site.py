"""`app/*` as a client sees it."""

import json
from pathlib import Path
from typing import Any

import pytest

from mvsep_async.catalogue import sep_types
from mvsep_async.sandbox import Quirks, catalogue

from .conftest import Api, Open

DATA = Path(catalogue.__file__).parent / "data"
FACTS = sep_types.DATA


async def test_every_type_has_the_keys_of_the_service(open_sandbox: Open) -> None:
    api = await open_sandbox()
    recorded = json.loads((DATA / "recorded_algorithms.json").read_text(encoding="utf-8"))
    listed = [
        entry
        for scope in ("single_upload", "no_upload", "matchering_upload")
        for entry in (await api.get("app/algorithms", scopes=scope)).json()
    ]
    facts = {one["sep_type"]: one for one in json.loads((FACTS / "catalogue.json").read_text(encoding="utf-8"))}
    assert len(facts) == 117
    assert {entry["render_id"] for entry in listed} == set(facts) | {62, 68}
    assert [entry for entry in recorded if entry not in listed] == []
    keys, field_keys = set(recorded[0]), set(recorded[1]["algorithm_fields"][0])
    for entry in listed:
        assert set(entry) == keys
        for field in entry["algorithm_fields"]:
            assert set(field) == field_keys
            choices = json.loads(field["options"])
            assert (choices != {}) == (field["input_type"] == "select")
            assert field["default_key"] in (*choices, None)
            for rule in field["price_rules"]:
                assert rule["option_key"] in choices
            for condition in field["conditions"]:
                assert condition["depends_on_field_id"] in {other["id"] for other in entry["algorithm_fields"]}


async def test_groups_can_be_nested_with_a_token(open_sandbox: Open) -> None:
    api = await open_sandbox(quirks=Quirks(nested_groups=True))
    flat = (await api.get("app/algorithms")).json()
    groups = (await api.get("app/algorithms", api_token=api.sandbox.premium_token)).json()
    assert {entry["render_id"] for group in groups for entry in group["algorithms"]} == {
        entry["render_id"] for entry in flat
    }
    assert all(group["name"] for group in groups)


async def test_the_catalogue_is_as_large_as_the_real_one(open_sandbox: Open) -> None:
    api = await open_sandbox()
    assert 800_000 < len((await api.get("app/algorithms")).content) < 1_300_000


async def test_scopes_choose(open_sandbox: Open) -> None:
    api = await open_sandbox()
    default, every, none = [
        {entry["render_id"] for entry in (await api.get("app/algorithms", **params)).json()}
        for params in ({}, {"scopes": "single_upload,no_upload,matchering_upload"}, {"scopes": "nothing"})
    ]
    assert every - default == {62, 68}
    assert none == set()


@pytest.mark.parametrize(
    ("lang", "title"),
    [
        ("en", "Updates in December"),
        ("ru", "Обновления в декабре"),
        ("es", "Actualizaciones de diciembre"),
        ("xx", None),
    ],
)
async def test_news_by_language(open_sandbox: Open, lang: str, title: str | None) -> None:
    api = await open_sandbox()
    news = (await api.get("app/news", lang=lang, limit=2)).json()
    assert [item["title"] for item in news[:1]] == [title][: title is not None]
    for item in news:
        assert set(item) == {"id", "title", "lang", "text", "status", "created_at", "updated_at"}
        assert item["lang"] == lang


@pytest.mark.parametrize(
    ("params", "count"), [({}, 10), ({"limit": 3}, 3), ({"limit": 50}, 20), ({"start": 20, "limit": 20}, 4)]
)
async def test_pages_are_clipped(open_sandbox: Open, params: dict[str, int], count: int) -> None:
    api = await open_sandbox()
    assert len((await api.get("app/news", lang="en", **params)).json()) == count
    assert (await api.get("app/news", start="x")).status_code == 400


async def test_queue_counts_by_plan(open_sandbox: Open) -> None:
    api = await open_sandbox(manual=False, workers=1, job_seconds=3600)
    premium, free = api.sandbox.premium_token, api.sandbox.free_token
    for _ in range(3):
        await api.made()
    await api.made(token=free)
    queue = {"in_process": 1, "premium": 2, "registered": 1, "unregistered": 0}
    assert (await api.get("app/queue")).json() == {"queue": queue}
    with_token = (await api.get("app/queue", api_token=premium)).json()
    assert with_token == {
        "queue": queue, "current": {"plan": "premium", "queue": 2}, "free_separations": {"left": 50, "max": 50},
    }  # fmt: skip
    api.sandbox.quirks = Quirks(queue_key="plan")
    assert (await api.get("app/queue", api_token=free)).json() == {
        "queue": queue, "plan": {"plan": "registered", "queue": 1}, "free_separations": {"left": 49, "max": 50},
    }  # fmt: skip
    assert (await api.get("app/queue", api_token="wrong")).status_code == 400
    summary = (await api.get("app/queue/summary", api_token=free)).json()["data"]
    assert set(summary) == {"ahead", "estimated_wait_seconds"}
    assert summary["ahead"] == 1


async def test_demo_lists_what_was_published(open_sandbox: Open) -> None:
    api = await open_sandbox()
    published = await api.made(is_demo="1", sep_type="40", add_opt1="81")
    private = await api.made()
    for hash_ in (published, private):
        api.sandbox.finish(hash_)

    async def hashes(**params: Any) -> list[str]:
        return [entry["hash"] for entry in (await api.get("app/demo", **params)).json()]

    assert (await hashes())[0] == published
    assert len(await hashes()) == 3
    assert await hashes(start=1, limit=1) == (await hashes())[1:2]
    assert await hashes(algorithm_id=40) == [published]
    assert await hashes(algorithm_id=63) == []
    assert await hashes(**{"options[add_opt1]": "81"}) == [published]
    assert await hashes(**{"options[add_opt1]": "29"}) == []
    entry = (await api.get("app/demo")).json()[0]
    assert set(entry) == {"hash", "date", "input_audio", "size", "algorithm"}


async def test_login(open_sandbox: Open) -> None:
    api = await open_sandbox()
    answer = await api.post("app/login", email="free@example.test", password="sandbox")
    assert answer.json()["data"]["api_token"] == api.sandbox.free_token
    empty = await api.post("app/login")
    recorded = {
        "email": ["The email field is required."],
        "password": ["The password field is required."],
    }
    assert (empty.status_code, empty.json()) == (400, {"success": False, "message": recorded})
    wrong = await api.post("app/login", email="free@example.test", password="no")
    assert (wrong.status_code, list(wrong.json()["message"])) == (400, ["email"])


async def test_register_and_log_in(open_sandbox: Open) -> None:
    api = await open_sandbox()
    form = {"name": "N", "email": "n@example.com", "password": "12345678", "password_confirmation": "12345678"}
    answer = await api.post("app/register", **form)
    assert answer.json() == {"success": True, "message": "Account verification email sent to n@example.com"}
    token = (await api.post("app/login", email="n@example.com", password="12345678")).json()["data"]["api_token"]
    assert (await api.create(token=token)).status_code == 200
    for change, field in (
        ({}, "email"),
        ({"email": "x"}, "email"),
        ({"email": "o@example.com", "password": "short"}, "password"),
        ({"email": "o@example.com", "password_confirmation": "other"}, "password"),
        ({"name": ""}, "name"),
    ):
        refused = await api.post("app/register", **{**form, **change})
        assert (refused.status_code, list(refused.json()["message"])) == (400, [field])


async def test_user(open_sandbox: Open) -> None:
    api = await open_sandbox()
    user = await api.user()
    assert set(user) == {
        "name", "email", "api_token", "premium_minutes", "premium_enabled", "long_filenames_enabled", "copy_metadata",
        "current_queue", "created_at", "updated_at",
    }  # fmt: skip
    assert (user["premium_minutes"], user["premium_enabled"], user["current_queue"]) == (1000, 1, [])


@pytest.mark.parametrize(("quirk", "expected"), [("count", 2), ("null", None)])
async def test_user_quirks(open_sandbox: Open, quirk: Any, expected: Any) -> None:
    quirks = Quirks(current_queue=quirk, minutes_as_text=True, flags_as_bool=True)
    api = await open_sandbox(quirks=quirks, premium_minutes=44.5)
    for _ in range(2):
        await api.made()
    user = await api.user()
    assert user["current_queue"] == expected
    assert (user["premium_minutes"], user["premium_enabled"]) == ("42.5", True)


async def test_history_newest_first_in_pages(open_sandbox: Open) -> None:
    api = await open_sandbox(premium_limit=30)
    made = [await api.made(name=f"{number}.wav") for number in range(25)]
    await api.made(token=api.sandbox.free_token)
    token = api.sandbox.premium_token

    async def page(**params: int) -> list[dict[str, Any]]:
        answer = await api.get("app/separation_history", api_token=token, **params)
        entries: list[dict[str, Any]] = answer.json()["data"]
        return entries

    assert [entry["hash"] for entry in await page()] == made[:-11:-1]
    assert len(await page(limit=100)) == 20
    assert [entry["hash"] for entry in await page(start=20, limit=20)] == made[4::-1]
    assert set((await page())[0]) == {
        "id", "hash", "created_at", "updated_at", "job_exists", "credits", "time_left", "algorithm",
    }  # fmt: skip
    assert (await page())[0]["algorithm"]["algorithm_group"]["name"]
    api.sandbox.delete(made[-1])
    entry = (await page())[0]
    assert (entry["job_exists"], entry["credits"]) == (False, None)
    api.sandbox.advance(100 * 3600)
    assert (await page())[0]["time_left"] < 0


async def test_history_may_lag(open_sandbox: Open) -> None:
    api = await open_sandbox(quirks=Quirks(history_delay=10))
    await api.made()
    token = api.sandbox.premium_token
    assert (await api.get("app/separation_history", api_token=token)).json()["data"] == []
    assert (await api.user())["current_queue"] == []
    api.sandbox.advance(11)
    assert len((await api.get("app/separation_history", api_token=token)).json()["data"]) == 1
    assert len((await api.user())["current_queue"]) == 1


async def test_history_pages_may_be_shorter_than_asked_for(open_sandbox: Open) -> None:
    api = await open_sandbox(history_page=2)
    made = [await api.made() for _ in range(3)]
    token = api.sandbox.premium_token

    async def page(start: int) -> list[str]:
        answer = await api.get("app/separation_history", api_token=token, start=start, limit=20)
        return [entry["hash"] for entry in answer.json()["data"]]

    assert await page(0) == made[:0:-1]
    assert await page(2) == made[:1]
    api.sandbox.history_page = 20
    assert await page(0) == made[::-1]


async def test_switches(open_sandbox: Open) -> None:
    api = await open_sandbox()
    token = api.sandbox.premium_token
    for call, key, value, message in (
        ("disable_premium", "premium_enabled", 0, "successfully disabled"),
        ("enable_premium", "premium_enabled", 1, "successfully enabled"),
        ("enable_long_filenames", "long_filenames_enabled", 1, "successfully enabled"),
        ("disable_long_filenames", "long_filenames_enabled", 0, "successfully disabled"),
    ):
        answer = await api.post(f"app/{call}", api_token=token)
        assert answer.json() == {"success": True, "message": message}
        assert (await api.user())[key] == value


async def test_without_premium_there_is_one_slot_and_no_charge(open_sandbox: Open) -> None:
    api = await open_sandbox()
    await api.post("app/disable_premium", api_token=api.sandbox.premium_token)
    await api.made()
    assert (await api.create()).status_code == 400
    assert api.sandbox.minutes(api.sandbox.premium_token) == 1000


async def test_long_filenames_name_the_algorithm(open_sandbox: Open) -> None:
    api = await open_sandbox()
    await api.post("app/enable_long_filenames", api_token=api.sandbox.premium_token)
    hash_ = await api.made()
    api.sandbox.finish(hash_)
    assert "_bs-roformer-vocals-instrumental_" in (await api.status(hash_))["data"]["files"][0]["download"]


async def test_purchases_in_pages(open_sandbox: Open) -> None:
    api = await open_sandbox()
    token = api.sandbox.premium_token
    answer = (await api.get("purchases", api_token=token)).json()
    (purchase,) = answer["data"]
    assert (answer["success"], answer["total"], answer["limit"], answer["offset"]) == (True, 1, 20, 0)
    assert (purchase["credits"], purchase["status"]) == (1000, "completed")
    for params in ({"offset": 1}, {"status": "failed"}):
        assert (await api.get("purchases", api_token=token, **params)).json()["data"] == []
    assert (await api.get("purchases", api_token=token, limit=500)).json()["limit"] == 100
    assert (await api.get("purchases", api_token=api.sandbox.free_token)).json()["data"] == []


async def test_credit_alert_is_kept(open_sandbox: Open) -> None:
    api = await open_sandbox()
    token = api.sandbox.premium_token
    assert (await api.get("credit_alert", api_token=token)).json()["data"] == {"credit_threshold": 0}
    answer = await api.post("credit_alert", api_token=token, credit_threshold="25.5")
    assert answer.json() == {"success": True, "data": {"credit_threshold": 25.5}}
    assert (await api.get("credit_alert", api_token=token)).json()["data"] == {"credit_threshold": 25.5}
    for value in ("-1", "many", ""):
        assert (await api.post("credit_alert", api_token=token, credit_threshold=value)).status_code == 400


@pytest.mark.parametrize("token", [None, "wrong"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "app/user"),
        ("get", "app/separation_history"),
        ("get", "app/queue/summary"),
        ("post", "app/enable_premium"),
        ("post", "app/disable_long_filenames"),
        ("post", "separation/cancel"),
        ("post", "separation/delete"),
        ("get", "purchases"),
        ("get", "credit_alert"),
        ("post", "credit_alert"),
    ],
)
async def test_a_wrong_token_is_a_400(open_sandbox: Open, method: str, path: str, token: str | None) -> None:
    api = await open_sandbox()
    call = api.get if method == "get" else api.post
    answer = await call(path, **({"api_token": token} if token else {}))
    assert (answer.status_code, answer.json()["success"]) == (400, False)


async def add_entry(api: Api, content: bytes, **fields: str) -> Any:
    data = {"api_token": api.sandbox.premium_token, "algo_name": "Mine", "main_text": "text", **fields}
    return await api.http.post("quality_checker/add", data=data, files={"zipfile": ("r.zip", content)})


EMPTY_ZIP = b"PK\x05\x06" + bytes(18)


async def test_quality_checker(open_sandbox: Open) -> None:
    api = await open_sandbox()
    answer = (await add_entry(api, EMPTY_ZIP, password="secret", dataset_type="1", ensemble="1")).json()
    number = answer["data"]["id"]
    assert answer == {
        "success": True,
        "data": {"id": number, "link": f"{api.sandbox.url}/api/quality_checker/entry?id={number}"},
    }
    waiting = (await api.get("quality_checker/entry", id=number)).json()
    assert (waiting["proc"], waiting["msg"], waiting["sdr_vocals"]) == (0, "", None)
    assert (await api.get("quality_checker/queue")).json() == [waiting]
    api.sandbox.advance(60)
    entry = (await api.get("quality_checker/entry", id=number)).json()
    assert (entry["proc"], entry["msg"], entry["algo_name"], entry["dataset_type"]) == (1, "OK", "Mine", "1")
    assert entry["sdr_vocals"] == entry["metrics"]["sdr"]["vocals"] > 0
    assert {"main_text", "date", "proc_remote_date", "dataset_name"} <= set(entry)
    board = (await api.get("quality_checker/leaderboard", dataset_type="1", algo_name_filter="mine")).json()
    assert (board["data"], board["dataset_type"], board["sort"]) == ([entry], "1", "sdr_vocals")
    assert board["sort"] in board["sortables"]
    assert (await api.get("quality_checker/leaderboard")).json()["data"] == []
    assert "secret" not in str(entry)


async def test_quality_leaders_are_sorted(open_sandbox: Open) -> None:
    api = await open_sandbox()
    for _ in range(5):
        await add_entry(api, EMPTY_ZIP)
    api.sandbox.advance(60)
    for sort in ("sdr_bass", "sdr_drums"):
        found = [entry[sort] for entry in (await api.get("quality_checker/leaderboard", sort=sort)).json()["data"]]
        assert found == sorted(found, reverse=True)


async def test_quality_checker_refuses(open_sandbox: Open) -> None:
    api = await open_sandbox()
    for status, fields in (
        (401, {"api_token": "wrong"}),
        (400, {"api_token": ""}),
        (400, {"algo_name": ""}),
        (400, {"ensemble": "x"}),
    ):
        assert (await add_entry(api, EMPTY_ZIP, **fields)).status_code == status
    data = {"api_token": api.sandbox.premium_token, "algo_name": "a", "main_text": "b"}
    assert (await api.post("quality_checker/add", **data)).status_code == 400
    assert (await api.get("quality_checker/entry", id=1)).status_code == 400
    number = (await add_entry(api, b"no zip")).json()["data"]["id"]
    api.sandbox.advance(60)
    assert "zip" in (await api.get("quality_checker/entry", id=number)).json()["msg"]


@pytest.mark.parametrize("method", ["get", "post"])
async def test_quality_delete_needs_the_password(open_sandbox: Open, method: str) -> None:
    api = await open_sandbox()
    number = (await add_entry(api, EMPTY_ZIP, password="secret")).json()["data"]["id"]
    call = api.get if method == "get" else api.post
    for status, arguments in (
        (400, {"id": number, "password": "wrong"}),
        (400, {"password": "secret"}),
        (200, {"id": number, "password": "secret"}),
        (400, {"id": number, "password": "secret"}),
    ):
        answer = await call("quality_checker/delete", **arguments)
        assert answer.status_code == status
        if status == 200:
            assert answer.json() == {"success": True, "data": {"message": "successfully deleted"}}
