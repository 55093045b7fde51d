import pytest

from emobench.errors import UserError
from emobench.vocabulary.reading import concepts_in


def read(folder, content, name="mine.txt"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return concepts_in(path)


@pytest.mark.parametrize(
    ("content", "concepts"),
    [
        ("Big  Nose\nhat\n", ["big nose", "hat"]),
        (b"\xef\xbb\xbfsmile\r\nclosed eyes\r\n", ["smile", "closed eyes"]),
        ("smile\rfrown", ["smile", "frown"]),
        ("smile\tbig \nfrown\t\n", ["smile big", "frown"]),
        ('"smile"\n"a ""real"" smile"\nthe "best"\n', ["smile", 'a "real" smile', 'the "best"']),
        ("smile\n# not yet: hat\n  #too\nfrown\n", ["smile", "frown"]),
        ("smile\nfrown\n\n \n", ["smile", "frown"]),
        ("geo\u0308ffneter Mund\nGRÜBCHEN\n", ["geöffneter mund", "grübchen"]),
        ("<b>smile</b> & <script>\nfrown\n", ["<b>smile</b> & <script>", "frown"]),
        ("smile\x0cbig\nfrown\u2028wide\n", ["smile big", "frown wide"]),
        ("smile, broad\nfrown\n", ["smile, broad", "frown"]),
    ],
)
def test_text_of_every_editor(tmp_path, content, concepts) -> None:
    assert read(tmp_path, content) == dict.fromkeys(concepts)


CSV = [
    "concept,classes\nSmile,happy\nhat,\nfrown,Sad|angry | \n",
    b"\xef\xbb\xbfconcept,classes\r\nSmile,happy\r\nhat,\r\nfrown,sad|angry\r\n",
    "# mine\nconcept;classes\nsmile;happy\nhat;\n#frown;fear\nfrown;sad|angry\n;\n;\n",
    "note\tClasses\tConcept\nx\thappy\tsmile\n\t\that\n\n\tsad|angry\tfrown\n",
    '"concept","classes"\n"smile", "happy"\nhat\nfrown,"sad|angry"\n',
]


@pytest.mark.parametrize("content", CSV)
def test_csv_of_every_spreadsheet(tmp_path, content) -> None:
    assert read(tmp_path, content, "mine.CSV") == {"smile": ("happy",), "hat": (), "frown": ("sad", "angry")}


def test_a_quoted_concept_may_hold_separators(tmp_path) -> None:
    assert read(tmp_path, 'concept,classes\n"eyes, wide\nopen",fear\n', "a.csv") == {"eyes, wide open": ("fear",)}


@pytest.mark.parametrize("name", ["many.txt", "many.csv"])
def test_many_concepts(tmp_path, name) -> None:
    lines = [f"concept {k}" + ",happy" * (name == "many.csv") for k in range(20_000)]
    head = ["concept,classes"] if name == "many.csv" else []
    found = read(tmp_path, "\n".join([*head, *lines]), name)
    assert list(found) == [f"concept {k}" for k in range(20_000)]
    assert set(found.values()) == {("happy",) if head else None}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "no concept in it"),
        ("a.txt", "# only\n", "no concept in it"),
        ("a.txt", "hat\n\nnose\n", "line 2: empty concept"),
        ("a.txt", "hat\nHat \n", "line 2: 'hat' stands already in line 1"),
        ("a.txt", b"\xff\xfe\x00", "expected UTF-8 text"),
        ("a.txt", "smile, frown, hat", "all in one line with commas"),
        ("a.csv", "", "no concept in it"),
        ("a.csv", "smile\nfrown\n", r"has the columns \['smile'\]; expected concept,classes"),
        ("a.csv", "concept,classes\n,happy\n", "line 2: empty concept"),
        ("a.csv", "concept,classes\nhat,\nhat,sad\n", "line 3: 'hat' stands already in line 2"),
        ("a.csv", "concept,classes\nhat,sad,angry\n", "line 2: 3 cells in 2 columns; expected classes parted by |"),
        ("a.csv", 'concept,classes\n"hat,sad\nfrown,\n', "not a csv table"),
    ],
)
def test_bad_files_name_the_line(tmp_path, name, content, message) -> None:
    with pytest.raises(UserError, match=message.replace("|", r"\|")):
        read(tmp_path, content, name)
