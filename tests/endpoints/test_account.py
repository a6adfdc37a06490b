import pytest

from mvsep_async.endpoints.account import AccountAPI
from mvsep_async.errors import AuthenticationError, InvalidRequestError, ProtocolError
from mvsep_async.http.call import Auth, Call, Json
from mvsep_async.http.token import Token
from tests.endpoints.fake import FakeCaller
from tests.recorded import recorded

TOKEN = "0123456789abcdef0123456789abcd"


async def test_login_gives_the_account_with_its_token() -> None:
    caller = FakeCaller({"success": True, "data": {"name": "n", "email": "e@x", "api_token": TOKEN}})
    user = await AccountAPI(caller).login("e@x", "secret")
    assert user.api_token == Token(TOKEN)
    call = caller.last
    assert (call.method, call.path, call.auth) == ("POST", "app/login", Auth.NONE)
    assert call.form == {"email": "e@x", "password": Token("secret")}


async def test_the_recorded_login() -> None:
    user = await AccountAPI(FakeCaller(recorded("login_200"))).login("e@x", "secret")
    assert (user.premium_minutes, user.api_token) == (54.0, None)


async def test_wrong_credentials_name_the_fields() -> None:
    with pytest.raises(AuthenticationError, match="email: The email field is required") as caught:
        await AccountAPI(FakeCaller((400, recorded("login_400")))).login("", "")
    assert caught.value.fields == {
        "email": ("The email field is required.",),
        "password": ("The password field is required.",),
    }
    assert caught.value.status == 400


@pytest.mark.parametrize("status", [200, 400, 401])
async def test_wrong_credentials_without_fields(status: int) -> None:
    answer = (status, {"success": False, "message": "Wrong credentials"})
    with pytest.raises(AuthenticationError, match=r"this email and password: Wrong credentials$") as caught:
        await AccountAPI(FakeCaller(answer)).login("e@x", "hunter2")
    assert "hunter2" not in str(caught.value)


async def test_register_is_not_repeatable_and_confirms_the_password() -> None:
    caller = FakeCaller(recorded("register_200"), recorded("register_200"))
    api = AccountAPI(caller)
    message = await api.register("n", "e@x", "secret")
    assert message.message == "Account verification email sent to user@example.com"
    assert caller.last.form == {
        "name": "n",
        "email": "e@x",
        "password": Token("secret"),
        "password_confirmation": Token("secret"),
    }
    assert (caller.last.auth, caller.last.repeatable) == (Auth.NONE, False)
    await api.register("n", "e@x", "secret", "other")
    assert (caller.last.form or {})["password_confirmation"] == Token("other")


async def test_an_invalid_form_names_the_fields() -> None:
    answer = (400, {"success": False, "message": {"email": ["has been taken"]}})
    with pytest.raises(InvalidRequestError) as caught:
        await AccountAPI(FakeCaller(answer)).register("n", "e@x", "secret")
    assert caught.value.fields == {"email": ("has been taken",)}


async def test_user() -> None:
    caller = FakeCaller({"success": True, "data": {"email": "e@x", "premium_minutes": "42.5", "premium_enabled": "1"}})
    assert (await AccountAPI(caller).user()).is_premium
    assert (caller.last.method, caller.last.path, caller.last.auth) == ("GET", "app/user", Auth.REQUIRED)


REFUSALS: list[Json] = [
    {"success": False, "message": "Invalid user"},
    {"success": False, "message": {"api_token": ["is wrong"]}},
    {"success": False},
]


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("name", ["user", "history", "enable_premium", "disable_long_filenames"])
async def test_a_400_where_only_the_token_can_be_wrong(name: str, refusal: Json) -> None:
    with pytest.raises(AuthenticationError, match="MVSEP_API_TOKEN") as caught:
        await getattr(AccountAPI(FakeCaller((400, refusal))), name)()
    assert caught.value.status == 400


async def test_a_400_that_names_another_field_is_not_a_wrong_token() -> None:
    answer = (400, {"success": False, "errors": {"limit": ["may not be greater than 20"]}})
    with pytest.raises(InvalidRequestError) as caught:
        await AccountAPI(FakeCaller(answer)).history()
    assert "limit" in caught.value.fields


async def test_history_and_its_limits() -> None:
    caller = FakeCaller(recorded("separation_history"))
    entries = await AccountAPI(caller).history(limit=2)
    assert [entry.id for entry in entries] == [1074358, 1074357]
    assert caller.last.query == {"start": 0, "limit": 2}
    assert caller.last.auth is Auth.REQUIRED


def _page(call: Call) -> Json:
    start, limit = int(call.query["start"]), int(call.query["limit"])
    return {"success": True, "data": [{"id": n, "hash": f"h{n}"} for n in range(start, min(start + limit, 47))]}


async def test_more_than_a_page_takes_several_calls() -> None:
    caller = FakeCaller(by=_page)
    assert [entry.id for entry in await AccountAPI(caller).history(start=5, limit=30)] == list(range(5, 35))
    assert [call.query for call in caller.calls] == [{"start": 5, "limit": 20}, {"start": 25, "limit": 10}]
    assert [entry.hash async for entry in AccountAPI(caller).history_all()] == [f"h{n}" for n in range(47)]


@pytest.mark.parametrize(
    "name", ["enable_premium", "disable_premium", "enable_long_filenames", "disable_long_filenames"]
)
async def test_the_switches(name: str) -> None:
    caller = FakeCaller(recorded("enable_premium"))
    message = await getattr(AccountAPI(caller), name)()
    assert message.message == "successfully enabled"
    call = caller.last
    assert (call.method, call.path, call.auth, call.form) == ("POST", f"app/{name}", Auth.REQUIRED, {})


@pytest.mark.parametrize("garbage", [b"", b"[1, 2", b'{"success": true, "data": {"fish": 1}}', b"7", b'{"data": [7]}'])
@pytest.mark.parametrize("name", ["user", "history"])
async def test_garbage(name: str, garbage: bytes) -> None:
    with pytest.raises(ProtocolError):
        await getattr(AccountAPI(FakeCaller((200, garbage))), name)()


async def test_purchases_come_in_pages_of_a_hundred() -> None:
    def page(call: Call) -> Json:
        start, limit = int(call.query["offset"]), int(call.query["limit"])
        return {"success": True, "data": [{"id": n, "credits": "100"} for n in range(start, min(start + limit, 130))]}

    caller = FakeCaller(by=page)
    purchases = await AccountAPI(caller).purchases(limit=120, status="paid")
    assert [purchase.id for purchase in purchases] == list(range(120))
    assert purchases[0].credits == 100
    assert [call.query for call in caller.calls] == [
        {"offset": 0, "limit": 100, "status": "paid"},
        {"offset": 100, "limit": 20, "status": "paid"},
    ]
    assert caller.last.path == "purchases"
    assert caller.last.auth is Auth.REQUIRED
    assert len([purchase async for purchase in AccountAPI(caller).purchases_all()]) == 130


@pytest.mark.parametrize(
    "answer", [[{"id": 1}], {"data": [{"id": 1}]}, {"data": {"purchases": [{"id": 1}], "total": 1}}]
)
async def test_purchases_in_every_shape(answer: Json) -> None:
    assert [purchase.id for purchase in await AccountAPI(FakeCaller(answer, [])).purchases()] == [1]


async def test_purchases_without_an_id_are_distinguished_by_their_fields() -> None:
    answer = [{"created_at": "a", "plan": "x"}, {"created_at": "a", "plan": "y"}]
    assert len(await AccountAPI(FakeCaller(answer, [])).purchases()) == 2


async def test_the_credit_alert() -> None:
    caller = FakeCaller({"success": True, "data": {"credit_threshold": "50"}}, {"success": True, "message": "saved"})
    alert = await AccountAPI(caller).credit_alert()
    assert (alert.credit_threshold, alert.enabled) == (50, True)
    assert (caller.last.method, caller.last.path, caller.last.auth) == ("GET", "credit_alert", Auth.REQUIRED)
    assert (await AccountAPI(caller).set_credit_alert(0)).message == "saved"
    assert (caller.last.method, caller.last.form) == ("POST", {"credit_threshold": 0})
    with pytest.raises(InvalidRequestError, match="-1"):
        await AccountAPI(caller).set_credit_alert(-1)


async def test_a_threshold_that_the_service_rejects_is_not_a_wrong_token() -> None:
    answer = (400, {"success": False, "errors": ["too high"]})
    with pytest.raises(InvalidRequestError, match="too high"):
        await AccountAPI(FakeCaller(answer)).set_credit_alert(10**9)


def test_the_repr_is_short_and_hides_the_caller() -> None:
    assert repr(AccountAPI(FakeCaller())) == "AccountAPI()"


async def test_unknown_keys_beside_the_account_are_kept() -> None:
    user = await AccountAPI(FakeCaller({"success": True, "now": "today", "data": {"name": "N", "new": 1}})).user()
    assert (user.name, user.extra) == ("N", {"now": "today", "new": 1})


@pytest.mark.parametrize("unreadable", [None, {"id": 3, "hash": None}, {"id": 3}, {"id": 3, "hash": ""}])
async def test_a_page_of_the_history_without_a_readable_entry_does_not_end_it(unreadable: Json) -> None:
    pages: list[Json] = [[{"hash": "a"}], [unreadable], [unreadable, {"hash": "b"}], []]
    account = AccountAPI(FakeCaller(*({"success": True, "data": page} for page in pages)))
    assert [entry.hash async for entry in account.history_all()] == ["a", "b"]


@pytest.mark.parametrize("nothing", [[], {}])
async def test_an_empty_answer_without_data_is_not_the_end_of_the_history(nothing: Json) -> None:
    with pytest.raises(ProtocolError, match="has no data"):
        await AccountAPI(FakeCaller(nothing)).history()
    for empty in ([], {}):
        assert await AccountAPI(FakeCaller({"success": True, "data": empty})).history() == []
