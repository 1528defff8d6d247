"""Why a row was set aside or a read broke off, in Chinese: the sentences of adapters, kinds and intake, clause by clause.

Rule 1. A reason is kept and sent in English, `place: field: what; how to mend it`; a page in Chinese words what it knows,
and shows a clause that it does not know as it stands, marked as English. Rule 2. Nothing is guessed: a clause fits whole.
In the pairs `{n}` and `{m}` are numbers, `{what}` and `{found}` things of the first table; other gaps are taken over.
"""

import re
import string
from functools import cache, lru_cache

MOST = 1000  # characters of a clause that is looked at: the far side's own words may stand in it

# What was expected and what was found.
THINGS: dict[str, str] = {
    "object": "对象",
    "list": "列表",
    "text": "文本",
    "boolean": "是非值",
    "whole number": "整数",
    "decimal number": "小数",
    "value of another type": "其他类型的值",
    "nothing": "空",
    "a map": "键值对象",
    "a boolean": "是非值",
    "a whole number": "整数",
    "bytes": "字节串",
    "a value of another type": "其他类型的值",
    "text of {n} characters": "长 {n} 个字符的文本",
    "a list of {n}": "共 {n} 项的列表",
    "JSON": "合法的 JSON",
    "yes or no": "是或否",
    "true or false": "是非值 true 或 false",
    "a date": "日期",
    "a date and time": "日期和时间",
    "a date ({forms})": "日期（{forms}）",
    "a date and time ({forms})": "日期和时间（{forms}）",
    "an amount in {unit}": "金额（单位 {unit}）",
    "the full name of an authority without a long number": "机关全称（不含长数字）",
    "a code of the table {table}": "代码表 {table} 中的代码",
    "different codes of the table {table}": "代码表 {table} 中互不相同的代码",
    "digits 0-9": "数字 0-9",
    "a calendar day as YYYY-MM-DD, 1900 to 2100": "日期（1900 至 2100 年，写作 YYYY-MM-DD）",
    "a time as YYYY-MM-DDTHH:MM:SS+08:00": "时间（写作 YYYY-MM-DDTHH:MM:SS+08:00）",
    "yuan with two places, such as 2000.00": "以元计、两位小数的金额（如 2000.00）",
    "a region code of 6, 9 or 12 digits": "行政区划代码（6、9 或 12 位）",
    "a unified social credit code: 18 characters with a right check digit": "统一社会信用代码（18 位，校验位正确）",
    "a resident identity number with a real birth date and a right check digit": "公民身份号码（出生日期真实，校验位正确）",
    "a certificate number without blanks": "不含空格的证件号码",
    "letters, digits and . _ : / - only": "仅含字母、数字和 . _ : / -",
    "a list of names of letters, digits and . _ : / -": "由字母、数字和 . _ : / - 组成的名称列表",
    "a list of texts": "文本列表",
    "a list of objects": "对象列表",
    "no person's identity number": "不含个人身份号码",
}
CLAUSES: dict[str, str] = {
    # a value, by the mapping
    "expected {what}": "应为{what}",
    "expected {what}, found {found}": "应为{what}，实为{found}",
    "expected {what}, found a day or an hour that does not exist": "应为{what}，实为不存在的日子或时刻",
    "expected at most {n} characters, found {m}": "至多 {n} 个字符，实有 {m} 个",
    "expected at most {n} parts in each, found {m}": "每项至多 {n} 个部分，实有 {m} 个",
    "expected lists of one length in these columns": "这些列中的列表长度应相同",
    "expected an amount in {unit} that is whole in 分": "金额（单位 {unit}）应精确到分",
    "expected an amount of at most 16 digits of yuan": "金额的元数至多 16 位",
    "expected a value that the path can be applied to": "该值应能按声明的路径取值",
    "expected elements, found text": "应为元素，实为文本",
    "not in the table {table}": "不在代码表 {table} 中",
    "add it to tables.{table}, or say what `else:` is to be": "将其加入 tables.{table}，或用 `else:` 写明其余如何处理",
    "check `unit:`": "请核对 `unit:`",
    "add the spelling to `yes:` or `no:`": "将该写法加入 `yes:` 或 `no:`",
    "add its form to `formats:`": "将该格式加入 `formats:`",
    "has no value": "没有值",
    "is part of the key and has no value": "属于主键，但没有值",
    "the same key stands twice with different content": "同一主键出现两次，内容不同",
    # a row that could not be read as one
    "holds half a character (a lone surrogate)": "含半个字符（单独的代理码）",
    "{n} cells where the header has {m}": "该行有 {n} 格，表头有 {m} 格",
    "cells beyond the {n} of the header": "有超出表头 {n} 列的单元格",
    "nested too deeply, or too many parts": "嵌套过深或部分过多",
    # a body, by its kind
    "expected an object of fields, not a {found}": "应为由字段组成的对象，而非{found}",
    "expected an object, not a {found}": "应为对象，而非{found}",
    "expected {what}, not a {found}": "应为{what}，而非{found}",
    "expected a whole number from {least} to {most}": "应为 {least} 至 {most} 的整数",
    "expected {n} characters, not {m}": "应为 {n} 个字符，实有 {m} 个",
    "expected {n} to {most} characters, not {m}": "应为 {n} 至 {most} 个字符，实有 {m} 个",
    "expected {n} items, not {m}": "应为 {n} 项，实有 {m} 项",
    "expected {n} to {most} items, not {m}": "应为 {n} 至 {most} 项，实有 {m} 项",
    "holds a control, direction or half character": "含控制字符、方向符或半个字符",
    "holds a control, direction or half character, or more than one line": "含控制字符、方向符或半个字符，或多于一行",
    "is not in Unicode normal form NFC": "不是 Unicode 规范形式 NFC",
    "looks like a person's identity number": "疑似个人身份号码",
    "the same code or name stands twice": "同一代码或名称出现两次",
    "{n} unknown field": "{n} 个未知字段",
    "{n} unknown fields": "{n} 个未知字段",
    "is null": "为 null",
    "is required": "必填",
    "is required where {when}": "必填（条件：{when}）",
    "is not allowed to have this value": "不得取此值",
    "is not allowed to have this value where {when}": "不得取此值（条件：{when}）",
    "must include {code}": "必须包含 {code}",
    "must include {code} where {when}": "必须包含 {code}（条件：{when}）",
    "expected {what} where {when}": "应为{what}（条件：{when}）",
    "must be later than the one before it of: {names}": "必须晚于前一项：{names}",
    "must be no earlier than the one before it of: {names}": "不得早于前一项：{names}",
    "more problems than are listed": "问题多于所列",
    "send one object per record": "每条记录报送一个对象",
    "send one object per item": "每项报送一个对象",
    "send a list": "请报送列表",
    "send it as {found}": "请以{found}报送",
    "send each once": "每项只报送一次",
    "send only the fields of the kind": "只报送该类型的字段",
    "did you mean {names}?": "是否为 {names}？",
    "one of: {codes}": "可取：{codes}",
    "allowed: {codes}": "可取：{codes}",
    "correct it at the source": "请在来源处更正",
    "correct the value or its mapping": "请更正该值或其映射",
    "clean it at the source or in the mapping": "请在来源处或映射中清理",
    "no open field may hold one, correct the mapping": "公开字段不得含有，请更正映射",
    "give it, or correct the mapping": "请补报，或更正映射",
    "leave the field out where there is nothing": "没有内容时请略去该字段",
    "give it, or correct the field that asks for it": "请补报，或更正要求它的字段",
    "add that code, or leave out what asks for it": "请加上该代码，或略去要求它的内容",
    "correct the number or its type": "请更正号码或其类型",
    "correct the dates": "请更正日期",
    "mend these first": "请先处理所列问题",
    # a read that broke off: its connection and its answers
    "connection.{name} is missing": "缺少 connection.{name}",
    "connection.{name}: {value} cannot be resolved ({kind})": "connection.{name}：{value} 无法取得（{kind}）",
    "set it": "请设置",
    "set it in the declaration or under connections: in hub.yaml, such as {name}: …": (
        "请在声明中或 hub.yaml 的 connections: 下设置，如 {name}: …"
    ),
    "a literal secret": "直接写出的密钥",
    "write env:NAME or file:PATH and keep the secret there": "请写 env:NAME 或 file:PATH，密钥存放于该处",
    "not an address": "不是地址",
    "a password in the address": "地址中含口令",
    "write the whole address as env:NAME or file:PATH": "请将整个地址写作 env:NAME 或 file:PATH",
    "expected an address with http:// or https://": "应为以 http:// 或 https:// 开头的地址",
    "expected http://… or https://… with a host": "应为带主机名的 http://… 或 https://…",
    "not an address that can be asked": "不是可以访问的地址",
    "mend base_url or path": "请更正 base_url 或 path",
    "no answer ({kind})": "没有应答（{kind}）",
    "no whole answer within {seconds} s": "{seconds} 秒内没有完整应答",
    "its certificate is not trusted": "其证书不受信任",
    "set connection.ca_file to the authority that signed it": "请将 connection.ca_file 设为签发它的机构的证书",
    "connection.ca_file cannot be read": "connection.ca_file 无法读取",
    "mend its path": "请更正其路径",
    "answered {n}": "应答 {n}",
    "answered {n}: {said}": "应答 {n}：{said}",
    "answered {n}, a redirect, which is not followed": "应答 {n}，为重定向，不予跟随",
    "declare the address it moved to": "请声明其新地址",
    "check path, method and params": "请核对 path、method 和 params",
    "refused with {n}": "以 {n} 拒绝",
    "refused with {n}: {said}": "以 {n} 拒绝：{said}",
    "check the keys, their rights and this machine's clock": "请核对密钥、其权限和本机时钟",
    "refused": "被拒绝",
    "refused: {said}": "被拒绝：{said}",
    "check access_key, secret_key and this machine's clock": "请核对 access_key、secret_key 和本机时钟",
    "refused by its code": "其返回码表示拒绝",
    "refused by its code: {said}": "其返回码表示拒绝：{said}",
    "check keys, rights and success:": "请核对密钥、权限和 success:",
    "the answer is compressed though none was asked for": "应答经过压缩，而请求并未要求",
    "let the server send it plainly": "请让服务器不压缩发送",
    "the answer is longer than {n} bytes": "应答超过 {n} 字节",
    "ask for smaller pages, or raise max_bytes": "请减小每页条数，或调高 max_bytes",
    "the answer is not JSON": "应答不是 JSON",
    "the answer is not UTF-8": "应答不是 UTF-8",
    "the answer is not whole JSON ({kind})": "应答不是完整的 JSON（{kind}）",
    "no secret at {path} of the answer": "应答的 {path} 处没有密钥",
    "mend payload:": "请更正 payload:",
    "expected a list at {path}, found {found}": "{path} 处应为列表，实为{found}",
    "mend records:": "请更正 records:",
    "expected a whole number at {path}": "{path} 处应为整数",
    "mend total:": "请更正 total:",
    "the list shrank from {n} to {m} rows while it was read": "读取过程中列表由 {n} 行减为 {m} 行",
    "{n} rows came of the {m} it speaks of": "声称 {m} 行，实得 {n} 行",
    "{n} rows came of the {m} that its list was asked for": "按清单索取 {m} 行，实得 {n} 行",
    "a page repeats: the paging is not heeded": "有一页重复：分页参数未生效",
    "the paging leads back to a page already read": "分页又回到已读过的页",
    "the next page's link leads to another server": "下一页的链接指向另一台服务器",
    "check paginator:": "请核对 paginator:",
    "check paginator:, or declare total:": "请核对 paginator:，或声明 total:",
    "more than {n} pages": "多于 {n} 页",
    "raise max_pages:, or check paginator:": "请调高 max_pages:，或核对 paginator:",
    # its files
    "no file {pattern} in its folder": "其文件夹中没有符合 {pattern} 的文件",
    "wait for the city's drop, or mend pattern:": "请等待对方投放文件，或更正 pattern:",
    "its folder cannot be read ({kind})": "其文件夹无法读取（{kind}）",
    "check connection.directory": "请核对 connection.directory",
    "a link out of its folder": "是指向文件夹之外的链接",
    "put the file itself there": "请放入文件本身",
    "is no plain file": "不是普通文件",
    "is gone": "已不在",
    "cannot be read ({kind})": "无法读取（{kind}）",
    "check its owner and mode": "请核对其属主和权限",
    "larger than {n} bytes": "大于 {n} 字节",
    "split it, or raise max_bytes:": "请拆分，或调高 max_bytes:",
    "changed while it was read": "读取过程中发生变化",
    "let the city write it beside and rename it": "请对方先写临时文件再改名",
    "not readable as {encodings}": "无法按 {encodings} 读取",
    "save it as UTF-8, or add its encoding to encodings:": "请存为 UTF-8，或将其编码加入 encodings:",
    "broken far down it is damaged or cut off: have it dropped again": "若坏在很后面，则是损坏或截断：请对方重新投放",
    "UTF-8 that is damaged or cut off": "UTF-8 内容损坏或截断",
    "let the city drop the file again": "请对方重新投放文件",
    "a quoted cell without its end begins in this row": "本行有一个引号单元格没有结束",
    "the file is cut off, or a quote is missing": "文件被截断，或缺少引号",
    "a line of more than {n} characters": "有一行超过 {n} 个字符",
    "check format:": "请核对 format:",
    "no header line": "没有表头行",
    "check header_row:, or whether the file is whole": "请核对 header_row:，以及文件是否完整",
    "the header has empty or too many columns": "表头有空列或列数过多",
    "check header_row: and format:": "请核对 header_row: 和 format:",
    "a column stands twice in the header": "表头中有一列出现两次",
    "columns {names} bear one name": "列 {names} 同名",
    "rename one, or check header_row:": "请改名其中一个，或核对 header_row:",
    "no column {names}": "没有列 {names}",
    "the format changed, or header_row: is wrong": "格式已变，或 header_row: 有误",
    "the city's format changed": "对方的格式已变",
    "a column that may be missing says optional: true": "可以缺失的列请写 optional: true",
    "unfolds to more than {n} bytes": "解压后超过 {n} 字节",
    "would unfold to more than {n} bytes": "解压后将超过 {n} 字节",
    "split the workbook": "请拆分工作簿",
    "not a workbook that can be read": "不是可以读取的工作簿",
    "not a workbook that can be read ({kind})": "不是可以读取的工作簿（{kind}）",
    "save it again": "请重新保存",
    "save it again as .xlsx": "请重新保存为 .xlsx",
    "no sheet {name}": "没有工作表 {name}",
    "its sheets: {names}": "现有工作表：{names}",
    "check header_row: and sheet:": "请核对 header_row: 和 sheet:",
    "more than {n} rows": "多于 {n} 行",
    "split it, or raise max_rows:": "请拆分，或调高 max_rows:",
    "raise max_rows:": "请调高 max_rows:",
    "the sample is missing": "缺少样例",
    "declares entities or a document type": "声明了实体或文档类型",
    "a message needs no <!DOCTYPE or <!ENTITY": "报文不需要 <!DOCTYPE 或 <!ENTITY",
    "ask the sender what this is": "请向发送方核实",
    "not well-formed XML, or cut off": "XML 格式不正确，或被截断",
    "let the city send it again": "请对方重新发送",
    "XML in an encoding or shape that cannot be read": "XML 的编码或结构无法读取",
    "send it as UTF-8": "请以 UTF-8 发送",
    "no Header": "没有 Header",
    "is this the message that header: means?": "这是 header: 所指的报文吗？",
    "a record comes before the Header": "记录出现在 Header 之前",
    "the message's form changed": "报文格式已变",
    "Header/{name} is not what is declared": "Header/{name} 与声明不符",
    "another message fell under pattern:, or header: is wrong": "pattern: 匹配到了其他报文，或 header: 有误",
    "more than {n} records": "多于 {n} 条记录",
    # its database
    "its database file is not there": "其数据库文件不存在",
    "check connection.database": "请核对 connection.database",
    "not a database address": "不是数据库地址",
    "such as postgresql+psycopg://…": "如 postgresql+psycopg://…",
    "no such table or view": "没有该表或视图",
    "check table: and the account's rights": "请核对 table: 和账号权限",
    "no driver for {name}": "没有 {name} 的驱动",
    "install it": "请安装",
    "the database does not answer ({kind})": "数据库没有应答（{kind}）",
    "the database refuses to be read ({kind})": "数据库拒绝读取（{kind}）",
    "check table:, columns and rights": "请核对 table:、各列和权限",
    # what a read as a whole came to
    "more than {n} rows were refused": "被拒绝的行多于 {n} 行",
    "check the declaration against the source": "请对照来源核对声明",
    "{n} rows where at least {m} are expected": "读得 {n} 行，至少应有 {m} 行",
    "{n} rows where at most {m} are expected": "读得 {n} 行，至多应有 {m} 行",
    "{n} of {m} records would vanish, more than {part}": "{m} 条记录中将有 {n} 条消失，超过 {part}",
    "nothing retracted": "未作撤回",
    "columns nobody mapped: {names}": "未映射的列：{names}",
}
PLACES: dict[str, str] = {
    "page {n} row {m}": "第 {n} 页第 {m} 行",
    "{name} row {n}": "{name} 第 {n} 行",
    "{name} record {n}": "{name} 第 {n} 条记录",
}


def clauses(text: str) -> list[tuple[str, str]]:
    """A reason clause by clause for a reader of Chinese, each with the language that it is in."""
    found = [(_clause(each), each) for each in text.split("; ")]
    return [("zh", zh) if zh is not None else ("en", en) for zh, en in found]


def chinese(text: str) -> str:
    """A reason for a reader of Chinese as one text, where nothing can be marked."""
    return "；".join(said for _, said in clauses(text))


def place(text: str) -> str:
    """Where a row stands: "page 2 row 13" in Chinese; what has no words ("cases.csv:12") as it is."""
    return _fit("places", text) or text


@lru_cache(4096)  # rows of one read are refused alike
def _clause(text: str) -> str | None:
    """A clause behind whatever names its place and field, the longest that fits."""
    parts = text.split(": ") if len(text) <= MOST else []
    for n in range(len(parts)):
        found = _fit("clauses", ": ".join(parts[n:]))
        if found is not None:
            return "".join(f"{_named(each)}：" for each in parts[:n]) + found
    return None


def _named(part: str) -> str:
    """A place or field before a clause; of a label in both languages (相对人名称 (Party)) the Chinese one."""
    both = re.fullmatch(r"(\S*[\u4e00-\u9fff]\S*) \([^()]*\)", part)
    return both[1] if both else place(part)


def _fit(worded: str, text: str) -> str | None:
    for pattern, zh in _patterns(worded):
        match = pattern.fullmatch(text)
        if match is None:
            continue
        gaps = {name: _fit("things", said) if name in ("what", "found") else said for name, said in match.groupdict().items()}
        if None not in gaps.values():
            return zh.format(**gaps)
    return None


@cache
def _patterns(worded: str) -> list[tuple[re.Pattern[str], str]]:
    """The English sides as patterns, the longest first: "expected {what}, found {found}" before "expected {what}"."""
    pairs = {"things": THINGS, "clauses": CLAUSES, "places": PLACES}[worded]
    return [(_pattern(en), pairs[en]) for en in sorted(pairs, key=len, reverse=True)]


def _pattern(en: str) -> re.Pattern[str]:
    parts = ((re.escape(text), name) for text, name, _, _ in string.Formatter().parse(en))
    return re.compile("".join(text + _gap(name) for text, name in parts))


def _gap(name: str | None) -> str:
    return "" if name is None else f"(?P<{name}>{'[0-9]+' if name in ('n', 'm') else '.+'})"
