"""Pauses: a jurisdiction that is not read for a while, by whom and why.

Rule 1. Paused is what the hub itself reads; what a city's own node pushes is not the hub's to stop.
Rule 2. The reason is one of REASONS and never free text: it stands on pages and in the journal.
Rule 3. With a date, reading goes on by itself on that day in the hub's time zone. A read under way is finished.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

from hub.accounts import Accounts
from hub.errors import HubError
from hub.intake import stamp
from hub.store.base import Pause, Store

REASONS: Mapping[str, Mapping[str, str]] = {
    "maintenance": {"zh": "系统维护", "en": "maintenance"},
    "migration": {"zh": "系统割接", "en": "move to another system"},
    "data_quality": {"zh": "数据质量核查", "en": "check of data quality"},
    "agreement": {"zh": "协议约定", "en": "as the agreement says"},
    "other": {"zh": "其他", "en": "other"},
}


class Pauses:
    """The pauses of one store; `pulled` gives the codes of the declarations that the hub itself reads."""

    def __init__(
        self, store: Store, accounts: Accounts, pulled: Callable[[], Collection[str]], zone: ZoneInfo,
        now: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._store, self._accounts, self._pulled, self._zone, self._now = store, accounts, pulled, zone, now

    def of(self, code: str) -> Pause | None:
        """The pause in force of a declaration, or None."""
        return self.all().get(code)

    def all(self) -> dict[str, Pause]:
        """Every pause in force, by code."""
        today = self._today().isoformat()
        return {each.code: each for each in self._store.pauses() if not each.until or today < each.until}

    def _today(self) -> date:
        return self._now().astimezone(self._zone).date()

    def pause(self, code: str, reason: str, who: str, until: str = "") -> Pause:
        """Read this jurisdiction no more, until somebody resumes it or the day `until` comes; HubError where that cannot be."""
        self._refuse_others(code)
        if reason not in REASONS:
            raise HubError(f"{reason!a} is no reason to pause", where=code, mend=f"one of {', '.join(REASONS)}")
        if until and not self._comes(until):
            raise HubError("not a day to come", where=f"{code}: until", mend="write a later day as YYYY-MM-DD, or leave it out")
        made = Pause(code, reason, self._accounts.find(who).name, stamp(self._now()), until)
        with self._store.transaction():
            self._store.put_pause(made)
            self._accounts.note(who, "paused", f"jurisdiction {code}", f"{reason} until {until}" if until else reason)
        return made

    def resume(self, code: str, who: str) -> None:
        """Let reading go on; HubError where it is not paused."""
        name = self._accounts.find(who).name
        with self._store.transaction():
            if self.of(code) is None:
                raise HubError("is not paused", where=code, mend="nothing to do")
            self._store.drop_pause(code)
            self._accounts.note(name, "resumed", f"jurisdiction {code}")

    def _refuse_others(self, code: str) -> None:
        if code not in self._pulled():
            raise HubError("is not read by this hub", where=code, mend="pause what `serve` pulls; an own node stops by itself")

    def _comes(self, until: str) -> bool:
        try:
            day = date.fromisoformat(until)
        except ValueError:
            return False
        return day.isoformat() == until and day > self._today()
