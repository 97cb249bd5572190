import os
from pathlib import Path

import drawn
import numpy as np
import places
import pytest

from data_prep import datasets, pictures
from data_prep.sets import fer2013

CLASSES, _ = datasets.DATASETS['fer2013']
EIGHT, _ = datasets.DATASETS['ferplus']
SEVEN, _ = datasets.DATASETS['ferplus7']
HEADER = 'emotion,pixels,Usage'
PICTURES = [np.random.RandomState(number).randint(0, 256, (48, 48)) for number in range(8)]


def row(emotion, usage, image=PICTURES[0]):
    """A line of fer2013.csv."""
    return f'{emotion},{" ".join(map(str, np.ravel(image)))},{usage}'


def make(raw, lines, header=HEADER, end='\n'):
    (raw / 'fer2013.csv').write_bytes(end.join([header, *lines, '']).encode('utf-8'))
    return str(raw)


def make_file(raw, images):
    """The path of a fer2013.csv of these images."""
    return make(raw, [row(0, 'Training', image) for image in images]) + '/fer2013.csv'


@pytest.mark.parametrize('header, end', [(HEADER, '\n'), ('\ufeff' + HEADER, '\r\n')])
def test_rows_and_their_pictures(tmp_path, header, end):
    raw = make(tmp_path, [row(3, 'Training', PICTURES[1]), row(0, 'PublicTest', PICTURES[2]), '',
                          row(6, 'PrivateTest', PICTURES[3])], header, end)
    rows, points, report = fer2013.read_set(raw, CLASSES, 3)
    assert rows == [{'subject': number, 'sequence': number, 'frame': 1, 'expression': expression,
                     'path': f'fer2013.csv#{int(number)}', 'reference': None, 'split': split}
                    for number, expression, split in [('00002', 'happy', 'train'),
                                                      ('00005', 'neutral', 'test')]]
    assert points is None
    assert report == {'unit': 'images', 'found': 3, 'unlabelled': [],
                      'left_out': [('fer2013.csv#3', 'validation part (PublicTest)')]}
    for entry, expected in zip(rows, (PICTURES[1], PICTURES[3])):
        image = pictures.read_grey(raw, entry['path'])
        assert image.dtype == np.uint8 and np.array_equal(image, expected)


def test_every_number_of_an_emotion(tmp_path):
    rows, _, _ = fer2013.read_set(make(tmp_path, [row(number, 'Training') for number in range(7)]),
                              CLASSES)
    assert [entry['expression'] for entry in rows] == [
        'anger', 'disgust', 'fear', 'happy', 'sadness', 'surprise', 'neutral'
    ]
    assert [entry['path'] for entry in rows] == [f'fer2013.csv#{line}' for line in range(2, 9)]


def test_pictures_in_any_order(tmp_path):
    """A quote around the pixels, as a program that saved the file again may have put, makes no
    difference."""
    lines = [row(0, 'Training', image) for image in PICTURES]
    lines[4] = lines[4].replace(',', ',"', 1).replace(',Training', '",Training')
    path = make(tmp_path, lines) + '/fer2013.csv'
    for number in [0, 1, 2, 3, 4, 5, 6, 7, 3, 3, 0, 7, 6, 4]:
        image = fer2013.picture(path, number + 2)
        assert image.shape == (48, 48) and np.array_equal(image, PICTURES[number])
        image += 1  # the array is the caller's own


def test_a_file_is_gone_through_once(tmp_path):
    path = make_file(tmp_path, PICTURES[:5])
    before = fer2013.line_starts.cache_info().misses
    for line in (2, 4, 3, 6):
        fer2013.picture(path, line)
    assert fer2013.line_starts.cache_info().misses == before + 1


def test_a_changed_file_is_gone_through_again(tmp_path):
    path = make_file(tmp_path, [PICTURES[1] // 100, PICTURES[2]])
    os.utime(path, ns=(1, 1))  # some file systems count time in steps of milliseconds
    fer2013.picture(path, 3)
    path = make_file(tmp_path, PICTURES[3:5])
    os.utime(path, ns=(2, 2))
    assert np.array_equal(fer2013.picture(path, 3), PICTURES[4])


@pytest.mark.parametrize('name', ['fer2013', 'fer2013_validation'])
def test_a_neutral_picture_is_its_own_reference_and_no_other_has_one(tmp_path, name):
    raw = make(tmp_path, [row(number, 'Training') for number in range(7)])
    rows, _, _ = datasets.load(name, raw, 3, None)
    assert {entry['expression'] for entry in rows} == set(CLASSES)
    for entry in rows:
        neutral = entry['expression'] == 'neutral'
        assert entry['reference'] == (entry['path'] if neutral else None)


@pytest.mark.parametrize('line, reason', [
    (row(7, 'Training'), "label outside the set: '7'"),
    (row('', 'Training'), "label outside the set: ''"),
    (row('3.0', 'PrivateTest'), "label outside the set: '3.0'"),
    (row(0, 'Test'), "Usage outside the set: 'Test'"),
    (row(0, 'Training') + ',1', 'row is damaged: 4 columns, expected 3'),
    ('3', 'row is damaged: 1 columns, expected 3'),
    ('\0\udcff', 'row is damaged: 1 columns, expected 3'),
])
def test_a_bad_row_is_left_out_and_the_rest_goes_on(tmp_path, line, reason):
    raw = make(tmp_path, [row(1, 'Training'), 'LINE', row(2, 'PrivateTest')])
    file = tmp_path / 'fer2013.csv'
    file.write_bytes(file.read_bytes().replace(b'LINE', line.encode('utf-8', 'surrogateescape')))
    rows, _, report = fer2013.read_set(raw, CLASSES)
    assert [(entry['path'], entry['split']) for entry in rows] == [('fer2013.csv#2', 'train'),
                                                                   ('fer2013.csv#4', 'test')]
    assert report['left_out'] == [('fer2013.csv#3', reason)] and report['found'] == 3


def test_a_class_that_is_not_asked_for(tmp_path):
    raw = make(tmp_path, [row(6, 'Training'), row(3, 'Training')])
    rows, _, report = fer2013.read_set(raw, ('anger', 'happy'))
    assert [entry['expression'] for entry in rows] == ['happy']
    assert report['left_out'] == [('fer2013.csv#2', "label outside the set: '6'")]


@pytest.mark.parametrize('line', [
    row(0, 'Training', PICTURES[0].ravel()[1:]),
    row(0, 'Training', [*PICTURES[0].ravel(), 1]),
    row(0, 'Training', [256, *PICTURES[0].ravel()[1:]]),
    row(0, 'Training', [-1, *PICTURES[0].ravel()[1:]]),
    row(0, 'Training', ['1.5', *PICTURES[0].ravel()[1:]]),
    row(0, 'Training', ['x', *PICTURES[0].ravel()[1:]]),
    row(0, 'Training', []),
    '0',
    '',
    row(0, 'Training')[:5000],
])
def test_damaged_pixels(tmp_path, line):
    path = make(tmp_path, [row(0, 'Training'), line,
                           row(0, 'Training', PICTURES[2])]) + '/fer2013.csv'
    with pytest.raises(ValueError, match='^pixels are not 48 x 48 numbers of 0 to 255$'):
        fer2013.picture(path, 3)
    assert np.array_equal(fer2013.picture(path, 4), PICTURES[2])


@pytest.mark.parametrize('line', [0, 1, 3, 10 ** 6])
def test_a_line_that_is_no_picture(tmp_path, line):
    path = make_file(tmp_path, PICTURES[:1])
    with pytest.raises(ValueError,
                       match='^(image cannot be read|pixels are not 48 x 48 numbers of .*)$'):
        fer2013.picture(path, line)


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(ValueError, match='^image cannot be read$'):
        fer2013.picture(str(tmp_path / 'fer2013.csv'), 2)


@pytest.mark.parametrize('header', ['emotion,pixels', 'emotion,Usage,pixels', '', 'x' * 5000])
def test_a_file_without_its_columns(tmp_path, header):
    with pytest.raises(SystemExit,
                       match="csv, line 1: expected emotion,pixels,Usage, got '.{0,60}'[.]$"):
        fer2013.read_set(make(tmp_path, [row(0, 'Training')], header), CLASSES)


@pytest.mark.parametrize('raw', ['nothing', '.'])
def test_a_folder_without_the_file(tmp_path, raw):
    drawn.write(tmp_path / 'train' / 'angry' / '1.jpg', PICTURES[0].astype(np.uint8))
    with pytest.raises(SystemExit, match='RAW must name .* that holds the file fer2013.csv'):
        fer2013.read_set(str(tmp_path / raw), CLASSES)


def test_the_other_file_of_the_contest_and_further_columns(tmp_path):
    raw = make(tmp_path, [row(3, 'Training', PICTURES[1]), row(0, 'PublicTest'),
                          row(6, 'PrivateTest', PICTURES[3])])
    before = fer2013.read_set(raw, CLASSES)
    lines = [line.split(',') for line in (tmp_path / 'fer2013.csv').read_text().splitlines()]
    (tmp_path / 'fer2013.csv').write_text(''.join(f'{",".join(line)},x\n' for line in lines))
    assert fer2013.read_set(raw, CLASSES) == before  # with a further column

    (tmp_path / 'fer2013.csv').unlink()
    (tmp_path / 'icml_face_data.csv').write_text(''.join(
        f'{emotion}, {usage}, {pixels}\n' for emotion, pixels, usage in lines))
    rows, _, report = fer2013.read_set(raw, CLASSES)
    assert len(rows) == 2 and report['found'] == 3
    for entry, earlier, image in zip(rows, before[0], (PICTURES[1], PICTURES[3])):
        assert entry == {**earlier, 'path': earlier['path'].replace('fer2013', 'icml_face_data')}
        assert np.array_equal(pictures.read_grey(raw, entry['path']), image)


PLUS = ['neutral', 'happiness', 'surprise', 'sadness', 'anger', 'disgust', 'fear', 'contempt',
        'unknown', 'NF']


def make_plus(tmp_path, votes, usages=None):
    """A folder with FER2013 and FER+, of these votes a picture."""
    usages = usages or ['Training'] * len(votes)
    lines = [f'{usage},fer{number:07d}.png,{",".join(map(str, own))}'
             for number, (usage, own) in enumerate(zip(usages, votes))]
    header = f'Usage,Image name,{",".join(PLUS)}'
    (tmp_path / 'fer2013new.csv').write_text(''.join(f'{line}\n' for line in (header, *lines)))
    return make(tmp_path, [row(0, usage) for usage in usages])


def test_ferplus_takes_the_majority_of_votes(tmp_path):
    votes = [[10 * (place == column) for column in range(10)] for place in range(10)]
    votes += [[5, 5, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 6, 4, 0, 0, 0, 0, 0, 0],
              [4, 1, 1, 1, 1, 1, 1, 0, 0, 0], [0] * 10]
    usages = ['Training'] * 7 + ['PrivateTest'] * 7
    rows, points, report = fer2013.read_plus(make_plus(tmp_path, votes, usages), EIGHT)
    assert points is None
    assert [(entry['path'], entry['expression'], entry['split']) for entry in rows] == [
        (f'fer2013.csv#{line}', name, 'train' if line < 9 else 'test') for line, name in (
            (2, 'neutral'), (3, 'happy'), (4, 'surprise'), (5, 'sadness'), (6, 'anger'),
            (7, 'disgust'), (8, 'fear'), (9, 'contempt'), (13, 'surprise'))]
    assert report['left_out'] == [
        ('fer2013.csv#10', 'label outside the set: unknown'),
        ('fer2013.csv#11', 'label outside the set: NF'),
        *((f'fer2013.csv#{line}', 'no majority of the votes') for line in (12, 14, 15))]

    seven, _, report = fer2013.read_plus(tmp_path, SEVEN)
    assert seven == [entry for entry in rows if entry['expression'] != 'contempt']
    assert ('fer2013.csv#9', 'label outside the set: contempt') in report['left_out']


def test_ferplus_of_other_pictures_is_refused(tmp_path):
    raw = make_plus(tmp_path, [[9] + [0] * 9] * 3)
    make(tmp_path, [row(0, 'Training'), row(0, 'PrivateTest'), row(0, 'Training')])
    with pytest.raises(SystemExit, match="new.csv, line 3: Usage is 'Training', and 'PrivateTest'"):
        fer2013.read_plus(raw, EIGHT)
    make(tmp_path, [row(0, 'Training')] * 4)
    with pytest.raises(SystemExit, match='fer2013new.csv, line 5: Usage is None, and'):
        fer2013.read_plus(raw, EIGHT)
    (tmp_path / 'fer2013new.csv').unlink()
    with pytest.raises(SystemExit, match='the files fer2013.csv and fer2013new.csv'):
        fer2013.read_plus(raw, EIGHT)


@pytest.mark.parametrize('text, sentence', [
    ('Usage,neutral\n', 'line 1: expected the columns Usage,neutral,happiness'),
    (f'Usage;{";".join(PLUS)}\n', 'line 1: .*separated by semicolons'),
    (f'Usage,{",".join(PLUS)}\nTraining,1,2\n', 'line 2: expected a number of votes in each'),
    (f'Usage,{",".join(PLUS)}\nTraining,{"x," * 9}1\n', 'line 2: expected a number of votes'),
    ('', 'line 1: expected the columns'),
    (f'Usage,{",".join(PLUS)}\nTraining,\0{"1," * 9}1\n',
     'line 2: expected' if places.NUL_IN_CSV else 'cannot be read as votes: line contains'),
])
def test_votes_that_cannot_be_read(tmp_path, text, sentence):
    (tmp_path / 'fer2013new.csv').write_text(text)
    with pytest.raises(SystemExit, match=f'fer2013new.csv,? {sentence}'):
        fer2013.read_plus(make(tmp_path, [row(0, 'Training')]), EIGHT)


def test_ferplus_of_the_real_votes(tmp_path):
    """Every label of the set kept beside the project, against a majority by numpy."""
    path = Path(__file__).parents[2] / 'shared' / 'data' / 'fer2013' / 'fer2013.npz'
    if not path.exists():
        pytest.skip(f'{path} is not there')
    data = dict(np.load(path))
    names, votes = [str(name) for name in data['vote_names']], data['votes'].astype(int)
    lines = [f'{",".join(map(str, own))},Training' for own in votes]
    (tmp_path / 'fer2013new.csv').write_text(''.join(
        f'{line}\n' for line in [f'{",".join(names)},Usage', *lines]))
    raw = make(tmp_path, ['0,1 2,Training'] * len(votes))
    rows, _, report = fer2013.read_plus(raw, EIGHT)
    keep = (votes.max(1) * 2 > votes.sum(1)) & (votes.argmax(1) < names.index('unknown'))
    assert [int(entry['subject']) - 2 for entry in rows] == np.flatnonzero(keep).tolist()
    labels = [fer2013.VOTES[names[winner]] for winner in votes[keep].argmax(1)]
    assert [entry['expression'] for entry in rows] == labels
    assert len(rows) + len(report['left_out']) == len(votes)
