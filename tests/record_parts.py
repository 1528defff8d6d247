"""Cases of Tongxiang with parties by name: a firm and a person, and who else looks at them."""

from datetime import date
from typing import Any

from hub_parts import bodies

from adapters.sample import generator

# Of one agreement and tier, of both and neither: Tongxiang and Nanxun are peers, Jiaxing is Tongxiang's superior.
OWN, PEER, ABOVE, TOWN, FAR = "330483", "330503", "330400", "330483100", "330522"
NAME, PERSON = "浙江红旗餐饮有限公司", "张三丰"


def firm(number: int = 1, **more: Any) -> dict[str, Any]:
    (body,) = bodies("case/1", OWN, 1, first=number, seed="firm").values()
    body |= {"party_type": "1", "party_name": NAME, "case_name": f"{NAME}占道经营案", "party_id_type": "001"}
    body["party_id"] = generator.uscc("91", "330483", f"{number:08}")
    return {name: value for name, value in (body | more).items() if value is not None}


def person(number: int = 2, **more: Any) -> dict[str, Any]:
    (body,) = bodies("case/1", OWN, 1, first=number, seed="person").values()
    body |= {"party_type": "2", "party_name": PERSON, "case_name": f"{PERSON}占道经营案", "party_id_type": "111"}
    body["party_id"] = generator.resident_id("330483", date(1990, 1, 1), number)
    return {name: value for name, value in (body | more).items() if value is not None and not name.startswith("legal_rep")}
