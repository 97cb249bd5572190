import collections
import os
from pathlib import Path

import drawn
import numpy as np
import places
import pytest

from data_prep import align, pair_lmdb
from data_prep.sets import manifest

REAL = Path(__file__).parents[2] / 'shared' / 'data'
PLAIN = ['a.jpg,1,happy', 'b.jpg,1,neutral', 'c.jpg,2,happy']


@pytest.fixture(scope='module')
def face():
    """A drawn picture and its crop."""
    image, points = drawn.face(1)
    return image, align.crop(image, points)


@pytest.fixture
def raw(tmp_path, face):
    """A folder with the pictures a.jpg ... d.jpg, and deep/a.jpg."""
    for name in ['a', 'b', 'c', 'd', 'deep/a']:
        drawn.write(tmp_path / 'raw' / f'{name}.jpg', face[0])
    return tmp_path / 'raw'


def read(raw, lines, header='path,subject,expression', encoding='utf-8'):
    """What the loader gives for a manifest.csv of these lines."""
    (raw / 'manifest.csv').write_bytes('\r\n'.join([header, *lines, '']).encode(encoding))
    rows, points, report = manifest.read_set(str(raw))
    assert points is None and report['unit'] == 'images'
    assert report['found'] == len(rows) + len(report['unlabelled']) + len(report['left_out'])
    assert len({(row['subject'], row['sequence'], row['frame']) for row in rows}) == len(rows)
    return rows, report


def test_rows(raw):
    rows, report = read(
        raw, ['a.jpg,S10,happy', 'b.jpg,S2,Neutral', 'deep/a.jpg,S2,fear', 'c.jpg,S2,', ',,'])
    assert rows == [{
        'subject': 'S2', 'sequence': 'b', 'frame': 1, 'expression': 'neutral', 'path': 'b.jpg',
        'reference': 'b.jpg'
    }, {
        'subject': 'S2', 'sequence': 'deep-a', 'frame': 1, 'expression': 'fear',
        'path': 'deep/a.jpg', 'reference': 'b.jpg'
    }, {
        'subject': 'S10', 'sequence': 'a', 'frame': 1, 'expression': 'happy', 'path': 'a.jpg',
        'reference': None
    }]
    assert report == {'unit': 'images', 'found': 4, 'unlabelled': ['c.jpg'], 'left_out': []}


def test_columns_in_any_order_with_others_spaces_and_bom(raw):
    rows, _ = read(raw, ['happy, x ,1,"a.jpg"', '', 'fear ,"1,2", 1,deep/../deep//a.jpg'],
                   'Expression,age,subject, path', 'utf-8-sig')
    assert [(row['subject'], row['expression'], row['path']) for row in rows] == [
        ('1', 'happy', 'a.jpg'), ('1', 'fear', 'deep/a.jpg')]


def test_a_reference_of_another_person_is_told(raw):
    header = 'path,subject,expression,reference'
    _, report = read(raw, ['a.jpg,1,happy,b.jpg', 'b.jpg,1,neutral,', 'c.jpg,2,happy,b.jpg',
                           'd.jpg,3,happy,b.jpg'], header)
    assert report['note'] == ('References that show another person: 2, first: manifest.csv, '
                              'line 4: b.jpg of 1 for 2.')
    # nobody says who is on a picture that has no line of its own
    _, report = read(raw, ['a.jpg,1,happy,d.jpg', 'b.jpg,1,neutral,'], header)
    assert 'note' not in report


def test_a_link_that_leads_back_to_itself(raw):
    os.symlink('e.jpg', raw / 'e.jpg')
    _, report = read(raw, ['a.jpg,1,happy', 'b.jpg,1,neutral', 'e.jpg,1,fear'])
    assert report['left_out'] == [('e.jpg', 'image is behind a link that leads back to itself: '
                                   'manifest.csv, line 4: e.jpg')]


def test_references(raw):
    """The row's own; else the first neutral picture in the file that can be used; else none."""
    rows, _ = read(raw, [
        'a.jpg,1,happy,', 'gone.jpg,1,neutral,', 'd.jpg,1,neutral,', 'b.jpg,1,neutral,',
        'c.jpg,1,neutral,deep/a.jpg', 'deep/a.jpg,2,happy,'
    ], 'path,subject,expression,reference')
    assert {row['path']: row['reference']
            for row in rows} == {
                'a.jpg': 'd.jpg', 'b.jpg': 'd.jpg', 'c.jpg': 'deep/a.jpg', 'd.jpg': 'd.jpg',
                'deep/a.jpg': None
            }


def test_split_where_the_column_is_filled_in(raw):
    header = 'path,subject,expression,split'
    rows, report = read(raw, ['a.jpg,1,happy,train', 'b.jpg,1,fear,test', 'c.jpg,1,fear,',
                              'd.jpg,1,fear,val'], header)
    assert [(row['path'], row['split']) for row in rows] == [('a.jpg', 'train'), ('b.jpg', 'test')]
    assert report['left_out'] == [('c.jpg', 'no split: manifest.csv, line 4'),
                                  ('d.jpg',
                                   'split is neither train nor test: manifest.csv, line 5: val')]
    rows, _ = read(raw, ['a.jpg,1,happy,', 'b.jpg,1,fear,'], header)
    assert len(rows) == 2 and not any('split' in row for row in rows)


@pytest.mark.parametrize('line, name, reason', [
    ('d.jpg,,fear,', 'd.jpg', 'no subject: @'),
    (',1,fear,', 'line 5', 'no path: @'),
    ('../x.jpg,1,fear,', '../x.jpg', 'path leaves the folder: @: ../x.jpg'),
    ('../raw/d.jpg,1,fear,', '../raw/d.jpg', 'path leaves the folder: @: ../raw/d.jpg'),
    ('deep/../../x.jpg,1,fear,', 'deep/../../x.jpg', 'path leaves the folder: @: deep/../../x.jpg'),
    ('/x.jpg,1,fear,', '/x.jpg', 'path leaves the folder: @: /x.jpg'),
    ('RAW/d.jpg,1,fear,', 'RAW/d.jpg', 'path leaves the folder: @: RAW/d.jpg'),
    ('out/x.jpg,1,fear,', 'out/x.jpg', 'path leaves the folder: @: out/x.jpg'),
    ('link.jpg,1,fear,', 'link.jpg', 'path leaves the folder: @: link.jpg'),
    ('deep\\a.jpg,1,fear,', 'deep\\a.jpg', 'path is written with \\ instead of /: @: deep\\a.jpg'),
    ('gone.jpg,1,fear,', 'gone.jpg', 'image is missing: @: gone.jpg'),
    ('deep,1,fear,', 'deep', 'image is missing: @: deep'),
    ('./deep/../a.jpg,2,fear,', './deep/../a.jpg',
     'path is there already: @: a.jpg, first in line 2'),
    ('"two\nlines",1,fear,', 'two\\nlines', 'the name holds characters that cannot be printed: @'),
    ('d.jpg,1,"fe\nar",', 'd.jpg', 'the name holds characters that cannot be printed: @'),
    (f'd.jpg,1,{"f" * 101},', 'd.jpg', 'expression has more than 100 letters: @'),
    (f'd.jpg,{"1" * 476},fear,', 'd.jpg', 'path and subject together are too long: @'),
    ('d.jpg,1,fear', 'line 5', 'more or fewer cells than columns: @'),
    ('d,e.jpg,1,fear,', 'line 5', 'more or fewer cells than columns: @'),
    ('d.jpg,1,fear,../x.jpg', 'd.jpg', 'reference leaves the folder: @: ../x.jpg'),
    ('d.jpg,1,fear,gone.jpg', 'd.jpg', 'reference is missing: @: gone.jpg'),
    ('d.jpg,1,fear,deep\\a.jpg', 'd.jpg',
     'reference is written with \\ instead of /: @: deep\\a.jpg'),
])
def test_a_line_that_cannot_be_used_is_left_out(raw, face, line, name, reason):
    drawn.write(raw.parent / 'elsewhere' / 'x.jpg', face[0])
    drawn.write(raw.parent / 'x.jpg', face[0])
    os.symlink('../elsewhere', raw / 'out')
    os.symlink('../x.jpg', raw / 'link.jpg')
    line, name, reason = (text.replace('RAW', str(raw)) for text in (line, name, reason))
    rows, report = read(raw, [f'{plain},' for plain in PLAIN] + [line],
                        'path,subject,expression,reference')
    assert report['left_out'] == [(name, reason.replace('@', 'manifest.csv, line 5'))]
    assert [row['path'] for row in rows] == ['a.jpg', 'b.jpg', 'c.jpg']


def test_a_folder_behind_a_link_is_as_good(raw, tmp_path):
    os.symlink('raw', tmp_path / 'link')
    assert len(read(tmp_path / 'link', PLAIN)[0]) == 3


HEADER = b'path,subject,expression\n'


@pytest.mark.parametrize('content, sentence', [
    (b'',
     'line 1: expected path,subject,expression, and split and reference if wanted, once each, '
     "got ''."),
    (b'path;subject;expression\n', "line 1: .* got 'path;subject;expression'."),
    (b'path,subject\na.jpg,1\n', "line 1: .* got 'path,subject'."),
    (b'path,subject,expression,path\n', "line 1: .* got 'path,subject,expression,path'."),
    (HEADER + b'a.jpg,1,happy\n\nb.jpg,1,f\xe9ar\n', 'line 4: this is not UTF-8: save'),
    (HEADER.decode().encode('utf-16'), 'line 1: this is not UTF-8: save'),
    (HEADER + b'a.jpg,1,happy\nb.jpg,1,fe\0ar\n', 
     'cannot be printed: ' if places.NUL_IN_CSV else 'line 3: .* contains NUL'),
    (HEADER + b'a.jpg,1,happy\n"b.jpg,1,fear\nc.jpg,1,fear\n', 'line 3: .* close every quote'),
    (HEADER + b'a.jpg,1,happy\nb.jpg,1,"fear\n\n"c.jpg",1,fear\n', 'line 3: .* close every quote'),
    (HEADER + b'a.jpg,1,"two\nlines"\n"b.jpg,1,fear\n', 'line 4: .* close every quote'),
    (HEADER + b'a.jpg,1,' + b'x' * 200000, r'line 2: .* field limit \(131072\)'),
    (HEADER, r'gives 0 \(none\): of 0 lines 0 are unlabelled and 0 left out.$'),
    (HEADER + b'a.jpg,1,happy\nb.jpg,2,happy\nc.jpg,2,\n../d.jpg,2,fear\n',
     r'must give at least 2 expressions and gives 1 \(happy\): of 4 lines 1 are unlabelled and '
     r'1 left out, first: path leaves the folder: manifest.csv, line 5: \.\./d.jpg\.$'),
])
def test_a_table_that_cannot_be_used(raw, content, sentence):
    (raw / 'manifest.csv').write_bytes(content)
    with pytest.raises(SystemExit, match=f'^[^\n]*manifest.csv[^\n]*{sentence}'):
        manifest.read_set(str(raw))


def test_a_folder_without_a_table_says_what_was_expected_and_is_there(raw):
    with pytest.raises(SystemExit,
                       match="manifest.csv .* path, subject, expression, .* 'a.jpg', 'b.jpg'"):
        manifest.read_set(str(raw))
    with pytest.raises(SystemExit,
                       match='a.jpg is not a folder: RAW must name one that holds manifest.csv'):
        manifest.read_set(str(raw / 'a.jpg'))
    os.mkdir(raw / 'manifest.csv')
    with pytest.raises(SystemExit, match='manifest.csv cannot be read .Is a directory'):
        manifest.read_set(str(raw))


def test_names_stand_in_keys_and_are_unique(raw, face):
    """Spaces, letters of other alphabets, names alike but for / or the ending, and the longest path
    taken."""
    long = f'{"é" * 100}/{"x" * 200}/{"y" * 73}.jpg'  # with its subject 480 bytes
    names = ['deep/b.jpg', 'deep-b.png', 'deep-b.jpg', 'deep-b-2.jpg', 'Zoë и 山/a b.jpg', long]
    for name in names:
        drawn.write(raw / name, face[0])
    rows, report = read(raw,
                        [f'{name},1,{"happy" if at else "fear"}' for at, name in enumerate(names)])
    assert report['left_out'] == []
    assert {row['path']: row['sequence']
            for row in rows} == {
                'deep/b.jpg': 'deep-b', 'deep-b.png': 'deep-b-2', 'deep-b.jpg': 'deep-b-3',
                'deep-b-2.jpg': 'deep-b-2-2', 'Zoë и 山/a b.jpg': 'Zoë и 山-a b',
                long: long[:-4].replace('/', '-')
            }
    pair_lmdb.write_pairs(str(raw / 'part'), rows, ['fear', 'happy'], lambda path: face[1])
    records = list(pair_lmdb.read_pairs(str(raw / 'part_lmdb')))
    assert [key for key, _, _, _ in records] == [f'{position:08d}_1_{row["sequence"]}_1'
                                                 for position, row in enumerate(rows)]
    assert all(
        np.array_equal(query, face[1]) and not reference.any()
        for _, query, reference, _ in records)


def real(name):
    """What the loader gives for a real set; skips where it is not there."""
    if not (REAL / name / 'manifest.csv').is_file():
        pytest.skip(f'{REAL / name} is not there')
    return manifest.read_set(str(REAL / name))


def test_london():
    rows, points, report = real('london')
    assert len(rows) == 204 and points is None
    assert report == {'unit': 'images', 'found': 204, 'unlabelled': [], 'left_out': []}
    assert len({row['path'] for row in rows}) == 204
    assert len({row['subject'] for row in rows}) == 102
    for row in rows:
        assert row['path'] == f'images/{row["subject"]}_{row["expression"]}.jpg'
        assert row['reference'] == f'images/{row["subject"]}_neutral.jpg' and 'split' not in row


def test_wild():
    rows, _, report = real('wild')
    assert len(rows) == 3647 and report['left_out'] == [] and report['unlabelled'] == []
    assert len({row['subject'] for row in rows}) == 1647
    assert {row['expression']
            for row in rows} == {'anger', 'happy', 'neutral', 'sadness', 'surprise'}
    assert report['note'] == 'Taken for happy: happiness.'
    neutral = collections.defaultdict(list)
    with open(REAL / 'wild' / 'manifest.csv') as file:
        for line in file:
            path, subject, expression = line.strip().split(',')
            if expression == 'neutral':
                neutral[subject].append(path)
    assert all(row['reference'] == neutral[row['subject']][0] for row in rows)
