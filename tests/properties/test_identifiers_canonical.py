"""Canonical forms: fast and library path agree, forms are fixed points, spellings meet, kinds do not."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import itertools
import string
from typing import TYPE_CHECKING

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import iban, luhn
from stdnum.cn import ric

from psishare.identifiers import KINDS, canonicalise
from psishare.identifiers.reject import Unacceptable
from psishare.identifiers.ruleset import vectors

if TYPE_CHECKING:
    from psishare.identifiers import Kind

TEXT = pa.large_string()
CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
DIGITS = st.text(string.digits, min_size=1, max_size=18)
# What stands in front of national numbers in some country or other, so that prefixes are met often.
PREFIXES = st.sampled_from(
    ["", "", "0", "1", "8", "00", "01", "06", "15", "19", "44", "90", "180020"]
)
NUMBERS = st.builds("+{}{}{}".format, st.sampled_from(CODES), PREFIXES, DIGITS)
PUNCTUATED = st.builds(
    "+{}{}".format,
    st.sampled_from(CODES),
    st.text(string.digits * 3 + " -.()", min_size=1, max_size=24),
)
# As people of one region dial: with its exit code, its prefix, or neither; the code without its plus.
DIALLED = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "(", "00", "011", "810", "0", "1", "8", "06"]),
    st.sampled_from(["", *map(str, CODES)]),
    st.text(string.digits * 3 + " -.()", min_size=1, max_size=24),
)
V4 = st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n)))
DOTTED = st.lists(
    st.one_of(st.integers(0, 300).map(str), st.from_regex(r"\A0[0-9]{1,2}\Z")),
    min_size=3,
    max_size=5,
).map(".".join)
GROUP = st.one_of(
    st.just("0"), st.just("0"), st.just(""), st.integers(0, 0xFFFF).map("{:x}".format)
)
GROUPS = st.lists(
    st.one_of(GROUP, st.sampled_from(["ffff", "00", "A"])), min_size=2, max_size=9
).map(":".join)
SPARSE = st.lists(st.sampled_from([0, 0, 0, 1, 0xFFFF, 0xAB]), min_size=8, max_size=8)
V6 = SPARSE.map(lambda groups: ":".join(f"{group:x}" for group in groups)).map(
    lambda text: str(ipaddress.IPv6Address(text))
)
LABEL = st.text("ab1-_", min_size=0, max_size=6) | st.sampled_from(
    [
        "xn--mnchen-3ya",
        "xn--",
        "xn--a",
        "a" * 63,
        "a" * 64,
        "r3---x",
        "123",
        "com",
        "local",
        "test",
        "-a",
        "a-",
    ]
)
NAMES = st.lists(LABEL, min_size=1, max_size=6).map(".".join)
ATOM = st.text("ab1+-_.'!", min_size=0, max_size=8) | st.just("l" * 180)
ADDRESSES = st.builds("{}@{}".format, ATOM, NAMES)
ACCOUNTS = st.text(string.printable, max_size=12)


def near_vectors(name: str) -> st.SearchStrategy[str]:
    """Return published values of a kind, some changed in a letter, a case, a separator."""
    known = [
        text for v in vectors(name) for text in (v.input, v.canonical) if text and len(text) < 200
    ]
    value = st.sampled_from(known)
    places = st.integers(0, 60)
    letters = st.sampled_from(" -:./<0123456789abcdefxXTO\u00a0\uff11\u0661%")
    inserted = st.builds(lambda v, at, c: v[:at] + c + v[at:], value, places, letters)
    changed = st.builds(lambda v, at, c: v[:at] + c + v[at + 1 :], value, places, letters)
    cased = st.builds(
        lambda v, bits: "".join(
            c.swapcase() if bits >> i & 1 else c for i, c in enumerate(v) if c.isascii()
        ),
        value,
        st.integers(0, 2**64 - 1),
    )
    return value | inserted | changed | cased | value.map(str.upper) | value.map(str.lower)


NEAR = {name: near_vectors(name) for name in KINDS} | {
    "phone": NUMBERS | PUNCTUATED | DIALLED,
    "email": ADDRESSES,
    "ipv4": V4 | DOTTED,
    "ipv6": V6 | GROUPS | V4.map("::ffff:{}".format),
    "domain": NAMES,
    "account": ACCOUNTS,
}
ANY = st.text(max_size=24)


def by_library(kind: Kind, value: str, region: str | None = None) -> str | None:
    try:
        return kind.canonical(value, region)
    except Unacceptable:
        return None


@pytest.mark.parametrize("name", list(KINDS))
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_buffers_settle_is_what_the_library_says(name: str, data: st.DataObject) -> None:
    kind = KINDS[name]
    values = data.draw(st.lists(NEAR[name] | ANY, min_size=1, max_size=60))
    column = pa.array(values, TEXT)
    region = data.draw(st.none() | st.sampled_from(REGIONS)) if kind.takes_region else None
    respelled = kind.respelled(column, region)
    for value, taken in zip(values, kind.is_canonical(column).to_pylist(), strict=True):
        if taken:
            assert by_library(kind, value, region) == value
    taken_again = kind.is_canonical(respelled).to_pylist()
    for value, new, taken in zip(values, respelled.to_pylist(), taken_again, strict=True):
        if taken and value.strip():
            assert by_library(kind, value.strip(), region) == new


@pytest.mark.parametrize(
    ("name", "before", "alphabet", "length"),
    [
        ("domain", "", "a1-_.", 6),
        ("domain", "xn--", "a1-.", 4),
        ("email", "a@", "a1-.", 6),
        ("email", "", "a.@-", 6),
        ("ipv4", "1.2.", "02.", 6),
        ("ipv4", "", "125.", 7),
        ("ipv6", "", "0a:", 8),
        ("ipv6", "0:a:0:", "0a:", 7),
        ("ipv6", "::ffff:", "0a:", 5),
        ("account", "", "a \t\u200b", 4),
        ("url", "http://", "a1./", 6),
        ("url", "http://a.b/", "a./%", 6),
        ("imsi", "262011234567", "0a-", 5),
        ("imei", "352099001761", "0a-/", 4),
        ("mac", "00:1b:77:49:54", "0a:-.", 4),
        ("passport", "DEU:C01X", "0A:<", 6),
        ("tron", "41" + "a" * 38, "0aAg", 3),
        ("ethereum", "0x" + "a" * 38, "0aAg", 3),
        ("sha256", "a" * 62, "0aAg", 3),
    ],
)
def test_every_short_text_agrees_with_the_library(
    name: str, before: str, alphabet: str, length: int
) -> None:
    kind = KINDS[name]
    values = [
        before + "".join(letters)
        for size in range(1, length + 1)
        for letters in itertools.product(alphabet, repeat=size)
    ]
    taken = kind.is_canonical(pa.array(values, TEXT)).to_pylist()
    assert any(taken) or before == "xn--"
    for value, settled in zip(values, taken, strict=True):
        if settled:
            assert by_library(kind, value) == value


@pytest.mark.parametrize("name", list(KINDS))
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_canonical_form_is_its_own_canonical_form(name: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(NEAR[name] | ANY, max_size=40))
    region = data.draw(st.sampled_from(REGIONS)) if name == "phone" else None
    first = canonicalise(pa.array(values, TEXT), name, region=region)
    accepted = [v.split(b"\x00", 2)[2].decode() for v in first.values.drop_null().to_pylist()]
    again = canonicalise(pa.array(accepted, TEXT), name)
    assert again.values == first.values.drop_null()
    assert len(again.rejects) == 0


@pytest.mark.parametrize("name", list(KINDS))
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_text_is_either_accepted_or_rejected_with_a_reason(
    name: str, data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.none() | NEAR[name] | ANY, max_size=40))
    canonical = canonicalise(pa.array(values, TEXT), name)
    assert len(canonical.values) == len(values)
    nulls = [row for row, value in enumerate(canonical.values.to_pylist()) if value is None]
    assert canonical.rejects.rows.to_pylist() == nulls
    assert None not in canonical.rejects.reasons.to_pylist()


@given(national=DIGITS, region=st.sampled_from(REGIONS), code=st.sampled_from(CODES))
@settings(max_examples=300, deadline=None)
def test_phone_spellings_meet(national: str, region: str, code: int) -> None:
    bare = f"+{code}{national}"
    split = len(national) // 2
    spaced = f"+{code} ({national[:split]}) {national[split:]}"
    wide = bare.translate({ord(c): ord(c) + 0xFEE0 for c in "+0123456789"})
    canonical = canonicalise(pa.array([bare, f" {bare}\t", spaced, wide]), "phone", region=region)
    assert len(set(canonical.values.to_pylist())) == 1


def test_numbers_of_every_country_are_settled_on_buffers() -> None:
    """Examples of each region's fixed and mobile numbers: all canonical, nearly all without library."""
    numbers = [
        phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
        for region in REGIONS
        for type_ in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)
        if (example := phonenumbers.example_number_for_type(region, type_)) is not None
    ]
    assert len(numbers) > 400
    values = canonicalise(pa.array(numbers), "phone").values.to_pylist()
    assert values == [f"phone\x00\x00{number}".encode() for number in numbers]
    settled = KINDS["phone"].is_canonical(pa.array(numbers, TEXT)).true_count
    assert settled >= 0.97 * len(numbers)


def test_every_length_of_every_calling_code_agrees_with_the_library() -> None:
    kind = KINDS["phone"]
    numbers = [
        f"+{code}{(lead + '2345678901234567890')[:length]}"
        for code in CODES
        for length in range(1, 19)
        for lead in ("", "0", "1", "8", "9")
    ]
    taken = kind.is_canonical(pa.array(numbers, TEXT)).to_pylist()
    assert 0 < sum(taken) < len(numbers)
    for number, settled in zip(numbers, taken, strict=True):
        if settled:
            assert by_library(kind, number) == number


@given(groups=SPARSE, data=st.data())
@settings(max_examples=200, deadline=None)
def test_ipv6_spellings_meet(groups: list[int], data: st.DataObject) -> None:
    address = ipaddress.IPv6Address(":".join(f"{group:x}" for group in groups))
    long = ":".join(f"{group:0{data.draw(st.integers(1, 4))}X}" for group in groups)
    column = pa.array([str(address), address.exploded, long, f" {address.exploded.upper()} "])
    assert len(set(canonicalise(column, "ipv6").values.to_pylist())) == 1


@given(address=V4)
def test_ipv4_text_is_canonical(address: str) -> None:
    assert canonicalise(pa.array([address]), "ipv4").values[0].as_py() == b"ipv4\x00\x00" + (
        address.encode()
    )


@given(name=st.from_regex(r"\A[a-z]{1,9}(\.[a-z]{2,5}){1,3}\Z"))
def test_domain_and_email_spellings_meet(name: str) -> None:
    names = canonicalise(pa.array([name, name.upper(), f"{name}.", f"\t{name}"]), "domain")
    assert names.values.to_pylist() == [f"domain\x00\x00{name}".encode()] * 4
    plain = canonicalise(pa.array([f"me@{name}", f"ME@{name.upper()}"]), "email").values
    assert plain[0] == plain[1]


@given(
    values=st.lists(ANY, max_size=8),
    namespaces=st.lists(
        st.from_regex(r"[a-z0-9./-]{0,8}", fullmatch=True), min_size=2, max_size=4, unique=True
    ),
)
def test_namespaces_never_meet(values: list[str], namespaces: list[str]) -> None:
    seen: list[set[bytes]] = [
        set(
            canonicalise(pa.array(values, TEXT), "account", namespace=ns)
            .values.drop_null()
            .to_pylist()
        )
        for ns in namespaces
    ]
    assert sum(len(each) for each in seen) == len(set().union(*seen))


@given(value=st.one_of(*NEAR.values()))
@settings(deadline=None)
def test_kinds_never_meet(value: str) -> None:
    found = [canonicalise(pa.array([value], TEXT), name).values[0].as_py() for name in KINDS]
    accepted = [each for each in found if each is not None]
    assert len(set(accepted)) == len(accepted)


DIGITAL = st.text(string.digits, min_size=11, max_size=18)


def spelled(name: str, *spellings: str, region: str | None = None) -> set[bytes | None]:
    return set(canonicalise(pa.array(spellings, TEXT), name, region=region).values.to_pylist())


@given(body=DIGITAL.filter(lambda digits: digits.strip("0") != ""))
def test_card_spellings_meet(body: str) -> None:
    number = body + luhn.calc_check_digit(body)
    grouped = " ".join(number[start : start + 4] for start in range(0, len(number), 4))
    wide = number.translate({ord(c): ord(c) + 0xFEE0 for c in string.digits})
    forms = spelled("card", number, grouped, grouped.replace(" ", "-"), wide)
    assert forms == {f"card\x00\x00{number}".encode()}


@given(number=st.from_regex(r"\A[1-9][0-9]{13}\Z"), version=st.from_regex(r"\A[0-9]{2}\Z"))
def test_imei_forms_of_one_device_meet(number: str, version: str) -> None:
    checked = number + luhn.calc_check_digit(number)
    hyphened = f"{number[:2]}-{number[2:8]}-{number[8:14]}-{checked[14]}"
    forms = spelled("imei", number, checked, number + version, hyphened)
    assert forms == {f"imei\x00\x00{number}".encode()}


@given(
    place=st.from_regex(r"\A[1-9][0-9]{5}\Z"),
    born=st.dates(dt.date(1900, 1, 1), dt.date(1999, 12, 31)),
    order=st.integers(0, 995),
)
def test_both_lengths_of_a_chinese_identity_number_meet(
    place: str, born: dt.date, order: int
) -> None:
    body = f"{place}{born:%Y%m%d}{order:03}"
    long = body + ric.calc_check_digit(body + "0")
    short = place + body[8:]
    assert spelled("cn-id", long, long.lower(), short) == {f"cn-id\x00\x00{long}".encode()}


@given(octets=st.binary(min_size=6, max_size=6).filter(lambda b: b not in {bytes(6), b"\xff" * 6}))
def test_mac_spellings_meet(octets: bytes) -> None:
    bare = octets.hex()
    colons, dots = octets.hex(":"), ".".join((bare[:4], bare[4:8], bare[8:]))
    forms = spelled("mac", colons, colons.upper(), octets.hex("-"), bare, bare.upper(), dots)
    assert forms == {f"mac\x00\x00{colons}".encode()}


@given(account=st.binary(min_size=20, max_size=20))
def test_addresses_of_chains_meet_in_all_their_spellings(account: bytes) -> None:
    bare = account.hex()
    ethereum = {f"ethereum\x00\x000x{bare}".encode()}
    assert spelled("ethereum", bare, f"0x{bare}", f"0X{bare.upper()}") == ethereum
    tron = {f"tron\x00\x0041{bare}".encode()}
    assert spelled("tron", f"41{bare}", f"0x41{bare.upper()}", base58(b"\x41" + account)) == tron


@given(number=st.from_regex(r"\A[A-Z]{1,2}[0-9]{5,7}\Z"))
def test_passport_spellings_meet(number: str) -> None:
    forms = spelled("passport", f"DEU:{number}", f"d/{number.lower()}<", number, region="DE")
    assert forms == {f"passport\x00\x00DEU:{number}".encode()}


@given(bban=st.from_regex(r"\A[0-9]{18}\Z"))
def test_iban_spellings_meet(bban: str) -> None:
    number = f"DE{iban.calc_check_digits('DE00' + bban)}{bban}"
    grouped = " ".join(number[start : start + 4] for start in range(0, len(number), 4))
    forms = spelled("iban", number, number.lower(), grouped, f"IBAN {grouped}")
    assert forms == {f"iban\x00\x00{number}".encode()}


@given(
    host=st.from_regex(r"\A[a-z]{1,9}(\.[a-z]{2,5}){1,3}\Z"),
    path=st.lists(st.from_regex(r"\A[A-Za-z0-9_~-]{1,6}\Z"), max_size=4).map("/".join),
)
def test_url_spellings_meet(host: str, path: str) -> None:
    escaped = "".join(f"%{ord(c):02x}" if c != "/" else c for c in path)
    forms = spelled(
        "url",
        f"http://{host}/{path}",
        f"HTTP://{host.upper()}:80/{path}#top",
        f"http://{host}./x/../{escaped}",
    )
    assert forms == {f"url\x00\x00http://{host}/{path}".encode()}


def base58(data: bytes) -> str:
    """Base58Check, written for these tests alone."""
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    data += hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]
    number, text = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        text = alphabet[digit] + text
    return text
