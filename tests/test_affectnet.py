import csv
import os

import drawn
import numpy as np
import places
import pytest

from data_prep import align, datasets, pictures
from data_prep.sets import affectnet

EIGHT, _ = datasets.DATASETS['affectnet']
HEADER = (
    'subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,'
    'valence,arousal')
LISTS, IMAGES = 'Manually_Annotated_file_lists', 'Manually_Annotated_Images'


def landmarks(points):
    """68 points as the set writes them, of which the five are `points`: an eye is a ring around its
    centre."""
    all_68 = np.full((68, 2), 7.0)
    ring = np.array([[-6, 0], [-3, -2], [3, -2], [6, 0], [3, 2], [-3, 2]])
    all_68[36:42], all_68[42:48] = points[0] + ring, points[1] + ring
    all_68[30], all_68[48], all_68[54] = points[2:]
    return ';'.join(f'{number:.2f}' for number in all_68.ravel())


def row(path, expression, points):
    """A line of a list."""
    return f'{path},10,20,100,100,{points},{expression},-0.1,0.25'


FACE, POINTS = drawn.face(1)
GOOD = landmarks(POINTS)


def make(raw, training, validation, header='', lists=LISTS, images=IMAGES, missing=()):
    """A set of these lines, with a picture for every line whose path is good."""
    for name, head, lines in [('training.csv', HEADER + '\n', training),
                              ('validation.csv', header, validation)]:
        (raw / lists).mkdir(parents=True, exist_ok=True)
        (raw / lists / name).write_bytes(
            (head + ''.join(line + '\n' for line in lines)).encode('utf-8'))
        for path, *_ in csv.reader(line.replace('\0', '') for line in lines):
            if path.count(
                    '/') == 1 and path[0] != '.' and path not in missing and path.isprintable():
                drawn.write(raw / images / path, FACE)
    return str(raw)


@pytest.mark.parametrize('header', ['', HEADER + '\n', '\ufeff' + HEADER + '\r\n'])
@pytest.mark.parametrize('lists, images', [(LISTS, IMAGES), ('', IMAGES),
                                           ('', 'Manually_Annotated/' + IMAGES)])
def test_rows_of_both_lists(tmp_path, header, lists, images):
    raw = make(tmp_path,
               [row('689/b2.jpg', 0, GOOD),
                row('1/b10.png', 7, GOOD),
                row('1/c.jpg', 9, GOOD)],
               [row('22/é a.jpg', 1, GOOD),
                row('22/d.jpg', 10, 'NULL'),
                row('22/e.jpg', 8, GOOD)], header, lists, images)
    rows, points, report = affectnet.read_set(raw, EIGHT, 3)
    assert report == {
        'unit': 'images', 'found': 6, 'unlabelled': ['22/d.jpg', '22/e.jpg', '1/c.jpg'],
        'left_out': []
    }
    assert rows == [{'subject': stem, 'sequence': stem, 'frame': 1, 'expression': expression,
                     'path': f'{images}/{path}', 'reference': None, 'split': split}
                    for stem, expression, path, split in [('b10', 'contempt', '1/b10.png', 'train'),
                                                          ('b2', 'neutral', '689/b2.jpg', 'train'),
                                                          ('é a', 'happy', '22/é a.jpg', 'test')]]
    assert set(points) == {entry['path'] for entry in rows}
    for five in points.values():
        assert five.shape == (5, 2) and np.abs(five - POINTS).max() < 0.01
    crop = align.crop(pictures.read_grey(raw, rows[0]['path']), points[rows[0]['path']])
    assert np.abs(crop.astype(float) - align.crop(FACE, POINTS)).mean() < 1


def test_every_number_of_an_expression(tmp_path):
    raw = make(tmp_path, [row(f'1/{number:02d}.jpg', number, GOOD) for number in range(11)], [],
               header=HEADER + '\n')
    rows, _, report = affectnet.read_set(raw, EIGHT)
    assert [(entry['subject'], entry['expression']) for entry in rows] == [
        ('00', 'neutral'), ('01', 'happy'), ('02', 'sadness'), ('03', 'surprise'), ('04', 'fear'),
        ('05', 'disgust'), ('06', 'anger'), ('07', 'contempt')]
    assert report['unlabelled'] == ['1/08.jpg', '1/09.jpg', '1/10.jpg'] and report['found'] == 11


def test_columns_by_name(tmp_path):
    raw = make(tmp_path, [], [row('1/a.jpg', 3, GOOD)])
    (tmp_path / LISTS / 'training.csv').write_text(
        f'expression,extra,facial_landmarks,subDirectory_filePath\n6,x,{GOOD},1/b.jpg\n')
    drawn.write(tmp_path / IMAGES / '1' / 'b.jpg', FACE)
    rows, points, _ = affectnet.read_set(raw, EIGHT)
    assert [(entry['path'], entry['expression'], entry['split']) for entry in rows] == [
        (f'{IMAGES}/1/a.jpg', 'surprise', 'test'), (f'{IMAGES}/1/b.jpg', 'anger', 'train')]
    assert np.abs(points[f'{IMAGES}/1/b.jpg'] - POINTS).max() < 0.01


BAD = [
    (row('1/x.jpg', 1,
         GOOD.rsplit(';',
                     2)[0]), '1/x.jpg', 'landmarks damaged: 134 numbers, expected 136 finite ones'),
    (row('1/x.jpg', 1,
         GOOD + ';1;2'), '1/x.jpg', 'landmarks damaged: 138 numbers, expected 136 finite ones'),
    (row('1/x.jpg', 1, 'NULL'), '1/x.jpg', "landmarks damaged: 'NULL'"),
    (row('1/x.jpg', 1,
         'nan' + GOOD[4:]), '1/x.jpg', 'landmarks damaged: 136 numbers, expected 136 finite ones'),
    (row('1/x.jpg', 11, GOOD), '1/x.jpg', "label outside the set: '11'"),
    (row('1/x.jpg', -1, GOOD), '1/x.jpg', "label outside the set: '-1'"),
    (row('1/x.jpg', 'happy', GOOD), '1/x.jpg', "label outside the set: 'happy'"),
    (row('1/x.jpg', '', GOOD), '1/x.jpg', "label outside the set: ''"),
    ('1/x.jpg,1,2', '1/x.jpg', "label outside the set: ''"),
    (row('../x.jpg', 1, GOOD), '../x.jpg', 'path leaves the folder of the images: ../x.jpg'),
    (row('1/../../x.jpg', 1,
         GOOD), '1/../../x.jpg', 'path leaves the folder of the images: 1/../../x.jpg'),
    (row('/etc/hostname', 1,
         GOOD), '/etc/hostname', 'path leaves the folder of the images: /etc/hostname'),
    (row('1/none.jpg', 1, GOOD), '1/none.jpg', f'image is missing: {IMAGES}/1/none.jpg'),
    (row('1', 1, GOOD), '1', f'image is missing: {IMAGES}/1'),
    (row('', 1, GOOD), 'training.csv', 'row is damaged: no path'),
    (row('1/a\u2028.jpg', 1, GOOD), '1/a\\u2028.jpg',
     'the name holds characters that cannot be printed: 1/a\\u2028.jpg'),
    (row('1/x\0.jpg', 1, GOOD), '1/x\\x00.jpg',
     'the name holds characters that cannot be printed: 1/x\\x00.jpg') if places.NUL_IN_CSV else
    (row('1/x\0.jpg', 1, GOOD), 'training.csv', 'row is damaged: no path'),
    (row('1/before.jpg', 2,
         GOOD), '1/before.jpg', f'image is listed before: {IMAGES}/1/before.jpg'),
    (row('1/held_out.jpg', 2,
         GOOD), '1/held_out.jpg', f'image is listed before: {IMAGES}/9/held_out.jpg'),
]


@pytest.mark.parametrize('line, name, reason', BAD, ids=[reason[:30] for _, _, reason in BAD])
def test_a_bad_row_is_left_out_and_the_rest_goes_on(tmp_path, line, name, reason):
    drawn.write(tmp_path / 'x.jpg', FACE)
    raw = make(tmp_path, [row('1/before.jpg', 1, GOOD), line, row('1/z.jpg', 5, GOOD)],
               [row('9/held_out.jpg', 4, GOOD)], missing=['1/none.jpg'])
    rows, _, report = affectnet.read_set(raw, EIGHT)
    assert [(entry['subject'], entry['expression'], entry['split']) for entry in rows] == [
        ('before', 'happy', 'train'), ('held_out', 'fear', 'test'), ('z', 'disgust', 'train')]
    assert report['left_out'] == [(name, f'{reason} in training.csv, line 3')
                                  ] and report['found'] == 4


def test_a_class_that_is_not_asked_for(tmp_path):
    raw = make(tmp_path, [row('1/a.jpg', 7, GOOD), row('1/b.jpg', 6, GOOD)], [], HEADER + '\n')
    rows, _, report = affectnet.read_set(raw, ('anger', 'happy'))
    assert [entry['subject'] for entry in rows] == ['b']
    assert report['left_out'] == [('1/a.jpg', "label outside the set: '7' in training.csv, line 2")]


@pytest.mark.parametrize('file, text, sentence', [
    ('training.csv', HEADER.replace('expression', 'emotion') + '\n',
     'training.csv, line 1: expected the columns '),
    ('validation.csv', '1/a.jpg,1,2\n',
     "validation.csv, line 1: expected the columns .*, got '1/a.jpg,1,2.n'[.]$"),
    ('validation.csv', 'x' * 200000, "validation.csv, line 1: .* got 'x{120}'[.]$"),
    ('validation.csv', '', "validation.csv, line 1: .* got ''[.]$"),
    ('validation.csv', HEADER[:30] + '\0' + HEADER[30:] + '\n',
     'validation.csv, line 1: expected the columns '),
    ('training.csv', None, 'is not laid out as expected: RAW must name '),
    ('validation.csv', None, 'is not laid out as expected: RAW must name '),
])
def test_a_list_without_its_columns(tmp_path, file, text, sentence):
    raw = make(tmp_path, [row('1/a.jpg', 1, GOOD)], [row('1/b.jpg', 1, GOOD)])
    if text is None:
        os.remove(tmp_path / LISTS / file)
    else:
        (tmp_path / LISTS / file).write_text(text)
    with pytest.raises(SystemExit, match=sentence) as error:
        affectnet.read_set(raw, EIGHT)
    assert str(error.value).endswith('.') and '\n' not in str(error.value)


@pytest.mark.parametrize('raw', ['nothing', '.'])
def test_a_folder_that_is_not_affectnet(tmp_path, raw):
    (tmp_path / 'notes').mkdir()
    with pytest.raises(SystemExit,
                       match='holds validation.csv, training.csv and Manually_Annotated_Images'):
        affectnet.read_set(str(tmp_path / raw), EIGHT)


@pytest.mark.parametrize('folder', ['Manually_Annotated', 'Manually_Annotated_compressed'])
def test_the_pictures_in_a_folder_of_their_own(tmp_path, folder):
    raw = make(tmp_path, [row('1/a.jpg', 1, GOOD)], [row('1/b.jpg', 1, GOOD)])
    before = [pair['path'] for pair in affectnet.read_set(raw, EIGHT)[0]]
    (tmp_path / folder).mkdir()
    (tmp_path / 'Manually_Annotated_Images').rename(
        tmp_path / folder / 'Manually_Annotated_Images')
    after = [pair['path'] for pair in affectnet.read_set(raw, EIGHT)[0]]
    assert after == [f'{folder}/{path}' for path in before] and len(after) == 2


def make_parts(raw, part, number, expression, points):
    """A picture of the set as it is shipped since 2021."""
    drawn.write(raw / part / 'images' / f'{number}.jpg', FACE)
    folder = raw / part / 'annotations'
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f'{number}_exp.npy', np.array(expression))
    np.save(folder / f'{number}_lnd.npy', np.array(points.split(';'), float))


def test_the_set_since_2021(tmp_path):
    for part, number, expression in [('train_set', 0, '1'), ('train_set', 10, 7),
                                     ('train_set', 2, 0.0), ('val_set', 0, '5'),
                                     ('val_set', 3, '10')]:
        make_parts(tmp_path, part, number, expression, GOOD)
    rows, points, report = affectnet.read_set(str(tmp_path), EIGHT)
    assert [(row['subject'], row['expression'], row['split'], row['path']) for row in rows] == [
        ('train_set-0', 'happy', 'train', 'train_set/images/0.jpg'),
        ('train_set-10', 'contempt', 'train', 'train_set/images/10.jpg'),
        ('train_set-2', 'neutral', 'train', 'train_set/images/2.jpg'),
        ('val_set-0', 'disgust', 'test', 'val_set/images/0.jpg')]
    assert report == {'unit': 'images', 'found': 5, 'unlabelled': ['val_set/images/3.jpg'],
                      'left_out': []}
    assert set(points) == {row['path'] for row in rows}
    for five in points.values():
        assert np.allclose(five, POINTS, atol=0.01) and five.dtype == np.float32


def test_annotations_that_cannot_be_used(tmp_path):
    for number in range(7):
        make_parts(tmp_path, 'train_set', number, '1', GOOD)
    make_parts(tmp_path, 'val_set', 0, '1', GOOD)
    folder = tmp_path / 'train_set' / 'annotations'
    (folder / '1_exp.npy').unlink()
    (folder / '2_exp.npy').write_bytes(b'')
    np.save(folder / '3_exp.npy', np.array([{'a': 1}], object))
    np.save(folder / '4_exp.npy', np.array('11'))
    np.save(folder / '5_lnd.npy', np.arange(4.0))
    np.save(folder / '6_exp.npy', np.array('happy'))
    rows, _, report = affectnet.read_set(str(tmp_path), EIGHT)
    assert [row['path'] for row in rows] == ['train_set/images/0.jpg', 'val_set/images/0.jpg']
    assert dict(report['left_out']) == {
        'train_set/images/1.jpg': 'annotation is missing: 1_exp.npy',
        'train_set/images/2.jpg': 'annotation damaged: 2_exp.npy cannot be read',
        'train_set/images/3.jpg': 'annotation damaged: 3_exp.npy cannot be read',
        'train_set/images/4.jpg': "label outside the set: '11'",
        'train_set/images/5.jpg': 'landmarks damaged: 4 numbers, expected 136 finite ones',
        'train_set/images/6.jpg': "annotation damaged: 6_exp.npy holds 'happy'"}
