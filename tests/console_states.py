"""States of a hub as the status page meets them: ten jurisdictions in two agreements, and extremes."""

from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

NOW = datetime.fromisoformat("2026-11-23T10:12:30+08:00")
HOSTILE = '"><script>document.title="owned"</script><img src=x onerror=alert(1)>{{7*7}}\'`</title>&amp;'

_CITIES = (
    ("330400", "嘉兴市", "Jiaxing", "city", "jiahu"),
    ("330500", "湖州市", "Huzhou", "city", "jiahu"),
    ("330483", "桐乡市", "Tongxiang", "county", "jiahu"),
    ("330503", "南浔区", "Nanxun", "county", "jiahu"),
    ("330521", "德清县", "Deqing", "county", "jiahu"),
    ("330483100", "乌镇镇", "Wuzhen", "town", "jiahu"),
    ("330503102", "练市镇", "Lianshi", "town", "jiahu"),
    ("330522", "长兴县", "Changxing", "county", "zhewan"),
    ("330523", "安吉县", "Anji", "county", "zhewan"),
    ("341882", "广德市", "Guangde", "county", "zhewan"),
)
_AGREEMENTS = (
    ("jiahu", {"zh": "嘉湖综合执法一体化合作", "en": "Jiaxing–Huzhou integrated enforcement"}, "02:00"),
    (
        "zhewan",
        {"zh": "长三角浙皖三县（市）综合执法协同发展", "en": "Changxing–Anji–Guangde joint enforcement"},
        "02:30",
    ),
)


def _iso(**before: int) -> str:
    return (NOW - timedelta(**before)).isoformat()


def _strip(*bad: tuple[int, str], ran: int = 30) -> list[dict[str, str]]:
    """Thirty days to today: on time but for `bad` (days ago, state); nothing before the last `ran` days."""
    states = dict(bad)
    return [
        {
            "day": (NOW - timedelta(days=ago)).date().isoformat(),
            "state": states.get(ago, "on_time") if ago < ran else "never",
        }
        for ago in range(29, -1, -1)
    ]


def _event(at: str, state: str, code: str | None, zh: str, en: str) -> dict[str, Any]:
    return {"at": at, "state": state, "code": code, "zh": zh, "en": en}


def _city(index: int, row: tuple[str, str, str, str, str]) -> dict[str, Any]:
    code, zh, en, tier, agreement = row
    return {
        "code": code,
        "name": {"zh": zh, "en": en},
        "tier": tier,
        "agreements": [agreement],
        "custody": "self" if code == "330521" else "custodial",
        "state": "on_time",
        "last_success": _iso(minutes=12 + index),
        "last_attempt": _iso(minutes=12 + index),
        "problem": None,
        "paused": None,
        "agreed_hours": 24,
        "fresh_until": (NOW - timedelta(minutes=12 + index) + timedelta(hours=24)).isoformat(),
        "next": (NOW + timedelta(minutes=48)).isoformat(),
        "records": 3120 + 211 * index,
        "retracted": index % 3,
        "quarantined": 0,
        "voided": [],
        "differences": 0,
        "read": 60 + index,
        "stored": 4 * index,
        "strip": _strip(*([(index * 3 + 2, "late")] if index % 3 == 0 else [])),
    }


def well() -> dict[str, Any]:
    """Everything on time."""
    cities = [_city(index, row) for index, row in enumerate(_CITIES)]
    return {
        "hub": {"name": "hub.jiahu.example", "demo": False, "time_zone": "Asia/Shanghai", "version": "0.1.0"},
        "as_of": NOW.isoformat(),
        "verdict": {
            "state": "ok",
            "zh": "全部 10 个辖区按约定时间同步",
            "en": "All 10 jurisdictions are in time with their agreements",
            "cause": None,
            "action": None,
        },
        "numbers": {"records_today": 312, "records": 48213, "open_differences": 0, "quarantined": 0},
        "ledger": {
            "size": 4821,
            "root": "9f2c1e0b7a5d4c3f8e6a9b0d1c2e3f4a5b6c7d8e9f0a1b2c3d4e5f60718293a7",
            "checkpoint_at": _iso(minutes=12),
            "verified_at": "2026-11-23T02:04:00+08:00",
            "verified_size": 4821,
            "problem": None,
            "witnessed": {"quorum": 0, "size": 0, "by": [], "since": None, "witnesses": []},
        },
        "night": {
            "next": "2026-11-24T02:00:00+08:00",
            "agreements": [
                {
                    "agreement": agreement,
                    "name": name,
                    "next": f"2026-11-24T{at}:00+08:00",
                    "running": None,
                    "missed": None,
                    "last": {
                        "night": "2026-11-23",
                        "state": "succeeded",
                        "committed_at": f"2026-11-23T{at[:3]}{int(at[3:]) + 4:02}:11+08:00",
                        "compared": 31400,
                        "repaired": 0,
                        "differences": 0,
                        "not_compared": [],
                    },
                }
                for agreement, name, at in _AGREEMENTS
            ],
        },
        "jurisdictions": cities,
        "key_ends": [],
        "events": [
            _event(
                _iso(minutes=12),
                "ok",
                "330400",
                "嘉兴市：读取 60 条，入账 53 条",
                "Jiaxing: read 60, stored 53",
            ),
            _event("2026-11-23T02:34:11+08:00", "ok", None, "浙皖对账：比对 31,400 条", "zhewan: compared 31,400"),
            _event("2026-11-23T02:04:11+08:00", "ok", None, "嘉湖对账：比对 31,400 条", "jiahu: compared 31,400"),
        ],
    }


def trouble() -> dict[str, Any]:
    """A demo where one city fails, one is late, one waits for a person, one is paused."""
    status = well()
    status["hub"]["demo"] = True
    status["verdict"] = {
        "state": "failing",
        "zh": "3 个辖区需要关注",
        "en": "3 jurisdictions need attention",
        "cause": {
            "zh": "广德市拒绝连接已 2 天；南浔区比约定时间晚 1 小时 42 分；练市镇的访问密钥已过期。",
            "en": "Guangde has refused connections for 2 days; Nanxun is 1 h 42 min late; "
            "Lianshi's access key has expired.",
        },
        "action": {
            "zh": "请练市镇更换访问密钥，并检查广德市数据接口是否在运行。",
            "en": "Have Lianshi renew its access key, and see whether Guangde's interface is running.",
        },
    }
    status["numbers"] |= {"open_differences": 7, "quarantined": 12}
    status["ledger"]["verified_size"] = 4790
    by_code = {city["code"]: city for city in status["jurisdictions"]}
    by_code["341882"] |= {
        "state": "failing",
        "last_success": _iso(hours=55),
        "fresh_until": _iso(hours=31),
        "problem": {"zh": "数据接口拒绝连接", "en": "its interface refuses connections"},
        "strip": _strip((0, "failing"), (1, "failing"), (2, "late"), (14, "late")),
        "differences": 5,
    }
    by_code["330503"] |= {
        "state": "late",
        "last_success": _iso(hours=25, minutes=42),
        "fresh_until": _iso(hours=1, minutes=42),
        "problem": {
            "zh": "上一次读取超时，将自动重试",
            "en": "the last read timed out; it is tried again",
        },
        "strip": _strip((0, "late"), (9, "late"), (17, "failing")),
        "quarantined": 12,
        "voided": [],
        "differences": 2,
    }
    by_code["330503102"] |= {
        "state": "action",
        "last_success": _iso(hours=20),
        "fresh_until": (NOW + timedelta(hours=4)).isoformat(),
        "problem": {
            "zh": "访问密钥已过期，须由该镇更换",
            "en": "its access key has expired: renew it",
        },
        "strip": _strip((0, "failing"), ran=21),
    }
    by_code["330483100"] |= {
        "state": "paused",
        "paused": {"reason": "migration", "zh": "系统割接", "en": "move to another system", "who": None,
                   "since": _iso(days=4), "until": "2026-12-01"},
        "next": None,
        "strip": _strip((3, "never"), (2, "never"), (1, "never"), (0, "never")),
    }
    status["night"]["agreements"][1]["last"] |= {
        "state": "incomplete",
        "compared": 9120,
        "repaired": 3,
        "differences": 5,
        "not_compared": ["341882"],
    }
    status["events"] = [
        _event(_iso(minutes=10), "failing", "341882", "广德市：数据接口拒绝连接", "Guangde refuses connections"),
        _event(_iso(minutes=12), "ok", "330400", "嘉兴市：读取 60 条，入账 53 条", "Jiaxing: read 60, stored 53"),
        _event(_iso(hours=1), "late", "330503", "南浔区：超过约定时间", "Nanxun is past the agreed time"),
        _event(
            "2026-11-23T02:34:11+08:00",
            "incomplete",
            None,
            "浙皖对账：广德市未参加比对，3 条已补正",
            "zhewan: reconciled without Guangde, 3 repaired",
        ),
        _event("2026-11-23T02:04:11+08:00", "succeeded", None, "嘉湖对账：2 处差异", "jiahu: 2 differences"),
        _event(_iso(hours=14), "action", "330503102", "练市镇：访问密钥已过期", "Lianshi: access key expired"),
        _event(_iso(days=4), "paused", "330483100", "乌镇镇：系统割接，已暂停", "Wuzhen: paused for a move"),
        *(
            _event(_iso(days=5, hours=hour), "ok", "330500", f"湖州市：读取 {hour} 条", f"Huzhou: read {hour}")
            for hour in range(1, 5)
        ),
    ]
    return status


def never() -> dict[str, Any]:
    """A hub that has just been set up: nothing ever ran."""
    status = well()
    status["verdict"] = {
        "state": "never",
        "zh": "从未运行：还没有同步过任何辖区",
        "en": "Never ran: no jurisdiction has been synced yet",
        "cause": None,
        "action": {
            "zh": "等待首次同步，或检查调度是否已启动。",
            "en": "Wait for the first run, or see whether the scheduler runs.",
        },
    }
    status["numbers"] = dict.fromkeys(status["numbers"], 0)
    status["ledger"] = {
        "size": 0,
        "root": "",
        "checkpoint_at": None,
        "verified_at": None,
        "verified_size": 0,
        "witnessed": {"quorum": 0, "size": 0, "by": [], "since": None, "witnesses": []},
    }
    for one in status["night"]["agreements"]:
        one["last"] = None
    for city in status["jurisdictions"]:
        city |= dict.fromkeys(("last_success", "last_attempt", "fresh_until"))
        city |= dict.fromkeys(("records", "retracted", "quarantined", "differences", "read", "stored"), 0)
        city |= {"state": "never", "strip": _strip(ran=0)}
    status["events"] = []
    return status


def empty() -> dict[str, Any]:
    """No jurisdiction, no agreement."""
    status = never()
    status["jurisdictions"], status["night"] = [], {"next": None, "agreements": []}
    return status


def forty() -> dict[str, Any]:
    """Forty jurisdictions and a hundred events."""
    status = well()
    first = status["jurisdictions"]
    for turn in range(1, 4):
        for city in deepcopy(first[:10]):
            city |= {
                "code": f"{city['code']}{turn}",
                "name": {key: f"{name}{turn}" for key, name in city["name"].items()},
            }
            status["jurisdictions"].append(city)
    status["events"] = [
        _event(_iso(hours=hour), "ok", "330400", f"第 {hour} 件", f"event {hour}") for hour in range(100)
    ]
    return status


def hostile() -> dict[str, Any]:
    """Markup wherever a text or a name may stand."""
    status = trouble()
    both = {"zh": HOSTILE, "en": HOSTILE}
    status["hub"]["name"] = HOSTILE
    status["hub"]["version"] = HOSTILE
    status["verdict"] |= {**both, "cause": both, "action": both}
    status["ledger"]["root"] = HOSTILE
    for city in status["jurisdictions"][:3]:
        city |= {"name": both, "problem": both, "tier": HOSTILE, "custody": HOSTILE, "agreements": [HOSTILE]}
    status["jurisdictions"][3] |= {"code": HOSTILE, "state": HOSTILE}
    status["jurisdictions"][4]["strip"][0] = {"day": "2026-10-25", "state": HOSTILE}
    status["night"]["agreements"][0] |= {"name": both}
    status["night"]["agreements"][0]["last"] |= {"state": HOSTILE, "not_compared": [HOSTILE]}
    status["events"].append({"at": _iso(days=9), "state": HOSTILE, "code": HOSTILE, **both})
    return status


def copied() -> dict[str, Any]:
    """Jurisdictions in every state, each with a node that says how its copy stands."""
    status = trouble()
    states = ("equal", "behind", "different", "unsaid")
    status["copies"] = [
        {"partner": city["code"], "state": states[at % 4], "behind": 3 if at % 4 == 1 else None, "notices": 0}
        for at, city in enumerate(status["jurisdictions"])
    ]
    return status


STATES: dict[str, Callable[[], dict[str, Any]]] = {
    "well": well,
    "trouble": trouble,
    "never": never,
    "empty": empty,
    "forty": forty,
    "hostile": hostile,
    "copied": copied,
}


MARKUP = "<script>alert(1)</script>"


class Reports:
    """A night's report as the console is given it: of each severity one, a pair, text that would be markup."""

    def __call__(self, agreement: str, night: str) -> dict[str, Any]:
        words = {name: {"zh": f"甲 {MARKUP}", "en": f"a {MARKUP}"} for name in ("label", "clause", "step")}
        rows: list[dict[str, Any]] = [
            {"type": "double_penalty", "severity": severity, "origin": "330483", "kind": "case/1", "id": "A" * 22,
             "difference": "0" * 24, "state": "opened"} | words
            for severity in ("high", "medium", "low")
        ]  # fmt: skip
        rows[0] |= {"other_origin": "330503", "other_kind": "case/1", "other_id": "B" * 22}
        rows.append({"type": "of another version", "severity": "odd", "origin": "330483", "kind": "x/1", "id": "c"})
        return {
            "agreement": agreement, "night": night, "name": {"zh": "嘉湖", "en": "Jiahu"},
            "started_at": f"{night}T02:00:00+08:00", "committed_at": f"{night}T02:04:00+08:00",
            "figures": {"compared": 31_400, "equal": 31_390, "repaired": 10, "open_differences": 9},
            "not_compared": ["330522"], "open_differences": 9, "repaired": 10, "retracted": 0, "calendar_assumed": True,
            "differences": rows, "repairs": [{"type": "missing", "origin": "330483", "kind": "case/1", "id": "d"} | words],
            "record": {"origin": "hub", "kind": "reconciliation/1", "id": "E" * 22, "rev": 1, "entry": 77},
        }  # fmt: skip

    def label(self, name: str, lang: str) -> str:
        return f"{name} {lang}"
