"""Where a job is asked for, and where else."""

from __future__ import annotations

import pytest

from mvsep_async.http.hosts import Host
from mvsep_async.jobs.facts import Facts
from mvsep_async.models.separation import Created
from mvsep_async.polling.address import Endpoint, addresses, is_of_url

LONG = "20230327071601-0e3e5c6c85-some-song.mp3"
SHORT = "n2AwBjy4KsFZfqqR"
BASE = Host.parse("https://mvsep.com")
LOCAL = Host.parse("http://127.0.0.1:8000")


def test_an_uploaded_job_is_asked_for_at_the_host_that_has_it_and_then_at_the_others() -> None:
    de = Host.parse("https://de.mvsep.com")
    found = addresses(Facts(hash=LONG, host=de), fetching=False, uploaded=True, base=BASE)
    assert [address.host for address in found][:2] == [de, BASE]
    assert {address.endpoint for address in found} == {Endpoint.GET}
    assert {address.hash for address in found} == {LONG}
    assert len(found) == len({address.host for address in found}) == 6


def test_a_url_job_is_asked_for_at_both_endpoints() -> None:
    fetching = addresses(Facts(remote=SHORT), fetching=True, uploaded=False, base=LOCAL)
    assert [(address.endpoint, address.hash) for address in fetching] == [
        (Endpoint.GET_REMOTE, SHORT),
        (Endpoint.GET, SHORT),
    ]
    at_once = addresses(Facts(hash=LONG), fetching=False, uploaded=False, base=LOCAL)
    assert [address.endpoint for address in at_once] == [Endpoint.GET, Endpoint.GET_REMOTE]
    fetched = addresses(Facts(hash=LONG, remote=SHORT), fetching=False, uploaded=False, base=LOCAL)
    assert [address.endpoint for address in fetched] == [Endpoint.GET]


@pytest.mark.parametrize(
    ("hash", "link", "remote"),
    [
        (SHORT, "https://mvsep.com/api/separation/get-remote?hash=n2", True),
        (SHORT, None, True),
        (SHORT, "https://mvsep.com/api/separation/get?hash=n2", False),
        (LONG, "https://mvsep.com/api/separation/get?hash=20", False),
        (LONG, None, False),
        (LONG, "https://mvsep.com/api/separation/get-remote?hash=20", False),
        (SHORT, "https:\\/\\/mvsep.com\\/api\\/separation\\/get?hash=n2", False),
        (SHORT, "http://[", True),
    ],
)
def test_hash_and_link_of_a_create_say_whether_the_song_is_still_fetched(
    hash: str, link: str | None, remote: bool
) -> None:
    assert Created(hash=hash, link=link).is_remote is remote


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://music.test/a/Some%20Song.mp3?dl=1", True),
        ("https://music.test/some_song.wav", True),
        ("https://music.test/Some Song (live at the very long named hall).mp3", True),
        ("https://music.test/song.mp3", False),
        ("https://music.test/other.mp3", False),
        ("https://music.test/", False),
    ],
)
def test_a_hash_is_recognised_by_the_file_name_in_the_url(url: str, same: bool) -> None:
    assert is_of_url(LONG, url) is same
    assert not is_of_url(SHORT, url)
