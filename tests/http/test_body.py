"""Bodies are decoded in pieces, up to the limit."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.errors import ProtocolError
from mvsep_async.http.body import Decoder


def decoded(encoding: str, body: bytes, piece: int) -> bytes:
    decoder = Decoder(encoding, "app/user")
    parts = [part for at in range(0, len(body), piece) for part in decoder.feed(body[at : at + piece])]
    decoder.end()
    return b"".join(parts)


@given(st.binary(max_size=3000), st.integers(1, 200), st.sampled_from(["gzip", "x-gzip", " GZip "]))
def test_gzip_is_undone_however_it_is_cut(data: bytes, piece: int, encoding: str) -> None:
    assert decoded(encoding, gzip.compress(data), piece) == data


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_a_plain_body_stays_as_it_is(encoding: str) -> None:
    assert decoded(encoding, b"as it is", 3) == b"as it is"


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "deflate"])
def test_an_encoding_that_was_not_asked_for_is_an_error(encoding: str) -> None:
    with pytest.raises(ProtocolError, match="not asked for"):
        Decoder(encoding, "app/user")


@pytest.mark.parametrize(
    "body", [b"no gzip", gzip.compress(b"x" * 100, mtime=0)[:-10], gzip.compress(b"x" * 100, mtime=0)[:-4] + b"1234"]
)
def test_broken_or_cut_gzip_is_an_error(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="garbled"):
        decoded("gzip", body, 7)


def test_a_bomb_is_decompressed_in_small_steps() -> None:
    deflate = zlib.compressobj(9, wbits=31)
    bomb = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(64)) + deflate.flush()
    assert len(bomb) < 100_000
    parts = Decoder("gzip", "app/user").feed(bomb)
    assert max(len(next(parts)) for _ in range(100)) <= 64 * 1024
