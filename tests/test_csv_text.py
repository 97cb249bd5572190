"""CSVs as spreadsheets save them: the encoding and the separator are named."""
import codecs
import csv
import io

import pytest

from data_prep import csv_text, detect, folds
from data_prep.sets import manifest, mmi

TABLE = 'subject,fold\n' + ''.join(f'S{n},{n}\n' for n in range(10))


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-16-be', 'utf-32'])
def test_an_encoding_is_named(encoding):
    name = encoding.upper()[:6]
    with pytest.raises(ValueError, match=f'^line 1: this is not UTF-8: .* is in {name}, as CSV'):
        csv_text.decode(TABLE.encode(encoding))


def test_utf_8_with_and_without_its_mark():
    text = 'subject,fold\nZo\u00eb,0\n'
    assert csv_text.decode(text.encode()) == text
    assert csv_text.decode(codecs.BOM_UTF8 + text.encode()) == text
    assert csv_text.decode(b'') == ''
    with pytest.raises(ValueError, match='^line 2: this is not UTF-8: save the table as CSV'):
        csv_text.decode(text.encode('latin-1'))


@pytest.mark.parametrize('separator, name', [(';', 'semicolons'), ('\t', 'tabs')])
def test_a_separator_is_named_by_every_reader(tmp_path, separator, name):
    sentence = f'the cells are separated by {name}, so save the table with commas'
    for header in (['subject', 'fold'], ['session', 'frame'],
                   ['path', 'subject', 'Expression', 'split']):
        text = io.StringIO()
        csv.writer(text, delimiter=separator).writerows([header, ['1'] * len(header)])
        for file in ('folds.csv', 'peaks.csv', 'manifest.csv'):
            (tmp_path / file).write_text(text.getvalue())
        read = {'fold': lambda: folds.read_folds(str(tmp_path / 'folds.csv'), {'1'}),
                'frame': lambda: mmi.read_peaks(str(tmp_path), ['1']),
                'split': lambda: manifest.read_set(str(tmp_path))}[header[-1]]
        with pytest.raises(SystemExit, match=f'line 1: .*{sentence}[.]$'):
            read()


def test_other_columns_are_not_put_down_to_the_separator():
    assert csv_text.tell_separator('path;person', ['path', 'subject']) == ''
    assert csv_text.tell_separator('', ['path']) == ''


def test_utf_16_is_named_by_every_reader(tmp_path):
    for file in ('folds.csv', 'peaks.csv', 'manifest.csv'):
        (tmp_path / file).write_bytes(TABLE.encode('utf-16'))
    for read in (lambda: folds.read_folds(str(tmp_path / 'folds.csv'), {'1'}),
                 lambda: mmi.read_peaks(str(tmp_path), ['1']),
                 lambda: manifest.read_set(str(tmp_path))):
        with pytest.raises(SystemExit, match='line 1: this is not UTF-8: .*UTF-16'):
            read()


def test_people_whose_names_a_spreadsheet_would_run_are_read_back(tmp_path):
    people = ['=1+1', '@x', '-a', "'=b", "'c", *map(str, range(8))]
    fold_of = {person: number % 10 for number, person in enumerate(people)}
    folds.write_folds(str(tmp_path / 'folds.csv'), fold_of)
    cells = [line.split(',')[0] for line in (tmp_path / 'folds.csv').read_text().splitlines()]
    assert not [cell for cell in cells if cell[:1] in '=@-+']
    assert folds.read_folds(str(tmp_path / 'folds.csv'), set(people)) == fold_of


def test_points_saved_otherwise_are_named_and_stay(tmp_path):
    """Also where the last row ends without a newline, which is mended in a file of ours alone."""
    lines = [detect.COLUMNS, ['a.png', f'h{"0" * 16}', *'1234567890', '1']]
    text = '\n'.join(','.join(line) for line in lines)
    cache = tmp_path / 'set.points.csv'
    for data, sentence in ((text.replace(',', ';').encode(), 'separated by semicolons'),
                           (text.replace(',', '\t').encode(), 'separated by tabs'),
                           (text.encode('utf-16'), 'is in UTF-16')):
        cache.write_bytes(data)
        with pytest.raises(SystemExit, match=f'set.points.csv.*{sentence}'):
            detect.points_of(str(tmp_path), [], str(cache))
        assert cache.read_bytes() == data
