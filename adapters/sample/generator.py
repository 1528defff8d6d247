"""Fictitious enforcement records: parties, cases, inspections and transfers as a city's officers write them.

Everything comes from a seeded `random.Random` handed in, so one seed gives the same records on any machine;
nothing here reads a clock, a file or the network (`write_huzhou_year` alone writes one). The bodies are
dictionaries in the record kinds' field names: what a city really knows, before its system spells it in its
own columns. Enterprises and people do not exist; their codes carry right check digits (GB 32100, GB 11714,
GB 11643). Places do exist (GB/T 2260 and the NBS town codes). Money is yuan as text with two places, times
are Beijing time.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

Body = dict[str, Any]


def seeded(name: str) -> Random:
    """The random numbers of this name."""
    return Random(name)


def names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# ---------------------------------------------------------------- places


@dataclass(frozen=True, slots=True)
class Agency:
    """A department that acts: its name, its own credit code and the short form in its document numbers."""

    name: str
    uscc: str
    short: str


@dataclass(frozen=True, slots=True)
class Place:
    """A jurisdiction: code, name, the towns under it (code, name) and its agencies."""

    code: str
    name: str
    towns: tuple[tuple[str, str], ...]
    agencies: tuple[Agency, ...]


_TOWNS = {
    "330400": "330402000 南湖区 330411000 秀洲区",
    "330500": "330502100 织里镇 330502101 八里店镇 330502005 龙泉街道",
    "330483": "330483001 梧桐街道 330483101 濮院镇 330483105 洲泉镇 330483107 崇福镇",
    "330503": "330503100 南浔镇 330503101 双林镇 330503106 和孚镇",
    "330521": "330521001 武康街道 330521102 新市镇 330521110 雷甸镇 330521115 莫干山镇",
    "330483100": "330483100 乌镇镇",
    "330503102": "330503102 练市镇",
    "330522": "330522001 雉城街道 330522111 泗安镇 330522112 煤山镇",
    "330523": "330523001 递铺街道 330523108 天荒坪镇 330523110 梅溪镇",
    "341882": "341882100 桃州镇 341882104 新杭镇 341882103 邱村镇",
}
_NAMES = {
    "330400": ("嘉兴市", "嘉"),
    "330500": ("湖州市", "湖"),
    "330483": ("桐乡市", "桐"),
    "330503": ("南浔区", "浔"),
    "330521": ("德清县", "德"),
    "330483100": ("乌镇镇", "桐乌镇"),
    "330503102": ("练市镇", "浔练市"),
    "330522": ("长兴县", "长"),
    "330523": ("安吉县", "安"),
    "341882": ("广德市", "广"),
}
_DEPARTMENTS = (
    ("综合行政执法局", "综执"),
    ("市场监督管理局", "市监"),
    ("应急管理局", "应急"),
    ("农业农村局", "农业"),
)


def place(code: str) -> Place:
    """The jurisdiction with this code; KeyError for one that has no sample."""
    name, short = _NAMES[code]
    words = _TOWNS[code].split()
    towns = tuple(zip((w.removesuffix("000") for w in words[::2]), words[1::2], strict=True))
    if len(code) == 9:  # a town acts in its own name
        agencies: tuple[Agency, ...] = (Agency(f"{name}人民政府", uscc("11", code[:6], code[1:9]), f"{short}镇罚"),)
    else:
        agencies = tuple(
            Agency(name + department, uscc("11", code, f"{code[2:]}{n:04d}"), short + sign)
            for n, (department, sign) in enumerate(_DEPARTMENTS, 201)
        )
    return Place(code, name, towns, agencies)


PLACES = tuple(_NAMES)

# ---------------------------------------------------------------- check digits

_USCC = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def uscc(kind: str, region: str, serial: str) -> str:
    """A unified social credit code: `kind` (2), `region` (6), 8-digit serial; check characters are added."""
    total = sum(int(c) * w for c, w in zip(serial, (3, 7, 9, 10, 5, 8, 4, 2), strict=True))
    body = kind + region + serial + "0123456789X0"[11 - total % 11]
    return body + _USCC[-sum(_USCC.index(c) * pow(3, i, 31) for i, c in enumerate(body)) % 31]


def resident_id(region: str, born: date, serial: int) -> str:
    """An 18-character resident ID number with its check character."""
    body = f"{region}{born:%Y%m%d}{serial:03d}"
    return body + "10X98765432"[sum(int(c) * (1 << 17 - i) for i, c in enumerate(body)) % 11]


# ---------------------------------------------------------------- parties

_SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗沈钱姚潘俞费莫钮严闵"
_COMPOUND = ("欧阳", "上官", "诸葛", "司徒")
_GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂英华玉萍红玲建国春梅志海燕新荣永根宝泉水林金法阿毛晓雯子涵浩宇欣怡"
)
_TRADE = (
    "纺织",
    "羊毛衫",
    "电梯配件",
    "木业",
    "童装",
    "丝绸",
    "电子商务",
    "耐火材料",
    "蓄电池",
    "竹制品",
    "椅业",
    "白茶",
    "建材",
    "物流",
    "食品",
    "机械",
    "新能源",
    "环保科技",
    "餐饮管理",
    "物业管理",
    "建设工程",
    "化工",
    "医药",
    "汽车零部件",
)
_FORMS_OF_FIRM = ("有限公司", "有限公司", "股份有限公司")
_SHOP = (
    "小吃店",
    "便利店",
    "水果店",
    "五金店",
    "理发店",
    "农家乐",
    "面馆",
    "服装店",
    "建材经营部",
    "早餐店",
    "棋牌室",
    "烟酒店",
)
_BRAND = "华兴盛泰恒瑞丰达诚信和美天悦佳宏鑫源永康嘉禾浙湖远东新立金凯龙腾飞鸿运润"
_STREETS = (
    "人民路",
    "振兴路",
    "环城西路",
    "工业大道",
    "校场路",
    "凤凰路",
    "迎宾大道",
    "太湖路",
    "新安江路",
    "庆丰南路",
)
# Two of these birthplaces are counties that did not exist when the people were born, as in real tables.
_BIRTHPLACES = (
    "330402",
    "330411",
    "330421",
    "330501",
    "330521",
    "330522",
    "330523",
    "341822",
    "330503",
    "341882",
)


def person_name(random: Random) -> str:
    """A Chinese personal name; one in forty has a compound surname."""
    surname = random.choice(_COMPOUND) if random.random() < 0.025 else random.choice(_SURNAMES)
    return surname + "".join(random.sample(_GIVEN, random.choice((1, 2, 2, 2))))


def _person_id(random: Random) -> str:
    born = date(1955, 1, 1) + timedelta(days=random.randrange(17_000))
    return resident_id(random.choice(_BIRTHPLACES), born, random.randrange(1, 1000))


def parties(random: Random, where: Place, n: int) -> list[Body]:
    """`n` parties of a place: enterprises, sole traders and persons, with their addresses."""
    return [_party(random, where) for _ in range(n)]


def settle(random: Random, where: Place, party: Body) -> Body:
    """The same party with premises in another place: what makes cities meet in one matter."""
    region, town = random.choice(where.towns)
    address = where.name + town.removeprefix(where.name) + random.choice(_STREETS) + f"{random.randrange(1, 900)}号"
    return party | {"address": address, "region": region}


def _party(random: Random, where: Place) -> Body:
    home = settle(random, where, {})
    region, town = home["region"], random.choice(where.towns)[1]
    serial = f"{random.randrange(10**8):08d}"
    roll = random.random()
    name = person_name(random)
    if roll < 0.2:
        return {
            "party_type": PERSON,
            "party_name": name,
            "party_id_type": BY_ID_CARD,
            "party_id": _person_id(random),
        } | home
    brand = "".join(random.sample(_BRAND, 2))
    if roll < 0.45:
        full, kind, code = f"{town}{brand}{random.choice(_SHOP)}", TRADER, uscc("92", region[:6], serial)
    else:
        full = f"{where.name[:2]}{brand}{random.choice(_TRADE)}{random.choice(_FORMS_OF_FIRM)}"
        kind, code = ENTERPRISE, uscc("91", region[:6], serial)
    return {
        "party_type": kind,
        "party_name": full,
        "party_id_type": BY_USCC,
        "party_id": code,
        "legal_rep_name": name,
        "legal_rep_id_type": BY_ID_CARD,
        "legal_rep_id": _person_id(random),
    } | home


def party_fields(party: Body) -> Body:
    """The fields of a party that a record carries."""
    return {k: v for k, v in party.items() if k not in ("address", "region")}


# ---------------------------------------------------------------- vocabulary: official codes, as in the kinds

ENTERPRISE, PERSON, TRADER = "1", "2", "3"
BY_USCC, BY_ID_CARD = "001", "111"

# item code, name of the act, clause breached, clause punishing, what was seen, fine (from, to), others
_ACTS = (
    (
        "33021700100101",
        "未按规定分类投放生活垃圾",
        "《中华人民共和国固体废物污染环境防治法》第四十九条第三款",
        "《中华人民共和国固体废物污染环境防治法》第一百一十一条第一款第一项",
        "将厨余垃圾投入其他垃圾收集容器",
        50,
        20000,
        "",
    ),
    (
        "33021700100202",
        "擅自占用城市道路摆摊经营",
        "《浙江省城市市容和环境卫生管理条例》第二十条",
        "《浙江省城市市容和环境卫生管理条例》第四十八条",
        "在店门外人行道上摆放货架经营，占道约四平方米",
        100,
        500,
        "01",
    ),
    (
        "33021700100303",
        "运输车辆未密闭造成泄漏遗撒",
        "《中华人民共和国大气污染防治法》第七十条第一款",
        "《中华人民共和国大气污染防治法》第一百一十六条",
        "运输渣土的车辆未采取密闭措施，沿途遗撒约二百米",
        2000,
        20000,
        "",
    ),
    (
        "33021700200104",
        "未取得排水许可证向城镇排水设施排放污水",
        "《城镇排水与污水处理条例》第二十一条第一款",
        "《城镇排水与污水处理条例》第五十条第一款",
        "洗车污水未经许可直接排入市政雨水管网",
        1000,
        50000,
        "01",
    ),
    (
        "33021700200205",
        "擅自经营瓶装燃气",
        "《城镇燃气管理条例》第十五条第一款",
        "《城镇燃气管理条例》第四十五条第一款",
        "现场查获液化石油气钢瓶十二只，当事人未取得燃气经营许可证",
        5000,
        100000,
        "0309",
    ),
    (
        "33021700300106",
        "未取得建设工程规划许可证进行建设",
        "《中华人民共和国城乡规划法》第四十条第一款",
        "《中华人民共和国城乡规划法》第六十四条",
        "在厂区东侧搭建钢结构雨棚，建筑面积一百三十六平方米",
        3000,
        80000,
        "",
    ),
    (
        "33022500100107",
        "未按规定对从业人员进行安全生产教育和培训",
        "《中华人民共和国安全生产法》第二十八条第一款",
        "《中华人民共和国安全生产法》第九十七条第三项",
        "抽查六名新入职人员，均无岗前安全培训记录",
        5000,
        100000,
        "",
    ),
    (
        "33022500100208",
        "未如实记录事故隐患排查治理情况",
        "《中华人民共和国安全生产法》第四十一条第二款",
        "《中华人民共和国安全生产法》第九十七条第五项",
        "隐患排查台账中连续三个月没有记录",
        5000,
        50000,
        "01",
    ),
    (
        "33023100100109",
        "经营超过保质期的食品",
        "《中华人民共和国食品安全法》第三十四条第十项",
        "《中华人民共和国食品安全法》第一百二十四条第一款第五项",
        "货架上有超过保质期的预包装食品五袋",
        5000,
        50000,
        "0309",
    ),
    (
        "33023100100210",
        "未按规定公示收费项目和标准",
        "《中华人民共和国价格法》第十三条第一款",
        "《中华人民共和国价格法》第四十二条",
        "经营场所未明码标价",
        500,
        5000,
        "",
    ),
    (
        "33022000100111",
        "农药经营者未执行进货查验制度",
        "《农药管理条例》第二十六条第一款",
        "《农药管理条例》第五十七条第二项",
        "无法提供三个批次农药的进货台账",
        2000,
        20000,
        "01",
    ),
    (
        "33021700400112",
        "违反规定排放油烟",
        "《中华人民共和国大气污染防治法》第八十一条第一款",
        "《中华人民共和国大气污染防治法》第一百一十八条第一款",
        "油烟净化设施未正常使用，油烟直接外排",
        5000,
        50000,
        "",
    ),
)
_LICENCES = ("食品经营许可证", "燃气经营许可证", "城镇污水排入排水管网许可证")


def money(yuan: int) -> str:
    """Whole yuan as the records spell money."""
    return f"{yuan}.00"


# ---------------------------------------------------------------- cases

SOURCES = ("01", "02", "03", "04", "06")
FILED, INVESTIGATING, NOTIFIED, DECIDED, SERVED, CLOSED, NO_PENALTY = "02", "03", "07", "09", "10", "12", "94"


def own_item(where: Place, item: str) -> str:
    """An item's code where a place's province has its own: Anhui's, as config/catalogue/items.yaml pairs them."""
    return "34" + item[2:] if where.code.startswith("34") else item


def case(random: Random, where: Place, party: Body, number: int, today: date, decided: bool) -> Body:
    """One penalty case; `decided` promises that a decision stands (publicity tables hold nothing else)."""
    item, act, breached, basis, seen, least, most, beside = random.choice(_ACTS)
    agency = random.choice(where.agencies)
    summary = random.random() < 0.15
    filed = today - timedelta(days=random.randrange(80 if decided else 3, 300))
    body: Body = {
        "case_code": f"{where.code}{filed.year}{number:06d}",
        "case_name": f"{party['party_name']}{act}案",
        "item_code": own_item(where, item),
        "case_source": random.choice(SOURCES),
        "procedure": "01" if summary else "02",
        "agency_name": agency.name,
        "agency_uscc": agency.uscc,
        "region_code": random.choice((party["region"], where.code)),
        **party_fields(party),
        "violation_type": act,
        "facts": f"{filed.year}年{filed.month}月{filed.day}日，{agency.name}执法人员"
        f"在{party['address']}检查时发现，当事人{seen}。",
        "basis": f"{breached}；{basis}",
        "filed_on": filed.isoformat(),
        "hearing": False,
        "legal_review": not summary,
        "collective": False,
        "major": False,
        "criminal": False,
    }
    if random.random() < 0.5:
        body["inspection_code"] = f"JC{where.code}{filed:%Y%m%d}{number:05d}"
    _decide(
        random,
        body,
        agency,
        number,
        today,
        (least, most, beside),
        summary,
        not decided and random.random() < 0.06,
    )
    return body


def _decide(
    random: Random,
    body: Body,
    agency: Agency,
    number: int,
    today: date,
    act: tuple[int, int, str],
    summary: bool,
    unpunished: bool,
) -> None:
    """Carry a case as far as it had got by `today`."""
    filed = date.fromisoformat(body["filed_on"])
    decided = filed if summary else filed + timedelta(days=random.randrange(12, 60))
    if decided > today:
        body["stage"] = random.choice((FILED, INVESTIGATING, NOTIFIED))
        return
    if unpunished:
        body |= {"stage": NO_PENALTY, "decided_on": decided.isoformat(), "no_penalty": random.choice("12")}
        return
    least, most, beside = act
    fine = 100 * random.randrange(1, 3) if summary else random.randrange(least // 50, most // 50 + 1) * 50
    body |= {
        "stage": DECIDED,
        "decided_on": decided.isoformat(),
        "fine_yuan": money(fine),
        "is_public": True,
        "penalty_types": sorted({"02"} | {beside[i : i + 2] for i in range(0, len(beside), 2)}),
        "public_status": "0",
        "publish_on": (decided + timedelta(days=random.randrange(1, 8))).isoformat(),
    }
    body["doc_no"] = f"{agency.short}罚决字〔{decided.year}〕第{number:06d}号"
    if random.random() < 0.3:  # the older serials: team, dash, number
        body["doc_no"] = f"{agency.short}罚字〔{decided.year}〕第{random.randrange(1, 9)}-{number % 1000:03d}号"
    body["doc_no_norm"] = body["doc_no"]
    body["doc_no"] = _misspell(random, body["doc_no"])
    text = [f"罚款人民币{fine}元"]
    if "03" in body["penalty_types"]:
        gains = random.randrange(1, 90) * 20
        body |= {
            "confiscated_income_yuan": money(gains),
            "confiscated_goods_yuan": money(random.randrange(1, 40) * 10),
        }
        text.append(f"没收违法所得{gains}元")
    if "01" in body["penalty_types"]:
        text.insert(0, "警告")
    if fine >= 50_000:
        body |= {"major": True, "collective": True, "hearing": random.random() < 0.5}
        if random.random() < 0.3:
            body["penalty_types"].append("11")
            body |= {
                "licence_name": random.choice(_LICENCES),
                "licence_no": f"JY1{random.randrange(10**13):013d}",
            }
            text.append(f"暂扣{body['licence_name']}")
    body["penalty_text"] = "；".join(text)
    if random.random() < 0.5:
        body["publish_end"] = decided.replace(
            year=decided.year + random.choice((1, 3)), day=min(decided.day, 28)
        ).isoformat()
    served = decided + timedelta(days=0 if summary else random.randrange(1, 8))
    closed = served + timedelta(days=random.randrange(1, 16))
    if served <= today:
        body |= {"stage": SERVED, "served_on": served.isoformat()}
    if closed <= today:
        body |= {
            "stage": CLOSED,
            "closed_on": closed.isoformat(),
            "paid_yuan": body["fine_yuan"],
            "exec_method": "1",
            "exec_result": "2",
        }


def _misspell(random: Random, doc_no: str) -> str:
    """A document number as somebody typed it: other brackets, a blank, full-width digits; most are right."""
    roll = random.random()
    if roll < 0.35:
        return doc_no.translate(str.maketrans("〔〕", random.choice(("[]", "【】", "()", "（）", "［］"))))
    if roll < 0.45:
        return doc_no.replace("〔", " 〔")
    return wide(doc_no) if roll < 0.5 else doc_no


def wide(text: str) -> str:
    """The text with full-width digits."""
    return text.translate(str.maketrans("0123456789", "０１２３４５６７８９"))


def revise_case(random: Random, body: Body) -> Body:
    """The same case a little later: the facts put more exactly and, where decided, another fine."""
    new = body | {"facts": body["facts"] + f"（补正：现场另有证人{random.randrange(1, 9)}名。）"}
    if "fine_yuan" in body:
        new["fine_yuan"] = money(int(body["fine_yuan"][:-3]) + 50 * random.randrange(1, 20))
    return new


# ---------------------------------------------------------------- inspections

RESULTS = {
    "1": "未发现问题",
    "6": "通过登记的住所无法联系",
    "7": "已关闭停业",
    "A": "发现问题待后续处理",
    "B": "未按规定公示信息",
    "E": "发现问题经责令已改正",
    "F": "未发现开展相关经营活动",
}
_RESULT_WEIGHTS = (70, 4, 3, 9, 2, 10, 2)
FORMS, TYPES, MODES = ("1", "2"), ("1", "2", "3"), ("1", "2", "3")
_FINDINGS = (
    "灭火器压力不足",
    "疏散通道堆放杂物",
    "未张贴垃圾分类标识",
    "从业人员健康证过期",
    "台账记录不完整",
    "危险废物贮存间无标识",
)


# Type, name and media type of the files that an inspection with a finding leaves.
_ATTACHED = (("01", "现场照片", "image/jpeg"), ("02", "执法记录仪视频", "video/mp4"))


def inspection(random: Random, where: Place, party: Body, number: int, today: date) -> Body:
    """One check by at least two officers, reported within three days."""
    item, act, *_ = random.choice(_ACTS)
    agency = random.choice(where.agencies)
    checked = datetime(today.year, today.month, today.day) - timedelta(
        days=random.randrange(1, 100), minutes=-random.randrange(510, 1050)
    )
    result = random.choices(list(RESULTS), _RESULT_WEIGHTS)[0]
    names = list(dict.fromkeys(person_name(random) for _ in range(random.choice((2, 2, 2, 3)) + 2)))
    body: Body = {
        "check_code": f"JC{where.code}{checked:%Y%m%d}{number:05d}",
        "check_name": f"对{party['party_name']}的{act.removeprefix('未按规定')}检查",
        "item_code": item,
        "check_list_code": f"{agency.uscc}{random.randrange(1, 6)}{item[-6:]}",
        "agency_name": agency.name,
        "agency_uscc": agency.uscc,
        "region_code": party["region"],
        **party_fields(party),
        "object_type": {ENTERPRISE: "1", TRADER: "2", PERSON: "3"}[party["party_type"]],
        "object_name": party["party_name"],
        "reg_address": party["address"],
        "check_form": random.choice(FORMS),
        "check_type": random.choice(TYPES),
        "check_mode": random.choice(MODES),
        "result_code": result,
        "result_raw": result,
        "result_text": RESULTS[result],
        "checked_at": stamp(checked),
        "reported_at": stamp(checked + timedelta(minutes=random.randrange(30, 4000))),
        "reporter": names[0],
        "officers": [
            {"name": name, "cert_no": f"{where.code[:4]}{random.randrange(10**7):07d}"}
            for name in names[: random.choice((2, 2, 3))]
        ],
        "led_to_case": result == "A" and random.random() < 0.5,
    }
    if random.random() < 0.6:
        body["op_address"] = party["address"]
    if random.random() < 0.4:
        body["plan_id"] = f"SSJ{where.code}{checked.year}{random.randrange(1, 60):04d}"
    if result in "ABE":
        due = checked.date() + timedelta(days=15)
        finding: Body = {"item": act, "finding": random.choice(_FINDINGS), "rectify_due": due.isoformat()}
        if result == "E":
            finding["rectified_on"] = (due - timedelta(days=3)).isoformat()
        body["items"] = [finding]
        body["attachments"] = [
            {
                "type": kind,
                "name": name,
                "sha256": sha256(content := attached(body["check_code"], name)).hexdigest(),
                "size": len(content),
                "media_type": media,
                "notarized_no": f"({checked.year})浙{where.code[2:4]}证内字第{number:05d}号",
            }
            for kind, name, media in _ATTACHED
        ]
    return body


def attached(check_code: str, name: str) -> bytes:
    """What stands in for a file of an inspection, so that a digest in a sample has bytes behind it."""
    return f"{check_code} {name}\n".encode()


def stamp(at: datetime) -> str:
    """A local time as the records spell it: Beijing time with its offset."""
    return at.replace(tzinfo=None).isoformat(timespec="seconds") + "+08:00"


def revise_inspection(random: Random, body: Body) -> Body:
    """The same check after a second look."""
    code = "E" if body["result_code"] != "E" else "1"
    return body | {
        "result_code": code,
        "result_raw": code,
        "result_text": RESULTS[code],
        "check_name": body["check_name"].split("（复查")[0] + f"（复查{random.randrange(1, 99)}）",
    }


# ---------------------------------------------------------------- transfers

TRANSFER, CLUE, ASSISTANCE = "01", "02", "03"
SENT, RECEIVED, SIGNED_FOR, SETTLED = "04", "05", "06", "18"
_MATERIALS = (
    ("现场检查笔录", "08"),
    ("调查询问笔录", "06"),
    ("现场照片", "03"),
    ("当事人身份证明", "01"),
    ("案件情况调查报告", "00"),
    ("检验报告", "07"),
)
_GOODS = (
    ("液化石油气钢瓶", "15千克"),
    ("过期食品", "500克/袋"),
    ("农药", "250毫升/瓶"),
    ("建筑渣土运输车", "重型自卸"),
)


def transfer(random: Random, where: Place, to: Place, party: Body, number: int, today: date) -> Body:
    """One matter handed from `where` to `to`, as the sender's book has it."""
    _, act, _, basis, seen, *_ = random.choice(_ACTS)
    sender, receiver = random.choice(where.agencies), to.agencies[0]
    sent = datetime(today.year, today.month, today.day) - timedelta(
        days=random.randrange(1, 120), minutes=-random.randrange(540, 1020)
    )
    body: Body = {
        "letter_no": f"{sender.short}移字〔{sent.year}〕第{number:04d}号",
        "transfer_kind": random.choice((TRANSFER, CLUE, ASSISTANCE)),
        "from_agency": sender.name,
        "to_agency": receiver.name,
        "from_region": where.code,
        "to_region": to.code,
        **{k: v for k, v in party_fields(party).items() if not k.startswith("legal_rep_id")},
        "cause": act,
        "filed_on": (sent.date() - timedelta(days=random.randrange(3, 30))).isoformat(),
        "case_code": f"{where.code}{sent.year}{number:06d}",
        "reason": f"经查，当事人{seen}，违法行为发生地在{to.name}，本机关没有管辖权。",
        "legal_basis": f"《中华人民共和国行政处罚法》第二十二条；{basis}",
        "materials": [
            {
                "name": name,
                "type": kind,
                "pages": random.randrange(1, 40),
                "sha256": sha256(f"{where.code}{number}{name}".encode()).hexdigest(),
            }
            for name, kind in random.sample(_MATERIALS, random.randrange(1, 4))
        ],
        "approver": person_name(random),
        "approved_at": stamp(sent - timedelta(hours=20)),
        "sent_at": stamp(sent),
        "state": SENT,
        "due_at": stamp(sent + timedelta(days=10)),
        "reminders": 0,
    }
    if body["transfer_kind"] == ASSISTANCE:
        body |= {
            "request_items": ["请协助查明当事人的实际经营地址", "请代为送达询问通知书"][: random.randrange(1, 3)],
            "reply_due": body["due_at"][:10],
        }
    if random.random() < 0.3:
        name, spec = random.choice(_GOODS)
        body["goods"] = [{"name": name, "quantity": str(random.randrange(1, 30)), "spec": spec}]
    # Most letters are answered in time; of the rest some were never signed for, some never answered.
    settled = sent.date() < today - timedelta(days=4) and random.random() < 0.97
    if settled or random.random() < 0.6:
        received = RECEIVED if body["transfer_kind"] == ASSISTANCE else SIGNED_FOR
        body |= {
            "state": SETTLED if settled else received,
            "signed_by": person_name(random),
            "signed_at": stamp(sent + timedelta(hours=30)),
        }
    return body


def revise_transfer(random: Random, body: Body) -> Body:
    """The same matter with one more reminder."""
    return body | {
        "reminders": body["reminders"] + 1,
        "reason": body["reason"] + f"已电话催办{random.randrange(1, 99)}次。",
    }


# ---------------------------------------------------------------- a year of Huzhou

DEPARTMENTS = names(
    "综合行政执法局 市场监督管理局 生态环境局 交通运输局 文化广电旅游局 农业农村局 应急管理局 "
    "自然资源和规划局 卫生健康委员会 发展和改革委员会 经济和信息化局 教育局 科学技术局 民族宗教事务局 公安局 "
    "民政局 司法局 财政局 人力资源和社会保障局 建设局 水利局 商务局 退役军人事务局 审计局 "
    "国有资产监督管理委员会 体育局 统计局 医疗保障局 人民防空办公室 金融工作办公室 大数据发展管理局 "
    "机关事务管理局 档案局 消防救援支队 气象局 烟草专卖局 税务局 邮政管理局 住房公积金管理中心"
)
# The NBS codes of Huzhou's towns and streets, as the three digits after each county.
_HUZHOU_TOWNS = {
    "330502": "001-013 100-102 104-105 200",
    "330503": "001-002 100-103 105-108",
    "330521": "001-005 101-104 110 113-115",
    "330522": "001-004 101-104 106 108 110-112 200 202",
    "330523": "001-004 103-108 110-111 201 205-206",
}
ITEMS = 4_038
_YEAR_COLUMNS = (
    "check_action_code,check_action_name,supervise_item_implement_code,supervise_item_check_icode,plan_id,implement_institution,"
    "implement_institution_code,area_number,supervise_object,administrative_cp,administrative_cp_na,administrative_cp_ce_type,"
    "administrative_cp_ui_code,address_registered,check_form,check_type,check_mode,check_result,check_date,check_personnel,"
    "submitted_date,submitted_personnel"
)


def huzhou_towns() -> list[str]:
    """The codes of the 72 towns and streets."""
    codes = []
    for county, spans in _HUZHOU_TOWNS.items():
        for span in spans.split():
            first, _, last = span.partition("-")
            codes += [f"{county}{n:03d}" for n in range(int(first), int(last or first) + 1)]
    return codes


def write_huzhou_year(path: Path, n: int = 240_000, seed: int = 1) -> None:
    """Write `n` inspections of Huzhou's year 2025 as CSV (UTF-8), in the order of their times, row by row.

    All 39 departments, 4,038 items and 72 towns occur from 4,038 rows on; `huzhou_year.yaml` reads it.
    """
    random = seeded(f"{seed}/huzhou")
    where = place("330500")
    agencies = [(f"湖州市{name}", uscc("11", "330500", f"0500{i:04d}")) for i, name in enumerate(DEPARTMENTS, 101)]
    items = [(f"3302{i % 39 + 10}{i:08d}", i % 39, _ACTS[i % len(_ACTS)][1]) for i in range(ITEMS)]
    towns = huzhou_towns()
    people = [
        ",".join(
            (
                p["party_name"],
                p["party_name"],
                p["party_type"],
                p["party_id_type"],
                p["party_id"],
                p["address"],
            )
        )
        for p in parties(random, where, 8_000)
    ]
    officers = [f"{person_name(random)}|3305{i:07d}" for i in range(7_000)]
    results = [code for code, weight in zip(RESULTS, _RESULT_WEIGHTS, strict=True) for _ in range(weight)]
    start, step = datetime(2025, 1, 1), 365 * 86_400 / n
    pick, kinds = random.random, len(people)
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write(_YEAR_COLUMNS + "\n")
        for i in range(n):
            checked = start + timedelta(seconds=int(i * step))
            reported = checked + timedelta(seconds=1800 + int(pick() * 200_000))
            item, department, act = items[i % ITEMS]
            agency, code = agencies[department]
            party = people[int(pick() * kinds)]
            first, second = int(pick() * 6_999), int(pick() * 6_999)
            pair = f"{officers[first]};{officers[second if second != first else second + 1]}"
            plan = f"SSJ3305002025{i % 60:04d}" if i % 5 < 2 else ""
            out.write(
                f"JC330500{checked:%Y%m%d}{i:06d},{act}检查,{item},{code}{i % 5 + 1}{item[-6:]},{plan},"
                f"{agency},{code},{towns[i % 72]},{party},{i % 2 + 1},{i % 3 + 1},{i % 3 + 1},"
                f"{results[int(pick() * 100)]},{checked},{pair},{reported},"
                f"{officers[first].partition('|')[0]}\n"
            )
