"""Deadlines on a real hub: what nights find and what the due list tells are the same judgement of the same records."""

import json
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import CliRunner
from hub_parts import START, bodies, rig

from hub import cli
from hub.reconcile.deadlines import Term

NIGHT = START.date()  # Sunday 22 November 2026


@pytest.fixture
def made(tmp_path):
    with rig(tmp_path, selves=(), pullers=()) as found:
        yield found


def decided(code, days):
    """One case of a city that was decided so many days before the night and is not served."""
    body = next(
        each
        for n in range(200)
        for each in bodies("case/1", code, 1, seed=f"d{n}").values()
        if each["stage"] == "12" and each["procedure"] == "02"
    )
    late = ("served_on", "closed_on", "publish_end", "paid_yuan", "publish_on")
    body = {name: value for name, value in body.items() if name not in late}
    day = NIGHT - timedelta(days=days)
    return body | {"stage": "09", "is_public": True, "decided_on": day.isoformat(),
                   "filed_on": (day - timedelta(days=20)).isoformat()}  # fmt: skip


def letter(code, to, days, **more):
    """A transfer that was sent so many days before the night and is not signed for, as the sender's book has it."""
    (body,) = bodies("transfer/1", code, 1, to=to).values()
    sent = START - timedelta(days=days)
    body = {name: value for name, value in body.items() if name not in ("signed_by", "signed_at", "request_items")}
    return body | {"transfer_kind": "01", "state": "04", "sent_at": sent.isoformat(),
                   "approved_at": (sent - timedelta(hours=2)).isoformat(),
                   "due_at": (sent + timedelta(days=10)).isoformat()} | more  # fmt: skip


def signed(body, days, **more):
    """The addressee's own record of it: signed for so many days before the night."""
    return body | {"state": "06", "signed_by": "李强", "signed_at": (START - timedelta(days=days)).isoformat()} | more


def agree(made, **terms):
    """Set what each agreement agrees on."""
    framework = made.hub.framework
    agreed = {name: Term(*term) for name, term in terms.items()}
    changed = {name: replace(each, deadlines=agreed) for name, each in framework.agreements.items()}
    made.hub.framework = replace(framework, agreements=changed)


def night(made, agreement="jiahu"):
    """What one night finds of deadlines: type, rule, due day and the origins of the records."""
    across = made.hub.crosscheck(made.hub.framework.agreements[agreement], NIGHT, made.clock(), ())
    rules = {each: point.verdict for each in across.found for point in each.points if point.field == "deadline"}
    return sorted((each.type, rules[each], each.due, [ref.origin for ref in each.refs]) for each in rules)


def listed(made, monkeypatch, *options):
    """What the command prints and what it gives to machines."""
    monkeypatch.setattr(cli.working, "opened_hub", lambda settings: nullcontext(made.hub))
    words, machine = (CliRunner().invoke(cli.main, ["deadlines", *options, *more]) for more in ((), ("--json",)))
    assert words.exit_code == machine.exit_code == 0, (words.output, machine.output)
    return words.output, json.loads(machine.stdout)["deadlines"]


def short(rows):
    return [(row["state"], row["rule"], row["due"], [each["origin"] for each in row["records"]]) for row in rows]


def test_a_night_and_the_list_tell_the_same_of_a_case(made, monkeypatch):
    agree(made)
    # Seven working days from Monday 9 November end on the 18th; from Friday 13th they end on Tuesday 24th.
    made.put("330483", "case/1", {"a": decided("330483", 13), "b": decided("330483", 9)})
    assert night(made) == [
        ("deadline_near", "service", "2026-11-24", ["330483"]), ("deadline_passed", "service", "2026-11-18", ["330483"]),
    ]  # fmt: skip
    words, rows = listed(made, monkeypatch)
    assert short(rows) == [
        ("passed", "service", "2026-11-18", ["330483"]), ("near", "service", "2026-11-24", ["330483"]),
    ]  # fmt: skip
    assert [row["working_days_left"] for row in rows] == [-2, 2]
    assert "2026-11-18 (-2 工作日)  passed" in words and "行政处罚法第六十一条、第八十五条" in words
    assert short(listed(made, monkeypatch, "--state", "near")[1]) == short(rows[1:])


def test_an_agreement_ends_a_term_of_law_sooner_and_never_later(made):
    made.put("330483", "case/1", {"a": decided("330483", 9)})
    agree(made, service=(3, "working days"))
    assert night(made) == [("deadline_passed", "service", "2026-11-18", ["330483"])]
    agree(made, service=(30, "working days"))
    assert night(made) == [("deadline_near", "service", "2026-11-24", ["330483"])]


def test_a_list_is_asked_by_authority_and_by_jurisdiction(made, monkeypatch):
    agree(made)
    case, other = decided("330483", 13), decided("330503", 13)
    made.put("330483", "case/1", {"a": case})
    made.put("330503", "case/1", {"b": other})
    everyone = listed(made, monkeypatch)[1]
    assert {row["region"] for row in everyone} == {"330483", "330503"}
    for option in (("--agency", case["agency_name"]), ("--agency", case["agency_uscc"]), ("--region", "330483")):
        assert [row["agency"] for row in listed(made, monkeypatch, *option)[1]] == [case["agency_name"]]
    monkeypatch.setattr(cli.working, "opened_hub", lambda settings: nullcontext(made.hub))
    assert CliRunner().invoke(cli.main, ["deadlines", "--region", "330438"]).exit_code == 2


def test_a_letter_is_the_addressee_s_to_answer_and_judged_by_both_sides(made, monkeypatch):
    agree(made)
    sent = letter("330483", "330503", 9)  # Friday 13 November: receipt by the 18th
    made.put("330483", "transfer/1", {"s": sent})
    unreceived = ("transfer_receipt", "2026-11-18", ["330483"])
    assert night(made) == [("letter_unreceived", *unreceived)]
    assert short(listed(made, monkeypatch, "--region", "330503")[1]) == [("passed", *unreceived)]
    assert listed(made, monkeypatch, "--region", "330483")[1] == []
    # It was signed for in time; the sender's book has not heard of it, and nothing is late any more.
    made.put("330503", "transfer/1", {"r": signed(sent, 5)})
    assert night(made) == []
    words, rows = listed(made, monkeypatch, *(f"--state={state}" for state in ("passed", "near", "running")))
    assert short(rows) == [("running", "transfer_answer", "2026-11-26", ["330483", "330503"])]
    assert rows[0]["agency"] == sent["to_agency"] and rows[0]["region"] == "330503"
    assert "李强" not in words and sent["party_name"] not in words


def test_an_extension_counts_with_its_reason_and_its_absence_is_told(made, monkeypatch):
    agree(made)
    sent = letter("330483", "330503", 20)
    later = {"extended_to": (START + timedelta(days=20)).isoformat()}
    made.put("330483", "transfer/1", {"s": sent})
    made.put("330503", "transfer/1", {"r": signed(sent, 19, **later)})
    assert [each[:2] for each in night(made)] == [("letter_unsettled", "transfer_answer")]
    words, (row,) = listed(made, monkeypatch)
    assert row["extended_without_reason"] and not row["extended"] and "延期无理由" in words
    made.put("330503", "transfer/1", {"r": signed(sent, 19, extended_for="2", **later)})
    assert night(made) == [] and listed(made, monkeypatch)[1] == []


def test_a_letter_of_two_agreements_is_listed_once_under_the_soonest_end(made, monkeypatch):
    agree(made)
    jiahu = made.hub.framework.agreements["jiahu"]
    second = replace(jiahu, id="second", deadlines={"transfer_receipt": Term(2, "working days")},
                     members=[stay for stay in jiahu.members if stay.code != "330483"])  # fmt: skip
    made.hub.framework = replace(made.hub.framework, agreements={"jiahu": jiahu, "second": second})
    sent = letter("330483", "330503", 9)
    made.put("330483", "transfer/1", {"s": sent})
    made.put("330503", "transfer/1", {"r": sent})
    # `second` sees the addressee's record alone; jiahu joins the two.
    assert short(listed(made, monkeypatch)[1]) == [("passed", "transfer_receipt", "2026-11-18", ["330483", "330503"])]
    for one, other in ((2, 4), (4, 2)):
        agreements = {
            each.id: replace(each, members=jiahu.members, deadlines={"transfer_receipt": Term(term, "working days")})
            for each, term in ((jiahu, one), (second, other))
        }
        made.hub.framework = replace(made.hub.framework, agreements=agreements)
        (row,) = listed(made, monkeypatch)[1]
        assert (row["due"], len(row["records"])) == ("2026-11-17", 2)


def test_the_due_list_says_where_a_year_was_assumed(made, monkeypatch):
    agree(made)
    made.clock.at = START.replace(year=2027, month=1, day=13)
    body = decided("330483", 0) | {"decided_on": "2026-12-31", "filed_on": "2026-12-01"}
    made.put("330483", "case/1", {"a": body})
    words, (row,) = listed(made, monkeypatch)
    assert row["calendar_assumed"] and row["due"] == "2027-01-11" and "calendar assumed" in words
    across = made.hub.crosscheck(made.hub.framework.agreements["jiahu"], made.clock().date(), made.clock(), ())
    assert across.assumed
