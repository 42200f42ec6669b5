"""Progress is a bar on a terminal and lines with an estimate in a log."""

import re
import sys

import pytest

from entity_mech import progress


def test_a_log_has_the_first_and_the_last_item(capsys):
    assert list(progress.track([5, 6, 7], label="heads")) == [5, 6, 7]
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"\d\d:\d\d:\d\d heads 1/3 \(33%\), 0 s, about 0 s left", lines[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d heads 3/3 \(100%\), 0 s", lines[1])


def test_a_log_has_a_line_every_few_seconds(capsys, monkeypatch):
    clock = iter(float(t) for t in range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    list(progress.track(range(11), label="rows"))
    said = [int(n) for n in re.findall(r"rows (\d+)/11", capsys.readouterr().err)]
    assert said == [1, 6, 11]


def test_an_iterator_without_a_length_tells_what_is_done(capsys):
    assert list(progress.track(iter("ab"), label="files")) == ["a", "b"]
    lines = capsys.readouterr().err.splitlines()
    assert re.search(r"files 1, 0 s$", lines[0])
    assert re.search(r"files 2/2 \(100%\), 0 s$", lines[-1])


def test_a_total_can_be_given_for_an_iterator(capsys):
    list(progress.track(iter("ab"), 2, "files"))
    assert "files 1/2 (50%)" in capsys.readouterr().err


def test_nothing_to_do_says_nothing(capsys):
    assert list(progress.track([], label="files")) == []
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress.track([1, 2], label="heads")) == [1, 2]
    err = capsys.readouterr().err
    assert "heads: 100%" in err
    assert "\r" in err


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.6, "4 s"), (59.7, "1 min 00 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 05 min")]
)
def test_durations_read_like_speech(seconds, text):
    assert progress.duration(seconds) == text


def test_the_estimate_is_proportional():
    assert progress.line("x", 3, 10, 12.0) == "x 3/10 (30%), 12 s, about 28 s left"
