"""Evidence that leaves the hub: what a verifier pins, what a bundle proves and leaves open, its timestamp and files, a page.

Rule 1. A bundle is checked offline, against a trust file that came another way: never against what the bundle itself says.
Rule 2. What stays unproven is said as plainly as what is proven.
"""

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, NamedTuple

import segno
from cryptography.x509 import Certificate

from hub import audit, batch, merkle, note, record, timestamp
from hub.canonical import b64, unb64
from hub.errors import RecordError, Unreachable
from hub.kinds import Kind
from hub.ledger import Pin
from hub.note import VKey
from hub.timestamp import Stamp
from hub.witness import Policy, policy_text

MOST = 16 << 20
MOST_FILE = 8 << 20
_digest = re.compile("[0-9a-f]{64}").fullmatch
SHORT = 22
ROWS = 8
UNPROVEN = (
    ("that what the record says is true", "记录内容本身的真实性"),
    ("that this is the record's newest revision", "这是否为该记录的最新版本"),
    ("that its origin did not disown the signing key later", "来源机关此后是否声明该密钥作废"),
)
REVOKED = ("that the stamping authority's certificate was not revoked by then", "时间戳机构的证书当时未被吊销")
UNSTAMPED = (
    "its timestamp: one is there and was not checked, for no authority is pinned (--tsa)",
    "所附时间戳（未指定可信的时间戳机构，未核验）",
)
CUSTODIAL = ("that the city signed itself: the hub signed in its custody", "由来源机关自行签名(本批次由枢纽代签)")


@dataclass(frozen=True)
class TrustFile:
    """What a verifier believes beforehand: the ledger's key, its witnesses, and each origin's first key."""

    hub: str
    log: VKey
    policy: Policy
    pins: Mapping[str, Pin]

    def dump(self) -> bytes:
        """The file's bytes: JSON that holds the policy in the words of tlog-policy."""
        pins = {origin: [pin.first_key, pin.custody] for origin, pin in sorted(self.pins.items())}
        text = self.policy.text(self.log) if self.policy.quorum else f"log {self.log}\nquorum none\n"
        return json.dumps({"hub": self.hub, "policy": text, "pins": pins}, ensure_ascii=False, indent=1).encode()


def read_trust(raw: bytes) -> TrustFile:
    """The trust file of its bytes; RecordError where it is none."""
    try:
        plain = json.loads(raw)
        log, policy = policy_text(plain["policy"])
        pins = {str(origin): Pin(str(first), str(custody)) for origin, (first, custody) in plain["pins"].items()}
        return TrustFile(str(plain["hub"]), log, policy, pins)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError("not a trust file", where="trust", mend="get it with `keys export` from the hub, by another way "
                          "than the evidence") from error  # fmt: skip


def load(path: Path) -> tuple[dict[str, Any], bytes]:
    """A document and its bytes; RecordError where it is no JSON object of a bearable size."""
    raw = path.read_bytes() if path.stat().st_size <= MOST else b""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RecordError("not a JSON document of at most 16 MiB", where=path.name)
    return found, raw


def check(
    bundle: Mapping[str, Any], trust: TrustFile, roots: Sequence[Certificate] | None = None, files: Sequence["File"] = ()
) -> tuple[dict[str, Any], audit.Report]:
    """The fields that a bundle shows, and what it proves and leaves open; raises at the first step that does not hold.

    `roots` are the authorities whose timestamps are believed; without them a timestamp is told of and left open. `files` are
    to be attachments that the record names.
    """
    shown, steps = audit.check_evidence(bundle, trust.hub, trust.log, trust.pins.get, trust.policy)
    unproven = [en for en, _ in UNPROVEN]
    if bundle["custody"] == "custodial":
        unproven.append(CUSTODIAL[0])
    if not trust.policy.quorum:
        unproven.append("that others were shown the same ledger: the trust file asks for no witness")
    stamp = stamped(bundle, roots)
    if stamp is not None:
        steps.append(f"timestamped by {stamp.by}: the checkpoint and all it holds existed at the latest at {stamp.at}")
        unproven.append(REVOKED[0])
    elif "timestamp" in bundle:
        unproven.append(UNSTAMPED[0])
    named = attachments(shown)
    for file, fits in told_apart(named, files):
        size = f" and size ({file.size} bytes)" if all(each.size is not None for each in fits) else ""
        steps.append(f"{file.name} is {' and '.join(map(str, fits))}: by its SHA-256{size}, as the record says")
    given = {file.sha256 for file in files}
    unproven += [f"what {each} holds: its file was not given" for each in named if each.sha256 not in given]
    return shown, audit.Report(proved=steps, unproven=unproven)


# --- the time, by a third party's word ---


def stamped(bundle: Mapping[str, Any], roots: Sequence[Certificate] | None) -> Stamp | None:
    """What the timestamp of a bundle says; None where there is none, or no `roots` to check it by.

    RecordError where one is there that is not over this bundle's checkpoint, or not signed under a root.
    """
    if "timestamp" not in bundle:
        return None
    if not isinstance(bundle["timestamp"], str):
        raise RecordError("not text", where="timestamp")
    raw = unb64(bundle["timestamp"], where="timestamp")
    if roots is None:
        timestamp.read(_checkpoint(bundle), raw)
        return None
    return timestamp.check(_checkpoint(bundle), raw, roots)


def with_timestamp(
    bundle: dict[str, Any], ask: Callable[[bytes], bytes], roots: Sequence[Certificate] | None
) -> dict[str, Any]:
    """A bundle with a timestamp over its checkpoint's SHA-256, of the authority that `ask` asks; Unreachable for a bad answer.

    Stamped is the signed note as the proof carries it, with its cosignatures: one token for all that the tree holds.
    """
    data = _checkpoint(bundle)
    request = timestamp.ask(data)
    answer = ask(request.as_bytes())
    try:
        found = bundle | {"timestamp": b64(timestamp.take(request, data, answer))}
        stamped(found, roots)
    except RecordError as error:
        raise Unreachable(f"no timestamp that can be believed: {error.what}", where="timestamp", mend=error.mend) from None
    return found


def _checkpoint(bundle: Mapping[str, Any]) -> bytes:
    """The checkpoint of a bundle's proof: text, blank line and signature lines."""
    return bytes(bundle["proof"].encode().partition(b"\n\n")[2])


# --- attachments ---


class Attachment(NamedTuple):
    """A file that a record names by its SHA-256 (small hex): an item of one of its lists, from 1; size in bytes if told."""

    field: str
    number: int
    sha256: str
    size: int | None
    item: Mapping[str, Any]

    def __str__(self) -> str:
        return f"item {self.number} of {self.field}"


class File(NamedTuple):
    """A file that was handed over with a bundle."""

    name: str
    sha256: str
    size: int


def measure(path: Path) -> File:
    """A file's digest and size, of whatever size it is."""
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
        return File(path.name, digest, file.tell())


def content(path: Path) -> bytes:
    """A file's bytes, to be brought to the hub; RecordError where it is too large to travel."""
    if path.stat().st_size > MOST_FILE:
        raise RecordError(
            f"larger than {MOST_FILE >> 20} MiB", where=path.name,
            mend="hand it over by another way: the record names its digest, and `verify BUNDLE FILE` holds it against that",
        )  # fmt: skip
    return path.read_bytes()


def attachments(shown: Mapping[str, Any]) -> list[Attachment]:
    """The files that shown fields name: each item of a list that has a `sha256` of 64 hex digits, in every kind."""
    return [
        Attachment(name, number, item["sha256"].lower(), item.get("size"), item)
        for name, value in shown.items()
        if isinstance(value, list)
        for number, item in enumerate(value, 1)
        if isinstance(item, dict) and _digest(str(item.get("sha256")).lower())
    ]


def told_apart(named: Sequence[Attachment], files: Sequence[File]) -> list[tuple[File, list[Attachment]]]:
    """Which attachments each file is; RecordError for one that is none, or of another size than the record says."""
    found = []
    for file in files:
        fits = [each for each in named if each.sha256 == file.sha256]
        if not fits:
            raise RecordError(
                "no attachment that this record shows: no item has its SHA-256", where=file.name,
                mend="give the file byte for byte as it was recorded; a group that is not disclosed may name it",
            )  # fmt: skip
        if wrong := [each for each in fits if each.size not in (None, file.size)]:
            raise RecordError(f"of another size than {wrong[0]} says", where=file.name)
        found.append((file, fits))
    return found


# --- a page to print ---


def certificate(
    bundle: Mapping[str, Any], raw: bytes, trust: TrustFile, kinds: Mapping[str, Kind],
    roots: Sequence[Certificate] | None = None, files: Sequence[File] = (),
) -> bytes:  # fmt: skip
    """One page to print, in Chinese: what the bundle proves, by whom, and a QR code of the bundle's SHA-256.

    The bundle is checked first. Sealed fields appear only where the bundle discloses their group.
    """
    shown, _ = check(bundle, trust, roots, files)
    named, given = attachments(shown), {file.sha256 for file in files}
    stamp = stamped(bundle, roots)
    parsed = record.parse(bundle["record"].encode())
    entry = batch.parse(trust.hub, note.parse(bundle["note"].encode()).text)
    kind = kinds.get(parsed.kind)
    digest = sha256(raw).hexdigest()
    code = segno.make(f"crossregion-evidence:1:{digest}", error="m").svg_inline(scale=3, omitsize=False)
    rows = [
        ("记录", f"{_label(kind, parsed.kind)}　{parsed.origin}/{parsed.id}　第 {parsed.rev} 版"),
        ("签发", f"{entry.origin} 第 {entry.seq} 批，{entry.time}"),
        ("签名", "枢纽代签" if bundle["custody"] == "custodial" else "来源机关自签"),
        ("依据", "；".join(map(str, bundle["clauses"])) or "操作方导出"),
        *([("可信时间戳", f"{stamp.at}　{stamp.by}")] if stamp else []),
        ("证据文件 SHA-256", digest),
    ]
    unproven = [zh for _, zh in UNPROVEN] + ([CUSTODIAL[1]] if bundle["custody"] == "custodial" else [])
    if not trust.policy.quorum:
        unproven.append("其他各方所见账本与此一致(信任文件未要求见证)")
    if "timestamp" in bundle:
        unproven.append(REVOKED[1] if stamp else UNSTAMPED[1])
    if any(each.sha256 not in given for each in named):
        unproven.append("未附文件的附件，其内容与所载摘要是否一致")
    listed = {each.field for each in named}
    fields = [(_field(kind, name), _value(kind, name, value)) for name, value in shown.items() if name not in listed]
    return _PAGE.format(
        rows=_table(rows), fields=_grid(fields), code=code, attachments=_attached(kind, named, given),
        steps="".join(f"<li>{html.escape(step)}</li>" for step in _steps(bundle, trust, entry, stamp)),
        unproven="".join(f"<li>{html.escape(line)}</li>" for line in unproven),
    ).encode()  # fmt: skip


def _steps(bundle: Mapping[str, Any], trust: TrustFile, entry: batch.Entry, stamp: Stamp | None) -> list[str]:
    """The steps of a check that held, in Chinese."""
    proof, path = bundle["proof"].encode(), bundle["path"]
    at, checkpoint = audit.check_proof(proof, merkle.leaf_hash(bundle["note"].encode()), trust.log)
    by = sorted(trust.policy.signed_by(note.parse(proof.partition(b"\n\n")[2])))
    witnessed = [f"检查点由 {'、'.join(by)} 联署，达到法定数 {trust.policy.quorum}"] if trust.policy.quorum else []
    timed = [f"检查点附可信时间戳：最迟于 {stamp.at} 已存在，由 {stamp.by} 签发"] if stamp else []
    return [
        f"账本检查点（共 {checkpoint.size} 条）由账本密钥 {trust.log.handle} 签名",
        *witnessed,
        *timed,
        f"{entry.origin} 第 {entry.seq} 批为该账本第 {at} 条（自 0 起）",
        "该批由其密钥条目所列全部密钥签名，密钥可追溯至信任文件所列的首个密钥",
        f"本记录为该批第 {path['index'] + 1} 条，该批共 {path['count']} 条",
        f"披露 {len(bundle['disclosures'])} 个字段组，其摘要均与记录所载一致",
    ]


def _attached(kind: Kind | None, named: Sequence[Attachment], given: set[str]) -> str:
    """The attachments that a record names, as many as leave room for the rest of the page; nothing where it names none."""
    if not named:
        return ""
    heads = ("附件", "类型", "SHA-256", "字节数", "公证编号", "文件")
    rows = []
    for each in named[:ROWS]:
        part = kind.fields[each.field].of.get("type") if kind and each.field in kind.fields else None
        code = str(each.item.get("type", ""))
        words = kind.codes[part.table].get(code, {}) if kind and part and part.table else {}
        kept = each.item.get("name") or f"{_field(kind, each.field)} {each.number}"
        size, number = each.item.get("size", ""), each.item.get("notarized_no", "")
        rows.append((kept, words.get("zh", code), each.sha256, size, number, "一致" if each.sha256 in given else "未附"))
    more = f"<p>另有 {len(named) - ROWS} 个附件，见证据文件。</p>" if len(named) > ROWS else ""
    cells = [[html.escape(str(cell)) for cell in row] for row in rows]
    return (
        '<h2>附件</h2><table class="files"><tr>' + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"
        + "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in cells) + f"</table>{more}"
    )  # fmt: skip


def _label(kind: Kind | None, name: str) -> str:
    return kind.label["zh"] if kind else name


def _field(kind: Kind | None, name: str) -> str:
    return kind.fields[name].label["zh"] if kind and name in kind.fields else name


def _value(kind: Kind | None, name: str, value: Any) -> str:
    """A value as a person reads it: the words of a code beside it, 是 and 否, lists with commas."""
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "、".join(_value(kind, name, each) for each in value)
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    field = kind.fields.get(name) if kind else None
    words = kind.codes[field.table].get(value) if kind and field and field.table else None
    return f"{words['zh']}（{value}）" if words else value


def _grid(rows: Sequence[tuple[str, str]]) -> str:
    """Short values three to a line, so that the whole is one page."""
    return "".join(
        f'<div{" class=long" if len(text) > SHORT else ""}><dt>{html.escape(head)}</dt><dd>{html.escape(text)}</dd></div>'
        for head, text in sorted(rows, key=lambda row: len(row[1]) > SHORT)
    )


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<tr><th>{html.escape(head)}</th><td>{html.escape(text)}</td></tr>" for head, text in rows)


_PAGE = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><title>电子数据证据核验单</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<style>
@page {{ size: A4; margin: 12mm 14mm }}
body {{ font: 8.5pt/1.3 "Noto Serif CJK SC", "Source Han Serif SC", SimSun, serif; color: #111; background: #fff;
  max-width: 182mm; margin: 0 auto }}
h1 {{ font-size: 16pt; text-align: center; margin: 0 0 3mm; letter-spacing: .1em }}
h2 {{ font-size: 10.5pt; margin: 2mm 0 1mm; border-bottom: 1px solid #111 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ border: 1px solid #777; padding: .6mm 2mm; text-align: left; vertical-align: top; overflow-wrap: anywhere }}
th {{ width: 30mm; font-weight: 600; background: #f3f3f3 }}
.files {{ font-size: 7pt; line-height: 1.25 }} .files th {{ width: auto; white-space: nowrap }}
.files td {{ padding: .2mm 1mm }} .files td:nth-child(3) {{ white-space: nowrap; font-size: 6pt }}
dl {{ display: grid; grid-template-columns: repeat(3, 1fr); gap: 0 4mm; margin: 1mm 0 }}
dl > div {{ display: grid; grid-template-columns: 24mm 1fr; gap: 1.5mm; border-bottom: 1px solid #ccc; padding: .4mm 0 }}
dl > .long {{ grid-column: 1 / -1 }} dt {{ color: #444 }} dd {{ margin: 0; overflow-wrap: anywhere }}
ol, ul {{ margin: 1mm 0; padding-left: 7mm }} ul {{ columns: 2 }}
.head {{ display: grid; grid-template-columns: 1fr 34mm; gap: 4mm; align-items: start }} .head p {{ margin: 0 0 2mm }}
.head svg {{ width: 34mm; height: auto }}
</style></head><body>
<h1>电子数据证据核验单</h1>
<div class="head"><div>
<p>本单由跨区域协作数据同步枢纽根据证据文件生成。证据文件可离线核验：<code>verify 证据文件 --trust 信任文件</code>，
或按核验说明使用通用工具（Go、OpenSSL）核验。</p>
<table>{rows}</table></div>{code}</div>
<h2>所载内容</h2><dl>{fields}</dl>{attachments}
<h2>已核验</h2><ol>{steps}</ol>
<h2>不能由此证明</h2><ul>{unproven}</ul>
</body></html>
"""
