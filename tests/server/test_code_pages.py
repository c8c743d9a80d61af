"""What of a process's memory is given back after its start."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import mmap, os, re, sqlite3, ssl, sys
from pathlib import Path
from kitfox.server._code_pages import give_back_code, loaded_code

def resident():
    text = Path("/proc/self/smaps").read_text(errors="replace")
    return sum(map(int, re.findall("^Rss: +([0-9]+) kB", text, re.MULTILINE))) << 10

def weights():
    text = Path("/proc/self/smaps").read_text(errors="replace").partition("weights.bin\\n")[2]
    return int(re.search("Rss: +([0-9]+) kB", text)[1]) << 10

name = b"\\xff weights.bin"  # no text
with open(name, "wb") as file:
    file.write(os.urandom(1 << 20))
with open(name, "rb") as file:
    data = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
total = sum(data[:])
kept = weights()
assert kept >= 1 << 20

before = resident()
given = give_back_code(loaded_code())
# Some of it is needed again to look.
assert given > 1 << 20, given
assert resident() < before - given // 4, (before, resident(), given)
assert weights() == kept

# All of it still works.
assert sum(data[:]) == total
assert sqlite3.connect(":memory:").execute("SELECT 1").fetchone() == (1,)
assert ssl.create_default_context().get_ciphers()
assert give_back_code(loaded_code()) < given
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells what is in memory")
def test_code_is_given_back_and_weights_are_not(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
