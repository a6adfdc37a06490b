"""Nothing that is logged holds a token."""

from __future__ import annotations

import gc
import importlib
import json
import logging
import pkgutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mvsep_async.http.redaction import guard_logs, hide, protect, redact
from mvsep_async.http.token import Token


def test_a_token_in_use_is_hidden_wherever_it_stands() -> None:
    token = Token("tok-123456")
    protect(token)
    assert "123456" not in hide("before tok-123456 after, 'tok-123456'")
    assert redact("a tok-123456 b") == f"a {Token.MASK} b"


@pytest.mark.parametrize("value", ["a+b/c=d é", "quo'te\"back\\slash", "per%cent and space"])
@pytest.mark.parametrize("spelt", [str, quote, partial(quote, safe=""), quote_plus, json.dumps, repr])
def test_a_token_is_hidden_however_it_is_written(value: str, spelt: Callable[[str], str]) -> None:
    token = Token(value)
    protect(token)
    assert hide(f"before {spelt(value).strip(chr(34) + chr(39))} after") == f"before {Token.MASK} after"


def test_a_token_that_begins_like_another_is_hidden_whole() -> None:
    tokens = [Token("abcd-77"), Token("abcd-77-long-88"), Token("abcd-77-long")]
    for token in tokens:
        protect(token)
    assert hide("in abcd-77-long-88, abcd-77") == f"in {Token.MASK}, {Token.MASK}"


def test_of_two_equal_tokens_the_second_stays_hidden_when_the_first_is_gone() -> None:
    first, second = Token("tok-equal"), Token("tok-equal")
    protect(first)
    protect(second)
    del first
    gc.collect()
    assert "equal" not in hide("tok-equal")
    del second
    gc.collect()
    assert hide("tok-equal") == "tok-equal"


@pytest.mark.parametrize(
    "text",
    [
        "GET https://x/api?api_token=hunter2&hash=1",
        "api_token%3Dhunter2",
        "{'api_token': 'hunter2'}",
        '{"password": "hunter2", "x": 1}',
        "password_confirmation=hunter2",
        "(b'Location', b'https://x/?API_TOKEN=hunter2')",
    ],
)
def test_parameters_that_are_secrets_are_hidden_by_name(text: str) -> None:
    assert "hunter2" not in redact(text)
    assert "x" not in text or "x" in redact(text)


@given(st.text())
def test_text_without_secrets_stays_as_it_is(text: str) -> None:
    if "token" not in text.lower() and "password" not in text.lower():
        assert redact(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "mvsep_async",
        "mvsep_async.events",
        "httpx",
        "httpcore.http11",
        "httpcore.connection",
        "httpx2",
        "httpcore2.http11",
    ],
)
def test_loggers_are_guarded_arguments_and_tracebacks_too(name: str, caplog: pytest.LogCaptureFixture) -> None:
    guard_logs()
    guard_logs()
    token = Token("tok-logged")
    protect(token)
    logger = logging.getLogger(name)
    with caplog.at_level(logging.DEBUG, logger=name):
        logger.debug("GET %s?api_token=%s", "url", "tok-logged")
        try:
            raise ValueError("tok-logged")
        except ValueError:
            logger.exception("it failed")
    assert len(caplog.records) == 2
    assert "tok-logged" not in caplog.text


@pytest.mark.parametrize("library", ["httpx", "httpx2", "httpcore", "httpcore2"])
def test_every_logger_of_the_http_libraries_is_guarded(library: str) -> None:
    for module in pkgutil.walk_packages(importlib.import_module(library).__path__, f"{library}."):
        with suppress(ImportError):  # parts that need an extra
            importlib.import_module(module.name)
    guard_logs()
    loggers = [name for name in logging.root.manager.loggerDict if name.split(".")[0] == library]
    assert loggers
    for name in loggers:
        assert any(type(each).__name__ == "_Redactor" for each in logging.getLogger(name).filters), name
