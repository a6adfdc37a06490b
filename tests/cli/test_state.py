"""Lists in the state folder survive what a full disk or a power failure leaves of a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvsep_async.cli.state import add_entry, read_entries


def test_entries_come_back_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "lists" / "account.jsonl"
    assert list(read_entries(path)) == []
    for number in range(3):
        add_entry(path, {"number": number, "name": "春 \udcff"})
    assert [entry["number"] for entry in read_entries(path)] == [0, 1, 2]
    assert {entry["name"] for entry in read_entries(path)} == {"春 \udcff"}


@pytest.mark.parametrize(
    "damaged", [b'{"number": 7, "na', b"\xff\xfe\n", b"\x00\x00\x00", b"[1]\n", b"[" * 100_000 + b"\n", b"\n\n"]
)
def test_a_damaged_line_spoils_no_other(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "account.jsonl"
    add_entry(path, {"number": 0})
    path.write_bytes(path.read_bytes() + damaged)
    add_entry(path, {"number": 1})
    assert [entry["number"] for entry in read_entries(path)] == [0, 1]


def test_without_a_folder_to_write_to_nothing_is_added(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    add_entry(tmp_path / "file" / "account.jsonl", {"number": 0})
    assert list(read_entries(tmp_path / "file" / "account.jsonl")) == []
