import os

import drawn
import pytest
from test_build import table

from data_prep import build
from data_prep.sets import oulu

CLASSES = ('anger', 'disgust', 'fear', 'happy', 'sadness', 'surprise')
FOLDERS = ('Anger', 'Disgust', 'Fear', 'Happiness', 'Sadness', 'Surprise')


def add(place, person, folder, numbers):
    """One sequence; its pictures are empty files, as the loader opens none."""
    (place / person / folder).mkdir(parents=True)
    for number in numbers:
        (place / person / folder / f'{number:03d}.jpeg').touch()


@pytest.fixture
def raw(tmp_path):
    place = tmp_path / 'VL' / 'Strong'
    for folder in FOLDERS:
        add(place, 'P001', folder, range(6))
    add(place, 'P010', 'Surprise', range(12))
    add(tmp_path / 'VL' / 'Weak', 'P001', 'Anger', range(6))
    add(tmp_path / 'NI' / 'Strong', 'P001', 'Anger', range(6))
    return tmp_path


def test_rows(raw):
    rows, points, report = oulu.read_set(str(raw), CLASSES)
    assert [(row['subject'], row['sequence'], row['frame']) for row in rows] == [
        ('P001', name, frame) for name in CLASSES for frame in (3, 4, 5)] + [
        ('P010', 'surprise', frame) for frame in (9, 10, 11)]
    assert all(row['expression'] == row['sequence'] for row in rows)
    happy = [row for row in rows if row['expression'] == 'happy']
    assert [row['path']
            for row in happy] == [f'VL/Strong/P001/Happiness/00{frame}.jpeg' for frame in '345']
    assert {row['reference'] for row in happy} == {'VL/Strong/P001/Happiness/000.jpeg'}
    assert all('split' not in row for row in rows)
    assert points is None
    assert report == {'unit': 'sequences', 'found': 7, 'unlabelled': [], 'left_out': []}


@pytest.mark.parametrize('frames, expected', [(1, [11]), (5, [7, 8, 9, 10, 11]),
                                              (None, list(range(1, 12)))])
def test_number_of_frames(raw, frames, expected):
    rows, _, _ = oulu.read_set(str(raw), CLASSES, frames)
    assert [row['frame'] for row in rows if row['subject'] == 'P010'] == expected


@pytest.mark.parametrize('numbers, frames, reason', [
    ([0, 1, 2, 3, 5, 6], 3, 'frame is missing: 004'),
    ([0, 1, 2, 3, 5, 6], 1, 'frame is missing: 004'),
    ([1, 2, 3, 4], 3, 'frame is missing: 000'),
    ([0, 1], 3, 'too few frames: 2, at least 4 needed'),
    ([0, 1, 2], 3, 'too few frames: 3, at least 4 needed'),
    ([0], None, 'too few frames: 1, at least 2 needed'),
    ([], 1, 'too few frames: 0, at least 2 needed'),
])
def test_a_sequence_that_cannot_be_used_is_named(raw, numbers, frames, reason):
    add(raw / 'VL' / 'Strong', 'P002', 'Happiness', numbers)
    rows, _, report = oulu.read_set(str(raw), CLASSES, frames)
    assert report['left_out'] == [('P002/Happiness', reason)] and report['found'] == 8
    assert {row['subject'] for row in rows} == {'P001', 'P010'}


def test_the_shortest_sequence(raw):
    add(raw / 'VL' / 'Strong', 'P002', 'Happiness', range(4))
    rows, _, report = oulu.read_set(str(raw), CLASSES, 3)
    assert [row['frame'] for row in rows if row['subject'] == 'P002'
            ] == [1, 2, 3] and not report['left_out']


def test_folders_that_are_no_class(raw):
    place = raw / 'VL' / 'Strong'
    add(place, 'P001', 'Contempt', range(6))
    add(place, 'P001', 'two\nlines', range(6))
    _, _, report = oulu.read_set(str(raw), CLASSES)
    assert report['left_out'] == [('P001/Contempt', 'label outside the set: Contempt'),
                                  ('P001/two\\nlines', 'label outside the set: two\\nlines')]
    left_out = oulu.read_set(str(raw), ('happy', 'anger'))[2]['left_out']
    assert ('P010/Surprise', 'label outside the set: Surprise') in left_out and len(left_out) == 7


def test_litter_is_passed_over(raw):
    before = oulu.read_set(str(raw), CLASSES)
    for litter in ('P001/Anger/._000.jpeg', 'P001/Anger/Thumbs.db', 'P001/Anger/006.jpg', 'P003',
                   'P001/Anger/0006.jpeg', 'P001/Thumbs.db', 'notes/Anger/000.jpeg',
                   'P001/.hidden/000.jpeg'):
        (raw / 'VL' / 'Strong' / litter).parent.mkdir(exist_ok=True, parents=True)
        (raw / 'VL' / 'Strong' / litter).touch()
    assert oulu.read_set(str(raw), CLASSES) == before


@pytest.mark.parametrize('above', ['OriginalImg', 'Ünter [a] b/OriginalImg',
                                   'B_OriginalImg/B_OriginalImg/OriginalImg'])
def test_raw_may_hold_it_some_folders_down(tmp_path, above):
    top = tmp_path / 'Oulu [CASIA] ü'
    add(top / above / 'VL' / 'Strong', 'P080', 'Fear', range(3))
    add(top / 'C_PreProcessImg' / 'VL_Acropped' / 'Strong', 'P080', 'Fear', range(3))
    (row,), _, _ = oulu.read_set(str(top), CLASSES, 1)
    assert row['path'] == f'{above}/VL/Strong/P080/Fear/002.jpeg' and os.path.isfile(
        top / row['path'])
    assert row['reference'] == f'{above}/VL/Strong/P080/Fear/000.jpeg'


@pytest.mark.parametrize('made, sentence', [
    (None, 'is not a folder: RAW must name one that holds VL/Strong of Oulu-CASIA, with '),
    ('', 'and this one holds nothing[.]$'),
    ('NI/Strong/P001/Anger', "one to three folders down, and this one holds 'NI'[.]$"),
    ('VL/Strong/people', "and this one holds 'VL'[.]$"),
    ('Strong/P001/Anger', "and this one holds 'Strong'[.]$"),
    ('a/b/c/d/VL/Strong/P001/Anger', "and this one holds 'a'[.]$"),
    ('a\nb/VL/Strong/P001/Anger', r"and this one holds 'a\\nb'[.]$"),
])
def test_wrong_folders(tmp_path, made, sentence):
    if made is not None:
        (tmp_path / 'raw' / made).mkdir(parents=True)
    with pytest.raises(SystemExit, match=sentence):
        oulu.read_set(str(tmp_path / 'raw'), CLASSES)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / 'VL').mkdir()
    (tmp_path / 'VL' / 'Strong').touch()
    with pytest.raises(SystemExit, match='RAW must name a folder that holds VL/Strong'):
        oulu.read_set(str(tmp_path), CLASSES)


def test_two_copies(raw):
    add(raw / 'copy' / 'VL' / 'Strong', 'P001', 'Anger', range(4))
    with pytest.raises(SystemExit,
                       match='holds VL/Strong 2 times, in VL/Strong and copy/VL/Strong: RAW '):
        oulu.read_set(str(raw), CLASSES)


def test_build(tmp_path):
    for person in range(1, 11):
        for number in range(2):
            drawn.write(
                tmp_path / 'raw/OriginalImg/VL/Strong' / f'P{person:03d}' / FOLDERS[person % 6] /
                f'{number:03d}.jpeg',
                drawn.face(person, number)[0])
    build.build(str(tmp_path / 'oulu'), 'oulu', str(tmp_path / 'raw'), frames=1)
    (row,) = table(tmp_path / 'oulu' / 'fold6' / 'test.csv')
    assert row['key'].endswith('_P007_disgust_1') and row['label'] == '1'
    assert row['path'] == 'OriginalImg/VL/Strong/P007/Disgust/001.jpeg'
    assert len(table(tmp_path / 'oulu' / 'fold6' / 'train.csv')) == 9


@pytest.mark.parametrize('rename', [
    lambda number: f'{number:03d}.jpg', lambda number: f'{number:03d}.JPEG',
    lambda number: f'{number}.jpeg', lambda number: f'{number:02d}.JPG'])
def test_frames_by_other_names(raw, rename):
    before, _, report = oulu.read_set(str(raw), CLASSES)
    for path in sorted(raw.glob('VL/Strong/*/*/*.jpeg')):
        path.rename(path.with_name(rename(int(path.stem))))
    rows, _, again = oulu.read_set(str(raw), CLASSES)
    assert again == report and len(rows) == len(before) > 0
    for row, earlier in zip(rows, before):
        for name in ('path', 'reference'):
            folder, frame = os.path.split(earlier[name])
            assert row[name] == os.path.join(folder, rename(int(frame[:3])))
        assert row['frame'] == earlier['frame'] and (raw / row['path']).is_file()


def test_a_frame_that_is_there_twice(raw):
    folder = raw / 'VL/Strong/P001/Anger'
    for path in folder.glob('*.jpeg'):
        path.rename(path.with_suffix('.jpg'))
    (folder / '1.jpg').touch()
    _, _, report = oulu.read_set(str(raw), CLASSES)
    assert ('P001/Anger', 'frame is there twice: 001.jpg, 1.jpg') in report['left_out']
