"""What tables in archives may hold: lines and rows have bounds, and are read one at a time."""

import io

import pytest

from emobench.errors import UserError
from emobench.faces.readers import archives
from emobench.faces.readers.archives import lines_of


class Endless(io.TextIOBase):
    """A table that never ends: who reads all of it never comes back."""

    def __init__(self, line: str) -> None:
        self.line, self.asked = line, 0

    def readline(self, size: int = -1) -> str:
        self.asked += 1
        return self.line[:size]


def test_lines_come_as_they_are():
    assert list(lines_of("a.csv", io.StringIO("emotion,pixels\n0,1 2\n3,4"))) == ["emotion,pixels\n", "0,1 2\n", "3,4"]


def test_a_row_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(archives, "LONGEST_LINE", 100)
    with pytest.raises(UserError, match=r"^a.zip/a.csv, line 1: longer than 100 characters; expected a row of a table"):
        list(lines_of("a.zip/a.csv", Endless("1 " * 100)))


def test_rows_without_an_end_are_refused(monkeypatch):
    monkeypatch.setattr(archives, "MOST_LINES", 1000)
    table = Endless("0,1 2,Training\n")
    with pytest.raises(UserError, match=r"^a.zip/a.csv: more than 1000 lines; expected at most as many$"):
        list(lines_of("a.zip/a.csv", table))
    assert table.asked == 1001
