"""Who may use the console: local accounts, their sessions, and the journal of what they did and looked at.

Rule 1. A password is kept as its argon2id hash (RFC 9106), a session as the SHA-256 of its token: who steals the store is
not let in by it.
Rule 2. Wrong passwords cost time: from the fifth in a row on the account waits, twice as long each time. An unknown account
and a wrong password give the same answer after the same work.
Rule 3. A role may what the roles before it may; agreements and jurisdictions narrow it. Which groups of a record somebody
sees is not decided here but by the framework, for the jurisdictions the account works for.
Rule 4. The journal names the account, never a value of a record. What is refused because no account fits it names nobody:
people type passwords into the wrong field.
Units: seconds, and times as ISO 8601 with an offset.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hub.canonical import b64url
from hub.errors import HubError, KeyRefused, NotFound
from hub.intake import stamp
from hub.store.base import Account, Noted, Session, Store

ROLES = ("viewer", "coordinator", "administrator")
IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
FREE_TRIES = 5
LONGEST_WAIT = 900
SHORTEST = 12

_name = re.compile(r"[\w.@-]{1,64}").fullmatch
_hasher = PasswordHasher()


def may(account: Account, role: str) -> bool:
    """Whether the account has this role, or one above it."""
    return ROLES.index(account.role) >= ROLES.index(role)


def sees(account: Account, agreements: Iterable[str]) -> bool:
    """Whether any of these agreements is one that the account works in; without a list of its own it works in all."""
    return not account.agreements or not set(account.agreements).isdisjoint(agreements)


def works_for(account: Account, origins: Iterable[str]) -> bool:
    """Whether any of these jurisdictions is one that the account works for; without a list of its own it works for all."""
    return not account.jurisdictions or not set(account.jurisdictions).isdisjoint(origins)


class Accounts:
    """The accounts of one store."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store, self._now = store, now

    # --- by the operator ---

    def add(
        self, name: str, password: str, role: str, *, person: str = "", agreements: tuple[str, ...] = (),
        jurisdictions: tuple[str, ...] = (), who: str,
    ) -> Account:  # fmt: skip
        """Make an account; HubError where the name is taken or the password too weak."""
        if not _name(name):
            raise HubError("not the name of an account", where=f"{name!a}", mend="letters, digits, . _ @ - (at most 64)")
        if role not in ROLES:
            raise HubError(f"{role!a} is no role", where=name, mend=f"one of {', '.join(ROLES)}")
        _refuse_weak(name, password)
        made = Account(name, person, role, agreements, jurisdictions, _hasher.hash(password), created=stamp(self._now()))
        with self._store.transaction():
            if self._store.account(name):
                raise HubError("there is an account of this name", where=name, mend="`users list` shows them")
            self._store.put_account(made)
            self.note(who, "user_added", f"account {name}", role)
        return made

    def change(self, name: str, who: str, **what: object) -> Account:
        """Change role, person, agreements, jurisdictions or `blocked`; ends its sessions, so that the change holds at once."""
        with self._store.transaction():
            changed = replace(self.find(name), **what)  # type: ignore[arg-type]
            self._store.put_account(changed)
            self._store.drop_sessions(account=name)
            self.note(who, "user_changed", f"account {name}", " ".join(sorted(what)))
        return changed

    def set_password(self, name: str, password: str, who: str) -> None:
        """Give an account another password, and end its sessions and its waiting."""
        _refuse_weak(name, password)
        hashed = _hasher.hash(password)
        with self._store.transaction():
            self._store.put_account(replace(self.find(name), password=hashed, failures=0, wait_until=0))
            self._store.drop_sessions(account=name)
            self.note(who, "password_set", f"account {name}")

    def find(self, name: str) -> Account:
        """An account by name; NotFound otherwise."""
        found = self._store.account(name)
        if found is None:
            raise NotFound("no such account", where=name, mend="`users list` shows them")
        return found

    def all(self) -> list[Account]:
        return self._store.accounts()

    # --- at the door ---

    def enter(self, name: str, password: str) -> str:
        """The token of a new session; KeyRefused where name and password do not fit, or the account waits or is blocked."""
        return self.admit(self.recognise(name, password).name)

    def recognise(self, name: str, password: str) -> Account:
        """The account of this name and password; KeyRefused where they do not fit, or it waits or is blocked."""
        account = self._store.account(name) if _name(name) else None
        seconds = int(self._now().timestamp())
        if account is not None and account.wait_until > seconds:
            raise KeyRefused(
                f"too many wrong passwords; this account waits {account.wait_until - seconds} seconds more", mend="wait"
            )
        fits = _fits(account.password if account else _nobody(), password)
        if account is None or not fits or account.blocked:
            self._refused(account, seconds)
            raise KeyRefused("name and password do not fit", mend="try again, or ask your administrator")
        return account

    def _refused(self, account: Account | None, seconds: int) -> None:
        with self._store.transaction():
            if account is None:
                self.note("-", "login_refused", "no account")
                return
            # Read again under the lock: two wrong tries at once are two.
            failures = self.find(account.name).failures + 1
            wait = min(30 << max(0, failures - FREE_TRIES), LONGEST_WAIT) if failures >= FREE_TRIES else 0
            self._store.put_account(replace(self.find(account.name), failures=failures, wait_until=seconds + wait))
            self.note("-", "login_refused", f"account {account.name}")

    def admit(self, name: str) -> str:
        """The token of a new session for an account that was recognised otherwise; KeyRefused where it is blocked."""
        token, now = secrets.token_urlsafe(32), self._now()
        with self._store.transaction():
            account = self.find(name)
            if account.blocked:
                raise KeyRefused("this account is blocked", mend="ask your administrator")
            self._store.put_account(replace(account, failures=0, wait_until=0))
            self._store.drop_sessions(before=stamp(now - LONGEST))
            self._store.put_session(Session(_mark(token), name, stamp(now), stamp(now)))
            self.note(name, "login")
        return token

    def session(self, token: str) -> Account | None:
        """Whose session it is, or None where there is none any more."""
        session, now = self._store.session(_mark(token)), self._now()
        if session is None:
            return None
        seen = datetime.fromisoformat(session.seen)
        if now - seen > IDLE or now - datetime.fromisoformat(session.started) > LONGEST:
            return None
        account = self._store.account(session.account)
        if account is None or account.blocked:
            return None
        if now - seen > timedelta(minutes=1):
            with self._store.transaction():
                # Only where it is still there: a logout that came between must hold.
                if self._store.session(session.mark):
                    self._store.put_session(replace(session, seen=stamp(now)))
        return account

    def leave(self, token: str) -> None:
        """End a session."""
        with self._store.transaction():
            session = self._store.session(_mark(token))
            if session is not None:
                self._store.drop_sessions(mark=session.mark)
                self.note(session.account, "logout")

    # --- the journal ---

    def note(self, who: str, what: str, about: str = "", detail: str = "") -> None:
        """Note what an account did or looked at; inside a transaction."""
        self._store.note(Noted(stamp(self._now()), who, what, about, detail))

    def noted(self, who: str, what: str, about: str = "", detail: str = "") -> None:
        """Note it in a transaction of its own."""
        with self._store.transaction():
            self.note(who, what, about, detail)

    def journal(self, limit: int, before: int | None = None, **where: str) -> list[Noted]:
        """The newest notes first, older than number `before`; `where` by who, what or about."""
        return self._store.notes(limit, before, **where)


def form_token(token: str) -> str:
    """What a form carries to show that this session's own page sent it."""
    return b64url(hmac.digest(token.encode(), b"form", "sha256")).decode()


def _mark(token: str) -> str:
    return sha256(token.encode()).hexdigest()


@cache
def _nobody() -> str:
    return _hasher.hash(secrets.token_urlsafe(16))


def _fits(hashed: str, password: str) -> bool:
    try:
        return _hasher.verify(hashed, password)
    except (VerificationError, InvalidHashError):
        return False


def _refuse_weak(name: str, password: str) -> None:
    """Length is what counts (NIST SP 800-63B 5.1.1); what is in the name is no secret."""
    if len(password) < SHORTEST or len(set(password)) < 5 or name.lower() in password.lower():
        raise HubError("the password is too weak", where=name,
                       mend=f"at least {SHORTEST} characters, 5 different ones, without the account's name")  # fmt: skip
    if len(password) > 1024:
        raise HubError("the password is too long", where=name, mend="at most 1,024 characters")
