"""The cores of reconciliation: what differs, who is meant, what is due, and what became of it.

Rule 1. Pure: records, times, keys and calendars are arguments; nothing here opens a store, a file or a connection.
Rule 2. What leaves these rooms refers to records and names fields and verdicts; it never carries a value of a record.
Rule 3. The same input gives the same output, in the same order: a night that is run again says the same.
"""
