import os

import ckplus_tree
import numpy as np
import pytest

from data_prep import datasets
from data_prep.sets import ckplus

SEVEN, EIGHT = datasets.SEVEN, datasets.EIGHT


@pytest.fixture
def raw(tmp_path):
    ckplus_tree.add_sequence(str(tmp_path), 'S005', '001', 3, length=11)
    ckplus_tree.add_sequence(str(tmp_path), 'S005', '002', None, length=4)
    ckplus_tree.add_sequence(str(tmp_path), 'S010', '006', 7, length=4)
    return tmp_path


def names(rows):
    return [(row['subject'], row['sequence'], row['frame'], row['expression']) for row in rows]


def edit(raw, part, ending, text):
    """Overwrites the only file of S005/001 in one of the folders that ends so, or removes it."""
    path, = (raw / part / 'S005' / '001').glob(f'*{ending}')
    path.unlink() if text is None else path.write_text(text)


def test_pairs_of_seven_classes(raw):
    rows, points, report = ckplus.read_set(str(raw), SEVEN)
    assert names(rows) == [('S005', '001', 9, 'disgust'), ('S005', '001', 10, 'disgust'),
                           ('S005', '001', 11, 'disgust'), ('S010', '006', 2, 'surprise'),
                           ('S010', '006', 3, 'surprise'), ('S010', '006', 4, 'surprise')]
    assert rows[0]['path'] == 'cohn-kanade-images/S005/001/S005_001_00000009.png'
    assert {row['reference']
            for row in rows} == {
                'cohn-kanade-images/S005/001/S005_001_00000001.png',
                'cohn-kanade-images/S010/006/S010_006_00000001.png'
            }
    assert set(points) == {row[key] for row in rows for key in ('path', 'reference')}
    assert report == {'unit': 'sequences', 'found': 3, 'unlabelled': ['S005/002'], 'left_out': []}


def test_the_eighth_class_is_the_first_frame_with_itself(raw):
    rows, _, _ = ckplus.read_set(str(raw), EIGHT)
    neutral = [row for row in rows if row['expression'] == 'neutral']
    assert names(neutral) == [('S005', '001', 1, 'neutral'), ('S010', '006', 1, 'neutral')]
    assert all(row['path'] == row['reference'] for row in neutral)
    assert [row for row in rows if row not in neutral] == ckplus.read_set(str(raw), SEVEN)[0]


def test_number_of_frames(raw):
    rows, _, report = ckplus.read_set(str(raw), SEVEN, frames=4)
    assert [row['frame'] for row in rows] == [8, 9, 10, 11]
    assert report['left_out'] == [('S010/006', 'too few frames: 4, at least 5 needed')]


def test_all_frames_but_the_first(raw):
    rows, _, report = ckplus.read_set(str(raw), SEVEN, frames=None)
    assert [row['frame'] for row in rows] == [*range(2, 12), 2, 3, 4] and report['left_out'] == []


def test_points_are_those_of_the_landmark_file(raw):
    rows, points, _ = ckplus.read_set(str(raw), SEVEN)
    for name in (rows[-1]['path'], rows[-1]['reference']):
        number = name[-12:-4]
        with open(raw / 'Landmarks/S010/006' / f'S010_006_{number}_landmarks.txt') as file:
            all_points = [[float(value) for value in line.split()] for line in file]
        left = np.mean(all_points[36:42], axis=0)
        assert np.allclose(points[name], [left, np.mean(all_points[42:48], axis=0),
                                          all_points[30], all_points[48], all_points[54]])


@pytest.mark.parametrize('number, name', enumerate(
    ['neutral', 'anger', 'contempt', 'disgust', 'fear', 'happy', 'sadness', 'surprise']))
def test_label_numbers(raw, number, name):
    edit(raw, 'Emotion', '_emotion.txt', f'   {number}.0000000e+00\n')
    rows, _, _ = ckplus.read_set(str(raw), EIGHT)
    assert {row['expression']
            for row in rows
            if row['subject'] == 'S005' and row['frame'] > 1} == {name}


@pytest.mark.parametrize('part, ending, text, reason', [
    ('Emotion', '', '   8.0000000e+00\n', 'not 0..7'),
    ('Emotion', '', '   -1\n', 'not 0..7'),
    ('Emotion', '', '   3.5\n', 'not 0..7'),
    ('Emotion', '', 'nan', 'not 0..7'),
    ('Emotion', '', '', 'emotion is no number: '),
    ('Emotion', '', 'happy', 'emotion is no number: '),
    ('Emotion', '', '   0.0000000e+00\n', 'label outside the set: neutral'),
    ('Emotion', '', '\u20ac', 'file cannot be read: '),
    ('cohn-kanade-images', '_00000001.png', None, 'image is missing: frame 1'),
    ('cohn-kanade-images', '_00000010.png', None, 'image is missing: frame 10'),
    ('cohn-kanade-images', '_00000011.png', None, 'image is missing: frame 11'),
    ('Landmarks', '_00000001_landmarks.txt', None, 'landmarks are missing: frame 1'),
    ('Landmarks', '_00000011_landmarks.txt', None, 'landmarks are missing: frame 11'),
    ('Landmarks', '_00000009_landmarks.txt', '1 2\n' * 67,
     '09_landmarks.txt has 67 points, expected 68'),
    ('Landmarks', '_00000009_landmarks.txt', '', 'has 0 points'),
    ('Landmarks', '_00000009_landmarks.txt', '1 2\n' * 30 + '1 x\n' + '1 2\n' * 37,
     "line 31: expected x y, got '1 x'"),
    ('Landmarks', '_00000009_landmarks.txt', '1 2\n' * 67 + '1 2 3\n', 'line 68: expected x y'),
    ('Landmarks', '_00000009_landmarks.txt', '1 2\n' * 67 + '1 nan\n', 'line 68: '),
])
def test_a_labelled_sequence_that_cannot_be_used_is_named(raw, part, ending, text, reason):
    edit(raw, part, ending, text)
    rows, points, report = ckplus.read_set(str(raw), SEVEN)
    (sequence, why), = report['left_out']
    assert sequence == 'S005/001' and reason in why
    assert {row['subject']
            for row in rows} == {'S010'} and not any('S005' in path for path in points)
    assert report['found'] == 3 and report['unlabelled'] == ['S005/002']


def test_a_frame_that_is_not_used_may_be_missing(raw):
    edit(raw, 'cohn-kanade-images', '_00000005.png', None)
    edit(raw, 'Landmarks', '_00000006_landmarks.txt', 'x')
    assert ckplus.read_set(str(raw), SEVEN)[2]['left_out'] == []


def test_a_labelled_sequence_without_images(raw):
    for path in (raw / 'cohn-kanade-images' / 'S005' / '001').iterdir():
        path.unlink()
    (raw / 'cohn-kanade-images' / 'S005' / '001').rmdir()
    report = ckplus.read_set(str(raw), SEVEN)[2]
    assert report == {'unit': 'sequences', 'found': 3, 'unlabelled': ['S005/002'],
                      'left_out': [('S005/001', 'no images')]}


def test_two_emotion_files(raw):
    (raw / 'Emotion' / 'S005' / '001' / 'S005_001_00000010_emotion.txt').write_text('3')
    left_out = ckplus.read_set(str(raw), SEVEN)[2]['left_out']
    assert left_out == [('S005/001', 'several emotion files: 2')]


def test_litter_is_passed_over(raw):
    before = ckplus.read_set(str(raw), SEVEN)
    for folder in ('cohn-kanade-images', 'cohn-kanade-images/S005', 'Emotion/S005/001',
                   'Landmarks/S005/001'):
        (raw / folder / '.DS_Store').write_text('')
        (raw / folder / 'S005_001_00000099.txt').write_text('')
    os.makedirs(raw / 'Emotion' / 'notes' / '001')
    after = ckplus.read_set(str(raw), SEVEN)
    assert before[0] == after[0] and before[2] == after[2]


def test_a_wrong_folder_says_what_was_expected_and_found(tmp_path):
    (tmp_path / 'Emotion').mkdir()
    (tmp_path / 'photos').mkdir()
    with pytest.raises(SystemExit) as error:
        ckplus.read_set(str(tmp_path), SEVEN)
    sentence = str(error.value)
    assert 'holds the folders cohn-kanade-images, Landmarks and Emotion' in sentence
    assert "'Emotion', 'photos'" in sentence
    with pytest.raises(SystemExit, match='is not a folder'):
        ckplus.read_set(str(tmp_path / 'none'), SEVEN)


def test_unknown_data_set_lists_those_that_exist():
    with pytest.raises(
            SystemExit,
            match="no data set 'mni'.*ckplus7, ckplus8, demo, .*"
            'RAW=folder that holds a manifest.csv'
    ):
        datasets.get('mni', '.')


def test_classes_are_alphabetical():
    number = dict(affectnet=8, ckplus7=7, ckplus8=8, demo=7, fer2013=7, ferplus=8, ferplus7=7,
                  mmi=6, oulu=6, rafdb=7, sfew=7)
    for name in datasets.DATASETS:
        classes, _ = datasets.get(name, '.')
        if name in number:
            assert list(classes) == sorted(set(classes)) and len(classes) == number[name]
        else:
            assert classes is None and datasets.of_people(name) == (name != 'manifest')


@pytest.mark.parametrize('inner', [True, False])
def test_each_archive_in_a_folder_of_its_own_name(tmp_path, inner):
    raw = tmp_path / 'set'
    ckplus_tree.make(raw)
    before = ckplus.read_set(str(raw), SEVEN)
    for part, archive in [('cohn-kanade-images', 'extended-cohn-kanade-images'),
                          ('Emotion', 'Emotion_labels')]:
        (raw / part).rename(raw / 'inner')
        (raw / archive).mkdir()
        (raw / 'inner').rename(raw / archive / (part if inner else ''))
    rows, points, report = ckplus.read_set(str(raw), SEVEN)
    above = 'extended-cohn-kanade-images' + '/cohn-kanade-images' * inner
    assert report == before[2] and len(rows) == len(before[0]) > 0
    assert [row['path'] for row in rows] == [
        row['path'].replace('cohn-kanade-images', above) for row in before[0]]


@pytest.mark.parametrize('ending', ['.PNG', '.jpg', '.JPEG'])
def test_frames_with_other_endings_and_nested_folders(tmp_path, ending):
    raw = tmp_path / 'set'
    ckplus_tree.make(raw)
    before = ckplus.read_set(str(raw), SEVEN)
    for path in raw.glob('cohn-kanade-images/*/*/*.png'):
        path.rename(path.with_suffix(ending))
    for part in ('Landmarks', 'Emotion'):
        (raw / part).rename(raw / 'inner')
        (raw / part).mkdir()
        (raw / 'inner').rename(raw / part / part)
    rows, points, report = ckplus.read_set(str(raw), SEVEN)
    assert report == before[2] and len(rows) == len(before[0]) > 0
    for row, earlier in zip(rows, before[0]):
        assert row == {**earlier, **{name: earlier[name][:-4] + ending
                                     for name in ('path', 'reference')}}
        assert (points[row['path']] == before[1][earlier['path']]).all()
