"""Exchange messages keep the contract of sources; hostile XML is refused whole."""

import tracemalloc
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from source_contract import CANARY, NOW, SourceContract, everything, no_secret, refused, rows_of

from adapters import xml_exchange
from adapters.base import FAULT, Look
from adapters.connection import Connection

HEAD = "<Header><sender>330522</sender><item>cases</item></Header>"


def message(records: str, head: str = HEAD, prolog: str = "") -> str:
    return f"{prolog}<ExchangeMessage>{head}<Body>{records}</Body></ExchangeMessage>"


def reading(folder: Path, **options):
    options = {"pattern": "CF_*.xml", "record": "Body/fields", "header": {"sender": "330522"}, **options}
    connection = Connection("330522 cases", {"directory": str(folder)}, no_secret, lambda: NOW, folder)
    return xml_exchange.source(xml_exchange.SourceYaml().load(options), connection, set())


class Messages:
    """A folder with one message."""

    incremental = False

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "CF_1.xml"

    def put(self, rows):
        records = ("".join(f"<{k}>{escape(v)}</{k}>" for k, v in row.items()) for row in rows)
        self.path.write_text(message("\n".join(f"<fields>{each}</fields>" for each in records)), encoding="utf-8")

    def source(self, **options):
        return reading(self.folder, **options)

    def ruin(self):
        self.path.write_text(f"<ExchangeMessage>{HEAD}<Body><fields><name>{CANARY}</fields>", encoding="utf-8")

    def go(self):
        self.path.unlink()


class TestXmlExchange(SourceContract):
    @pytest.fixture
    def city(self, tmp_path):
        return Messages(tmp_path)


def put(folder: Path, text: str, name: str = "CF_1.xml") -> None:
    (folder / name).write_text(text, encoding="utf-8")


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "prolog",
    [
        f'<!DOCTYPE x [<!ENTITY a0 "ha">{BOMB}]>',
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
        '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p"> %p;]>',
        "<!DOCTYPE x>",
    ],
)
def test_entities_and_document_types_are_refused(tmp_path, prolog):
    put(tmp_path, message(f"<fields><a>{CANARY}</a></fields>", prolog=prolog))
    with refused(Look, "declares entities or a document type"):
        everything(reading(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not xml",
        message("<fields><a>1</a></fields>")[:-9],
        "<a>" * 5_000,
        "\ufeff",
        '<?xml version="1.0" encoding="nonsense"?><ExchangeMessage/>',
        message("<fields><a>\x00</a></fields>"),
    ],
)
def test_what_is_no_whole_xml_is_refused_with_its_place(tmp_path, text):
    put(tmp_path, text)
    with refused(Look):
        everything(reading(tmp_path))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (HEAD.replace("330522", CANARY), "Header/sender is not what is declared"),
        ("<Header>text</Header>", "Header/sender is not what is declared"),
        ("", "a record comes before the Header"),
    ],
)
def test_another_message_is_refused(tmp_path, head, words):
    put(tmp_path, message("<fields><a>1</a></fields>", head))
    with refused(Look, words):
        everything(reading(tmp_path))


def test_a_message_without_header_or_records(tmp_path):
    put(tmp_path, "<ExchangeMessage><Body/></ExchangeMessage>")
    with refused(Look, "no Header"):
        everything(reading(tmp_path))
    assert everything(reading(tmp_path, header={}))[0] == []


def test_children_of_children_are_maps_and_repeats_lists(tmp_path):
    put(tmp_path, message('<fields x="1"><a>1</a><b><c>2</c></b><d>3</d><d>4</d><e/></fields>'))
    assert everything(reading(tmp_path))[0] == [{"a": "1", "b": {"c": "2"}, "d": ["3", "4"], "e": ""}]


def test_namespaces_are_not_part_of_a_name(tmp_path):
    put(tmp_path, message("<n:fields xmlns:n='urn:x'><n:a>1</n:a></n:fields>"))
    assert everything(reading(tmp_path))[0] == [{"a": "1"}]


def test_a_record_that_is_none_is_faulty_and_the_others_go_on(tmp_path):
    deep = "<x>" * 25 + "</x>" * 25
    wide = "<x/>" * 6_000
    put(tmp_path, message(f"<fields>text</fields><fields>{wide}</fields><fields><a>1</a></fields>"))
    [page] = reading(tmp_path).pages(None)
    assert [FAULT in row.data for row in page.rows] == [True, True, False]
    assert page.rows[2].where == "CF_1.xml record 3"
    put(tmp_path, message(f"<fields>{deep}</fields>"))
    with refused(Look):
        everything(reading(tmp_path))


def test_messages_come_in_the_order_of_their_names(tmp_path):
    for n in (10, 9, 1):
        put(tmp_path, message(f"<fields><a>{n}</a></fields>"), f"CF_{n}.xml")
    assert [row["a"] for row in everything(reading(tmp_path, pick="all"))[0]] == ["1", "9", "10"]
    assert [row["a"] for row in everything(reading(tmp_path))[0]] == ["10"]


def test_memory_does_not_grow_with_the_message(tmp_path):
    city = Messages(tmp_path)

    def peak(count: int) -> int:
        city.put(rows_of(count))
        tracemalloc.start()
        for _ in city.source().pages(None):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(9_000) < 2 * peak(3_000)


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"),
    max_size=10,
)


@given(
    st.lists(
        st.dictionaries(st.from_regex(r"[A-Z]{1,4}", fullmatch=True), texts, min_size=1, max_size=3),
        max_size=5,
    )
)
def test_any_record_comes_back_as_it_was_written(tmp_path_factory, rows):
    city = Messages(tmp_path_factory.mktemp("xml"))
    city.put(rows)
    assert everything(city.source())[0] == rows
