"""Edits of the shipped framework.yaml that tests of changing agreements make, and what a copy holds after them."""

from hub import record

# The case share between peers of the first agreement, and what may become of it.
CASES = """        to: peers
        groups: [facts, party_masked]
        clause: 案件信息互通互认"""
WIDER = CASES.replace("[facts, party_masked]", "[facts, identity, party, party_masked]")
BARE = CASES.replace("[facts, party_masked]", "[]")
EVERYTHING = CASES.replace("[facts, party_masked]", "[facts, identity, party, party_masked, source]")
FIRST = '    freshness: 24 hours\n    when_ended: keep\n    members:\n      - {code: "330400"'
ERASE = (FIRST, FIRST.replace("keep", "erase"))


def holds(node, origin, kind="case/1"):
    """The groups this copy holds of each record of an origin: number of records by sorted groups."""
    found = {}
    for entry in node.copy_store.entries(0, 999):
        for held in node.copy_store.leaves(entry.first, entry.count) if entry.first is not None else ():
            parsed = record.parse(held.raw) if held.raw is not None else None
            if parsed and (parsed.origin, parsed.kind) == (origin, kind):
                key = ",".join(sorted(held.disclosures))
                found[key] = found.get(key, 0) + 1
    return found
