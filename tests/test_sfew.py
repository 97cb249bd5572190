import os

import drawn
import pytest
from test_build import table

from data_prep import build
from data_prep.sets import sfew

CLASSES = ('anger', 'disgust', 'fear', 'happy', 'neutral', 'sadness', 'surprise')
FOLDERS = ('Angry', 'Disgust', 'Fear', 'Happy', 'Neutral', 'Sad', 'Surprise')
NAMES = [f'21_00101016{number}_00000010.png' for number in range(7)]  # a name for each folder


def add(place, folder, *names):
    """Pictures of a class; empty files, as the loader opens none."""
    (place / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (place / folder / name).touch()


def make(raw, train, val):
    """A picture a class in Train, two of them in Val as well."""
    for folder, name in zip(FOLDERS, NAMES):
        add(raw / train, folder, name)
    add(raw / val, 'Angry', NAMES[0])  # the same picture as in Train
    add(raw / val, 'Sad', 'Airheads_000519240_00000005.png')


@pytest.fixture
def raw(tmp_path):
    make(tmp_path, 'Train', 'Val')
    add(tmp_path, 'Test', 'Hidden_000000000_00000001.png')
    return tmp_path


def test_an_ending_in_capitals_counts(raw):
    add(raw / 'Train', 'Happy', 'Airheads_000519240_00000007.PNG')
    rows, _, report = sfew.read_set(str(raw), CLASSES)
    assert any(row['path'].endswith('7.PNG') and row['subject'] == 'Airheads_000519240_00000007'
               for row in rows)


def test_rows(raw):
    rows, points, report = sfew.read_set(str(raw), CLASSES)
    stems = [name[:-4] for name in NAMES]
    assert [(row['subject'], row['sequence'], row['split'], row['expression']) for row in rows] == [
        ('Airheads_000519240_00000005', 'Val_Sad', 'test', 'sadness'),
        (stems[0], 'Train_Angry', 'train', 'anger'),
        (stems[0], 'Val_Angry', 'test', 'anger'),
        (stems[1], 'Train_Disgust', 'train', 'disgust'),
        (stems[2], 'Train_Fear', 'train', 'fear'),
        (stems[3], 'Train_Happy', 'train', 'happy'),
        (stems[4], 'Train_Neutral', 'train', 'neutral'),
        (stems[5], 'Train_Sad', 'train', 'sadness'),
        (stems[6], 'Train_Surprise', 'train', 'surprise')]
    assert rows[2]['path'] == f'Val/Angry/{NAMES[0]}'
    assert all(row['frame'] == 1 and row['reference'] is None for row in rows) and points is None
    assert report == {'unit': 'images', 'found': 9, 'unlabelled': [], 'left_out': [],
                      'note': 'Read: whole frames, in Train and Val.'}
    assert sfew.read_set(str(raw), CLASSES, None)[0] == rows
    assert sfew.read_set(str(raw), CLASSES, 5)[0] == rows


@pytest.mark.parametrize('train, val, version', [
    ('Train/Train', 'Val/Val', 'whole frames'),
    ('Train', 'Val/Val', 'whole frames'),
    ('Train_Aligned_Faces', 'Val_Aligned_Faces_new', 'aligned faces'),
    ('Train/Train_Aligned_Faces', 'Val/Val_Aligned_Faces', 'aligned faces'),
    ('Train/Train_Aligned_Faces', 'Val/Val_Aligned_Faces_new/Val_Aligned_Faces', 'aligned faces'),
    ('Train_Aligned_Faces/Train_Aligned_Faces', 'Val_Aligned_Faces_new/Val_Aligned_Faces',
     'aligned faces'),
])
def test_places(tmp_path, train, val, version):
    raw = tmp_path / 'SFEW [2] ü'
    make(raw, train, val)
    rows, _, report = sfew.read_set(str(raw), CLASSES)
    assert len(rows) == 9 and {row['split']
                               for row in rows
                               if row['path'].startswith('Val')} == {'test'}
    assert rows[0]['path'] == f'{val}/Sad/Airheads_000519240_00000005.png'
    assert all(os.path.isfile(raw / row['path']) for row in rows)
    assert report['note'] == f'Read: {version}, in {train} and {val}.'


def test_aligned_faces_are_preferred_where_both_parts_have_them(raw):
    add(raw / 'Train' / 'Train_Aligned_Faces', 'Angry', NAMES[0])
    (raw / 'Val' / 'Val_Aligned_Faces').mkdir()
    (raw / 'Val' / 'Val_Aligned_Faces_new.zip').touch()
    rows, _, report = sfew.read_set(str(raw), CLASSES)
    assert len(rows) == 9 and 'whole frames' in report['note'] and report['left_out'] == []
    add(raw / 'Val' / 'Val_Aligned_Faces', 'Angry', NAMES[0])
    rows, _, report = sfew.read_set(str(raw), CLASSES)
    assert [row['path'] for row in rows] == [f'Train/Train_Aligned_Faces/Angry/{NAMES[0]}',
                                             f'Val/Val_Aligned_Faces/Angry/{NAMES[0]}']


def test_pictures_left_out(raw):
    add(raw / 'Val', 'Contempt', 'a.png', 'b.png')
    add(raw / 'Train', 'Happy', 'two\nlines.png')
    rows, _, report = sfew.read_set(str(raw), CLASSES)
    assert len(rows) == 9 and report['found'] == 12
    assert report['left_out'] == [
        ('Train/Happy/two\\nlines.png', 'the name holds characters that cannot be printed'),
        ('Val/Contempt/a.png', 'label outside the set: Contempt'),
        ('Val/Contempt/b.png', 'label outside the set: Contempt')]
    left_out = sfew.read_set(str(raw), CLASSES[1:])[2]['left_out']
    assert (f'Val/Angry/{NAMES[0]}',
            'label outside the set: Angry') in left_out and len(left_out) == 5


def test_litter_is_passed_over(raw):
    before = sfew.read_set(str(raw), CLASSES)
    add(raw / 'Train', '.hidden', 'a.png')
    add(raw / 'Train', 'Happy', '._a.png', 'Thumbs.db', NAMES[3].replace('png', 'jpg'))
    add(raw / 'Train' / 'Happy', 'folder.png', 'a.png')
    (raw / 'Train' / 'readme.png').touch()
    assert sfew.read_set(str(raw), CLASSES) == before


@pytest.mark.parametrize('made, sentence', [
    (None,
     'is not a folder: RAW must name one that holds Train and Val of SFEW 2.0, or Train_Aligned_'),
    (['Train/Angry'], "Disgust and so on in each, and this one holds 'Train'[.]$"),
    (['Train/pictures', 'Val/Angry'], "and this one holds 'Train', 'Val'[.]$"),
    (['Train_Aligned_Faces/Angry', 'Val/Angry'
      ], "and this one holds 'Train_Aligned_Faces', 'Val'[.]$"),
    (['Train/Angry', 'Train/Train/Angry', 'Val/Angry'],
     'holds the whole frames of Train 2 times, in Train and Train/Train: leave one of them '
     'there[.]$'),
    (['Train_Aligned_Faces/Angry', 'Val_Aligned_Faces/Angry', 'Val/Val_Aligned_Faces_new/Angry'],
     'holds the aligned faces of Val 2 times, in Val_Aligned_Faces and '
     'Val/Val_Aligned_Faces_new: leave '
     ),
])
def test_wrong_folders(tmp_path, made, sentence):
    for folder in made or []:
        (tmp_path / 'raw' / folder).mkdir(parents=True)
    with pytest.raises(SystemExit, match=sentence):
        sfew.read_set(str(tmp_path / 'raw'), CLASSES)


def test_build(tmp_path):
    for number, folder in enumerate(('Angry', 'Sad', 'Contempt')):
        drawn.write(tmp_path / 'raw' / 'Train' / folder / f'{number}.png', drawn.face(number)[0])
        drawn.write(tmp_path / 'raw' / 'Val' / folder / f'{number}.png', drawn.face(number)[0])
    account = build.build(str(tmp_path / 'sfew'), 'sfew', str(tmp_path / 'raw'))
    assert 'Read: whole frames, in Train and Val.\n' in account
    assert 'left out: Val/Contempt/2.png: label outside the set: Contempt\n' in account
    for part, name in ('train', 'Train'), ('test', 'Val'):
        rows = sorted(table(tmp_path / 'sfew' / 'fold0' / f'{part}.csv'),
                      key=lambda row: row['subject'])
        assert [(row['key'][9:], row['label']) for row in rows] == [(f'0_{name}_Angry_1', '0'),
                                                                    (f'1_{name}_Sad_1', '5')]
