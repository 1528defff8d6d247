"""How things stand, as one plain dict that page, JSON, CLI and metrics all render.

Rule 1. A state is earned: it comes from the age of the last success against what was agreed, never from the last exit.
On time up to the agreed freshness, late up to twice that, failing beyond; `action` where a person must look; `never`
before the first success; `paused` where somebody said so.
Rule 2. The whole is the worst of its parts. Rule 3. References and counts only, never a value.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hub import __version__, batch, freshness, note, reasons
from hub.canonical import b64
from hub.copies import copies
from hub.desk import PUSH
from hub.framework import HUB, Framework, Member
from hub.freshness import Feeds, Sources
from hub.keys import KeyEnd
from hub.ledger import Ledger
from hub.nightly import Nightly
from hub.pauses import REASONS
from hub.reconcile.worklist import Difference
from hub.store.base import Pause, Store

VERIFIED = "verified"
_PUSHED = {"zh": "推送", "en": "pushed"}
DAYS = 30
UNWITNESSED = timedelta(hours=24)
ORDER = ("action", "failing", "late", "never", "paused", "on_time")
_PROBLEMS = {
    "failed": ("需要人工查看", "needs a person"),
    "incomplete": ("来源暂时无法读取", "the source could not be read"),
}
_WORDS = {
    "ok": ("一切正常", "All is well"),
    "late": ("有辖区晚于约定时间", "A jurisdiction is later than agreed"),
    "failing": ("有辖区数据中断", "A jurisdiction's data has stopped"),
    "action": ("有辖区需要处理", "A jurisdiction needs you"),
    "never": ("尚未运行", "Nothing has run yet"),
    "paused": ("其余辖区一切正常", "All others are well"),
}


class Status:
    """Builds the dict; holds nothing between calls."""

    def __init__(
        self,
        ledger: Ledger,
        witnessed: Callable[[], dict[str, Any]],
        framework: Callable[[], Framework],
        nightly: Nightly,
        feeds: Sources,
        ends: Callable[[], list[KeyEnd]],
        paused: Callable[[], Mapping[str, Pause]],
        read: Mapping[tuple[str, str], Mapping[str, str]],
        *,
        demo: bool,
        zone: ZoneInfo,
        zone_name: str,
        pull_every: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        """`feeds` says which feeds write each jurisdiction's records, `ends` when keys are to be replaced, `paused` which
        declarations are not read now, `read` what kind of records a declaration's feed holds, in words."""
        self._ends, self._paused = ends, paused
        self._witnessed, self._read = witnessed, read
        self._ledger, self._framework, self._nightly, self._feeds = ledger, framework, nightly, feeds
        self._demo, self._zone, self._zone_name, self._every, self._now = demo, zone, zone_name, pull_every, now
        self._store: Store = ledger.store

    def frame(self) -> dict[str, Any]:
        """Which hub this is and what time it has: what can be told without reading how things stand."""
        now = self._now().astimezone(self._zone)
        hub = {"name": self._ledger.hub, "demo": self._demo, "time_zone": self._zone_name, "version": __version__}
        return {"hub": hub, "as_of": now.isoformat(timespec="seconds")}

    def __call__(self, agreements: Collection[str] = ()) -> dict[str, Any]:
        """The whole, or what concerns some agreements: their members, nights and differences."""
        now = self._now().astimezone(self._zone)
        asked = [name for name in self._framework().agreements if not agreements or name in agreements]
        members = {
            code: member for code, member in self._framework().members.items()
            if not agreements or not set(asked).isdisjoint(self._framework().agreements_of(code, now.date()))
        }  # fmt: skip
        ends = [each for each in self._ends() if each.owner == HUB or each.owner in members]
        open_ = self._open(agreements)
        jurisdictions = sorted(
            (self._jurisdiction(member, now, open_, ends) for member in members.values()),
            key=lambda row: (ORDER.index(row["state"]), row["code"]),
        )
        numbers = {
            "records_today": self._store.stored_on(now.date().isoformat()),
            "records": sum(
                row.standing for row in self._store.series() if row.origin != HUB and (row.origin in members or not agreements)
            ),
            "open_differences": len(open_),
            "quarantined": sum(row["quarantined"] for row in jurisdictions),
        }
        ledger, night = self._ledger_part(), self._night_part(asked)
        return self.frame() | {
            "verdict": self._verdict(
                jurisdictions,
                ledger,
                night["agreements"],
                numbers["open_differences"],
                [each for each in ends if each.owner == HUB],
                now,
            ),
            "numbers": numbers,
            "ledger": ledger,
            "night": night,
            "copies": [each._asdict() | {"at": _iso(each.at)} for each in copies(self._store, members)],
            "jurisdictions": jurisdictions,
            "key_ends": [each.plain() | {"words": each.words} for each in ends],
            "events": self._events(members, asked),
        }

    # --- one jurisdiction ---

    def jurisdiction(self, code: str, agreements: Collection[str] = ()) -> dict[str, Any]:
        """One member as the whole tells it, with the differences of some agreements or all."""
        now, open_ = self._now().astimezone(self._zone), self._open(agreements)
        return self._jurisdiction(self._framework().members[code], now, open_, self._ends())

    def _open(self, agreements: Collection[str]) -> list[Difference]:
        return [each for each in self._store.differences() if each.agreement in agreements or not agreements]

    def _jurisdiction(
        self, member: Member, now: datetime, open_: list[Difference], all_ends: list[KeyEnd]
    ) -> dict[str, Any]:
        framework = self._framework()
        names = framework.agreements_of(member.code, now.date())
        agreed = min((framework.agreements[name].freshness for name in names), default=timedelta(days=1))
        pulls = freshness.of(self._store, member, self._feeds)
        success = pulls.success
        ends = [each for each in all_ends if each.owner == member.code]
        series = [row for row in self._store.series() if row.origin == member.code]
        pause = self._pause(member)
        return {
            "code": member.code,
            "name": dict(member.name),
            "tier": member.tier,
            "agreements": list(names),
            "custody": member.custody,
            "state": "action" if any(each.left < 0 for each in ends) else self._state(pulls, agreed, now, pause),
            "paused": _told(pause) if pause else None,
            "last_success": _iso(success),
            "last_attempt": _iso(pulls.attempt),
            "problem": self._problem(pulls, self._ledger.chain(member.code).voids, ends),
            "agreed_hours": int(agreed.total_seconds() // 3600),
            "fresh_until": _iso(success + agreed if success else None),
            "next": self._next(member, pulls, pause),
            "records": sum(row.standing for row in series),
            "retracted": sum(row.retracted for row in series),
            "quarantined": self._store.quarantined(member.code),
            "voided": [list(each) for each in self._ledger.chain(member.code).voids],
            "differences": sum(any(ref.origin == member.code for ref in each.refs) for each in open_),
            "read": sum(pull.read for pull in pulls.newest),
            "stored": sum(pull.stored for pull in pulls.newest),
            "strip": self._strip(member.code, now.date()),
        }

    def _pause(self, member: Member) -> Pause | None:
        """The pause of a declaration that writes this member's records; its own one first."""
        paused = self._paused()
        if member.custody == "self" or not paused:
            return None
        writing = [code for code, _ in sorted(self._feeds.get(member.code, ())) if code in paused]
        return paused[member.code if member.code in writing else writing[0]] if writing else None

    def _next(self, member: Member, pulls: Feeds, pause: Pause | None) -> str | None:
        if pause is not None:
            resumes = date.fromisoformat(pause.until) if pause.until else None
            return _iso(datetime.combine(resumes, time(), self._zone)) if resumes else None
        return _iso(pulls.attempt + self._every) if pulls.attempt and member.custody == "custodial" else None

    def _state(self, pulls: Feeds, agreed: timedelta, now: datetime, pause: Pause | None) -> str:
        if pause is not None:
            return "paused"
        if any(pull.state == "failed" for pull in pulls.newest):
            return "action"
        if pulls.success is None:
            return "never" if pulls.attempt is None else "failing"
        age = now - pulls.success
        return "on_time" if age <= agreed else "late" if age <= 2 * agreed else "failing"

    def _problem(self, pulls: Feeds, voids: tuple[tuple[int, int], ...], ends: list[KeyEnd]) -> dict[str, str] | None:
        told = [(_PROBLEMS.get(pull.state, ("提示", "note")), pull.problem) for pull in pulls.newest if pull.problem]
        zh = [f"{words[0]}：{reasons.chinese(problem)}" for words, problem in told]
        en = [f"{words[1]}: {problem}" for words, problem in told]
        for first, last in voids:
            zh.append(f"已声明第 {first}–{last} 号条目作废（密钥曾被盗用）")
            en.append(f"disowned its entries {first}–{last}: somebody else had its key")
        words = [each.words for each in ends if each.words]
        zh, en = zh + [each["zh"] for each in words], en + [each["en"] for each in words]
        return {"zh": "；".join(zh), "en": "; ".join(en)} if zh else None

    def _strip(self, code: str, today: date) -> list[dict[str, str]]:
        first = today - timedelta(days=DAYS - 1)
        days = dict(self._store.pull_days(code, first.isoformat()))
        strip = []
        for n in range(DAYS):
            day = (first + timedelta(days=n)).isoformat()
            # A run that never came to its end (the machine went down) earns nothing.
            states = set(days.get(day, ())) - {"running"}
            if not states:
                state = "never"
            elif states == {"succeeded"}:
                state = "on_time"
            else:
                state = "late" if "succeeded" in states else "failing"
            strip.append({"day": day, "state": state})
        return strip

    # --- the whole ---

    def _verdict(
        self, rows: list[dict[str, Any]], ledger: dict[str, Any], nights: list[dict[str, Any]], differences: int,
        ends: list[KeyEnd], now: datetime,
    ) -> dict[str, Any]:  # fmt: skip
        """The gravest fact is the sentence, the others are named beside its cause: nothing is well while any of them is not."""
        if {row["state"] for row in rows} <= {"never"}:
            told = ("首次拉取完成后显示状态", "The state shows once the first pull is done")
            return _fact("never", *_WORDS["never"], None, told)
        facts = [*_ledger_facts(ledger, now), *_city_facts(rows), *_night_facts(nights), *_key_facts(ends)]
        if differences:
            # On time is not yet well: what a night left open needs a person.
            told = (f"{differences} 项差异待处理", f"{differences} differences are open")
            if not facts:
                told = (f"数据按约更新，{told[0]}", f"Data is on time; {told[1]}")
            facts.append(_fact("late", *told, None, ("查看有差异的辖区", "See the jurisdictions with differences")))
        worst = min(facts, key=lambda fact: ORDER.index(fact["state"]), default=None)
        others = [fact for fact in facts if fact is not worst]
        paused = [row for row in rows if row["state"] == "paused"]
        if worst is None:
            state = "paused" if paused else "ok"
            worst = _fact(state, *_WORDS[state], _causes(paused) if paused else None, None)
        if paused:
            worst["zh"] += f"；{len(paused)} 个辖区已暂停"
            worst["en"] += f"; {len(paused)} paused"
        if others:
            worst["cause"] = {lang: sep.join(filter(None, [(worst["cause"] or {}).get(lang), *(x[lang] for x in others)]))
                              for lang, sep in (("zh", "；"), ("en", "; "))}  # fmt: skip
        return worst

    def _ledger_part(self) -> dict[str, Any]:
        _, head = self._ledger.checkpoint()
        last = self._store.entry(head.size - 1) if head.size else None
        return {
            "size": head.size,
            "root": b64(head.root),
            "checkpoint_at": batch.parse(self._ledger.hub, note.parse(last.note).text).time if last else None,
            "witnessed": self._witnessed(),
        } | verification(self._store)

    def _night_part(self, asked: Sequence[str]) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        for name in sorted(asked):
            agreement = self._framework().agreements[name]
            nights = self._store.nights(name, 5)
            last = next((night for night in nights if night.state == "committed"), None)
            running = next((night for night in nights if night.state == "claimed"), None)
            rows.append(
                {
                    "agreement": name,
                    "name": dict(agreement.name),
                    "next": _iso(self._nightly.next(name)),
                    "running": running.result.get("progress") if running else None,
                    "missed": self._nightly.missed(name),
                    "last": {
                        "night": last.night,
                        "state": "incomplete" if last.result.get("not_compared") else last.state,
                        "committed_at": last.result.get("committed_at"),
                        "compared": last.result.get("compared"),
                        "repaired": last.result.get("repaired"),
                        "differences": last.result.get("open_differences"),
                        "not_compared": last.result.get("not_compared", []),
                    }
                    if last
                    else None,
                }
            )
        return {"next": min((row["next"] for row in rows), default=None), "agreements": rows}

    def _events(self, members: Mapping[str, Member], asked: Sequence[str]) -> list[dict[str, Any]]:
        names = {code: member.name for code, member in members.items()}
        events: list[dict[str, Any]] = []
        for pull in self._store.last_pulls():
            if pull.code not in names and len(members) < len(self._framework().members):
                continue
            name = names.get(pull.code, {"zh": pull.code, "en": pull.code})
            feed = self._read.get((pull.code, pull.feed), _PUSHED if pull.feed == PUSH else dict.fromkeys(_PUSHED, pull.feed))
            good = pull.state == "succeeded"
            events.append(
                {
                    "at": pull.ended or pull.started,
                    "state": "ok" if good else "action" if pull.state == "failed" else "late",
                    "code": pull.code,
                    "zh": f"{name['zh']}{feed['zh']}："
                    + (f"读取 {pull.read} 条，新增或变更 {pull.stored} 条" if good else reasons.chinese(pull.problem)),
                    "en": f"{name['en']}, {feed['en']}: "
                    + (f"read {pull.read}, stored {pull.stored}" if good else pull.problem),
                }
            )
        for agreement in (self._framework().agreements[name] for name in asked):
            for night in self._store.nights(agreement.id, 3):
                if night.state == "committed":
                    result, zh, en = night.result, agreement.name["zh"], agreement.name["en"]
                    compared, still_open = result["compared"], result["open_differences"]
                    events.append(
                        {
                            "at": result["committed_at"],
                            "state": "late" if result["not_compared"] else "ok",
                            "code": None,
                            "zh": f"{zh} {night.night} 对账：比对 {compared} 条，待处理差异 {still_open} 项",
                            "en": f"{en} {night.night}: compared {compared}, {still_open} open differences",
                        }
                    )
        return sorted(events, key=lambda event: datetime.fromisoformat(event["at"]), reverse=True)


def _told(pause: Pause) -> dict[str, Any]:
    """A pause in full: reason in both languages, by whom, since when, until which day."""
    said = REASONS.get(pause.reason, {"zh": pause.reason, "en": pause.reason})
    return {"reason": pause.reason, "who": pause.who, "since": pause.since, "until": pause.until or None, **said}


def _fact(
    state: str, zh: str, en: str, cause: Mapping[str, str] | None, action: tuple[str, str] | None
) -> dict[str, Any]:
    """One thing that keeps the whole from being well, as a verdict: how grave, in words, why, and what to do."""
    told = dict(zip(("zh", "en"), action, strict=True)) if action else None
    return {"state": state, "zh": zh, "en": en, "cause": dict(cause) if cause else None, "action": told}


def _city_facts(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    concerned = [row for row in rows if row["state"] not in ("on_time", "paused")]
    if concerned:
        worst = next(state for state in ORDER if state in {row["state"] for row in concerned})
        state = "late" if worst == "never" else worst
        zh, en = _WORDS[state]
        yield _fact(
            state, f"{len(concerned)} 个辖区需要关注：{zh}", f"{len(concerned)} of {len(rows)} jurisdictions: {en}",
            _causes(concerned), ("查看下表首行，按提示处理", "See the first rows below and do what they say"),
        )  # fmt: skip


def verification(store: Store) -> dict[str, Any]:
    """How the ledger verified last: when and to which size it held, and why it did not since; of each None where never."""
    last = json.loads(store.get(VERIFIED) or "{}")
    return {"verified_at": last.get("at"), "verified_size": last.get("size"), "problem": last.get("problem")}


def _ledger_facts(ledger: Mapping[str, Any], now: datetime) -> Iterator[dict[str, Any]]:
    if ledger["problem"]:
        yield _fact("action", "账本校验未通过", "The ledger did not verify", ledger["problem"],
                    ("停止签发，按运维手册处理", "Sign nothing more; follow the operations guide"))  # fmt: skip
    since = ledger["witnessed"]["since"]
    if since and now - datetime.fromisoformat(since) > UNWITNESSED:
        yield _fact("late", f"账本自 {since[:10]} 起未获见证", f"The ledger is unwitnessed since {since[:10]}", None,
                    ("联系见证方", "Ask the witnesses"))  # fmt: skip


def _night_facts(nights: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in nights:
        name, last = one["name"], one["last"]
        if one["missed"]:
            yield _fact("late", f"{name['zh']} {one['missed']} 夜间对账未完成", f"{name['en']}: night {one['missed']} not done",
                        None, ("查看运行日志，或运行 reconcile", "See the hub's log, or run `reconcile`"))  # fmt: skip
        elif last and last["not_compared"]:
            codes = ", ".join(last["not_compared"])
            yield _fact("late", f"{name['zh']}昨夜有 {len(last['not_compared'])} 个辖区未比对",
                        f"{name['en']}: {len(last['not_compared'])} not compared last night", {"zh": codes, "en": codes},
                        ("查看对账报告", "See the night's report"))  # fmt: skip


def _key_facts(ends: list[KeyEnd]) -> Iterator[dict[str, Any]]:
    words = next((each.words for each in ends if each.words), None)
    if words:
        yield _fact("late", "平台签名密钥需更换", "The hub's own signing key is to be replaced", words,
                    ("运行 keys rotate hub", "Run `keys rotate hub`"))  # fmt: skip


def _causes(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {
        "zh": "；".join(f"{row['name']['zh']}：{_say(row, 'zh')}" for row in rows[:5]),
        "en": "; ".join(f"{row['name']['en']}: {_say(row, 'en')}" for row in rows[:5]),
    }


def _say(row: dict[str, Any], lang: str) -> str:
    if row["paused"]:
        why, until = row["paused"][lang], row["paused"]["until"]
        told, ends = (f"已暂停，{why}", f"，{until} 恢复") if lang == "zh" else (f"paused, {why}", f", goes on {until}")
        return told + (ends if until else "")
    if row["problem"]:
        return str(row["problem"][lang])
    words = {
        "late": ("晚于约定时间", "later than agreed"),
        "failing": ("超过约定时间两倍", "more than twice the agreed time"),
        "never": ("从未成功", "never succeeded"),
        "action": ("需要处理", "needs attention"),
    }
    return words[row["state"]][lang == "en"]


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
