"""The status page and its plain forms: what the one status dict says, in Chinese and in English.

Owns /, /nights/…, /status.json, /healthz, /metrics and the files under /static/: wording, order and drawing, no more.
Rule 1. No rule lives here. A state, a count or a time is shown as the dict gives it; what it does not say
is not said, and a state this page does not know is shown by its own word in grey, never as a good one.
Rule 2. A list is shown whole, or says how many it leaves out and links to the rest.
Rule 3. The one cookie holds a language. No personal data comes in, so none can go out.
Units: times come as ISO 8601 with an offset and are shown in the hub's time zone, by name; drawings in px.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

import flask
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

LANGUAGES = ("zh", "en")
COOKIE = "lang"
STATES = ("action", "failing", "late", "never", "paused", "on_time")  # worst first
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# How words that are not a jurisdiction's state look: a run's outcome, the verdict.
_LOOKS = {
    "ok": "on_time",
    "succeeded": "on_time",
    "committed": "on_time",
    "incomplete": "late",
    "failed": "failing",
    "cancelled": "paused",
}
_ZONES = {"Asia/Shanghai": ("北京时间", "Beijing time")}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PREFIX = "crossregion_hub_"

WORDS: dict[str, tuple[str, str]] = {
    "title": ("跨区域协作数据同步", "Cross-region Sync Hub"),
    "as_of": ("数据截至 {time} {zone}", "Data as of {time} {zone}"),
    "skip": ("跳到辖区同步状况", "Skip to the jurisdictions"),
    "language": ("语言", "Language"),
    "demo": ("演示", "Demo"),
    "demo_note": (
        "这是演示系统：记录由样例城市生成，不是真实执法数据，账本不作凭据。",
        "This is a demo: sample cities made these records. They are not real and prove nothing.",
    ),
    "lost": (
        "与枢纽的连接已中断：本页停在“数据截至”的时间。正在重试。",
        "Connection to the hub lost: this page is as old as its “data as of” time. Trying again.",
    ),
    "reload": ("刷新本页", "Reload this page"),
    "no_script": ("本页未自动更新。", "This page does not update by itself."),
    "cause": ("原因", "Cause"),
    "action_to_take": ("处理", "What to do"),
    "see": ("查看{name}", "See {name}"),
    "figures": ("四个数字", "Four numbers"),
    "records_today": ("今日同步记录", "Records today"),
    "records_total": ("累计 {n} 条记录", "{n} records in all"),
    "open_differences": ("待处理差异", "Open differences"),
    "quarantined_total": ("另有 {n} 行在隔离区", "and {n} rows in quarantine"),
    "verified": ("账本校验通过", "Ledger verified"),
    "not_verified": ("尚未校验", "Not yet"),
    "ledger_check": ("账本校验", "Ledger verification"),
    "verified_none": ("账本还没有校验过", "the ledger has never been verified"),
    "verified_all": ("全部 {n} 个账本条目", "all {n} ledger entries"),
    "verified_some": ("已校验 {n} / {size} 个账本条目", "{n} of {size} ledger entries"),
    "next_night": ("下次夜间对账", "Next reconciliation"),
    "not_scheduled": ("未排定", "Not scheduled"),
    "network": ("协作网络", "Network"),
    "network_label": (
        "协作网络：数据枢纽居中，{n} 个辖区按协作协议分组",
        "Network: the hub in the middle, {n} jurisdictions grouped by agreement",
    ),
    "hub": ("数据枢纽", "Data hub"),
    "hub_entries": ("账本 {n} 条", "{n} entries"),
    "no_agreement": ("未加入协议", "No agreement"),
    "events": ("最近事件", "Recent events"),
    "events_none": ("还没有任何事件。", "Nothing has happened yet."),
    "events_more": ("更早的 {n} 件", "{n} earlier"),
    "cities": ("辖区同步状况", "Jurisdictions"),
    "cities_caption": (
        "各辖区同步状况，问题最重的在前；时间均为{zone}",
        "State of each jurisdiction, worst first; times are {zone}",
    ),
    "cities_none": ("还没有配置辖区。", "No jurisdiction is configured yet."),
    "filter": ("按状态筛选", "Filter by state"),
    "all": ("全部", "All"),
    "filtered": ("只显示 {n} 个，共 {total} 个。", "Showing {n} of {total}."),
    "show_all": ("显示全部", "Show all"),
    "city": ("辖区", "Jurisdiction"),
    "state": ("状态", "State"),
    "last_success": ("最近成功与下次", "Last success and next"),
    "freshness": ("时效", "Freshness"),
    "strip": ("近 {n} 天", "Last {n} days"),
    "strip_good": ("{good}/{ran} 天正常", "{good}/{ran} days on time"),
    "strip_none": ("没有运行过", "no runs"),
    "counts": ("读取 / 入账", "Read / stored"),
    "records": ("记录", "Records"),
    "retracted": ("撤回 {n}", "{n} retracted"),
    "quarantined": ("隔离", "Quarantine"),
    "differences": ("差异", "Differences"),
    "tried": ("最近尝试 {time}", "last tried {time}"),
    "never_succeeded": ("从未成功", "never"),
    "agreed": ("约定 {span}", "agreed {span}"),
    "not_fresh": ("还没有数据", "nothing yet"),
    "fresh_until": ("有效至 {time}", "until {time}"),
    "overdue": ("已超 {span}", "{span} overdue"),
    "next": ("下次 {time}", "next {time}"),
    "no_next": ("未排定下次", "no next run"),
    "nights": ("夜间对账", "Nightly reconciliation"),
    "nights_caption": ("各协作协议的最近一次夜间对账", "The last nightly reconciliation of each agreement"),
    "nights_none": ("还没有协作协议。", "There is no agreement yet."),
    "agreement": ("协作协议", "Agreement"),
    "night": ("对账日", "Night"),
    "committed": ("完成 {time}", "committed {time}"),
    "compared": ("比对", "Compared"),
    "repaired": ("补正", "Repaired"),
    "not_compared": ("未参加比对", "Not compared"),
    "nobody": ("无", "none"),
    "next_run": ("下次", "Next"),
    "report": ("对账报告", "Reconciliation report"),
    "report_figures": ("比对结果", "What was compared"),
    "compared_at": ("比对 {start} 至 {end}（{zone}）", "compared {start} to {end} ({zone})"),
    "skip_open": ("跳到待处理差异", "Skip to the open differences"),
    "assumed": ("节假日安排未知，按周一至周五计算", "holidays unknown: Monday to Friday counted"),
    "difference": ("差异", "Difference"),
    "severity": ("程度", "Severity"),
    "severity_high": ("严重", "high"),
    "severity_medium": ("一般", "medium"),
    "severity_low": ("轻微", "low"),
    "concerns": ("所涉记录", "Concerns"),
    "clause": ("依据", "Clause"),
    "step": ("建议", "Next step"),
    "records_n": ("{n} 条记录", "{n} records"),
    "signed_record": ("签名记录", "Signed record"),
    "signed_line": (
        "本报告是账本第 {entry} 号条目中的记录 {kind} {id}，第 {rev} 版，由枢纽签名。",
        "This report is the record {kind} {id}, revision {rev}, in ledger entry {entry}, signed by the hub",
    ),
    "back": ("返回状态页", "Back to the status page"),
    "running_night": ("进行中：{done}/{of}", "running: {done} of {of}"),
    "ledger": ("共享账本", "Shared ledger"),
    "size": ("条目数", "Entries"),
    "root": ("根哈希", "Root"),
    "checkpoint": ("检查点时间", "Checkpoint"),
    "verified_at": ("校验", "Verified"),
    "witnesses": ("见证", "Witnesses"),
    "witnessed_none": ("未声明见证方", "no witness is declared"),
    "witnessed_all": ("{who} 已见证至 {size}", "cosigned by {who} up to {size}"),
    "unwitnessed": ("自 {since} 起未见证（需 {quorum} 方，最近见证至 {size}）",
                    "unwitnessed since {since} ({quorum} needed; last up to {size})"),
    "verified_line": ("{time}，{what}", "{time}, {what}"),
    "empty": ("无", "none"),
    "plain": ("机器可读", "Machine readable"),
    "version": ("版本 {v}", "Version {v}"),
    "s_action": ("需处理", "Action needed"),
    "s_failing": ("失败", "Failing"),
    "s_late": ("延迟", "Late"),
    "s_never": ("从未运行", "Never ran"),
    "s_paused": ("已暂停", "Paused"),
    "s_on_time": ("正常", "On time"),
    "s_succeeded": ("成功", "Succeeded"),
    "s_committed": ("已完成", "Done"),
    "s_incomplete": ("未完成", "Incomplete"),
    "s_failed": ("失败", "Failed"),
    "s_cancelled": ("已取消", "Cancelled"),
    "s_running": ("进行中", "Running"),
    "s_ok": ("正常", "OK"),
    "day_never": ("未运行", "no run"),
    "tier_city": ("市级", "city"),
    "tier_county": ("县级", "county"),
    "tier_town": ("镇级", "town"),
    "custody_custodial": ("枢纽代签", "hub signs"),
    "custody_self": ("自行签名", "signs itself"),
    "today": ("今天", "today"),
    "yesterday": ("昨天", "yesterday"),
    "tomorrow": ("明天", "tomorrow"),
    "now": ("刚刚", "just now"),
    "ago": ("{span}前", "{span} ago"),
    "days": ("{n} 天", "{n} days"),
    "hours": ("{n} 小时", "{n} h"),
    "minutes": ("{n} 分钟", "{n} min"),
    "list": ("、", ", "),
}


class Words:
    """One reader's language, time zone and present moment: everything a template says goes through it."""

    def __init__(self, lang: str, zone: str, now: str) -> None:
        self.lang = lang
        self.zone_name = zone
        self._column = LANGUAGES.index(lang)
        self._zone = ZoneInfo(zone)
        self.now = self.at(now)

    def __call__(self, key: str, **values: object) -> str:
        return WORDS[key][self._column].format(**values)

    def of(self, text: Mapping[str, str]) -> str:
        """The text in this language, in the other where only that was written."""
        return text.get(self.lang) or text.get("zh") or text.get("en") or ""

    def word(self, group: str, name: str) -> str:
        """The word for a coded value; a value nobody worded is shown as it is."""
        words = WORDS.get(f"{group}_{name}")
        return words[self._column] if words else name

    def count(self, number: int | None) -> str:
        return "–" if number is None else f"{number:,}"

    def zone(self) -> str:
        """The zone as people say it, else its name with the offset of now."""
        if self.zone_name in _ZONES:
            return _ZONES[self.zone_name][self._column]
        offset = self.now.strftime("%z")
        return f"{self.zone_name} (UTC{offset[:3]}:{offset[3:5]})"

    def at(self, iso: str) -> datetime:
        """ISO 8601 with an offset, in the hub's time zone."""
        return datetime.fromisoformat(iso).astimezone(self._zone)

    def clock(self, iso: str) -> str:
        return self.at(iso).strftime("%H:%M")

    def day(self, iso: str) -> str:
        """A date, with the year only where it is another one."""
        day = datetime.fromisoformat(iso)
        year = day.year if day.year != self.now.year else None
        if self.lang == "zh":
            return (f"{year}年" if year else "") + f"{day.month}月{day.day}日"
        return f"{day.day} {_MONTHS[day.month - 1]}" + (f" {year}" if year else "")

    def near_day(self, iso: str) -> str:
        """The day of a moment: yesterday, today, tomorrow, or its date."""
        at = self.at(iso)
        near = {-1: "yesterday", 0: "today", 1: "tomorrow"}.get((at.date() - self.now.date()).days)
        return self(near) if near else self.day(at.isoformat())

    def when(self, iso: str) -> str:
        return f"{self.near_day(iso)} {self.clock(iso)}"

    def full(self, iso: str) -> str:
        """Date and time with nothing left to guess but the zone, which stands beside it."""
        at = self.at(iso)
        if self.lang == "zh":
            return at.strftime(f"{at.year}年{at.month}月{at.day}日 %H:%M")
        return at.strftime(f"{at.day} {_MONTHS[at.month - 1]} {at.year} %H:%M")

    def span(self, length: timedelta) -> str:
        """A length of time in its one or two largest units; never negative."""
        minutes = max(0, int(length.total_seconds())) // 60
        hours, minutes = divmod(minutes, 60)
        if hours >= 48:
            return self("days", n=hours // 24)
        parts = [self("hours", n=hours)] if hours else []
        if minutes or not hours:
            parts.append(self("minutes", n=minutes))
        return " ".join(parts)

    def agreed(self, hours: int) -> str:
        """An interval as the agreement words it: whole days in days."""
        days, rest = divmod(hours, 24)
        return self("hours", n=hours) if rest or days < 2 else self("days", n=days)

    def ago(self, iso: str) -> str:
        length = self.now - self.at(iso)
        return self("now") if length < timedelta(minutes=1) else self("ago", span=self.span(length))

    def past(self, iso: str) -> str:
        """How long ago a moment passed, or nothing where it is still to come."""
        length = self.now - self.at(iso)
        return self.span(length) if length > timedelta() else ""


def look(state: str) -> str:
    """The appearance of a state or outcome: one of STATES, or `other` for a word this page does not know."""
    state = _LOOKS.get(state, state)
    return state if state in STATES else "other"


def worst_first(cities: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Jurisdictions by state, worst first; within a state by the oldest success; then by code."""

    def rank(city: Mapping[str, Any]) -> tuple[int, float, str]:
        last = city["last_success"]
        state = look(city["state"])
        return (
            STATES.index(state) if state in STATES else 0,
            datetime.fromisoformat(last).timestamp() if last else 0.0,
            city["code"],
        )

    return sorted(cities, key=rank)


def wrap(text: str, width: float) -> list[str]:
    """The text in lines of at most `width` em, broken at spaces or between Chinese characters."""
    lines = [""]
    for word in _pieces(text):
        if lines[-1] and ems(lines[-1] + word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return [line.strip() for line in lines]


def shorten(text: str, width: float) -> str:
    """The text cut to `width` em with an ellipsis that says so."""
    if ems(text) <= width:
        return text
    while text and ems(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _pieces(text: str) -> Iterator[str]:
    for wide, run in groupby(text, key=_wide):
        if wide:
            yield from run
        else:
            yield from (word + " " for word in "".join(run).split(" "))


def _wide(character: str) -> bool:
    return ord(character) >= 0x2E80


def ems(text: str) -> float:
    """The width of a text in em, roughly: no font is asked."""
    return sum(1.0 if _wide(character) else 0.56 for character in text)


class Spot(NamedTuple):
    """A jurisdiction in the drawing: its box's upper left corner, the line to the hub and its middle."""

    city: Mapping[str, Any]
    x: float
    y: float
    line: str
    mark: tuple[float, float]


class Title(NamedTuple):
    """An agreement's name above its boxes."""

    lines: list[str]
    x: float
    y: float
    anchor: str


class Drawing(NamedTuple):
    """The network in px: `box` is a box's width and height, `hub` the disc's centre and radius."""

    width: float
    height: float
    box: tuple[float, float]
    hub: tuple[float, float, float]
    spots: list[Spot]
    titles: list[Title]


class Shape(NamedTuple):
    """The sizes of a drawing in px; `bulge` bends the two columns around the hub."""

    width: float
    box: tuple[float, float]
    radius: float
    bulge: float
    title: float  # em


WIDE = Shape(640, (132, 44), 60, 34, 22)
NARROW = Shape(344, (112, 44), 42, 0, 11.5)
_GAP, _LINE, _BLOCK = 10, 18, 14

Block = tuple[list[str], list[Mapping[str, Any]]]


def network(cities: Sequence[Mapping[str, Any]], names: Mapping[str, str], none: str, shape: Shape) -> Drawing:
    """The hub between two columns of jurisdictions, grouped by the agreements they are in.

    `names` words the agreements and `none` having none; who is in two agreements stands in a group of both.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for city in cities:
        groups.setdefault(tuple(city["agreements"]), []).append(city)
    blocks = [
        (wrap(" + ".join(names.get(one, one) for one in key) or none, shape.title), members)
        for key, members in groups.items()
    ]
    columns = _columns(blocks)
    height = max([shape.radius * 2 + 40, *(_height(column, shape) for column in columns)])
    hub = (shape.width / 2, height / 2, shape.radius)
    drawing = Drawing(shape.width, height, shape.box, hub, [], [])
    for side, column in enumerate(columns):
        _place(drawing, column, shape, right=side == 1)
    return drawing


def _columns(blocks: list[Block]) -> tuple[list[Block], list[Block]]:
    """Each group on the lighter side, the largest first; one group alone is divided between both."""
    if len(blocks) == 1 and len(blocks[0][1]) > 1:
        title, members = blocks[0]
        half = math.ceil(len(members) / 2)
        return [(title, members[:half])], [(title, members[half:])]
    columns: tuple[list[Block], list[Block]] = ([], [])
    for block in sorted(blocks, key=lambda block: -len(block[1])):
        min(columns, key=lambda column: sum(len(members) for _, members in column)).append(block)
    return columns


def _height(column: list[Block], shape: Shape) -> float:
    boxes = sum(len(members) * (shape.box[1] + _GAP) for _, members in column)
    return boxes + sum(len(title) * _LINE + 6 for title, _ in column) + _BLOCK * max(0, len(column) - 1)


def _place(drawing: Drawing, column: list[Block], shape: Shape, *, right: bool) -> None:
    wide, high = shape.box
    middle = drawing.height / 2
    y = (drawing.height - _height(column, shape)) / 2
    for title, members in column:
        drawing.titles.append(Title(title, shape.width - 2 if right else 2, y + 13, "end" if right else "start"))
        y += len(title) * _LINE + 6
        for city in members:
            bend = shape.bulge * ((y + high / 2 - middle) / middle) ** 2
            x = shape.width - wide - bend - 2 if right else bend + 2
            drawing.spots.append(_spot(drawing, city, x, y, right=right))
            y += high + _GAP
        y += _BLOCK


def _spot(drawing: Drawing, city: Mapping[str, Any], x: float, y: float, *, right: bool) -> Spot:
    centre_x, centre_y, radius = drawing.hub
    end = (x if right else x + drawing.box[0], y + drawing.box[1] / 2)
    angle = math.atan2((end[1] - centre_y) * 0.6, end[0] - centre_x)
    start = (centre_x + radius * math.cos(angle), centre_y + radius * math.sin(angle))
    bend = ((start[0] + end[0]) / 2, end[1])
    mark = tuple(round(a / 4 + b / 2 + c / 4, 1) for a, b, c in zip(start, bend, end, strict=True))
    points = [f"{value:.1f}" for point in (start, bend, end) for value in point]
    line = "M{} {}Q{} {} {} {}".format(*points)
    return Spot(city, round(x, 1), round(y, 1), line, (mark[0], mark[1]))


class _Gauges(Collector):
    """The status dict as Prometheus gauges: codes and counts, never a name or a text."""

    def __init__(self, status: Mapping[str, Any], healthy: bool) -> None:
        self.status, self.healthy = status, healthy

    def collect(self) -> Iterator[Metric]:
        status = self.status
        hub, numbers, ledger = status["hub"], status["numbers"], status["ledger"]
        info = GaugeMetricFamily(_PREFIX + "info", "Version of the hub", labels=["version", "demo"])
        info.add_metric([hub["version"], str(hub["demo"]).lower()], 1)
        yield info
        yield _one("healthy", "1 when the hub answers for its own health", int(self.healthy))
        yield _one("records", "Records in the current view", numbers["records"])
        yield _one("records_today", "Records stored today, hub time zone", numbers["records_today"])
        yield _one("open_differences", "Differences nobody has decided", numbers["open_differences"])
        yield _one("quarantined_rows", "Rows held in quarantine", numbers["quarantined"])
        yield _one("ledger_entries", "Entries on the ledger", ledger["size"])
        yield _one("ledger_verified_entries", "Entries covered by the last verification", ledger["verified_size"])
        yield _one("ledger_verified_timestamp_seconds", "Last verification", _seconds(ledger["verified_at"]))
        yield _one("ledger_checkpoint_timestamp_seconds", "Last checkpoint", _seconds(ledger["checkpoint_at"]))
        yield _one("next_night_timestamp_seconds", "Next reconciliation", _seconds(status["night"]["next"]))
        verdicts = ("ok", "late", "failing", "action", "never")
        yield _states("verdict", "The hub's verdict on itself", [((), status["verdict"]["state"])], (), verdicts)
        yield from self._cities(status["jurisdictions"])
        yield from self._nights(status["night"]["agreements"])

    def _cities(self, cities: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
        label = ("jurisdiction",)
        states = [((city["code"],), city["state"]) for city in cities]
        yield _states("jurisdiction_state", "State of a jurisdiction", states, label, STATES)
        for key, text in (
            ("read", "Rows read by the last run"),
            ("stored", "Records stored by the last run"),
            ("records", "Records in the current view"),
            ("retracted", "Records retracted"),
            ("quarantined", "Rows held in quarantine"),
            ("differences", "Open differences"),
        ):
            yield _many(f"jurisdiction_{key}", text, label, [((city["code"],), city[key]) for city in cities])
        hours = [((city["code"],), city["agreed_hours"] * 3600) for city in cities]
        yield _many("jurisdiction_agreed_seconds", "Freshness agreed", label, hours)
        for key in ("last_success", "last_attempt", "fresh_until", "next"):
            moments = [((city["code"],), _seconds(city[key])) for city in cities]
            yield _many(f"jurisdiction_{key}_timestamp_seconds", key.replace("_", " "), label, moments)

    def _nights(self, agreements: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
        label = ("agreement",)
        lasts = [((one["agreement"],), one["last"]) for one in agreements if one["last"]]
        for key in ("compared", "repaired", "differences"):
            values = [(labels, last[key]) for labels, last in lasts]
            yield _many(f"night_{key}", f"{key} in the last reconciliation", label, values)
        missing = [(labels, len(last["not_compared"])) for labels, last in lasts]
        yield _many("night_not_compared", "Jurisdictions left out of the last reconciliation", label, missing)
        moments = [(labels, _seconds(last["committed_at"])) for labels, last in lasts]
        yield _many("night_committed_timestamp_seconds", "Last reconciliation committed", label, moments)


Labelled = Sequence[tuple[tuple[str, ...], float | None]]


def _seconds(iso: str | None) -> float | None:
    return datetime.fromisoformat(iso).timestamp() if iso else None


def _one(name: str, text: str, value: float | None) -> Metric:
    return _many(name, text, (), [((), value)])


def _many(name: str, text: str, labels: tuple[str, ...], values: Labelled) -> Metric:
    """What has no value yet is left out: a zero would be a claim."""
    family = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
    for key, value in values:
        if value is not None:
            family.add_metric(key, value)
    return family


def _states(
    name: str,
    text: str,
    given: Sequence[tuple[tuple[str, ...], str]],
    labels: tuple[str, ...],
    all_: Sequence[str],
) -> Metric:
    values = [((*key, state), int(state == current)) for key, current in given for state in all_]
    return _many(name, text, (*labels, "state"), values)


def metrics(status: Mapping[str, Any], healthy: bool) -> bytes:
    """The status in the Prometheus text format, from a registry of its own."""
    registry = CollectorRegistry()
    registry.register(_Gauges(status, healthy))
    return generate_latest(registry)


def etag(status: Mapping[str, Any]) -> str:
    """The same while nothing changes within a minute, which is as fine as the page tells time."""
    plain = json.dumps({**status, "as_of": status["as_of"][:16]}, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:32]


def _language(request: flask.Request) -> str:
    """Asked for, remembered, or preferred; Chinese unless told."""
    for wish in (request.args.get("lang"), request.cookies.get(COOKIE)):
        if wish in LANGUAGES:
            return wish
    wishes = (tag.lower().partition("-")[0] for tag in request.accept_languages.values())
    return next((wish for wish in wishes if wish in LANGUAGES), "zh")


def _page(status: Mapping[str, Any], lang: str, only: str | None, *, carry: bool) -> str:
    words = Words(lang, status["hub"]["time_zone"], status["as_of"])
    cities = worst_first(status["jurisdictions"])
    names = {one["agreement"]: words.of(one["name"]) for one in status["night"]["agreements"]}
    by_state = Counter(city["state"] for city in cities)
    shapes = {"wide": WIDE, "narrow": NARROW}
    by_code = sorted(cities, key=lambda city: str(city["code"]))  # a box keeps its place, whatever its state
    return flask.render_template(
        "console.html",
        s=status,
        w=words,
        etag=etag(status),
        look=look,
        shorten=shorten,
        ems=ems,
        cities=[city for city in cities if only is None or city["state"] == only],
        total=len(cities),
        by_state=[(state, by_state[state]) for state in sorted(by_state, key=_order)],
        only=only,
        lang_arg=lang if carry else None,
        worst=cities[0] if cities and look(cities[0]["state"]) != "on_time" else None,
        city_names={city["code"]: words.of(city["name"]) for city in cities},
        agreement_names=names,
        drawings={key: network(by_code, names, words("no_agreement"), shape) for key, shape in shapes.items()},
    )


def _in_language(text: str, lang: str) -> flask.Response:
    """A page in a language, which is remembered where it was asked for."""
    request = flask.request
    reply = flask.make_response(text)
    reply.headers["Content-Language"] = lang
    reply.vary.update(("Accept-Language", "Cookie"))
    if request.args.get("lang") == lang:
        reply.set_cookie(COOKIE, lang, max_age=31536000, samesite="Lax", httponly=True, secure=request.is_secure)
    return reply


def _order(state: str) -> int:
    return STATES.index(state) if state in STATES else -1


class ReportsLike(Protocol):
    """A night's report by agreement and night, and what its figures are called."""

    def __call__(self, agreement: str, night: str) -> dict[str, Any]: ...
    def label(self, name: str, lang: str) -> str: ...


def blueprint(
    status: Callable[[], dict[str, Any]], healthy: Callable[[], tuple[bool, str]], reports: ReportsLike | None = None
) -> flask.Blueprint:
    """The console's pages, to be registered at the root of the application.

    `status` gives the one status dict; `healthy` gives the verdict of /healthz and one plain line about it; `reports` the
    report of a night.
    """
    console = flask.Blueprint(
        "console", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
    )

    @console.get("/")
    def page() -> flask.Response:
        request = flask.request
        lang, now = _language(request), status()
        only = request.args.get("state")
        known = {city["state"] for city in now["jurisdictions"]}
        told = request.args.get("lang") == lang
        return _in_language(_page(now, lang, only if only in known else None, carry=told), lang)

    @console.get("/nights/<agreement>/<night>")
    def night(agreement: str, night: str) -> flask.Response:
        if reports is None:
            flask.abort(404)
        lang, now = _language(flask.request), status()
        report = reports(agreement, night)
        words = Words(lang, now["hub"]["time_zone"], now["as_of"])
        text = flask.render_template(
            "night.html", r=report, w=words, demo=now["hub"]["demo"], label=lambda name: reports.label(name, lang)
        )
        return _in_language(text, lang)

    @console.get("/status.json")
    def status_json() -> flask.Response:
        now = status()
        reply = flask.Response(json.dumps(now, ensure_ascii=False), mimetype="application/json")
        reply.set_etag(etag(now), weak=True)
        return reply.make_conditional(flask.request)  # type: ignore[return-value]

    @console.get("/healthz")
    def healthz() -> tuple[flask.Response, int]:
        good, what = healthy()
        return flask.jsonify(ok=good, what=what), 200 if good else 503

    @console.get("/metrics")
    def metrics_text() -> flask.Response:
        return flask.Response(metrics(status(), healthy()[0]), content_type=CONTENT_TYPE_LATEST)

    @console.after_request
    def strict(reply: flask.Response) -> flask.Response:
        reply.headers["Content-Security-Policy"] = POLICY
        reply.headers["X-Content-Type-Options"] = "nosniff"
        reply.headers["Referrer-Policy"] = "no-referrer"
        reply.headers.setdefault("Cache-Control", "no-cache")
        return reply

    return console
