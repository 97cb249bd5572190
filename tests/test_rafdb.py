import os

import drawn
import pytest
from test_build import table

from data_prep import build
from data_prep.sets import rafdb

CLASSES = ('anger', 'disgust', 'fear', 'happy', 'neutral', 'sadness', 'surprise')
LIST = 'EmoLabel/list_patition_label.txt'
LINES = ['train_00001.jpg 5', 'train_00002.jpg 1', 'train_00010.jpg 2', 'train_00003.jpg 3',
         'test_0001.jpg 4', 'test_0002.jpg 6', 'test_0003.jpg 7']


def make(folder, lines, pictures):
    """The basic set in `folder`; its pictures are empty files, as the loader opens none."""
    (folder / 'EmoLabel').mkdir(parents=True)
    (folder / LIST).write_text(''.join(f'{line}\n' for line in lines))
    (folder / 'Image' / 'aligned').mkdir(parents=True)
    for name in pictures:
        (folder / 'Image' / 'aligned' / f'{name}_aligned.jpg').touch()


@pytest.fixture
def raw(tmp_path):
    make(tmp_path / 'RAF ü', LINES, [line.split('.')[0] for line in LINES])
    return tmp_path / 'RAF ü'


def edit(raw, *lines):
    """Puts these lines after the seven of the list, from line 8."""
    (raw / LIST).write_text('\n'.join([*LINES, *lines]), encoding='utf-8')


def test_rows(raw):
    rows, points, report = rafdb.read_set(str(raw), CLASSES)
    assert [(row['subject'], row['expression'], row['split'])
            for row in rows] == [('test_0001', 'happy', 'test'), ('test_0002', 'anger', 'test'),
                                 ('test_0003', 'neutral', 'test'),
                                 ('train_00001', 'sadness', 'train'),
                                 ('train_00002', 'surprise', 'train'),
                                 ('train_00003', 'disgust', 'train'),
                                 ('train_00010', 'fear', 'train')]
    assert rows[3] == {
        'subject': 'train_00001', 'sequence': 'aligned', 'frame': 1, 'expression': 'sadness',
        'path': 'Image/aligned/train_00001_aligned.jpg', 'reference': None, 'split': 'train'
    }
    assert points is None
    assert report == {'unit': 'images', 'found': 7, 'unlabelled': [], 'left_out': []}
    assert rafdb.read_set(str(raw), CLASSES, None)[0] == rows
    assert rafdb.read_set(str(raw), CLASSES, 5)[0] == rows


def test_raw_may_hold_the_folder_basic(raw, tmp_path):
    (tmp_path / 'whole').mkdir()
    raw.rename(tmp_path / 'whole' / 'basic')
    make(tmp_path / 'whole' / 'compound', ['train_0001.jpg 11'], ['train_0001'])
    rows, _, report = rafdb.read_set(str(tmp_path / 'whole'), CLASSES)
    assert rows[0]['path'] == 'basic/Image/aligned/test_0001_aligned.jpg'
    assert len(rows) == report['found'] == 7


@pytest.mark.parametrize('line, reason', [
    ('train_00001.jpg 5', 'listed before: train_00001.jpg, in line 1'),
    ('train_00001.jpg 4', 'listed before: train_00001.jpg, in line 1'),
    ('train_00004.jpg 0', 'label outside the set: 0 of train_00004.jpg'),
    ('train_00004.jpg 8', 'label outside the set: 8 of train_00004.jpg'),
    ('train_00004.jpg 05', 'label outside the set: 05 of train_00004.jpg'),
    ('train_00009.jpg 5', 'image is missing: Image/aligned/train_00009_aligned.jpg'),
    ('train_00004.jpg', "not a picture and its label: 'train_00004.jpg'"),
    ('train_00004.jpg -1', "not a picture and its label: 'train_00004.jpg -1'"),
    ('train_00004.jpg 5 5', "not a picture and its label: 'train_00004.jpg 5 5'"),
    ('train_00004.png 5', "not a picture and its label: 'train_00004.png 5'"),
    ('train_00004_jpg 5', "not a picture and its label: 'train_00004_jpg 5'"),
    ('val_00004.jpg 5', "not a picture and its label: 'val_00004.jpg 5'"),
    ('../train_00004.jpg 5', "not a picture and its label: '../train_00004.jpg 5'"),
    ('train_00004.jpg\x07 ü', "not a picture and its label: 'train_00004.jpg\\x07 ü'"),
    ('train_00004.jpg ٥', "not a picture and its label: 'train_00004.jpg ٥'"),
])
def test_a_line_that_cannot_be_used_is_named(raw, line, reason):
    (raw / 'Image' / 'aligned' / 'train_00004_aligned.jpg').touch()
    edit(raw, '', line)
    rows, _, report = rafdb.read_set(str(raw), CLASSES)
    assert report['left_out'] == [(f'{LIST}, line 9', reason)]
    assert len({row['subject'] for row in rows}) == len(rows)
    assert report['found'] == len(rows) + len(report['left_out']) + len(report['unlabelled'])


def test_a_label_that_is_no_class_of_ours(raw):
    rows, _, report = rafdb.read_set(str(raw), CLASSES[1:])
    assert len(rows) == 6 and report['found'] == 7 and report['unlabelled'] == []
    assert report['left_out'] == [(f'{LIST}, line 6', 'label outside the set: 6 of test_0002.jpg')]


def test_pictures_without_a_line_are_unlabelled(raw):
    for name in ('train_00011_aligned.jpg', 'two\nlines.jpg', '._test_0001_aligned.jpg',
                 'Thumbs.db'):
        (raw / 'Image' / 'aligned' / name).touch()
    rows, _, report = rafdb.read_set(str(raw), CLASSES)
    assert len(rows) == 7 and report['found'] == 9 and report['left_out'] == []
    assert report['unlabelled'] == ['train_00011_aligned.jpg', 'two\\nlines.jpg']


def test_line_endings_byte_order_mark_and_bytes_that_are_no_text(raw):
    (raw / LIST
     ).write_bytes(b'\xef\xbb\xbftrain_00001.jpg 5\r\ntrain_\xff.jpg 5\r\ntrain_00002.jpg\t1 \r\n')
    rows, _, report = rafdb.read_set(str(raw), CLASSES)
    assert [row['expression'] for row in rows] == ['sadness', 'surprise']
    assert report['left_out'] == [(f'{LIST}, line 2',
                                   r"not a picture and its label: 'train_\\xff.jpg 5'")]
    assert report['found'] == 8 and len(report['unlabelled']) == 5


def test_wrong_folders(raw, tmp_path):
    (raw / 'Image' / 'aligned').rename(raw / 'Image' / 'original')
    with pytest.raises(SystemExit, match="and this one holds 'EmoLabel', 'Image'[.]$"):
        rafdb.read_set(str(raw), CLASSES)
    (raw / 'Image' / 'original').rename(raw / 'Image' / 'aligned')
    (raw / 'EmoLabel').rename(raw / 'labels')
    with pytest.raises(SystemExit, match="with both, and this one holds 'Image', 'labels'[.]$"):
        rafdb.read_set(str(raw), CLASSES)
    with pytest.raises(SystemExit,
                       match=f'is not a folder: RAW must name one that holds {LIST} and Image/'):
        rafdb.read_set(str(tmp_path / 'none'), CLASSES)


def test_the_compound_set_is_refused(raw):
    edit(raw, *(f'train_0001{label}.jpg {label}' for label in (8, 9, 10)))
    assert len(rafdb.read_set(str(raw), CLASSES)[0]) == 7
    edit(raw, *(f'train_0001{label}.jpg {label}' for label in (8, 9, 10, 11)))
    with pytest.raises(SystemExit,
                       match=f'{LIST} has the labels 8 to 11 of the compound set: RAW must'):
        rafdb.read_set(str(raw), CLASSES)


def test_build(raw, tmp_path):
    for number, line in enumerate(LINES[:-1]):
        name = line.replace('.', ' ').split()[0]
        drawn.write(raw / 'Image' / 'aligned' / f'{name}_aligned.jpg', drawn.face(number)[0])
    # the last picture is an empty file
    account = build.build(str(tmp_path / 'rafdb'), 'rafdb', str(raw))
    assert 'test_0003/aligned' in account and sorted(os.listdir(tmp_path / 'rafdb'))[-1] == 'fold0'
    train, test = (table(tmp_path / 'rafdb' / 'fold0' / f'{part}.csv')
                   for part in ('train', 'test'))
    assert {row['subject']: row['expression']
            for row in train} == {
                'train_00001': 'sadness', 'train_00002': 'surprise', 'train_00003': 'disgust',
                'train_00010': 'fear'
            }
    assert [(row['key'][9:], row['label']) for row in test] == [('test_0001_aligned_1', '3'),
                                                                ('test_0002_aligned_1', '0')]


def test_a_list_of_the_aligned_names(raw):
    before = rafdb.read_set(str(raw), CLASSES)
    (raw / LIST).write_text((raw / LIST).read_text().replace('.jpg', '_aligned.jpg'))
    assert rafdb.read_set(str(raw), CLASSES) == before
