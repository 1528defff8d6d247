"""Check digits and days: unified social credit codes, resident identity numbers, calendar dates.

Weighted sums are taken by reading a number in a base, because these run on every record; the tests hold them to the
package python-stdnum. May never put a number into an error. Years run from 1900 to 2100.
Sources: GB 32100-2015 (weights 3^n mod 31; rural collectives and others begin with a letter); GB 11643-1999
and ISO 7064 MOD 11-2 (identity numbers; the 15-digit form before 1999 has no check digit).
"""

from datetime import date
from functools import lru_cache

_USCC_ALPHABET = b"0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_DIGITS = bytes.maketrans(_USCC_ALPHABET, b"0123456789ABCDEFGHIJKLMNOPQRSTU")

# Province codes of GB/T 2260, with those of residents of Taiwan (71, 83), Hong Kong (81) and Macao (82).
_REGIONS = {1: "12345", 2: "123", 3: "1234567", 4: "123456", 5: "01234", 6: "12345", 7: "1", 8: "123"}
_PROVINCES = frozenset(f"{tens}{unit}" for tens, units in _REGIONS.items() for unit in units)


class _Days(dict[str, bool]):
    """Which texts are days: only real days are remembered, so it holds 73,414 of each form at most."""

    def __missing__(self, text: str) -> bool:
        found = _is_day(text)
        if found:
            self[text] = True
        return found


def _is_day(text: str) -> bool:
    if not text.isascii():
        return False
    if len(text) == 10 and text[4] == text[7] == "-":
        text = text[:4] + text[5:7] + text[8:]
    if len(text) != 8 or not text.isdigit() or not "1900" <= text[:4] <= "2100":
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


_days = _Days()
_compact_days = _Days()


# Whether a text of ten characters is a day; a bound method, for it runs several times a record.
is_day = _days.__getitem__


def is_date(text: str) -> bool:
    """Whether a text is a real calendar day, `YYYY-MM-DD`, 1900 to 2100."""
    return len(text) == 10 and _days[text]


def is_uscc(text: str) -> bool:
    """Whether a text is a unified social credit code: 18 characters, capitals, a right check digit."""
    if len(text) != 18 or not text.isascii():
        return False
    raw = text.encode()
    if not raw[2:8].isdigit() or raw.translate(None, _USCC_ALPHABET):
        return False
    digits = raw.translate(_USCC_DIGITS)
    # The weights are 3^n from the left, and 34 is 3 modulo 31: read backwards in base 34, the number is its weighted sum.
    return (int(digits[16::-1], 34) + int(digits[17:], 34)) % 31 == 0


# Authorities are few and stand in every record; a party's code is not kept.
@lru_cache(maxsize=4096)
def is_authority_uscc(text: str) -> bool:
    """`is_uscc` for numbers of authorities."""
    return is_uscc(text)


def is_resident_id(text: str) -> bool:
    """Whether a text is a resident identity number: 18 characters with a right check digit, or the old 15."""
    if not text.isascii():
        return False
    if len(text) == 15:
        return text.isdigit() and _compact_days["19" + text[6:12]]
    if len(text) != 18 or not text[:17].isdigit() or (last := "0123456789X".find(text[17])) < 0:
        return False
    # The weights are powers of 2 from the right, and 13 is 2 modulo 11: read in base 13, the number is its weighted sum.
    if (2 * int(text[:17], 13) + last) % 11 != 1:
        return False
    return _compact_days[text[6:14]]


def birth_date(resident_id: str) -> str | None:
    """The day of birth in a resident identity number, `YYYY-MM-DD`; None where it is not such a number."""
    if not is_resident_id(resident_id):
        return None
    day = "19" + resident_id[6:12] if len(resident_id) == 15 else resident_id[6:14]
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"


def is_birthplace(resident_id: str) -> bool:
    """Whether the number begins with a province; counties changed too often to judge by, so it only warns."""
    return resident_id[:2] in _PROVINCES
