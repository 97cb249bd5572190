"""Cells that a spreadsheet would run: written with an apostrophe, read back exactly."""
import csv
import io
import itertools

from data_prep import spreadsheet

RUN = ('=1+1', '+1-cmd', '-x', '@SUM(A1)', '\t=1', '\r=1', "=cmd|'/C calc'!A0", '-', '+', '=')


def test_what_a_spreadsheet_would_run_begins_with_an_apostrophe():
    assert [spreadsheet.quote(text) for text in RUN] == ["'" + text for text in RUN]


def test_names_and_numbers_stay():
    for value in ('happy', '', 'a=b', 'P-1', '-1.5', '+3', -2.5, 7, None):
        assert spreadsheet.quote(value) == value


def test_every_text_is_read_back_exactly():
    """All texts of up to four letters, some of them apostrophes, through a CSV file."""
    texts = [''.join(letters) for n in range(5)
             for letters in itertools.product("'=-+1a", repeat=n)]
    file = io.StringIO(newline='')
    csv.writer(file).writerows([spreadsheet.quote(text)] for text in (*texts, *RUN, "''", "'"))
    file.seek(0)
    read = [spreadsheet.unquote(row[0]) if row else '' for row in csv.reader(file)]
    assert read == [*texts, *RUN, "''", "'"]
