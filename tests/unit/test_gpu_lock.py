"""Each job of a machine gets a card of its own."""

import subprocess
import sys

from entity_mech.models.gpu_lock import claim

HOLD = """
import sys
from entity_mech.models.gpu_lock import claim
print(claim(sys.argv[1:]), flush=True)
sys.stdin.read()
"""


def test_jobs_take_different_cards_and_give_them_back_when_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, "-c", HOLD, "GPU-1", "GPU-2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline().strip() == "GPU-1"
            mine = {}
            assert claim(["GPU-1", "GPU-2"], mine) == "GPU-2"
            assert claim(["GPU-1", "GPU-2"], mine) == "GPU-2"  # a job keeps its card
            assert claim(["GPU-1", "GPU-2"], {}) == "GPU-1"  # all are taken
        finally:
            other.kill()
    assert claim(["GPU-1", "GPU-2"], {}) == "GPU-1"
