"""The catalogue is fetched once and cached on disk."""

import json
from pathlib import Path

import anyio
import pytest

from mvsep_async.catalogue.cache import DiskCache
from mvsep_async.catalogue.catalogue import Catalogue
from mvsep_async.catalogue.store import SCOPES, CatalogueStore
from mvsep_async.errors import AuthenticationError, InvalidRequestError, MVSepError, TransportError
from mvsep_async.http.call import Json
from tests.catalogue.samples import entry

SCOPED = {"single_upload": [entry(40, "A")], "no_upload": [entry(62, "B")], "matchering_upload": [entry(68, "C")]}
ADDRESS = "https://mvsep.com"


class Service:
    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.errors: dict[str | None, MVSepError] = {}

    async def __call__(self, scopes: str | None = None, /) -> Catalogue:
        self.asked.append(scopes)
        await anyio.lowlevel.checkpoint()
        if scopes in self.errors:
            raise self.errors[scopes]
        return Catalogue(SCOPED[scopes or "single_upload"])


async def test_all_scopes_are_fetched_once_for_all_callers() -> None:
    service = Service()
    store = CatalogueStore(service)
    found: list[Catalogue] = []

    async def get() -> None:
        found.append(await store.get())

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(get)
    assert service.asked == list(SCOPES)
    assert found[0].names == {40: "A", 62: "B", 68: "C"}
    assert all(catalogue is found[0] for catalogue in found)


async def test_refresh_fetches_again() -> None:
    service = Service()
    store = CatalogueStore(service)
    first = await store.get()
    assert await store.get() is first
    assert await store.get(refresh=True) is not first
    assert len(service.asked) == 2 * len(SCOPES)


async def test_a_rejected_scope_has_no_algorithms() -> None:
    service = Service()
    service.errors["no_upload"] = InvalidRequestError("no such scope")
    assert (await CatalogueStore(service).get()).names == {40: "A", 68: "C"}


async def test_a_failed_fetch_is_retried_by_the_next_caller() -> None:
    service = Service()
    service.errors["matchering_upload"] = TransportError("cut")
    store = CatalogueStore(service)
    with pytest.raises(TransportError):
        await store.get()
    service.errors.clear()
    assert len(await store.get()) == 3


async def test_a_catalogue_on_disk_is_used_until_it_expires(tmp_path: Path) -> None:
    now = [1000.0]

    async def names(service: Service) -> dict[int, str]:
        cache = DiskCache(tmp_path / "deep" / "er", ADDRESS)
        return (await CatalogueStore(service, cache=cache, max_age=60, now=lambda: now[0]).get()).names

    first, second, third = Service(), Service(), Service()
    expected = await names(first)
    now[0] += 60
    assert await names(second) == expected
    now[0] += 1
    assert await names(third) == expected
    assert (len(first.asked), len(second.asked), len(third.asked)) == (3, 0, 3)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"format": 1}', b'{"format": 9, "saved_at": 1000}',
    b'{"format": 1, "saved_at": %s}' % (b"9" * 400)])  # fmt: skip
async def test_a_damaged_cache_is_fetched_again_and_replaced(tmp_path: Path, damage: bytes) -> None:
    cache = DiskCache(tmp_path, ADDRESS)
    cache.path.write_bytes(damage)
    service = Service()
    assert len(await CatalogueStore(service, cache=cache, now=lambda: 1000.0).get()) == 3
    assert len(service.asked) == 3
    assert await cache.load(now=1000.0, max_age=1) is not None


@pytest.mark.parametrize("algorithms", [[7], {"fish": 1}, [], None])
async def test_a_cache_without_algorithms_is_ignored(tmp_path: Path, algorithms: object) -> None:
    cache = DiskCache(tmp_path, ADDRESS)
    cache.path.write_text(json.dumps({"format": 1, "saved_at": 1000, "algorithms": algorithms}))
    assert await cache.load(now=1000.0, max_age=10) is None


async def test_a_cache_from_the_future_is_ignored(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, ADDRESS)
    await cache.save(Catalogue(SCOPED["no_upload"]), now=1000.0)
    assert await cache.load(now=999.0, max_age=10) is None


async def test_an_old_catalogue_is_used_while_the_service_is_down(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, ADDRESS)
    await cache.save(Catalogue(SCOPED["no_upload"]), now=0.0)
    service = Service()
    service.errors["single_upload"] = TransportError("no network")
    assert (await CatalogueStore(service, cache=cache, now=lambda: 10**9).get()).names == {62: "B"}
    service.errors["single_upload"] = AuthenticationError("no")
    with pytest.raises(AuthenticationError):
        await CatalogueStore(service, cache=cache, now=lambda: 10**9).get()


async def test_a_catalogue_from_the_future_is_used_while_the_service_is_down(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, ADDRESS)
    await cache.save(Catalogue(SCOPED["no_upload"]), now=1000.0)
    service = Service()
    service.errors["single_upload"] = TransportError("no network")
    assert (await CatalogueStore(service, cache=cache, now=lambda: 10.0).get()).names == {62: "B"}


async def test_a_catalogue_that_cannot_be_encoded_is_not_stored(tmp_path: Path) -> None:
    deep: Json = "end"
    for _ in range(100_000):
        deep = [deep]
    cache = DiskCache(tmp_path, ADDRESS)
    await cache.save(Catalogue([{"render_id": 1, "name": "A", "deep": deep}]), now=1000.0)
    assert not list(tmp_path.iterdir())


async def test_a_folder_that_is_not_writable_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = DiskCache(tmp_path / "file" / "folder", ADDRESS)
    assert len(await CatalogueStore(Service(), cache=cache).get()) == 3


async def test_a_failed_save_leaves_the_old_file_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = DiskCache(tmp_path, ADDRESS)
    await cache.save(Catalogue(SCOPED["no_upload"]), now=1000.0)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("json.dump", full)
        await cache.save(Catalogue(SCOPED["single_upload"]), now=1001.0)
    kept = await cache.load(now=1002.0, max_age=10)
    assert kept is not None
    assert kept.names == {62: "B"}
    assert list(tmp_path.iterdir()) == [cache.path]


def test_each_address_has_its_own_cache(tmp_path: Path) -> None:
    assert DiskCache(tmp_path, ADDRESS).path != DiskCache(tmp_path, "http://127.0.0.1:8000").path
