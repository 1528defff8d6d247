"""The console's words in Chinese and English, and how times, counts and states are worded.

Rule 1. Both languages stand side by side, so that neither can be forgotten. Rule 2. A state these words do not know is
shown by its own name in grey, never as a good one.
Units: times come as ISO 8601 with an offset and are shown in the hub's time zone, by name.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hub import reasons

LANGUAGES = ("zh", "en")
STATES = ("action", "failing", "late", "never", "paused", "on_time")  # worst first

# How words that are not a jurisdiction's state look: a run's outcome, the verdict.
_LOOKS = {
    "ok": "on_time",
    "succeeded": "on_time",
    "committed": "on_time",
    "incomplete": "late",
    "failed": "failing",
    "cancelled": "paused",
    "unended": "late",
}
_ZONES = {"Asia/Shanghai": ("北京时间", "Beijing time")}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

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
    "quarantined_total": ("另有 {n} 行在隔离区", "in quarantine: {n}"),
    "verified": ("账本校验通过", "Ledger verified"),
    "not_verified": ("尚未校验", "Not yet"),
    "ledger_check": ("账本校验", "Ledger verification"),
    "verified_none": ("账本还没有校验过", "the ledger has never been verified"),
    "verified_all": ("全部 {n} 个账本条目", "all {n} ledger entries"),
    "verified_some": ("已校验 {n} / {size} 个账本条目，其后新增 {since} 个",
                      "{n} of {size} ledger entries, new since: {since}"),
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
    "days_fine": ("没有延迟或失败的日子", "No day was late or failed"),
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
    "records_n": ("{n} 条记录", "records: {n}"),
    "signed_record": ("签名记录", "Signed record"),
    "signed_line": (
        "本报告是账本第 {entry} 号条目中的记录 {kind} {id}，第 {rev} 版，由枢纽签名。",
        "This report is the record {kind} {id}, revision {rev}, in ledger entry {entry}, signed by the hub",
    ),
    "back": ("返回总览", "Back to the overview"),
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
    "hub_keys": ("平台密钥", "The hub's keys"),
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
    "s_unended": ("未见结束", "No end noted"),
    "s_ok": ("正常", "OK"),
    "day_never": ("未运行", "no run"),
    "work_on": ("处理差异", "Work on the differences"),
    "copy_equal": ("副本一致", "copy equal"),
    "copy_behind": ("副本落后", "copy behind"),
    "copy_different": ("副本不同", "copy differs"),
    "copy_unsaid": ("副本未报", "copy unknown"),
    "copy_gap": ("差 {n} 条", "(entries: {n})"),
    "copy_notices": ("{n} 项通知未确认", "notices not acknowledged: {n}"),
    "province_31": ("上海", "Shanghai"),
    "province_32": ("江苏", "Jiangsu"),
    "province_33": ("浙江", "Zhejiang"),
    "province_34": ("安徽", "Anhui"),
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
    "each_day": ("逐日情况", "Day by day"),
    # the frame
    "menu": ("主菜单", "Menu"),
    "skip_main": ("跳到正文", "Skip to the content"),
    "nav_overview": ("总览", "Overview"),
    "nav_journal": ("日志", "Journal"),
    # the worklist
    "nav_differences": ("差异", "Differences"),
    "filters": ("筛选", "Filters"),
    "filters_more": ("按类型或辖区筛选", "By type or jurisdiction"),
    "filter_agreement": ("协议", "Agreement"),
    "filter_severity": ("程度", "Severity"),
    "filter_type": ("类型", "Type"),
    "filter_origin": ("辖区", "Jurisdiction"),
    "filter_state": ("进度", "Progress"),
    "filter_assigned": ("经办", "Assigned to"),
    "only_open": ("只看未结", "Open ones only"),
    "closed_too": ("包括已结", "Closed ones too"),
    "differences_n": ("{n} 项差异", "Differences: {n}"),
    "differences_none": ("没有符合条件的差异。", "No difference fits."),
    "due": ("期限", "Due"),
    "no_due": ("无期限", "no term"),
    "since": ("自 {day} 起", "since {day}"),
    "queue": ("差异列表中的位置", "Place in the worklist"),
    "before": ("上一项", "Previous"),
    "after": ("下一项", "Next"),
    "place": ("第 {n} / {of} 项", "{n} of {of}"),
    "done_decided": (
        "已决定，决定已签名入账；下一次对账核验。",
        "Decided and signed onto the ledger; the next night verifies it.",
    ),
    "done_assigned": ("已交办。", "Assigned."),
    "done_moved": (
        "该差异刚刚发生变化，未作决定。请重新查看后再决定。",
        "It changed while you decided; nothing was decided. Look at it again, then decide.",
    ),
    "found": ("对账发现", "Found"),
    "found_between": ("首次 {first}，最近 {last}", "first {first}, last {last}"),
    "decision": ("决定", "Decision"),
    "reason": ("理由", "Reason"),
    "choose": ("请选择", "Choose"),
    "side_a": ("甲方", "Side A"),
    "side_b": ("乙方", "Side B"),
    "revision": ("第 {n} 版", "revision {n}"),
    "sides": ("并列对照", "Side by side"),
    "sides_help": (
        "各方记录的现行版本，不一致的字段已标出；“–”表示未填或按协议不向您提供。",
        "What each record says now; fields that differ are marked. “–”: empty, or not shared with you.",
    ),
    "by_mark": ("{field}（加密比对，不显示）", "{field} (compared as a keyed mark, never shown)"),
    "points": ("比对依据", "How it was compared"),
    "point_field": ("字段或指标", "Field or measure"),
    "point_verdict": ("结果", "Verdict"),
    "point_number": ("数值", "Figure"),
    "point_weight": ("权重", "Weight"),
    "point_equal": ("一致", "equal"),
    "point_close": ("相近", "close"),
    "point_differs": ("不一致", "differs"),
    "point_missing": ("缺失", "missing"),
    "point_higher": ("偏高（倍）", "higher (times)"),
    "point_lower": ("偏低（倍）", "lower (times)"),
    "point_median": ("中位数", "median"),
    "point_cases": ("案件数", "cases"),
    "point_repeated": ("次数", "times"),
    "point_first": ("首次", "first"),
    "point_last": ("最近", "last"),
    "point_asked": ("综合得分", "score in all"),
    "point_late": ("超期", "too long"),
    "point_different": ("不同", "different"),
    "point_behind": ("落后", "behind"),
    "point_starts": ("起算", "counts from"),
    "point_extended": ("已延长", "extended"),
    "point_assumed": ("按周一至周五推定", "Monday to Friday assumed"),
    "measure_visits": ("检查次数", "Inspections"),
    "measure_others": ("其他成员同类处罚", "Other members' fines for the item"),
    "measure_score": ("相似度", "Likeness"),
    "measure_rows": ("隔离行数", "Rows set aside"),
    "measure_entries": ("账本条目", "Ledger entries"),
    "measure_deadline": ("期限", "Term"),
    "measure_calendar": ("节假日安排", "Calendar"),
    "thing_quarantine": ("隔离区", "quarantine"),
    "thing_node": ("节点", "node"),
    "thing_copy": ("副本", "copy"),
    "decide": ("作出决定", "Decide"),
    "decide_help": (
        "决定由枢纽签名写入共享账本，记名 {who}；不可删除，可再作新决定。",
        "The hub signs the decision onto the shared ledger under {who}; it cannot be deleted, but decided anew.",
    ),
    "assign": ("交办", "Assign"),
    "assign_to": ("交给账号", "To the account"),
    "not_yours": ("您的账号可查看，但不处理本项差异。", "Your account may look at this difference, not work on it."),
    "history": ("经过", "History"),
    "by_night": ("夜间对账", "the night"),
    "by_agreement": ("按协议自动", "by the agreement itself"),
    "d_opened": ("新发现", "opened"),
    "d_reopened": ("重新出现", "opened again"),
    "d_seen": ("已查看", "seen"),
    "d_assigned": ("已交办", "assigned"),
    "d_decided": ("已决定", "decided"),
    "d_verified": ("已核验", "verified"),
    "d_closed": ("已结", "closed"),
    # nights
    "nav_nights": ("夜间对账", "Nights"),
    "month": ("月份", "Month"),
    "month_before": ("上一月", "Month before"),
    "month_after": ("下一月", "Month after"),
    "left_out": ("{n} 个未比对", "{n} left out"),
    "open_n": ("{n} 项未结", "{n} open"),
    "no_report": ("无报告", "no report"),
    "export": ("导出", "Export"),
    # agreements
    "nav_agreements": ("协议", "Agreements"),
    "in_force": ("有效", "In force"),
    "not_in_force": ("未生效或已终止", "Not in force"),
    "members_n": ("{n} 个成员", "Members: {n}"),
    "colon": ("：", ": "),
    "terms": ("约定", "Terms"),
    "term_force": ("期间", "In force"),
    "term_end": ("终止后", "When it ends"),
    "term_compare": ("比对依据", "Compared by"),
    "end_keep": ("已收数据可保留", "what was received may be kept"),
    "end_erase": ("已收数据须删除", "what was received is erased"),
    "joined": ("{day} 加入", "joined {day}"),
    "left": ("{day} 退出", "left {day}"),
    "shares": ("共享条款", "What is shared"),
    "shares_help": (
        "未列出的一律不共享；公开字段随每条共享记录提供，其余按字段组提供。",
        "What is not listed is not shared. Open fields come with every shared record, the rest by groups of fields.",
    ),
    "share_kind": ("种类", "Kind"),
    "share_who": ("提供方 → 接收方", "From → to"),
    "share_groups": ("内容", "What"),
    "share_correspondent": ("仅限双方往来", "only between the two named in it"),
    "open_fields": ("公开字段", "open fields"),
    "whom_all": ("所有成员", "all members"),
    "whom_peers": ("同级成员", "members of the same tier"),
    "whom_superior": ("上级", "its superior"),
    "whom_tier": ("{tier}成员", "members of tier {tier}"),
    "whom_codes": ("{names}", "{names}"),
    "whom_except": ("除{names}外", "all but {names}"),
    "versions_n": ("{n} 个版本", "Versions: {n}"),
    "versions_help": (
        "账本上公布过的各版本，新的在前；每版列出谁多得（+）或少得（-）哪些内容。",
        "Each version as it was announced on the ledger, newest first, with who gained (+) or lost (-) which groups.",
    ),
    "version_same": ("共享内容没有变化。", "Nobody gained or lost anything."),
    "version_changes": ("{n} 处变化", "Changes: {n}"),
    "given": ("今天谁得到{kind}的哪些内容", "{kind}: who receives what today"),
    "given_help": (
        "行为提供方，列为接收方；由框架按当日计算，与对外提供时所用的规则相同。不含仅限双方往来的函件内容。",
        "Rows give, columns receive, by the very rule that cuts what partners get. Letters between two sides not counted.",
    ),
    "given_from": ("提供方", "From"),
    "own": ("本地", "own"),
    "nothing": ("不共享", "nothing"),
    "open_only": ("仅公开字段", "open fields only"),
    # the ledger
    "nav_ledger": ("账本", "Ledger"),
    "ledger_head": ("账本头", "Head"),
    "ledger_key": ("账本公钥", "Ledger's key"),
    "checkpoint_text": ("检查点原文（签名）", "The checkpoint as signed"),
    "unwitnessed_short": ("未见证", "Unwitnessed"),
    "witnessed_short": ("已见证", "Witnessed"),
    "cosigned_to": ("联署至第 {size} 条", "cosigned up to {size}"),
    "cosigned_never": ("尚未联署", "has not cosigned yet"),
    "audits": ("各方核验", "Verified by members"),
    "audits_none": ("还没有成员节点报告核验结果。", "No member's node has said yet what it found."),
    "audit_line": ("{day} 核验 {n} 条", "verified {n} entries on {day}"),
    "audit_sound": ("核验无误", "sound"),
    "audit_damaged": ("副本有损", "the copy is damaged"),
    "verify_yourself": ("自行核验", "Verify it yourself"),
    "verify_why": (
        "不必相信本页。以下命令在您自己的机器上核验，所需公钥请经由另一途径核对。",
        "Do not believe this page. These commands verify on your own machine; compare the key by another way.",
    ),
    "verify_trust": (
        "信任文件（账本公钥、见证方、各成员首个密钥）：",
        "The trust file (ledger key, witnesses, members' first keys):",
    ),
    "verify_replay": ("重放整个账本：", "Replay the whole ledger:"),
    "verify_watch": ("持续监看：", "Keep watching it:"),
    "verify_evidence": ("核验一份证据包：", "Check an evidence bundle:"),
    "verify_stock": (
        "不使用本系统软件：见 docs/check-with-other-tools.md（Go 与 OpenSSL）。",
        "With nothing of ours: docs/check-with-other-tools.md (Go and OpenSSL).",
    ),
    "entries": ("账本条目", "Entries"),
    "entries_shown": ("显示第 {last} 至 {first} 号，共 {n} 条。", "Numbers {last} to {first} of {n} entries."),
    "entry": ("条目", "Entry"),
    "entry_type": ("类型", "Type"),
    "entry_origin": ("签名方", "Signed for"),
    "entry_time": ("声明时间", "Stated time"),
    "entry_seq": ("第 {n} 项", "its number {n}"),
    "entry_batch": ("批次", "batch"),
    "entry_key": ("密钥", "key"),
    # the door
    "sign_in": ("登录", "Sign in"),
    "sign_out": ("退出", "Sign out"),
    "account": ("账号", "Account"),
    "password": ("口令", "Password"),
    "login_refused": ("账号与口令不符。", "Name and password do not fit."),
    "login_wait": (
        "口令多次错误，该账号需等待后再试。",
        "Too many wrong passwords: this account has to wait before the next try.",
    ),
    "login_provider": (
        "统一身份认证未能确认您的身份，请重试。",
        "The identity provider could not say who you are. Try again.",
    ),
    "login_stranger": (
        "您已通过统一身份认证，但在本平台没有账号。",
        "The identity provider knows you, but you have no account here.",
    ),
    "sign_in_by": ("使用{provider}登录", "Sign in with {provider}"),
    "entered": ("已登录", "Signed in"),
    "login_help": (
        "忘记口令或没有账号，请联系本平台管理员。",
        "No account, or forgot the password? Ask the administrator of this hub.",
    ),
    "role_viewer": ("查阅人员", "Viewer"),
    "role_coordinator": ("协调员", "Coordinator"),
    "role_administrator": ("管理员", "Administrator"),
    # the journal
    "journal_at": ("时间", "Time"),
    "journal_who": ("账号", "Account"),
    "journal_what": ("操作", "What"),
    "journal_about": ("对象", "About"),
    "journal_none": ("没有记录。", "Nothing is noted."),
    "about_account": ("账号", "account"),
    "about_jurisdiction": ("辖区", "jurisdiction"),
    "about_records": ("记录数", "records:"),
    "no_account": ("无此账号", "no such account"),
    "changed_role": ("角色", "role"),
    "changed_person": ("姓名", "person"),
    "changed_agreements": ("协议", "agreements"),
    "changed_jurisdictions": ("辖区", "jurisdictions"),
    "changed_blocked": ("停用状态", "blocked or not"),
    "older": ("更早", "Older"),
    "did_login": ("登录", "signed in"),
    "did_login_refused": ("登录被拒", "login refused"),
    "did_logout": ("退出", "signed out"),
    "did_user_added": ("新增账号", "added an account"),
    "did_user_changed": ("变更账号", "changed an account"),
    "did_password_set": ("设置口令", "set a password"),
    # a jurisdiction
    "standing": ("同步状况", "How it stands"),
    "promised": ("约定时效", "Promised"),
    "actual": ("实际", "Actual"),
    "last_try": ("最近尝试", "Last tried"),
    "paused_line": ("{since} 由 {who} 暂停：{reason}。", "Paused {since} by {who}: {reason}."),
    "paused_until": ("{day} 自动恢复。", "It goes on by itself on {day}."),
    "paused_open": ("没有恢复日期，需手动恢复。", "No day is set: somebody has to resume it."),
    "paused_no_sync": ("暂停期间不读取。先恢复，再同步。", "Nothing is read while it is paused. Resume it first."),
    "reading_now": ("正在读取", "Reading now"),
    "not_reading": ("立即同步", "Sync now"),
    "reading_by": ("{since} 开始，{who}", "since {since}, begun by {who}"),
    "rows": ("行", "rows"),
    "reloads": ("本页每 3 秒刷新一次，直到读取完成。", "This page reloads every 3 seconds until the read has ended."),
    "own_node": (
        "该辖区自行签名，由其自己的节点推送，枢纽不读取。",
        "This jurisdiction signs for itself: its own node pushes, and the hub reads nothing.",
    ),
    "read_with": ("其记录随以下辖区的系统读取：", "Its records are read with the system of:"),
    "read_by_nobody": ("没有读取该辖区的接入声明。", "No declaration reads this jurisdiction."),
    "sync_now": ("立即同步", "Sync now"),
    "sync_help": ("从上次读到的位置继续读取。", "Reads on from where the last read ended."),
    "sync_role": ("协调员可在此立即同步。", "A coordinator can start a read here."),
    "pausing": ("暂停读取", "Pause"),
    "pause": ("暂停", "Pause"),
    "resume": ("恢复读取", "Resume"),
    "until": ("恢复日期（可不填）", "Goes on by itself on (optional)"),
    "pause_help": (
        "暂停期间定时任务和夜间对账都不读取该辖区；账号与原因记入日志。",
        "Neither schedule nor night reads it meanwhile; account and reason go into the journal.",
    ),
    "runs": ("最近运行", "Last runs"),
    "runs_none": ("还没有运行过。", "Nothing has run yet."),
    "runs_caption": ("最近 {n} 次运行，新的在前；时间均为{zone}", "The last {n} runs, newest first; times are {zone}"),
    "run": ("开始", "Began"),
    "outcome": ("结果", "Outcome"),
    "begun_by": ("发起", "Begun by"),
    "read": ("读取", "Read"),
    "stored": ("入账", "Stored"),
    "unchanged": ("未变", "Unchanged"),
    "retracted_rows": ("撤回", "Retracted"),
    "lasted": ("用时", "Took"),
    "seconds": ("{n} 秒", "{n} s"),
    "whole": ("全量", "whole"),
    "by_schedule": ("定时任务", "schedule"),
    "by_operator": ("运维命令", "operator"),
    "by_node": ("自有节点", "own node"),
    "quarantine_none": ("隔离区没有数据行。", "No row is in quarantine."),
    "quarantine_help": (
        "隔离的行不入账；来源或接入声明改正后自动重试。只显示出错值的首尾字符，较短的值不显示。",
        "Rows in quarantine are not stored; they are tried again once the source or its declaration is mended. "
        "Of a value at fault only its ends are shown, of a short one nothing.",
    ),
    "row": ("数据行", "Row"),
    "field": ("字段", "Field"),
    "why": ("原因", "Why"),
    "value": ("出错的值", "Value at fault"),
    "blank": ("空", "empty"),
    "columns": ("{n} 列", "Columns: {n}"),
    "columns_others": ("另有 {n} 个未声明的列", "and {n} not declared"),
    "first_seen": ("首次", "First seen"),
    "last_seen": ("最近", "Last seen"),
    "stays": ("所在协议", "Agreements"),
    "stay_joined": ("加入", "Joined"),
    "stay_left": ("退出", "Left"),
    "keys": ("密钥", "Keys"),
    "keys_none": ("账本上还没有该辖区的密钥。", "It has no key on the ledger yet."),
    "key": ("密钥", "Key"),
    "key_use": ("用途", "Use"),
    "key_over": ("已过期", "over"),
    "key_since": ("启用", "Since"),
    "key_entry": ("账本第 {n} 号条目", "ledger entry {n}"),
    "days_left": ("{n} 天", "days left: {n}"),
    "expires": ("到期", "Expires"),
    "no_expiry": ("无到期日", "no expiry"),
    "voided": ("已声明第 {first}–{last} 号条目作废。", "Its entries {first}–{last} are disowned."),
    "keyrole_batch": ("签署数据", "signs records"),
    "keyrole_http": ("调用接口", "calls the hub"),
    "keystate_current": ("使用中", "In force"),
    "keystate_past": ("已轮换", "Rotated out"),
    "keystate_revoked": ("已吊销", "Revoked"),
    "revoked_stolen": ("被盗", "stolen"),
    "revoked_lost": ("丢失", "lost"),
    "revoked_replaced": ("已更换", "replaced"),
    "revoked_left": ("人员离岗", "its holder left"),
    "declared": ("接入声明", "How it is read"),
    "feed": ("数据流", "Feed"),
    "kind": ("记录种类", "Kind"),
    "transport": ("接入方式", "Transport"),
    "completeness": ("读取范围", "Range"),
    "expected": ("预期", "Expected"),
    "cursor": ("读到", "Read up to"),
    "keyed_by": ("主键 {names}", "key {names}"),
    "as_written": ("声明原文 {file}", "{file} as written"),
    "as_written_help": (
        "与枢纽启动时读取的一致；密钥等秘密只写引用，不在此文件中。",
        "As the hub read it when it started; secrets stand there by reference alone.",
    ),
    "transport_http_json": ("HTTP 接口（JSON）", "HTTP interface (JSON)"),
    "transport_table_file": ("表格文件", "Table files"),
    "transport_sql_view": ("数据库视图", "Database view"),
    "transport_xml_exchange": ("XML 报文", "XML messages"),
    "completeness_snapshot": ("全部", "Everything"),
    "completeness_window": ("最近", "The last"),
    "completeness_delta": ("仅增量", "Changes only"),
    "expect_min_rows": ("至少行数", "rows at least"),
    "expect_max_rows": ("至多行数", "rows at most"),
    "expect_max_loss": ("减少不超过", "loss at most"),
    "absent_retract": ("缺失即撤回", "what is missing is retracted"),
    "absent_flag": ("缺失则提示", "what is missing is flagged"),
    "did_sync_started": ("立即同步", "started a sync"),
    "did_paused": ("暂停读取", "paused a jurisdiction"),
    "did_resumed": ("恢复读取", "resumed a jurisdiction"),
    # the records
    "did_look": ("查看记录", "looked at a record"),
    "did_search": ("列出记录", "listed records"),
    "did_evidence": ("下载证据", "took evidence"),
    "nav_records": ("记录", "Records"),
    "look_for": ("查找记录", "Look for records"),
    "asked_words": ("统一社会信用代码、文书编号或当事人", "Credit code, document number or party"),
    "asked_kind": ("记录种类", "Kind"),
    "asked_origin": ("来源辖区", "Jurisdiction"),
    "asked_item": ("监管事项编码", "Item"),
    "asked_since": ("自", "From"),
    "asked_until": ("至", "To"),
    "words_help": (
        "须填写完整的编号或名称；企业名称可不写地名与“有限公司”等字样。",
        "A whole number or name; of a firm's name, place and legal form may be left out.",
    ),
    "do_search": ("查找", "Search"),
    "search_first": (
        "填写条件后查找；不填条件则列出您可查看的全部记录。查看未公开字段会记入日志。",
        "Say what you look for; with nothing said, all records you may see are listed. Looks at sealed fields are noted.",
    ),
    "wrong_part": ("“{part}”填写有误，请更正。", "“{part}” cannot be as it is: correct it."),
    "forgotten": (
        "为保护个人信息，检索内容只短暂保留，现已清除。请重新填写。",
        "What you looked for is kept for a short time only, to protect people, and is gone. Enter it again.",
    ),
    "found_n": ("共 {n} 条记录", "Found: {n}"),
    "found_span": ("第 {first} 至 {last} 条，日期新的在前", "{first} to {last}, newest date first"),
    "found_none": ("没有符合条件、且您可查看的记录。", "No record that you may see fits this."),
    "list_behind": (
        "另有 {n} 条新入账的版本尚未编入检索，稍后再查可见。",
        "Newly stored and not in the search yet: {n}; look again in a moment.",
    ),
    "record": ("记录", "Record"),
    "day": ("日期", "Date"),
    "party": ("当事人", "Party"),
    "pages": ("分页", "Pages"),
    "page_of": ("第 {n} / {last} 页", "Page {n} of {last}"),
    "page_before": ("上一页", "Previous"),
    "page_after": ("下一页", "Next"),
    "to_records": ("返回记录查找", "Back to the search"),
    "rev_at": ("第 {rev} 版，{time}（{zone}）", "revision {rev}, {time} ({zone})"),
    "get_evidence": ("下载证据文件", "Download evidence"),
    "content": ("当前内容", "What it says now"),
    "home_open": ("公开字段", "Open fields"),
    "seen_by": ("查看依据：", "You see this by: "),
    "who_looked": ("谁查看过本记录", "Who looked at this record"),
    "own_record": ("本辖区的记录", "your own jurisdiction's record"),
    "not_shared": ("未共享", "Not shared"),
    "masked": ("已脱敏", "Masked"),
    "erased": ("已删除", "Erased"),
    "not_held": ("本库未存", "Not held here"),
    "why_share": (
        "没有协议条款向您的辖区共享这组字段。",
        "No clause of an agreement shares this group with your jurisdiction.",
    ),
    "why_jurisdiction": (
        "您的账号未指定辖区，只能查看公开字段。",
        "Your account works for no jurisdiction: it sees open fields alone.",
    ),
    "erased_whole": ("该记录已整条删除", "This record was erased"),
    "erased_note": (
        "账本上只留下各版本的哈希值；内容已无法恢复。",
        "Only the hashes of its revisions stay on the ledger; what it said is gone for good.",
    ),
    "erased_why": ("删除事由", "Why"),
    "retracted_note": ("已撤回：{reason}", "Retracted: {reason}"),
    "reason_vanished": ("来源中不再存在", "no longer in the source"),
    "reason_withdrawn": ("来源机关撤销", "withdrawn by its authority"),
    "reason_corrected": ("更正", "corrected"),
    "reason_erased": ("依法删除", "erased by law"),
    "disowned": (
        "来源机关已声明本批次作废：签名时密钥可能在他人手中。",
        "Its origin disowned this batch: somebody else may have had its keys.",
    ),
    "revisions_n": ("版本与变更（{n} 版）", "Revisions and changes ({n})"),
    "rev_n": ("第 {rev} 版", "Revision {rev}"),
    "in_entry": ("账本条目 {n}", "ledger entry {n}"),
    "first_rev": ("首次入账。", "First stored."),
    "not_compared_rev": (
        "前一版本未向您共享，无法逐项比较。",
        "The revision before it is not shared with you: nothing to compare.",
    ),
    "no_change_shown": (
        "您可查看的字段没有变化。",
        "Nothing that you may see changed.",
    ),
    "unlisted": ("另有 {n} 个较早版本尚未编入，稍后可见。", "Revisions not listed yet: {n}; look again in a moment."),
    "changes_of": ("第 {rev} 版的变更", "What revision {rev} changed"),
    "changed_from": ("变更前", "Before"),
    "changed_to": ("变更后", "After"),
    "provenance": ("来源与凭据", "Provenance"),
    "check_now": ("现在核验", "Check now"),
    "links_hold": (
        "{time} 由本枢纽逐环核验：记录、批次、签名、账本均相符。",
        "Checked by this hub at {time}: record, batch, signatures and ledger fit.",
    ),
    "link_broken": ("核验未通过：", "The check failed: "),
    "link_source": ("来源", "Source"),
    "link_batch": ("批次", "Batch"),
    "link_ledger": ("账本", "Ledger"),
    "link_witnesses": ("见证", "Witnesses"),
    "custody": ("签名方", "Signed by"),
    "sealed_at": ("封存时间", "Sealed at"),
    "leaf_hash": ("记录哈希", "Record hash"),
    "batch_no": ("批次号", "Batch"),
    "batch_place": ("第 {seq} 批，共 {count} 条中的第 {place} 条", "number {seq}, record {place} of {count}"),
    "batch_root": ("批次根哈希", "Batch root"),
    "signed_with": ("签名密钥", "Keys"),
    "signed_under": ("密钥条目 {n}", "key entry {n}"),
    "signed_at": ("签名时间", "Signed at"),
    "entry_of": ("第 {n} 号，检查点共 {size} 条", "{n}, under a checkpoint of {size}"),
    "entry_hash": ("条目哈希", "Entry hash"),
    "bundle": ("条目文件", "Entry bundle"),
    "members_only": ("成员单位可取", "for members"),
    "check_yourself": ("自行核验", "Check it yourself"),
    "check_how": (
        "下载证据文件，向运维人员另行索取信任文件 trust.json，在任何一台电脑上离线核验：",
        "Download the evidence, get the trust file trust.json from the operator by another way, and check offline anywhere:",
    ),
    "check_tools": ("也可只用 Go 与 OpenSSL，方法见", "Or with Go and OpenSSL alone, see"),
    # what was refused
    "refused_title": ("无法完成", "This cannot be done"),
    "refused_broken": (
        "平台内部出错，本页无法显示。错误已记入日志；请告知运维人员（可先运行 fsck）。",
        "The hub failed inside and cannot show this page. It is in the log: tell the operator (`fsck` first).",
    ),
    "refused_stale": (
        "本页已过期或登录已结束，刚才的操作没有进行。请重新打开该页再试。",
        "This page is too old, or your session has ended: nothing was done. Open the page again and repeat it.",
    ),
    "refused_often": ("请求过于频繁，请稍等一分钟再试。", "Too many requests: wait a minute, then try again."),
    "refused_missing": ("没有这一项，或您的账号无权查看。", "There is no such thing, or it is not for your account."),
    "refused_undone": ("操作没有进行，原因如下。", "Nothing was done, for this reason."),
    "refused_role": ("您的账号无权打开本页或进行此操作。", "Your account may not open this page or do this."),
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

    def reason(self, text: str) -> list[tuple[str, str]]:
        """A reason that came in English, clause by clause, each with the language it is in."""
        return reasons.clauses(text) if self.lang == "zh" else [("en", text)]

    def place(self, text: str) -> str:
        """Where a row stands."""
        return reasons.place(text) if self.lang == "zh" else text

    def count(self, number: int | None) -> str:
        return "–" if number is None else f"{number:,}"

    def zone(self, name: str = "") -> str:
        """The zone, the hub's unless named, as people say it; else its name with the offset of now."""
        name = name or self.zone_name
        if name in _ZONES:
            return _ZONES[name][self._column]
        offset = self.now.astimezone(ZoneInfo(name)).strftime("%z")
        return f"{name} (UTC{offset[:3]}:{offset[3:5]})"

    def at(self, iso: str) -> datetime:
        """ISO 8601 with an offset, in the hub's time zone."""
        return datetime.fromisoformat(iso).astimezone(self._zone)

    def clock(self, iso: str) -> str:
        return self.at(iso).strftime("%H:%M")

    def today(self) -> str:
        """The present date, ISO."""
        return self.now.date().isoformat()

    def month(self, day: date) -> str:
        """A month with its year."""
        return f"{day.year}年{day.month}月" if self.lang == "zh" else f"{_MONTHS[day.month - 1]} {day.year}"

    def weekday(self, day: date) -> str:
        """The day of the week, as short as a calendar's head has it."""
        return "一二三四五六日"[day.weekday()] if self.lang == "zh" else _DAYS[day.weekday()]

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
