import sys

import cv2
import drawn
import lmdb
import numpy as np
import pytest

from data_prep import align, pair_lmdb
from tools import contact_sheet

CLASSES = ['fear', 'happy', 'neutral']


def row(subject, sequence, frame, expression, reference='0'):
    """A row of a loader; its picture is named for its place among those of crops()."""
    return {'subject': subject, 'sequence': sequence, 'frame': frame, 'expression': expression,
            'path': str(frame % 10), 'reference': reference}


@pytest.fixture(scope='module')
def crops():
    """Ten different drawn faces, by name."""
    return {str(number): align.crop(*drawn.face(number)) for number in range(10)}


@pytest.fixture
def build(tmp_path, crops, monkeypatch):
    """A function that builds data/faces out of rows for train and test, in a new current folder;
    gives that data/faces and {(subject, sequence, frame): pair}, as pair_lmdb.read_pairs reads
    them."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'data' / 'faces'

    def build(train, test, classes=CLASSES):
        (folder / 'fold0').mkdir(parents=True)
        (folder / 'classes.txt').write_text(''.join(f'{name}\n' for name in classes),
                                            encoding='utf-8')
        pairs = {}
        for part, rows in [('train', train), ('test', test)]:
            path = str(folder / 'fold0' / part)
            pair_lmdb.write_pairs(path, rows, classes, crops.get)
            for own, (_, query, reference, _) in zip(rows, pair_lmdb.read_pairs(f'{path}_lmdb')):
                pairs[own['subject'], own['sequence'], own['frame']] = np.stack([query, reference])
        return folder, pairs
    return build


def start(monkeypatch, *arguments):
    """Runs the program in this process."""
    monkeypatch.setattr(sys, 'argv', ['contact_sheet', *arguments])
    contact_sheet.main()


def test_tiles_are_the_pictures(crops):
    faces = list(crops.values())
    found = {('S1', 'happy'): np.stack(faces[:2]),
             ('S2', 'fear'): np.stack([faces[2], np.zeros_like(faces[2])])}
    sheet = contact_sheet.compose(['S1', 'S2'], ['fear', 'happy'], found)
    assert sheet.dtype == np.uint8 and sheet.shape == (2 * 72, 2 * 139)  # 66 + 6; 66 + 1 + 66 + 6
    left = sheet.copy()
    for top, start, face in [(0, 139, faces[0]), (0, 139 + 67, faces[1]), (72, 0, faces[2]),
                             (72, 67, 0)]:
        assert (sheet[top:top + 66, start:start + 66] == face).all()
        left[top:top + 66, start:start + 66] = 255
    assert (left == 255).all()


def test_a_cell_is_the_last_frame_of_a_class_from_either_part(build):
    folder, pairs = build([row('S10', '9', 4, 'fear'), row('S10', '10', 2, 'fear', None),
                           row('S10', '10', 1, 'fear'), row('S2', 'a', 9, 'happy'),
                           row('S2', 'a', 13, 'happy'), row('S2', 'a', 1, 'neutral')],
                          [row('S10', '3', 5, 'happy')])
    people, columns, found = contact_sheet.cells(folder, 12)
    assert people == ['S2', 'S10'] and columns == CLASSES
    expected = {('S10', 'fear'): ('S10', '10', 2), ('S10', 'happy'): ('S10', '3', 5),
                ('S2', 'happy'): ('S2', 'a', 13), ('S2', 'neutral'): ('S2', 'a', 1)}
    assert set(found) == set(expected)
    assert all(np.array_equal(found[place], pairs[expected[place]]) for place in expected)
    assert not found['S10', 'fear'][1].any() and found['S10', 'happy'][1].any()


@pytest.mark.parametrize('most, numbers', [(5, [1, 6, 11, 16, 21]), (3, [1, 9, 17]),
                                           (30, range(1, 26))])
def test_people_are_chosen_evenly_and_no_others_are_read(build, most, numbers):
    rows = [row(f'S{number}', '1', 1, CLASSES[number % 2]) for number in range(1, 26)]
    folder, _ = build(rows[1::2], rows[::2])
    with lmdb.open(str(folder / 'fold0' / 'train_lmdb')) as env, env.begin(write=True) as txn:
        for position, own in enumerate(rows[1::2]):
            if int(own['subject'][1:]) not in numbers:
                txn.put(f'{position:08d}_{own["subject"]}_1_1'.encode(), b'damaged')
    people, _, found = contact_sheet.cells(folder, most)
    assert people == [f'S{number}' for number in numbers] and len(found) == len(people)


def test_where_classes_are_people_columns_are_the_first_pictures(build):
    names = [f'{number}.jpg' for number in range(1, 13)]
    rows = [{**row('Zoë', name, 1, 'Zoë'), 'path': str(at % 10)} for at, name in enumerate(names)]
    folder, pairs = build(rows[:1:-1] + [row('B', '1', 1, 'B')], rows[:2] + [row('B', '1', 7, 'B')],
                          ['B', 'Zoë'])
    people, columns, found = contact_sheet.cells(folder, 12)
    assert people == ['B', 'Zoë'] and columns == list('12345678')
    expected = {('Zoë', str(at)): ('Zoë', f'{at}.jpg', 1) for at in range(1, 9)}
    expected.update({('B', '1'): ('B', '1', 1), ('B', '2'): ('B', '1', 7)})
    assert set(found) == set(expected)
    assert all(np.array_equal(found[place], pairs[expected[place]]) for place in expected)


def test_so_are_they_where_classes_are_very_many(build):
    classes = [f'{number:02d}' for number in range(21)]
    rows = [row('S1', name, 1, name) for name in classes] + [row('S2', '1', 1, '20')]
    folder, _ = build(rows, rows[:1], classes)
    _, columns, found = contact_sheet.cells(folder, 12)
    assert columns == list('12345678') and len(found) == 8 + 1


def test_the_sheet_is_written_and_named(build, crops, monkeypatch, capsys):
    """Whatever stands in the names. Below and to the right of them are the pictures, a pixel as 2 x
    2."""
    folder, _ = build([row('a $_{$ b', '1', 1, 'fear'), row('Zoë и ' + 'x' * 200, '1', 2, 'happy')],
                      [row('c', '1', 3, 'neutral', None)])
    start(monkeypatch, '--dataset', 'faces')
    assert capsys.readouterr().out == 'data/faces/contact_sheet.png\n'
    assert sorted(
        path.name for path in folder.iterdir()) == ['classes.txt', 'contact_sheet.png', 'fold0']
    sheet = cv2.imread(str(folder / 'contact_sheet.png'), cv2.IMREAD_GRAYSCALE)
    expected = contact_sheet.compose(*contact_sheet.cells(folder, 12)).repeat(2, 0).repeat(2, 1)
    assert np.abs(sheet[-len(expected):, -len(expected[0]):] - expected.astype(int)).max() <= 1
    assert sheet.shape[1] == len(expected[0]) + 20 + 16 * 18  # long names are cut
    assert (sheet[:-len(expected)] < 128).any() and (sheet[:, :-len(expected[0])] < 128).any()
    assert (sheet[:, :5] == 255).all() and (sheet[:5] == 255).all()  # no name is cut off


@pytest.mark.parametrize('arguments, sentence', [
    (['--dataset', 'ckplus7'], 'data/ckplus7 is not built: run `make data DATASET=ckplus7`.'),
    (['--dataset', 'faces', '--people', '0'
      ], "--people must be a whole number from 1 to 100, not '0'."),
    (['--dataset', 'faces', '--people', 'all'
      ], "--people must be a whole number from 1 to 100, not 'all'."),
])
def test_bad_arguments(build, monkeypatch, arguments, sentence):
    build([row('S1', '1', 1, 'fear')], [row('S2', '1', 1, 'happy')])
    with pytest.raises(SystemExit) as error:
        start(monkeypatch, *arguments)
    assert error.value.code == sentence


HEADER = b'key,subject,sequence,frame,label,expression,path\n'


@pytest.mark.parametrize('file, content, sentence', [
    ('train.csv', None, 'contact_sheet.png cannot be made ([Errno 2] No such file or directory: '),
    ('train.csv', b'', 'train.csv is damaged (line 1): run `make data` again.'),
    ('test.csv', b'key,subject\n1,2\n', 'test.csv is damaged (line 1): run `make data` again.'),
    ('test.csv', HEADER + b'k,S2,1,1,0,fear,1\nk,S2,1\n', 'test.csv is damaged (line 3)'),
    ('test.csv', HEADER + b'k,S2,1,1,0,fear,1,1\n', 'test.csv is damaged (line 2)'),
    ('test.csv', HEADER + b'k,S2,1,x,0,fear,1\n', 'test.csv is damaged (line 2)'),
    ('test.csv', HEADER + b'\xff', "test.csv is damaged ('utf-8' codec can't decode"),
    ('test.csv', HEADER + b'k,S2,1,1,0,fear,1\n',
     'test_lmdb is damaged (no pair under k): run `make'),
    ('test_lmdb/data.mdb', b'', 'test_lmdb is damaged ('),
    ('test_lmdb/data.mdb', None, 'test_lmdb is missing: run `make data` first.'),
])
def test_a_damaged_build(build, monkeypatch, file, content, sentence):
    folder, _ = build([row('S1', '1', 1, 'fear')], [row('S2', '1', 1, 'happy')])
    path = folder / 'fold0' / file
    path.write_bytes(content) if content is not None else path.unlink()
    with pytest.raises(SystemExit) as error:
        start(monkeypatch, '--dataset', 'faces')
    assert sentence in error.value.code
    assert not (folder / 'contact_sheet.png').exists()


def test_a_build_without_rows(build, monkeypatch):
    build([], [])
    with pytest.raises(SystemExit,
                       match='^data/faces/fold0 is damaged .no rows.: run `make data` again.$'):
        start(monkeypatch, '--dataset', 'faces')
