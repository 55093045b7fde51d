"""Faults and what came of them: kept line by line while a campaign runs, counted, and reported."""

import csv
import json
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from emobench.costs import cpu_name

ROOT = Path(__file__).resolve().parents[2]
SAME, LINE, UNNAMED = "same results", "one clear line", "line without file or key"
TRACEBACK, OTHER = "traceback", "accepted, other results"
GOOD = (SAME, LINE)
COLUMNS = (SAME, LINE, UNNAMED, TRACEBACK, OTHER, "anything else")
NAMES = {"file": "files", "key": "params", "kill": "kills", "disk": "disks"}
PAGE, BEGIN, END = (
    ROOT / "docs" / "faults.md",
    "<!-- begin: written by tests/faults/campaign.py --report -->",
    "<!-- end",
)
BEFORE = ROOT / "reports" / "faults" / "before.csv"
"""An earlier campaign's counts, of another program: typed in, not made here."""


@dataclass(frozen=True)
class Fault:
    """What is done before or while a command runs: ``act`` is the name of a function here, ``what`` its argument."""

    act: str
    benchmark: str
    stage: str
    what: tuple
    seed: int

    def __str__(self) -> str:
        return f"{self.act}: {self.benchmark} {self.stage}: {' '.join(map(str, self.what))}"

    @property
    def kind(self) -> str:
        """Of which kind it is, as reports count it."""
        if self.act != "file":
            return NAMES[self.act]
        return f"files, {Path(self.what[0]).suffix.removeprefix('.') or 'other'}"


@dataclass(frozen=True)
class Outcome:
    """What came of a fault, in a word, what was printed, of which revision that was, and its processor seconds."""

    fault: Fault
    word: str
    text: str
    revision: str = ""
    seconds: float = 0.0

    @property
    def column(self) -> str:
        """Where reports count it."""
        return self.word if self.word in COLUMNS else COLUMNS[-1]


class Log:
    """A file of outcomes: a campaign that was stopped goes on where it was, and tries again what came out badly."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path and path.is_file() else []
        self.known: dict[Fault, Outcome] = {}
        for line in lines:
            values = json.loads(line)
            fault = Fault(**values.pop("fault") | {"what": tuple(values.pop("what"))})
            self.known[fault] = Outcome(fault, **values)

    def good(self, fault: Fault) -> Outcome | None:
        """What came of a fault before, if that was as it should be."""
        found = self.known.get(fault)
        return found if found and found.word in GOOD else None

    def add(self, outcome: Outcome) -> None:
        """Notes one more."""
        if self.path is None:
            return
        values = asdict(outcome)
        values["what"] = values["fault"].pop("what")
        with open(self.path, "a") as file:
            file.write(json.dumps(values) + "\n")


def revision() -> str:
    """The commit, with a + where something differs from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + "+" * bool(git("status", "--porcelain", "--untracked-files=no"))


def table(found: Iterable[Outcome]) -> str:
    """How often what came of which kind of fault, as text."""
    rows = Counter((NAMES[one.fault.act], one.word) for one in found)
    words = sorted({word for _, word in rows}, key=lambda word: (word not in GOOD, word))
    lines = [f"{'':28}" + "".join(f"{name:>8}" for name in NAMES.values()) + f"{'all':>8}"]
    for word in words:
        cells = [rows[name, word] for name in NAMES.values()]
        lines.append(f"{word:28}" + "".join(f"{cell:8}" for cell in cells) + f"{sum(cells):8}")
    return "\n".join(lines)


def counts(found: Iterable[Outcome]) -> list[dict[str, str | int]]:
    """A row a kind of fault: how many there were, and what came of them."""
    rows = Counter((one.fault.kind, one.column) for one in found)
    kinds = sorted({kind for kind, _ in rows}, key=lambda kind: (not kind.startswith("files"), kind))
    return [
        {"kind": kind, "faults": sum(rows[kind, column] for column in COLUMNS)}
        | {column: rows[kind, column] for column in COLUMNS}
        for kind in kinds
    ]


def write_report(folder: Path, found: list[Outcome], command: str) -> None:
    """Writes campaign.csv and README.md, in which the earlier campaign stands beside this one."""
    rows = counts(found)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "campaign.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["kind", "faults", *COLUMNS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    with open(BEFORE, newline="") as file:
        earlier = list(csv.DictReader(file))
    revisions = Counter(one.revision for one in found)
    ran = ", ".join(f"{one} ({count} faults)" if len(revisions) > 1 else one for one, count in revisions.most_common())
    minutes = sum(one.seconds for one in found) / 60
    counted = (
        "Before: revision 041d0db, by another program, which told nothing of 103 malformed inputs more "
        f"(`before.csv`).\n\n{_markdown(earlier)}\n\n"
        f"After: revision {ran}, by `{command}`, written on {date.today()}; {cpu_name()}, Python "
        f"{platform.python_version()}, {minutes:.0f} processor minutes (`campaign.csv`).\n\n{_markdown(rows)}\n"
    )
    (folder / "README.md").write_text(f"What faults come to ([docs/faults.md](../../docs/faults.md)).\n\n{counted}")
    if folder.resolve() == BEFORE.parent:
        text = PAGE.read_text()
        head, mark, rest = text.partition(BEGIN)
        PAGE.write_text(f"{head}{mark}\n{counted}{rest[rest.index(END) :]}")


def _markdown(rows: list[dict]) -> str:
    """A table, its last row the sums."""
    names = list(rows[0])
    known = [name for name in names[1:] if all(str(row[name]) for row in rows)]
    total = {"kind": "all"} | {name: sum(int(row[name]) for row in rows) for name in known}
    lines = [f"| {' | '.join(names)} |", "|---" + "|---:" * (len(names) - 1) + "|"]
    lines += [f"| {' | '.join(str(row.get(name, '')) for name in names)} |" for row in (*rows, total)]
    return "\n".join(lines)
