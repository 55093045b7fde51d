"""A small part of the campaign, and that it can tell good from bad."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def ran(*options: str) -> subprocess.CompletedProcess:
    # A process of its own: it forks, which a process with threads must not.
    command = [sys.executable, str(HERE / "campaign.py"), "--jobs", "2", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_part_of_the_campaign_comes_to_nothing_else() -> None:
    done = ran("--files", "12", "--params", "12", "--kills", "1", "--disks", "2", "--seed", "1")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "27 faults, 0 of them came to anything else" in done.stdout
