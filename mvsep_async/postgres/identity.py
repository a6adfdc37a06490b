"""The names of an account and of this machine in a shared journal, and the folder of spooled songs."""

from __future__ import annotations

import hashlib
import hmac
import socket
from pathlib import Path
from uuid import getnode

import platformdirs

from mvsep_async.errors import ConfigurationError
from mvsep_async.http.token import Token

__all__ = ["account_digest", "machine_name", "spool_folder", "token_of_account"]


def token_of_account(token: Token | None) -> Token:
    """Return the token. Raises `ConfigurationError` for none, since it tells the accounts in one database apart."""
    if token is None:
        raise ConfigurationError("a PostgreSQL journal needs an API token: set MVSEP_API_TOKEN, or pass api_token")
    return token


def account_digest(token: Token, service: str, salt: str) -> str:
    """Return the name of an account in the database, from which the token cannot be derived."""
    return hmac.new(salt.encode(), f"{token.reveal()}\n{service}".encode(), hashlib.sha256).hexdigest()


def machine_name() -> str:
    """Return a name for this machine, or container, that stays the same when it is restarted."""
    try:
        known = Path("/etc/machine-id").read_text("ascii").strip()
    except (OSError, ValueError):
        known = f"{getnode():x}"
    return hashlib.sha256(f"{socket.gethostname()}\n{known}".encode()).hexdigest()[:16]


def spool_folder(account: str) -> Path:
    """Return the folder of this machine for songs of an account that arrive as bytes."""
    return Path(platformdirs.user_state_path("mvsep-async")) / "spool" / account[:16]
