"""How each sample city keeps its own books: what it knows of a record, and how its columns spell that.

Owns one `Book` per feed. `knows` takes a record of the generator to what that city's table can hold (the
truth that a right reading must give back); `row` spells it, with the dirt of real tables. Nothing here
reads a declaration or uses `adapters.mapping`: what declarations must undo is written down a second time,
from the facts about the formats. Money columns are 万元 in the publicity tables and yuan elsewhere; times
are Beijing time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from random import Random
from typing import Any
from zlib import crc32

from adapters.sample import generator
from adapters.sample.generator import (
    BY_USCC,
    ENTERPRISE,
    PERSON,
    RESULTS,
    TRADER,
    Body,
    names,
    place,
    stamp,
    wide,
)

Row = dict[str, Any]
NO_END = "2099-12-31"


class Dirt:
    """Which records are dirty in which way: by the record's own name, so an edit elsewhere moves nothing."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, what: str, one_in: int) -> bool:
        return crc32(f"{self.name}/{what}".encode()) % one_in == 0

    def nothing(self) -> str:
        """One of the ways in which people write that there is nothing."""
        return ("— —", "无", "/", "")[crc32(f"{self.name}/nothing".encode()) % 4]


@dataclass(frozen=True, slots=True)
class Book:
    """One feed of one city.

    `spoil` is a column and a value in it that no declaration can map; `operation` names the column that marks
    deleted rows; `history` says that every revision stays a row of its own.
    """

    make: Callable[[Random, int, date, Callable[[Random], Body]], Body]
    revise: Callable[[Random, Body], Body]
    knows: Callable[[Body, Dirt, datetime], Body]
    row: Callable[[Body, Dirt, datetime], Row]
    spoil: tuple[str, Any]
    spoilt: int = 0  # such rows from the start
    repeats: int = 0  # rows written twice
    deleted: int = 0  # rows that were deleted before anybody looked
    operation: str | None = None
    history: bool = False


# ---------------------------------------------------------------- spelling


def wan(yuan: str | None) -> str | None:
    """Yuan as 万元: 2000.00 → 0.2."""
    return None if yuan is None else f"{(Decimal(yuan) / 10000).normalize():f}"


def local(iso: str | datetime | None, form: str = "%Y-%m-%d %H:%M:%S") -> str | None:
    """A time of a record in a table's form, Beijing time; None stays None."""
    if iso is None:
        return None
    return (datetime.fromisoformat(iso) if isinstance(iso, str) else iso).strftime(form)


def only(body: Body, fields: Iterable[str]) -> Body:
    return {field: body[field] for field in fields if field in body}


def words(spelled: dict[str, str], code: str | None) -> str | None:
    return None if code is None else spelled[code]


def yes(value: bool | None, true: str = "1", false: str = "0") -> str | None:
    return None if value is None else true if value else false


PARTY = ("party_type", "party_name", "party_id_type", "party_id", "legal_rep_name")
REPRESENTATIVE = ("legal_rep_id_type", "legal_rep_id")
PARTY_WORDS = {ENTERPRISE: "法人及非法人组织", PERSON: "自然人", TRADER: "个体工商户"}
PENALTY_WORDS = {"01": "警告", "02": "罚款", "03": "没收违法所得", "09": "没收非法财物", "11": "暂扣许可证"}


def short_id(body: Body, dirt: Dirt) -> Body:
    """Some representatives' numbers are still the 15-digit ones, some are the text `undefined`."""
    number = body.get("legal_rep_id")
    if number and dirt("undefined", 12):
        return {k: v for k, v in body.items() if k not in REPRESENTATIVE} | {"legal_rep_id_type": "111"}
    if number and number[6:8] == "19" and dirt("15 digits", 8):
        return body | {"legal_rep_id": number[:6] + number[8:17]}
    return body


# ---------------------------------------------------------------- cases: the provincial 省市回流 table

_RETURNED = (
    names(
        "case_code case_name item_code agency_name agency_uscc region_code facts basis decided_on doc_no "
        "doc_no_norm penalty_types penalty_text fine_yuan confiscated_income_yuan confiscated_goods_yuan "
        "licence_name licence_no is_public publish_on publish_end public_status"
    )
    + PARTY
    + REPRESENTATIVE
)
# A publication says nothing of the proceedings, and all it holds has been decided.
PUBLISHED = {"procedure": "99", "case_source": "99", "stage": "09"}


def knows_returned(body: Body, dirt: Dirt, at: datetime) -> Body:
    return short_id(only(body, _RETURNED), dirt) | PUBLISHED | {"source_time": stamp(at)}


def returned(b: Body, dirt: Dirt, at: datetime) -> Row:
    number = b["party_id"]
    if b["party_id_type"] == BY_USCC:
        if dirt("prefix", 6):
            number = f"统一社会信用代码：{number}"
        elif dirt("suffix", 6):
            number = f"{number}（1/1）"
        number = wide(number) if dirt("wide", 9) else number
    breached, basis = b["basis"].split("；")
    return {
        "punish_base_info_code": f"{crc32(b['case_code'].encode()):08x}",
        "punish_case_code": b["case_code"],
        "case_process_type": "02",
        "punish_action_name": b["case_name"],
        "illegal_fact": b["facts"] + ("  " if dirt("blanks", 7) else ""),
        "illegal_basis": breached,
        "punish_type": ",".join(b["penalty_types"]),
        "punish_document_code": b["doc_no"],
        "admin_cp_type": {PERSON: "01", ENTERPRISE: "02", TRADER: "03"}[b["party_type"]],
        "admin_cp_name": b["party_name"],
        "admin_cp_cert_type": b["party_id_type"],
        "admin_cp_cert_code": number,
        "legal_represent": b.get("legal_rep_name", dirt.nothing()),
        "legal_represent_type": b.get("legal_rep_id_type", ""),
        "legal_represent_idcard": b.get("legal_rep_id", "undefined"),
        "punish_content": b["penalty_text"],
        "supervise_item_code": b["item_code"],
        "supervise_item_name": "行政处罚",
        "punish_basis": basis,
        "fine": wan(b["fine_yuan"]),
        "confiscate_illegal_incom": wan(b.get("confiscated_income_yuan")),
        "confiscate_illegal_asset": wan(b.get("confiscated_goods_yuan")),
        "revoke_licence_name": b.get("licence_name", dirt.nothing()),
        "revoke_licence_code": b.get("licence_no", dirt.nothing()),
        "set_time": b["decided_on"],
        "public_date": b["publish_on"],
        "public_end_date": b.get("publish_end", NO_END),
        "implement_institution": b["agency_name"],
        "implement_institution_code": b["agency_uscc"],
        "institution_region_code": b["region_code"],
        "source_dept_name": b["agency_name"],
        "source_dept_code": b["agency_uscc"],
        "is_public": yes(b["is_public"]),
        "publictext": b["penalty_text"],
        "publicstatus": b["public_status"],
        "cutreason": None,
        "sensitiveflag": "0",
        "iscancelcase": None,
        "dsc_biz_timestamp": local(at),
    }


# ---------------------------------------------------------------- cases: 双公示, both editions

_PUBLICITY = (
    names(
        "agency_name agency_uscc facts basis decided_on doc_no doc_no_norm violation_type penalty_types "
        "penalty_text fine_yuan licence_name publish_end"
    )
    + PARTY
    + REPRESENTATIVE
)


def knows_publicity(body: Body, dirt: Dirt, at: datetime) -> Body:
    """No case number and no case name: the decision's number and the violation stand for them."""
    known = short_id(only(body, _PUBLICITY), dirt) | PUBLISHED
    seized = sum(Decimal(body.get(k, "0")) for k in ("confiscated_income_yuan", "confiscated_goods_yuan"))
    if seized:  # one column for both, so it can only be told as income
        known["confiscated_income_yuan"] = f"{seized:.2f}"
    return known | {
        "case_code": body["doc_no"],
        "case_name": body["violation_type"],
        "region_code": "330522",
        "is_public": True,
    }


def publicity(b: Body, dirt: Dirt, at: datetime) -> Row:
    person = b["party_type"] == PERSON
    return {
        "CF_XDR_MC": b["party_name"],
        "CF_XDR_LB": PARTY_WORDS[b["party_type"]],
        "CF_XDR_SHXYM": dirt.nothing() if person else b["party_id"],
        "CF_XDR_GSZC": dirt.nothing(),
        "CF_XDR_ZZJG": dirt.nothing(),
        "CF_XDR_SWDJ": dirt.nothing(),
        "CF_XDR_SYDW": None,
        "CF_XDR_SHZZ": None,
        "CF_FRDB": b.get("legal_rep_name", dirt.nothing()),
        "CF_FR_ZJLX": "身份证" if b.get("legal_rep_id_type") else dirt.nothing(),
        "CF_FR_ZJHM": b.get("legal_rep_id", dirt.nothing()),
        "CF_XDR_ZJLX": "身份证" if person else dirt.nothing(),
        "CF_XDR_ZJHM": b["party_id"] if person else dirt.nothing(),
        "CF_WSH": b["doc_no"],
        "CF_WFXW": b["violation_type"],
        "CF_SY": b["facts"],
        "CF_YJ": b["basis"],
        "CF_CFLB": "、".join(PENALTY_WORDS[p] for p in b["penalty_types"]),
        "CF_NR": b["penalty_text"],
        "CF_NR_FK": wan(b["fine_yuan"]),
        "CF_NR_WFFF": wan(b.get("confiscated_income_yuan")) or dirt.nothing(),
        "CF_NR_ZKDX": b.get("licence_name", dirt.nothing()),
        "CF_JDRQ": local(b["decided_on"], "%Y/%m/%d"),
        "CF_YXQ": "2099/12/31",
        "CF_GSJZQ": local(b.get("publish_end", NO_END), "%Y/%m/%d"),
        "CF_CFJG": b["agency_name"],
        "CF_CFJGDM": b["agency_uscc"],
        "CF_SJLY": b["agency_name"],
        "CF_SJLYDM": b["agency_uscc"],
        "BZ": None,
    }


_OLDER = (
    names(
        "case_code case_name agency_name agency_uscc facts basis decided_on doc_no doc_no_norm penalty_types "
        "penalty_text public_status"
    )
    + PARTY
)


def knows_older(body: Body, dirt: Dirt, at: datetime) -> Body:
    """Both editions stand in one table; only rows of the newer one have amounts."""
    known = only(body, _OLDER) | PUBLISHED | {"region_code": "330483", "is_public": True, "source_time": stamp(at)}
    if dirt("newer", 3):
        known |= only(body, ("violation_type", "fine_yuan", "publish_end"))
    return known


def older(b: Body, dirt: Dirt, at: datetime) -> Row:
    newer, person = "fine_yuan" in b, b["party_type"] == PERSON
    penalties = [PENALTY_WORDS[p] for p in b["penalty_types"]]
    return {
        "CF_AJBH": b["case_code"],
        "CF_WSH": b["doc_no"],
        "CF_CFMC": b["case_name"],
        "CF_CFLB1": None if newer else penalties[0],
        "CF_CFLB2": None if newer else "；".join(penalties[1:]) or dirt.nothing(),
        "CF_CFLB": "；".join(penalties) if newer else None,
        "CF_WFXW": b.get("violation_type"),
        "CF_SY": b["facts"],
        "CF_YJ": b["basis"],
        "CF_XDR_MC": b["party_name"],
        "CF_XDR_LB": PARTY_WORDS[b["party_type"]],
        "CF_XDR_SHXYM": dirt.nothing()
        if person
        else ("统一社会信用代码：" if dirt("prefix", 7) else "") + b["party_id"],
        "CF_XDR_ZDM": None if person or newer else f"{b['party_id'][8:16]}-{b['party_id'][16]}",
        "CF_XDR_GSDJ": dirt.nothing(),
        "CF_XDR_SWDJ": dirt.nothing(),
        "CF_XDR_SFZ": b["party_id"] if person else dirt.nothing(),
        "CF_FR": b.get("legal_rep_name", dirt.nothing()),
        "CF_JG": None if newer else b["penalty_text"],
        "CF_NR": b["penalty_text"] if newer else None,
        "CF_NR_FK": wan(b.get("fine_yuan")),
        "CF_JDRQ": local(b["decided_on"], "%Y/%m/%d"),
        "CF_GSJZQ": local(b.get("publish_end", NO_END), "%Y/%m/%d") if newer else None,
        "CF_XZJG": b["agency_name"],
        "CF_ZT": b["public_status"],
        "DFBM": "330483",
        "SJC": local(at, "%Y/%m/%d %H:%M:%S"),
        "BZ": dirt.nothing(),
    }


# ---------------------------------------------------------------- cases: 互联网+监管 penalty record

_PENALTY_RECORD = names(
    "case_code case_name item_code case_source inspection_code procedure agency_name agency_uscc "
    "region_code party_type party_name party_id_type party_id facts basis hearing filed_on criminal "
    "major legal_review collective doc_no doc_no_norm decided_on penalty_types fine_yuan penalty_text "
    "exec_method exec_result paid_yuan no_penalty closed_on stage"
)
_STAGE_WORDS = {
    "02": "立案",
    "03": "调查取证",
    "07": "告知",
    "09": "决定",
    "10": "送达",
    "12": "结案",
    "94": "不予处罚",
}


def knows_penalty_record(body: Body, dirt: Dirt, at: datetime) -> Body:
    return only(body, _PENALTY_RECORD)


def penalty_record(b: Body, dirt: Dirt, at: datetime) -> Row:
    return {
        "监管事项目录编码": b["item_code"],
        "处罚行为名称": b["case_name"],
        "处罚行为编号": b["case_code"],
        "案件阶段": _STAGE_WORDS[b["stage"]],
        "实施机构": b["agency_name"],
        "实施机构编码": b["agency_uscc"],
        "案件来源": b["case_source"],
        "检查行为编号": b.get("inspection_code"),
        "行政相对人": b["party_name"],
        "行政相对人性质": b["party_type"],
        "行政相对人证件类型": b["party_id_type"],
        "行政相对人编码": wide(b["party_id"]) if dirt("wide", 9) else b["party_id"],
        "行政区划代码": b["region_code"],
        "违法事实": b["facts"],
        "处罚依据": b["basis"],
        "处罚程序": b["procedure"],
        "是否听证": yes(b["hearing"]),
        "处罚立案时间": b["filed_on"],
        "是否涉刑案件": yes(b["criminal"]),
        "是否重大案件": yes(b["major"]),
        "是否法制审核": yes(b["legal_review"]),
        "是否集体讨论": yes(b["collective"]),
        "处罚文书号": b.get("doc_no", dirt.nothing()),
        "作出行政处罚决定日期": b.get("decided_on"),
        "处罚种类": ",".join(b.get("penalty_types", ())),
        "罚款金额": b.get("fine_yuan"),
        "处罚结果": b.get("penalty_text", dirt.nothing()),
        "结案情况—执行方式": b.get("exec_method"),
        "结案情况—执行结果": b.get("exec_result"),
        "结案实缴罚款金额": b.get("paid_yuan"),
        "结案情况—不予行政处罚": b.get("no_penalty"),
        "结案情况—结案日期": b.get("closed_on"),
        "报送时间": local(at),
        "报送人员": "undefined",
    }


# ---------------------------------------------------------------- inspections: 互联网+监管 check record

_CHECK = names(
    "check_code check_name item_code check_list_code plan_id agency_name agency_uscc region_code "
    "party_type party_name party_id_type party_id object_name reg_address op_address check_form "
    "check_type check_mode result_code result_raw checked_at reported_at reporter officers"
)
_OBJECT = {ENTERPRISE: "1", PERSON: "3", TRADER: "2"}


def knows_check(body: Body, dirt: Dirt, at: datetime) -> Body:
    """The table says what is inspected by the party's nature alone."""
    return only(body, _CHECK) | {"object_type": _OBJECT[body["party_type"]]}


def knows_check_timed(body: Body, dirt: Dirt, at: datetime) -> Body:
    return knows_check(body, dirt, at) | {"source_time": stamp(at)}


def check(b: Body, dirt: Dirt, at: datetime) -> Row:
    return {
        "supervise_item_implement_code": b["item_code"],
        "supervise_item_check_icode": b["check_list_code"],
        "check_action_name": b["check_name"],
        "check_action_code": b["check_code"],
        "implement_institution": b["agency_name"],
        "implement_institution_code": b["agency_uscc"],
        "entrust_dept": dirt.nothing(),
        "entrust_dept_code": dirt.nothing(),
        "supervise_object": b["object_name"],
        "administrative_cp": b["party_name"],
        "administrative_cp_na": b["party_type"],
        "administrative_cp_ce_type": b["party_id_type"],
        "administrative_cp_ui_code": f"{b['party_id']}（1/1）" if dirt("suffix", 9) else b["party_id"],
        "address_registered": b["reg_address"],
        "address_operating": b.get("op_address", dirt.nothing()),
        "area_number": b["region_code"],
        "check_form": b["check_form"],
        "check_type": b["check_type"],
        "check_mode": b["check_mode"],
        "check_result": b["result_raw"],
        "check_date": local(b["checked_at"]),
        "check_personnel": ",".join(o["name"] for o in b["officers"]),
        "check_personnel_code": ",".join(o["cert_no"] for o in b["officers"]),
        "submitted_date": local(b["reported_at"]),
        "submitted_personnel": b["reporter"],
        "plan_id": b.get("plan_id", dirt.nothing()),
    }


def check_timed(b: Body, dirt: Dirt, at: datetime) -> Row:
    return check(b, dirt, at) | {"gmtModified": local(at)}


def check_in_chinese(b: Body, dirt: Dirt, at: datetime) -> Row:
    return {
        "双随机一公开计划id": b.get("plan_id"),
        "监管事项目录编码": b["item_code"],
        "监管事项检查实施清单编码": b["check_list_code"],
        "检查行为名称": b["check_name"],
        "检查行为编号": b["check_code"],
        "实施机构": b["agency_name"],
        "实施机构编码": b["agency_uscc"],
        "受委托部门": None,
        "受委托部门编码": None,
        "监管对象": b["object_name"],
        "行政相对人": b["party_name"],
        "行政相对人性质": b["party_type"],
        "行政相对人证件类型": b["party_id_type"],
        "行政相对人编码": wide(b["party_id"]) if dirt("wide", 9) else b["party_id"],
        "注册地址": b["reg_address"],
        "经营地址": b.get("op_address", dirt.nothing()),
        "行政区划代码": b["region_code"],
        "检查形式": b["check_form"],
        "检查类别": b["check_type"],
        "检查方式": b["check_mode"],
        "检查结果": b["result_raw"],
        "检查时间": local(b["checked_at"]),
        "检查人员": ",".join(o["name"] for o in b["officers"]),
        "执法证号": ",".join(o["cert_no"] for o in b["officers"]),
        "报送时间": local(b["reported_at"]),
        "报送人员": b["reporter"],
    }


# ---------------------------------------------------------------- inspections: the towns' own sheets

_TOWN = (
    names(
        "check_code check_name item_code check_list_code agency_name agency_uscc region_code object_name "
        "reg_address check_form check_type result_code result_text checked_at reported_at officers "
        "object_type"
    )
    + PARTY[:4]
)
_FORM_WORDS = {"1": "现场检查", "2": "非现场检查"}
_TYPE_WORDS = {"1": "日常检查", "2": "专项检查", "3": "双随机抽查"}


def knows_sheet(body: Body, dirt: Dirt, at: datetime) -> Body:
    return only(body, _TOWN) | {"result_raw": RESULTS[body["result_code"]]}


def sheet(b: Body, dirt: Dirt, at: datetime) -> Row:
    """Wuzhen's workbook: dates are real dates, numbers real numbers, the officers stand as name/card."""
    return {
        "序号": int(b["check_code"][-5:]),
        "检查编号": b["check_code"],
        "检查名称": b["check_name"],
        "事项编码": b["item_code"],
        "清单编码": b["check_list_code"],
        "检查单位": b["agency_name"],
        "单位代码": b["agency_uscc"],
        "所属区划": b["region_code"],
        "对象类型": PARTY_WORDS[b["party_type"]],
        "对象名称": b["party_name"],
        "证照号码": wide(b["party_id"]) if dirt("wide", 9) else b["party_id"],
        "地址": b["reg_address"],
        "检查形式": _FORM_WORDS[b["check_form"]],
        "检查类别": _TYPE_WORDS[b["check_type"]],
        "检查结果": RESULTS[b["result_code"]],
        "检查时间": datetime.fromisoformat(b["checked_at"]).replace(tzinfo=None),
        "报送时间": datetime.fromisoformat(b["reported_at"]).replace(tzinfo=None),
        "检查人员": "、".join(f"{o['name']}/{o['cert_no']}" for o in b["officers"]),
        "备注": dirt.nothing(),
    }


LIANSHI_RESULTS = {"1": "00", "6": "11", "7": "12", "A": "21", "B": "22", "E": "23", "F": "13"}


def knows_tabbed(body: Body, dirt: Dirt, at: datetime) -> Body:
    return only(body, _TOWN) | {"result_raw": LIANSHI_RESULTS[body["result_code"]]}


def tabbed(b: Body, dirt: Dirt, at: datetime) -> Row:
    """Lianshi's export: own result numbers, Chinese dates, the officers in brackets."""
    return {
        "jcbh": b["check_code"],
        "jcmc": b["check_name"],
        "sxbm": b["item_code"],
        "qdbm": b["check_list_code"],
        "jcdw": b["agency_name"],
        "dwdm": b["agency_uscc"],
        "qhdm": b["region_code"] + "000",
        "dxlx": PARTY_WORDS[b["party_type"]],
        "dxmc": ("　" if dirt("blanks", 6) else "") + b["party_name"],
        "zjhm": b["party_id"],
        "dz": b["reg_address"],
        "jcxs": _FORM_WORDS[b["check_form"]],
        "jclb": _TYPE_WORDS[b["check_type"]],
        "jcjg": LIANSHI_RESULTS[b["result_code"]],
        "jgsm": b["result_text"],
        "jcsj": local(b["checked_at"], "%Y年%m月%d日 %H:%M:%S"),
        "bssj": local(b["reported_at"], "%Y年%m月%d日 %H:%M:%S"),
        "jcry": ";".join(f"{o['name']}|{o['cert_no']}" for o in b["officers"]),
        "bz": dirt.nothing(),
    }


# ---------------------------------------------------------------- Deqing: nested JSON

_DEQING_CASE = (
    names(
        "legal_rep_name violation_type served_on is_public publish_on publish_end public_status "
        "confiscated_income_yuan confiscated_goods_yuan licence_name licence_no"
    )
    + _PENALTY_RECORD
    + REPRESENTATIVE
)


def knows_deqing_case(body: Body, dirt: Dirt, at: datetime) -> Body:
    return only(body, _DEQING_CASE) | {"source_time": stamp(at)}


def _deqing_party(b: Body) -> Row:
    party: Row = {
        "type": b["party_type"],
        "name": b["party_name"],
        "certType": b["party_id_type"],
        "certNo": b["party_id"],
    }
    if "legal_rep_name" in b:
        party["legal"] = {
            "name": b["legal_rep_name"],
            "certType": b["legal_rep_id_type"],
            "certNo": b["legal_rep_id"],
        }
    return party


def deqing_case(b: Body, dirt: Dirt, at: datetime) -> Row:
    """Yuan in cents, booleans as JSON booleans, everything about the decision in an object of its own."""

    def cents(yuan: str | None) -> int | None:
        return None if yuan is None else int(Decimal(yuan) * 100)

    decision = {
        "docNo": b.get("doc_no"),
        "decidedOn": b.get("decided_on"),
        "types": b.get("penalty_types"),
        "content": b.get("penalty_text"),
        "fine": cents(b.get("fine_yuan")),
        "paid": cents(b.get("paid_yuan")),
        "income": cents(b.get("confiscated_income_yuan")),
        "goods": cents(b.get("confiscated_goods_yuan")),
        "licence": b.get("licence_name"),
        "licenceNo": b.get("licence_no"),
        "servedOn": b.get("served_on"),
        "noPenalty": b.get("no_penalty"),
        "execMethod": b.get("exec_method"),
        "execResult": b.get("exec_result"),
        "closedOn": b.get("closed_on"),
    }
    return {
        "caseCode": b["case_code"],
        "caseName": b["case_name"],
        "itemCode": b["item_code"],
        "source": b["case_source"],
        "inspectionCode": b.get("inspection_code", "undefined"),
        "procedure": b["procedure"],
        "stage": b["stage"],
        "agency": {"name": b["agency_name"], "code": b["agency_uscc"]},
        "region": b["region_code"],
        "party": _deqing_party(b),
        "violation": b["violation_type"],
        "facts": b["facts"],
        "basis": b["basis"],
        "filedOn": b["filed_on"],
        "flags": {k: b[k] for k in ("hearing", "criminal", "major", "collective")} | {"legalReview": b["legal_review"]},
        "decision": decision if "decided_on" in b else None,
        "publicity": {
            "isPublic": b["is_public"],
            "from": b["publish_on"],
            "to": b.get("publish_end", NO_END),
            "status": b["public_status"],
        }
        if "is_public" in b
        else None,
        "updateTime": stamp(at),
    }


_DEQING_CHECK = names("legal_rep_name items attachments result_text led_to_case object_type") + _CHECK + REPRESENTATIVE


def knows_deqing_check(body: Body, dirt: Dirt, at: datetime) -> Body:
    return only(body, _DEQING_CHECK) | {"source_time": stamp(at)}


def deqing_check(b: Body, dirt: Dirt, at: datetime) -> Row:
    return {
        "checkCode": b["check_code"],
        "checkName": b["check_name"],
        "itemCode": b["item_code"],
        "listCode": b["check_list_code"],
        "planId": b.get("plan_id"),
        "agency": {"name": b["agency_name"], "code": b["agency_uscc"]},
        "region": b["region_code"],
        "party": _deqing_party(b),
        "object": {"type": b["object_type"], "name": b["object_name"]},
        "regAddress": b["reg_address"],
        "opAddress": b.get("op_address", dirt.nothing()),
        "form": b["check_form"],
        "type": b["check_type"],
        "mode": b["check_mode"],
        "result": {"code": b["result_raw"], "text": b["result_text"]},
        "checkedAt": b["checked_at"],
        "reportedAt": b["reported_at"],
        "reporter": b["reporter"],
        "officers": [{"xm": o["name"], "zfzh": o["cert_no"]} for o in b["officers"]],
        "items": [
            {
                "item": i["item"],
                "finding": i["finding"],
                "due": i["rectify_due"],
                "done": i.get("rectified_on"),
            }
            for i in b.get("items", ())
        ],
        "files": [
            {
                "kind": f["type"],
                "title": f["name"],
                "digest": f["sha256"],
                "bytes": f["size"],
                "mime": f["media_type"],
                "notary": f["notarized_no"],
            }
            for f in b.get("attachments", ())
        ],
        "ledToCase": b["led_to_case"],
        "updateTime": stamp(at),
    }


# ---------------------------------------------------------------- Guangde: another province

GUANGDE_PENALTIES = {"01": "JG", "02": "FK", "03": "MS1", "09": "MS2", "11": "ZK"}
GUANGDE_STAGES = {
    "02": "已立案",
    "03": "调查中",
    "07": "已告知",
    "09": "已决定",
    "10": "已送达",
    "12": "已结案",
    "94": "不予处罚",
}
_GUANGDE_TYPES = {ENTERPRISE: "企业", PERSON: "个人", TRADER: "个体户"}
_GUANGDE_CASE = (
    names(
        "case_code case_name item_code case_source procedure agency_name agency_uscc region_code legal_rep_id_type "
        "legal_rep_id facts basis filed_on decided_on served_on closed_on stage hearing criminal doc_no "
        "doc_no_norm penalty_types penalty_text fine_yuan paid_yuan no_penalty"
    )
    + PARTY
)
_GUANGDE_SOURCES = {"01": "日常巡查", "02": "群众举报", "03": "部门移送", "04": "上级交办", "06": "在线监控"}


def knows_guangde_case(body: Body, dirt: Dirt, at: datetime) -> Body:
    return short_id(only(body, _GUANGDE_CASE), dirt)


def _grouped(yuan: str | None) -> str | None:
    return None if yuan is None else f"{Decimal(yuan):,.2f}"


def guangde_case(b: Body, dirt: Dirt, at: datetime) -> Row:
    form = "%Y年%m月%d日"
    return {
        "案件号": b["case_code"],
        "案由": b["case_name"],
        "事项编码": b["item_code"],
        "案源": _GUANGDE_SOURCES[b["case_source"]],
        "程序": {"01": "当场处罚", "02": "普通程序"}[b["procedure"]],
        "办案单位": b["agency_name"],
        "单位代码": b["agency_uscc"],
        "地区": b["region_code"],
        "当事人": b["party_name"],
        "当事人类型": _GUANGDE_TYPES[b["party_type"]],
        "证照号码": b["party_id"],
        "负责人": b.get("legal_rep_name", dirt.nothing()),
        "负责人身份证": b.get("legal_rep_id", "undefined"),
        "负责人证件类型": "身份证" if "legal_rep_id_type" in b else dirt.nothing(),
        "违法事实": b["facts"],
        "处罚依据": b["basis"],
        "立案日期": local(b["filed_on"], form),
        "决定日期": local(b.get("decided_on"), form) or dirt.nothing(),
        "送达日期": local(b.get("served_on"), form) or dirt.nothing(),
        "结案日期": local(b.get("closed_on"), form) or dirt.nothing(),
        "办理状态": GUANGDE_STAGES[b["stage"]],
        "听证": yes(b["hearing"], "是", "否"),
        "涉嫌犯罪": yes(b["criminal"], "是", "否"),
        "决定书号": b.get("doc_no", dirt.nothing()),
        "处罚种类": "/".join(GUANGDE_PENALTIES[p] for p in b.get("penalty_types", ())),
        "处罚内容": b.get("penalty_text", dirt.nothing()),
        "罚款（元）": _grouped(b.get("fine_yuan")),
        "已缴（元）": _grouped(b.get("paid_yuan")),
        "免罚情形": words({"1": "轻微免罚", "2": "首违不罚"}, b.get("no_penalty")),
        "承办人": "——",
    }


_GUANGDE_CHECK = (
    names(
        "check_code check_name agency_name agency_uscc region_code object_name object_type op_address "
        "check_form check_type result_code checked_at officers"
    )
    + PARTY[:4]
)
GUANGDE_RESULTS = {
    "1": "合格",
    "6": "查无下落",
    "7": "停业",
    "A": "立案查处",
    "B": "公示不规范",
    "E": "已整改",
    "F": "未经营",
}


def knows_guangde_check(body: Body, dirt: Dirt, at: datetime) -> Body:
    return only(body, _GUANGDE_CHECK) | {"result_raw": GUANGDE_RESULTS[body["result_code"]]}


def guangde_check(b: Body, dirt: Dirt, at: datetime) -> Row:
    return {
        "检查单号": b["check_code"],
        "检查内容": b["check_name"],
        "检查单位": b["agency_name"],
        "单位代码": b["agency_uscc"],
        "地区": b["region_code"],
        "被检查人": b["party_name"],
        "被检查人类型": _GUANGDE_TYPES[b["party_type"]],
        "证照号码": b["party_id"],
        "经营场所": b.get("op_address", dirt.nothing()),
        "方式": {"1": "现场", "2": "书面"}[b["check_form"]],
        "类别": {"1": "日常", "2": "专项", "3": "随机"}[b["check_type"]],
        "结论": GUANGDE_RESULTS[b["result_code"]],
        "检查时间": local(b["checked_at"], "%Y/%m/%d %H:%M:%S"),
        "执法人员": "，".join(f"{o['name']}（{o['cert_no']}）" for o in b["officers"]),
        "备注": dirt.nothing(),
    }


# ---------------------------------------------------------------- transfers

_TRANSFER = (
    names(
        "letter_no transfer_kind from_agency to_agency from_region to_region case_code cause filed_on reason "
        "legal_basis request_items reply_due materials goods approver approved_at sent_at signed_by signed_at "
        "state due_at reminders"
    )
    + PARTY
)
_KIND_WORDS = {"01": "移送", "02": "线索", "03": "协查"}
_STATE_WORDS = {"04": "已发出", "05": "已接收", "06": "已签收", "18": "已办结"}


def knows_transfer(body: Body, dirt: Dirt, at: datetime) -> Body:
    return only(body, _TRANSFER)


def transfer(b: Body, dirt: Dirt, at: datetime) -> Row:
    return {
        "文书编号": b["letter_no"],
        "类别": _KIND_WORDS[b["transfer_kind"]],
        "状态": _STATE_WORDS[b["state"]],
        "移送机关": b["from_agency"],
        "移送机关区划": b["from_region"],
        "受移送机关": b["to_agency"],
        "受移送机关区划": b["to_region"],
        "案件编号": b["case_code"],
        "当事人": b["party_name"],
        "当事人类别": PARTY_WORDS[b["party_type"]],
        "证件号码": b["party_id"],
        "法定代表人": b.get("legal_rep_name", dirt.nothing()),
        "立案时间": b["filed_on"],
        "案由": b["cause"],
        "移送理由": b["reason"],
        "移送规定": b["legal_basis"],
        "协查事项": "；".join(b.get("request_items", ())) or dirt.nothing(),
        "回复期限": b.get("reply_due", dirt.nothing()),
        "材料": "；".join(f"{m['name']}|{m['type']}|{m['pages']}|{m['sha256']}" for m in b["materials"]),
        "物品": "；".join(f"{g['name']}|{g['quantity']}|{g['spec']}" for g in b.get("goods", ())) or dirt.nothing(),
        "审批人": b["approver"],
        "审批时间": local(b["approved_at"]),
        "移送时间": local(b["sent_at"]),
        "接收人": b.get("signed_by", dirt.nothing()),
        "接收时间": local(b.get("signed_at")) or dirt.nothing(),
        "办理期限": local(b["due_at"]),
        "催办次数": str(b["reminders"]),
    }


# ---------------------------------------------------------------- the ten cities


def _case(code: str, decided: bool) -> Any:
    where = place(code)

    def make(random: Random, number: int, today: date, party: Callable[[Random], Body]) -> Body:
        return generator.case(random, where, party(random), number, today, decided)

    return make


def _inspection(code: str) -> Any:
    where = place(code)

    def make(random: Random, number: int, today: date, party: Callable[[Random], Body]) -> Body:
        return generator.inspection(random, where, party(random), number, today)

    return make


def _transfer(code: str, to: tuple[str, ...]) -> Any:
    where, targets = place(code), [place(target) for target in to]

    def make(random: Random, number: int, today: date, party: Callable[[Random], Body]) -> Body:
        return generator.transfer(random, where, targets[number % len(targets)], party(random), number, today)

    return make


def books() -> dict[tuple[str, str], Book]:
    """Every feed of every city, by code and feed name."""
    case, check_, move = generator.revise_case, generator.revise_inspection, generator.revise_transfer
    broken = "2026-13-45"
    return {
        ("330400", "cases"): Book(
            _case("330400", True), case, knows_returned, returned, ("punish_type", "88"), 1, 3, 2, "opt_type"
        ),
        ("330400", "inspections"): Book(
            _inspection("330400"), check_, knows_check_timed, check_timed, ("check_result", "Q"), 1
        ),
        ("330500", "cases"): Book(
            _case("330500", False), case, knows_penalty_record, penalty_record, ("处罚立案时间", broken), 1
        ),
        ("330500", "inspections"): Book(
            _inspection("330500"),
            check_,
            knows_check,
            check_in_chinese,
            ("检查时间", "2026-02-30 10:00:00"),
            1,
        ),
        ("330483", "cases"): Book(_case("330483", True), case, knows_older, older, ("CF_JDRQ", "2026/13/45"), 2, 3),
        ("330483", "transfers"): Book(
            _transfer("330483", ("330503", "330521")), move, knows_transfer, transfer, ("类别", "函告")
        ),
        ("330503", "cases"): Book(
            _case("330503", True),
            case,
            knows_returned,
            returned,
            ("set_time", broken),
            1,
            0,
            2,
            "cd_operation",
            True,
        ),
        ("330503", "inspections"): Book(
            _inspection("330503"),
            check_,
            knows_check,
            check,
            ("check_form", "9"),
            0,
            0,
            1,
            "cd_operation",
            True,
        ),
        ("330521", "cases"): Book(_case("330521", False), case, knows_deqing_case, deqing_case, ("stage", "77")),
        ("330521", "inspections"): Book(
            _inspection("330521"), check_, knows_deqing_check, deqing_check, ("checkedAt", "昨天"), 1
        ),
        ("330483100", "inspections"): Book(
            _inspection("330483100"), check_, knows_sheet, sheet, ("检查时间", "上午"), 1, 1
        ),
        ("330503102", "inspections"): Book(_inspection("330503102"), check_, knows_tabbed, tabbed, ("jcjg", "99"), 1),
        ("330522", "cases"): Book(_case("330522", True), case, knows_publicity, publicity, ("CF_CFLB", "训诫"), 1),
        ("330522", "transfers"): Book(
            _transfer("330522", ("341882",)), move, knows_transfer, transfer, ("类别", "函告")
        ),
        ("330523", "cases"): Book(
            _case("330523", False), case, knows_penalty_record, penalty_record, ("案件阶段", "挂起")
        ),
        ("330523", "inspections"): Book(_inspection("330523"), check_, knows_check, check, ("check_date", broken), 1),
        ("341882", "cases"): Book(
            _case("341882", False), case, knows_guangde_case, guangde_case, ("处罚种类", "XX"), 2, 2
        ),
        ("341882", "inspections"): Book(
            _inspection("341882"), check_, knows_guangde_check, guangde_check, ("结论", "待定"), 1
        ),
    }
