"""The same enterprises as two jurisdictions' registers write them, with the truth: what matching is measured on.

Half of what one register holds the other does not. Where both have an enterprise, the second writes it otherwise: another
legal form, a place before the name or none, an abbreviation, a wrong character, an address it has moved from, a number left out
or mistyped. Drawn from a seed; no enterprise here is a real one.
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from adapters.sample.generator import person_name, seeded, uscc

_CHARACTERS = (
    "华兴盛达鑫泰恒瑞宏利丰裕顺昌隆嘉祥福安康德信诚义和合众联创新科技源通海江河湖山川林森木金银铜铁玉石宝珠明光辉耀阳日月星辰天地"
    "乾坤龙凤虎马骏鹏飞翔腾云雨雪霜春夏秋冬东南西北中正方圆美丽佳良优特精工匠心巧手艺术文化教育知书达理学友朋邻里乡村镇城市都"
    "锦绣前程似万年长久永远大小高远深厚博雅清雅静思远志宏图展业立基建设创立卓越超群英杰豪俊才贤能智慧聪颖灵秀"
)
_ALIKE = dict(zip("鑫泰恒瑞宏利丰裕顺昌隆嘉祥福康德信诚和联源通", "新太衡锐洪力风玉舜倡龙佳翔富糠得兴城合连元同", strict=True))
_TRADES = (
    "纺织 服饰 电子 机械 木业 竹制品 家具 建材 物流 商贸 食品 餐饮管理 电子商务 环保科技 新能源 化工 五金 塑料制品 装饰工程 "
    "农业开发 茶叶 印刷 包装 汽车配件 园林绿化 信息技术 医疗器械 教育咨询"
).split()
_SHORT = {"电子商务": "电商", "餐饮管理": "餐饮", "环保科技": "环保", "装饰工程": "装饰", "汽车配件": "汽配",
          "信息技术": "信息", "塑料制品": "塑料", "竹制品": "竹业", "教育咨询": "教育", "农业开发": "农业"}  # fmt: skip
_FORMS = ("有限公司", "有限责任公司", "股份有限公司", "厂", "合伙企业（有限合伙）", "商行", "经营部")
_TOWNS = ("南浔镇 练市镇 双林镇 菱湖镇 和孚镇 善琏镇 旧馆街道 千金镇 石淙镇 东迁街道 乌镇镇 濮院镇 崇福镇 洲泉镇 大麻镇 屠甸镇 "
          "石门镇 高桥街道 凤鸣街道 梧桐街道").split()  # fmt: skip
_STREETS = "人民路 解放路 建设路 中山路 文昌路 工业大道 创业路 长虹路 环城北路 浔练公路 兴业路 振兴路 南林路 朝阳路".split()
_PLACES = ("湖州", "湖州市南浔区", "浙江", "浙江省湖州市", "南浔", "桐乡市", "嘉兴")


class Enterprise(NamedTuple):
    """One register's row, and the number of the enterprise it is (never part of what is matched)."""

    truth: int
    fields: dict[str, str]


def registers(n: int, seed: str = "enterprises") -> tuple[list[Enterprise], list[Enterprise]]:
    """Two registers of `n` rows each, half of them of the same enterprises; in an order that tells nothing."""
    random = seeded(f"{seed} {n}")
    shared = n // 2
    left = list(_drawn(random, 0, n))
    right = [Enterprise(each.truth, _otherwise(random, each.fields)) for each in left[:shared]]
    right += list(_drawn(random, n, n - shared))
    random.shuffle(left)
    random.shuffle(right)
    return left, right


def _drawn(random: Random, first: int, n: int) -> Iterator[Enterprise]:
    for number in range(first, first + n):
        brand = "".join(random.sample(_CHARACTERS, random.choice((2, 2, 2, 3))))
        name = random.choice(_PLACES) + brand + random.choice(_TRADES) + random.choice(_FORMS)
        fields = {
            "name": name,
            "uscc": uscc("91", random.choice(("330503", "330483")), f"{random.randrange(10**8):08d}"),
            "legal_rep": person_name(random),
            "town": random.choice(_TOWNS),
            "street": random.choice(_STREETS),
            "number": str(random.randrange(1, 900)),
        }
        if random.random() < 0.5:
            del fields["uscc"]
        yield Enterprise(number, fields)


def _otherwise(random: Random, fields: dict[str, str]) -> dict[str, str]:
    """The same enterprise as another register writes it."""
    found = dict(fields)
    name = found["name"]
    if random.random() < 0.3:
        form = next(each for each in sorted(_FORMS, key=len, reverse=True) if name.endswith(each))
        name = name.removesuffix(form) + random.choice(("", *_FORMS[:3]))
    if random.random() < 0.4:
        before = next(each for each in sorted(_PLACES, key=len, reverse=True) if name.startswith(each))
        name = random.choice(("", *_PLACES)) + name.removeprefix(before)
    if random.random() < 0.25:
        for whole, short in _SHORT.items():
            name = name.replace(whole, short)
    if random.random() < 0.12:
        at = random.randrange(len(name))
        name = name[:at] + _ALIKE.get(name[at], random.choice(_CHARACTERS)) + name[at + 1 :]
    found["name"] = name or fields["name"]
    if random.random() < 0.5:
        found.pop("uscc", None)
    elif "uscc" in found and random.random() < 0.02:
        at = random.randrange(8, 17)
        found["uscc"] = found["uscc"][:at] + random.choice("0123456789") + found["uscc"][at + 1 :]
    if random.random() < 0.12:
        found |= {"town": random.choice(_TOWNS), "street": random.choice(_STREETS), "number": str(random.randrange(1, 900))}
    elif random.random() < 0.1:
        found["number"] = str(random.randrange(1, 900))
    if random.random() < 0.06:
        found["legal_rep"] = person_name(random)
    if random.random() < 0.1:
        del found["legal_rep"]
    return found
