"""`separation/*` as a client sees it."""

import re
from typing import Any

import httpx
import pytest

from mvsep_async.sandbox import Quirks

from .conftest import Open, make_song


async def test_create_answers_hash_and_link(open_sandbox: Open, song: bytes) -> None:
    api = await open_sandbox()
    answer = await api.create(song, name="13 Dimensions.WAV")
    body = answer.json()
    assert body["success"] is True
    assert re.fullmatch(r"\d{14}-[0-9a-f]{10}-13-dimensions\.wav", body["data"]["hash"])
    assert body["data"]["link"] == f"{api.sandbox.url}/api/separation/get?hash={body['data']['hash']}"
    assert (await api.http.get(body["data"]["link"])).json()["status"] == "waiting"


async def test_hash_digits_come_from_the_content(open_sandbox: Open) -> None:
    api = await open_sandbox()
    first, second = await api.made(b"same", name="a.wav"), await api.made(b"same", name="b.wav")
    third = await api.made(b"other", name="a.wav")
    assert first.split("-")[1] == second.split("-")[1] != third.split("-")[1]


async def test_the_same_file_twice_in_a_second_is_two_jobs(open_sandbox: Open) -> None:
    api = await open_sandbox()
    assert len({await api.made(b"same") for _ in range(5)}) == 5


async def test_a_long_name_is_cut_at_its_end(open_sandbox: Open) -> None:
    api = await open_sandbox(slug_length=10)
    assert (await api.made(name="tag123 and a long title.wav")).endswith("-tag123-and.wav")


@pytest.mark.parametrize(
    ("status", "said", "changes"),
    [
        (400, "api_token", {"token": ""}),
        (401, "token", {"token": "wrong"}),
        (400, "audiofile", {"content": None}),
        (400, "Seperation type is not set", {"sep_type": "9999"}),
        (400, "sep type", {"sep_type": "x"}),
        (400, "output format", {"output_format": "6"}),
        (400, "output format", {"output_format": "-1"}),
        (400, "add_opt1", {"sep_type": "40", "add_opt1": "no such key"}),
        (400, "is_demo", {"is_demo": "maybe"}),
        (400, "url", {"content": None, "url": "ftp://host/x.mp3"}),
        (400, "remote type", {"content": None, "url": "http://127.0.0.1/x.mp3", "remote_type": "torrent"}),
        (400, "add_opt1", {"content": None, "sep_type": "62"}),
        (400, "target_audiofile", {"sep_type": "68"}),
        (400, "127.0.0.1", {"webhook_url": "https://example.com/hook"}),
    ],
)
async def test_bad_parameters_are_refused(open_sandbox: Open, status: int, said: str, changes: dict[str, Any]) -> None:
    api = await open_sandbox()
    answer = await api.create(**changes)
    assert answer.status_code == status
    body = answer.json()
    assert body["success"] is False
    assert said.replace("_", " ") in body["errors"][0].replace("_", " ")
    assert api.sandbox.jobs == []
    assert api.sandbox.unfinished(api.sandbox.premium_token) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"output_format": "4"}, "premium"),
        ({"output_format": "5"}, "premium"),
        ({"sep_type": "26"}, "Seperation type is unavailable until you purchase premium membership"),
        ({"sep_type": "28"}, "Seperation type is unavailable until you purchase premium membership"),
        ({"sep_type": "30"}, "Seperation type is unavailable until you purchase premium membership"),
    ],
)
async def test_premium_features_are_refused_to_free_accounts(
    open_sandbox: Open, changes: dict[str, str], said: str
) -> None:
    api = await open_sandbox()
    refused = await api.create(token=api.sandbox.free_token, **changes)
    assert refused.status_code == 400
    assert said in refused.json()["errors"][0]
    assert (await api.create(**changes)).status_code == 200


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("errors", {"success": False, "errors": ["Seperation type is not set"]}),
        ("message", {"success": False, "data": {"message": "Seperation type is not set"}}),
        ("fields", {"success": False, "errors": {"sep_type": ["Seperation type is not set"]}}),
        ("top", {"success": False, "message": "Seperation type is not set"}),
        ("top_fields", {"success": False, "message": {"sep_type": ["Seperation type is not set"]}}),
        ("status", {"success": False}),
    ],
)
async def test_refusals_come_in_every_seen_shape(open_sandbox: Open, style: Any, expected: dict[str, Any]) -> None:
    api = await open_sandbox(quirks=Quirks(error_style=style))
    assert (await api.create(sep_type="9999")).json() == expected


async def test_one_job_too_many_is_refused(open_sandbox: Open) -> None:
    api = await open_sandbox(premium_limit=3)
    for token, limit in ((api.sandbox.premium_token, 3), (api.sandbox.free_token, 1)):
        hashes = [await api.made(token=token) for _ in range(limit)]
        refused = await api.create(token=token)
        assert refused.status_code == 400
        text = "You already have unprocessed file in queue. Please wait before adding new file!"
        assert refused.json() == {"success": False, "errors": [text]}
        assert api.sandbox.unfinished(token) == api.sandbox.peak_unfinished(token) == limit
        api.sandbox.finish(hashes[0])
        assert (await api.create(token=token)).status_code == 200


@pytest.mark.parametrize(("refusal", "body"), [("silent", {"success": False}), ("Too much", None)])
async def test_the_text_of_the_slot_refusal_can_be_set(open_sandbox: Open, refusal: str, body: Any) -> None:
    api = await open_sandbox(premium_limit=0, refusal=refusal)
    answer = await api.create()
    assert (answer.status_code, answer.json()) == (400, body or {"success": False, "errors": ["Too much"]})


async def test_other_programs_take_slots(open_sandbox: Open) -> None:
    api = await open_sandbox()
    token = api.sandbox.free_token
    (theirs,) = api.sandbox.occupy(token)
    assert (await api.create(token=token)).status_code == 400
    assert [job["hash"] for job in (await api.user(token))["current_queue"]] == [theirs]
    assert (await api.status(theirs))["status"] == "processing"
    assert api.sandbox.release(token) == 1
    assert (await api.create(token=token)).status_code == 200


async def test_too_large_a_file_is_refused_by_plan_and_by_the_edge(open_sandbox: Open) -> None:
    api = await open_sandbox(free_upload_bytes=1000, premium_upload_bytes=2_000_000)
    by_plan = await api.create(b"x" * 2000, token=api.sandbox.free_token)
    assert (by_plan.status_code, by_plan.json()["success"]) == (413, False)
    assert (await api.create(b"x" * 2000)).status_code == 200
    by_edge = await api.create(b"x" * 4_000_000)
    assert (by_edge.status_code, by_edge.headers["content-type"]) == (413, "text/html; charset=utf-8")
    api.sandbox.quirks = Quirks(html_as_200=True)
    assert (await api.create(b"x" * 4_000_000)).status_code == 200


async def test_waiting_jobs_know_their_place(open_sandbox: Open) -> None:
    api = await open_sandbox(manual=False, workers=1, job_seconds=3600)
    hashes = [await api.made() for _ in range(4)]
    answers = [await api.status(hash_) for hash_ in hashes]
    assert [answer["status"] for answer in answers] == ["processing", "waiting", "waiting", "waiting"]
    assert answers[2]["data"] == {"queue_count": 3, "current_order": 2}


async def test_a_long_file_is_distributed_and_merged(open_sandbox: Open) -> None:
    song = make_song(seconds=10)
    api = await open_sandbox(manual=False, long_seconds=5, chunk_seconds=2.5, job_seconds=1000, stems="separate")
    hash_ = await api.made(song)
    first = await api.status(hash_)
    assert (first["status"], first["data"]["all_chunks"], first["data"]["finished_chunks"]) == ("distributing", 4, 0)
    assert {"queue_count", "current_order"} <= set(first["data"])
    api.sandbox.advance(500)
    assert (await api.status(hash_))["data"]["finished_chunks"] == 2
    api.sandbox.advance(400)
    merging = await api.status(hash_)
    assert (merging["status"], merging["data"]["finished_chunks"], merging["data"]["all_chunks"]) == ("merging", 4, 4)
    api.sandbox.advance(101)
    await api.until(hash_, "done")


async def test_a_done_job_has_the_shape_of_the_service(open_sandbox: Open, song: bytes) -> None:
    api = await open_sandbox(stems="separate")
    hash_ = await api.made(song, sep_type="63", output_format="2", name="My Song.wav")
    api.sandbox.finish(hash_)
    done = await api.until(hash_, "done")
    data = done["data"]
    assert done["success"] is True
    assert set(data) == {
        "hash", "algorithm", "algorithm_description", "size", "output_format", "tags", "input_file", "files", "date",
    }  # fmt: skip
    assert data["output_format"] == "flac (16 bit)"
    assert [file["type"] for file in data["files"]] == ["Vocals", "Bass", "Drums", "Guitar", "Piano", "Other"]
    assert data["hash"] == hash_
    assert all(set(file) == {"url", "size", "bytes", "download", "type"} for file in data["files"])
    for file in data["files"]:
        assert len((await api.http.get(file["url"])).content) == file["bytes"]
    assert data["files"][0]["download"] == "my-song_bsroformersw_vocals.flac"
    assert re.search(r"/storage/processed/\d+/my-song_bsroformersw_vocals\.flac$", data["files"][0]["url"])
    assert (await api.http.get(data["input_file"]["url"])).content == song


async def test_options_choose_the_stems(open_sandbox: Open) -> None:
    api = await open_sandbox()
    hash_ = await api.made(sep_type="37", add_opt1="6", add_opt2="1")
    api.sandbox.finish(hash_)
    files = (await api.status(hash_))["data"]["files"]
    assert [file["type"] for file in files] == ["Cymbals", "Kick", "Residual", "Snare", "Toms"]


@pytest.mark.parametrize(
    ("options", "stems"),
    [
        ({"sep_type": "40"}, ["Vocals", "Other"]),
        ({"sep_type": "40", "add_opt1": "171"}, ["Vocals", "Instrumental"]),
        (
            {"sep_type": "40", "add_opt1": "171", "add_opt3": "1"},
            ["Vocals", "Instrumental", "Vocals (fullness 1)", "Instrumental (fullness 1)", "Vocals (fullness 2)",
             "Vocals (fullness 3)"],
        ),
        (
            {"sep_type": "37", "add_opt1": "4"},
            ["Drums (full)", "Kick", "Snare", "Toms", "Ride", "Hi-hat", "Crash", "Residual"],
        ),
    ],
)  # fmt: skip
async def test_options_set_and_add_stems(open_sandbox: Open, options: dict[str, str], stems: list[str]) -> None:
    api = await open_sandbox()
    hash_ = await api.made(**options)
    api.sandbox.finish(hash_)
    assert [file["type"] for file in (await api.status(hash_))["data"]["files"]] == stems


@pytest.mark.parametrize("value", ["--5", "-", "4 0", "1_0", "٤٠", "9" * 5000])
async def test_invalid_numbers_are_refused(open_sandbox: Open, value: str) -> None:
    api = await open_sandbox()
    for name in ("sep_type", "output_format"):
        assert (await api.create(**{name: value})).status_code == 400
    for path, name in (("app/news", "start"), ("app/demo", "algorithm_id"), ("quality_checker/entry", "id")):
        assert (await api.get(path, **{name: value})).status_code == 400
    hash_ = await api.made()
    stored = f"{api.sandbox.url}/storage/temp/{hash_}"
    assert (await api.http.get(stored, params={"t": value})).status_code == 200


async def test_copies_are_the_uploaded_bytes(open_sandbox: Open) -> None:
    api = await open_sandbox()
    hash_ = await api.made(b"any bytes at all")
    api.sandbox.finish(hash_)
    files = (await api.status(hash_))["data"]["files"]
    assert [(await api.http.get(file["url"])).content for file in files] == [b"any bytes at all"] * len(files)
    assert len({file["url"] for file in files}) == len(files) >= 2


async def test_result_quirks(open_sandbox: Open) -> None:
    api = await open_sandbox(quirks=Quirks(null_tags=True, peaks=500, rich_files=True, raw_urls=True))
    hash_ = await api.made(sep_type="37")
    api.sandbox.finish(hash_)
    data = (await api.status(hash_))["data"]
    assert data["tags"] is None
    image = await api.http.get(data["image"])
    assert (image.headers["content-type"], image.content[1:4]) == ("image/png", b"PNG")
    drums = next(file for file in data["files"] if file["type"] == "Drums (full)")
    assert len(drums["peaks"]) == 500
    assert (drums["name"], drums["stem"], drums["link"]) == ("Drums (full)", "drums (full)", drums["url"])
    assert drums["url"].endswith("_Drums (full) – é.mp3")
    assert (await api.http.get(drums["url"])).status_code == 200
    api.sandbox.quirks = Quirks(empty_files=True, escaped_slashes=True)
    data = (await api.status(hash_))["data"]
    assert data["files"] == []
    assert data["input_file"]["url"].startswith("http:\\/\\/127.0.0.1")


@pytest.mark.parametrize("sep_type", ["39", "64"])
async def test_speech_recognition_gives_text(open_sandbox: Open, song: bytes, sep_type: str) -> None:
    api = await open_sandbox(stems="separate")
    hash_ = await api.made(song, sep_type=sep_type)
    api.sandbox.finish(hash_)
    data = (await api.until(hash_, "done"))["data"]
    files = data["files"]
    assert [file["type"] for file in files] == ["speech", "speech"]
    assert data["transcription"] in (await api.http.get(files[0]["url"])).text
    text, timed = [await api.http.get(file["url"]) for file in files]
    assert (text.headers["content-type"], text.text[:3]) == ("text/plain; charset=utf-8", "2.0")
    assert timed.json()["segments"][0]["end"] == 2.0


@pytest.mark.parametrize("sep_type", ["80", "113", "114", "127"])
async def test_notes_come_as_midi(open_sandbox: Open, song: bytes, sep_type: str) -> None:
    api = await open_sandbox(stems="separate")
    hash_ = await api.made(song, sep_type=sep_type)
    api.sandbox.finish(hash_)
    (file,) = (await api.until(hash_, "done"))["data"]["files"]
    assert (await api.http.get(file["url"])).content.startswith(b"MThd")


async def test_a_generator_takes_no_file(open_sandbox: Open) -> None:
    api = await open_sandbox(stems="separate")
    hash_ = await api.made(None, sep_type="62", add_opt1="calm piano", add_opt2="2", output_format="1")
    api.sandbox.finish(hash_)
    data = (await api.until(hash_, "done"))["data"]
    assert "input_file" not in data
    assert len((await api.http.get(data["files"][0]["url"])).content) == pytest.approx(2 * 44100 * 4, abs=100)


async def test_matchering_takes_two_files(open_sandbox: Open, song: bytes) -> None:
    api = await open_sandbox(stems="separate")
    fields = {"api_token": api.sandbox.premium_token, "sep_type": "68"}
    files = {"target_audiofile": ("My Target.wav", song), "reference_audiofile": ("ref.wav", song)}
    answer = await api.http.post("separation/create", data=fields, files=files)
    hash_ = answer.json()["data"]["hash"]
    assert hash_.endswith("-my-target.wav")
    api.sandbox.finish(hash_)
    assert len((await api.until(hash_, "done"))["data"]["files"]) == 1


@pytest.mark.parametrize(
    "settings", [{"stems": "separate"}, {"fail_names": ("bad*",)}, {"fail_sep_types": frozenset({40})}]
)
async def test_some_jobs_fail(open_sandbox: Open, settings: dict[str, Any]) -> None:
    api = await open_sandbox(manual=False, job_seconds=0, **settings)
    hash_ = await api.made(b"<html>no audio", name="Bad song.mp3")
    failed = await api.until(hash_, "failed")
    assert failed["data"]["message"]
    assert api.sandbox.unfinished(api.sandbox.premium_token) == 0


async def test_a_file_that_breaks_off_fails_while_it_is_separated(open_sandbox: Open) -> None:
    api = await open_sandbox(manual=False, stems="separate", job_seconds=0)
    flac = make_song("FLAC", seconds=20)
    hash_ = await api.made(flac[: len(flac) // 2] + bytes(len(flac) // 2), name="song.flac")
    assert (await api.until(hash_, "failed"))["data"]["message"]


async def test_a_status_can_be_overridden(open_sandbox: Open) -> None:
    api = await open_sandbox()
    hash_ = await api.made()
    api.sandbox.show(hash_, "queued", message="hm")
    assert (await api.status(hash_))["status"] == "queued"
    api.sandbox.show(hash_, None)
    assert (await api.status(hash_))["status"] == "waiting"
    api.sandbox.start(hash_)
    assert (await api.status(hash_))["status"] == "processing"
    api.sandbox.fail(hash_, "broken")
    assert await api.status(hash_) == {"success": True, "status": "failed", "data": {"message": "broken"}}


async def test_deleted_and_unknown_jobs_are_not_found(open_sandbox: Open) -> None:
    api = await open_sandbox()
    hash_ = await api.made()
    api.sandbox.finish(hash_)
    (url, *_) = [file["url"] for file in (await api.status(hash_))["data"]["files"]]
    api.sandbox.delete(hash_)
    for gone in (hash_, "20240101000000-0000000000-x.mp3"):
        answer = await api.status(gone)
        assert (answer["success"], answer["status"]) == (False, "not_found")
    assert (await api.http.get(url)).status_code == 404
    assert (await api.get("separation/get")).status_code == 400


async def test_a_job_may_be_not_found_at_first(open_sandbox: Open) -> None:
    api = await open_sandbox(quirks=Quirks(early_not_found=10))
    hash_ = await api.made()
    assert (await api.status(hash_))["status"] == "not_found"
    api.sandbox.advance(11)
    assert (await api.status(hash_))["status"] == "waiting"


async def test_files_are_served_only_where_the_job_is(open_sandbox: Open) -> None:
    api = await open_sandbox(quirks=Quirks(host_bound=False))
    hash_ = await api.made()
    api.sandbox.finish(hash_)
    data = (await api.http.get(f"http://localhost:{api.sandbox.port}/api/separation/get?hash={hash_}")).json()["data"]
    for url in (data["files"][0]["url"], data["input_file"]["url"]):
        assert (await api.http.get(url)).status_code == 200
        assert (await api.http.get(url.replace("127.0.0.1", "localhost"))).status_code == 404


async def test_a_job_is_known_only_where_it_was_accepted(open_sandbox: Open) -> None:
    api = await open_sandbox()
    hash_ = await api.made()
    elsewhere = f"http://localhost:{api.sandbox.port}/api/separation/get"
    assert (await api.http.get(elsewhere, params={"hash": hash_})).json()["status"] == "not_found"
    api.sandbox.quirks = Quirks(host_bound=False)
    assert (await api.http.get(elsewhere, params={"hash": hash_})).json()["status"] == "waiting"


async def test_create_may_hand_the_job_to_another_host(open_sandbox: Open) -> None:
    api = await open_sandbox()
    api.sandbox.quirks = Quirks(link_host=f"localhost:{api.sandbox.port}")
    data = (await api.create()).json()["data"]
    assert data["link"].startswith("http://localhost:")
    assert (await api.status(data["hash"]))["status"] == "not_found"
    assert (await api.http.get(data["link"])).json()["status"] == "waiting"


async def test_cancel_before_processing_gives_the_credits_back(open_sandbox: Open) -> None:
    api = await open_sandbox(stems="separate")
    hash_ = await api.made(make_song(seconds=130))
    assert api.sandbox.minutes(api.sandbox.premium_token) == 998
    answer = await api.post("separation/cancel", api_token=api.sandbox.premium_token, hash=hash_)
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert api.sandbox.minutes(api.sandbox.premium_token) == 1000
    assert (await api.status(hash_))["status"] == "not_found"
    job = api.sandbox.job(hash_)
    assert (job.cancelled, job.credits, job.refunded) == (True, 2, 2)
    history = await api.get("app/separation_history", api_token=api.sandbox.premium_token)
    assert [(entry["job_exists"], entry["credits"]) for entry in history.json()["data"]] == [(False, None)]


async def test_cancel_while_processing_keeps_the_credits(open_sandbox: Open) -> None:
    api = await open_sandbox()
    hash_ = await api.made()
    api.sandbox.start(hash_)
    api.sandbox.quirks = Quirks(cancel_processing="refuse", after_cancel="cancelled")
    fields = {"api_token": api.sandbox.premium_token, "hash": hash_}
    refused = await api.post("separation/cancel", **fields)
    assert (refused.status_code, refused.json()["success"]) == (200, False)
    api.sandbox.quirks = Quirks(after_cancel="cancelled")
    assert (await api.post("separation/cancel", **fields)).json()["success"] is True
    assert (await api.status(hash_))["status"] == "cancelled"
    assert api.sandbox.minutes(api.sandbox.premium_token) == 999


async def test_cancel_of_what_cannot_be_cancelled(open_sandbox: Open) -> None:
    api = await open_sandbox()
    done = await api.made()
    api.sandbox.finish(done)
    running = await api.made()
    premium, free = api.sandbox.premium_token, api.sandbox.free_token
    for token, hash_ in ((premium, done), (free, running), (premium, "none"), ("wrong", running), (premium, "")):
        answer = await api.post("separation/cancel", api_token=token, hash=hash_)
        assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert api.sandbox.job(running).state == "waiting"


async def test_the_mirror_costs_a_credit(open_sandbox: Open) -> None:
    api = await open_sandbox()
    hash_ = await api.made()
    assert (await api.get("separation/get", hash=hash_, mirror=1)).status_code == 400
    answer = await api.get("separation/get", hash=hash_, mirror=1, api_token=api.sandbox.premium_token)
    assert answer.json()["status"] == "waiting"
    assert api.sandbox.minutes(api.sandbox.premium_token) == 998
    await api.get("separation/get", hash="none", mirror=1, api_token=api.sandbox.premium_token)
    assert api.sandbox.minutes(api.sandbox.premium_token) == 998
    refused = await api.get("separation/get", hash=hash_, mirror=1, api_token=api.sandbox.free_token)
    assert (refused.status_code, refused.json()["success"]) == (400, False)


@pytest.mark.parametrize(
    ("sep_type", "options", "credits"),
    [
        ("48", {}, 2),
        ("48", {"add_opt2": "8"}, 3),
        ("40", {"add_opt2": "8"}, 4),
        ("26", {}, 4),
        ("28", {}, 8),
        ("30", {}, 12),
    ],
)  # fmt: skip
async def test_prices(open_sandbox: Open, sep_type: str, options: dict[str, str], credits: int) -> None:
    api = await open_sandbox(stems="separate")
    await api.made(make_song(seconds=120, rate=8000), sep_type=sep_type, **options)
    assert api.sandbox.jobs[0].credits == credits


async def test_an_account_without_credits_is_not_premium(open_sandbox: Open) -> None:
    api = await open_sandbox(premium_minutes=1)
    hash_ = await api.made()
    assert api.sandbox.minutes(api.sandbox.premium_token) == 0
    assert (await api.create()).status_code == 400
    api.sandbox.finish(hash_)
    await api.made()
    assert api.sandbox.jobs[-1].credits == 0


async def test_an_interrupted_upload_takes_no_slot(open_sandbox: Open) -> None:
    api = await open_sandbox()

    async def cut() -> Any:
        yield b'--b\r\nContent-Disposition: form-data; name="api_token"\r\n\r\n'
        raise ConnectionResetError

    headers = {"content-type": "multipart/form-data; boundary=b", "content-length": "100000"}
    with pytest.raises(ConnectionResetError):
        await api.http.post("separation/create", content=cut(), headers=headers)
    assert (await api.user())["current_queue"] == []
    assert api.sandbox.jobs == []


async def test_unknown_methods_and_paths(open_sandbox: Open) -> None:
    api = await open_sandbox()
    wrong: list[httpx.Response] = [await api.get("separation/create"), await api.get("separation/none")]
    assert [answer.status_code for answer in wrong] == [405, 404]
    assert all("message" in answer.json() for answer in wrong)


async def test_success_can_be_text_everywhere(open_sandbox: Open) -> None:
    api = await open_sandbox(quirks=Quirks(success_as_text=True))
    assert (await api.create()).json()["success"] == "true"
    assert (await api.create(sep_type="9999")).json()["success"] == "false"
    answer = await api.get("app/user", api_token=api.sandbox.premium_token)
    assert answer.json()["success"] == "true"


@pytest.mark.parametrize(("style", "expected"), [("number", 9), ("text", "9"), ("absent", None)])
async def test_the_exact_size_can_be_text_or_absent(open_sandbox: Open, style: Any, expected: Any) -> None:
    api = await open_sandbox(quirks=Quirks(file_bytes=style))
    hash_ = await api.made(b"123456789")
    api.sandbox.finish(hash_)
    assert (await api.status(hash_))["data"]["files"][0].get("bytes") == expected


async def test_a_finished_job_can_be_deleted_by_its_owner(open_sandbox: Open) -> None:
    api = await open_sandbox()
    premium, free = api.sandbox.premium_token, api.sandbox.free_token
    hash_ = await api.made()
    unfinished = await api.post("separation/delete", api_token=premium, hash=hash_)
    assert (unfinished.status_code, unfinished.json()["success"]) == (400, False)
    api.sandbox.finish(hash_)
    url = (await api.status(hash_))["data"]["files"][0]["url"]
    for token, name in ((free, hash_), (premium, "none"), (premium, ""), ("wrong", hash_)):
        assert (await api.post("separation/delete", api_token=token, hash=name)).status_code == 400
    assert (await api.post("separation/delete", api_token=premium, hash=hash_)).json()["success"] is True
    assert (await api.status(hash_))["status"] == "not_found"
    assert (await api.http.get(url)).status_code == 404
    history = (await api.get("app/separation_history", api_token=premium)).json()["data"]
    assert [(entry["hash"], entry["job_exists"]) for entry in history] == [(hash_, False)]
    again = await api.post("separation/delete", api_token=premium, hash=hash_)
    assert (again.status_code, again.json()["errors"]) == (400, ["File or File Hash not found"])
