import os
import shutil

import drawn
import numpy as np
import pytest
from test_build import contents, program, table

from data_prep import align, build, detect, pair_lmdb, pictures
from data_prep.sets import webface

PICTURES = {'10': 12, '9': 3, 'Zoë B': 2, 'single': 1, 'faceless': 2}


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
    """Five people, some of whose pictures cannot be used, and litter."""
    raw = tmp_path_factory.mktemp('faces')
    for person, (name, count) in enumerate(PICTURES.items()):
        for number in range(1, count + 1):
            image, _ = drawn.face(person, number)
            ending = '.PNG' if name == '9' else '.jpg'
            drawn.write(raw / name / f'{number}{ending}', image)
    drawn.write(raw / 'faceless' / '2.jpg', np.full((100, 100), 90, np.uint8))
    (raw / '10' / '13.jpeg').write_bytes(b'no picture')
    drawn.write(raw / '10' / '9.png', drawn.face(0, 99)[0])  # a name's stem twice
    for litter in ('readme.txt', 'loose.jpg', '10/notes.txt', '10/._1.jpg', '.hidden/1.jpg',
                   '10/deep/1.jpg'):
        (raw / litter).parent.mkdir(exist_ok=True)
        shutil.copy(str(raw / '9' / '1.PNG'), str(raw / litter))
    os.mkdir(raw / 'empty')
    return raw


@pytest.fixture(scope='module')
def built(raw, tmp_path_factory):
    final = tmp_path_factory.mktemp('data') / 'webface'
    build.build(str(final), 'webface', str(raw))
    return final


def test_rows(raw):
    rows, points, report = webface.read_set(str(raw))
    found = [row['path'] for row in rows]
    assert found[-17:-11] == ['9/1.PNG', '9/2.PNG', '9/3.PNG', '10/1.jpg', '10/2.jpg', '10/3.jpg']
    assert len(set(found)) == len(found) == report['found'] == sum(PICTURES.values()) + 2
    assert points is None and report['left_out'] == []
    assert report['note'] == "Not looked into: 1 folder in persons' folders, the first 10/deep."
    assert all(row['subject'] == row['expression'] == os.path.dirname(row['path']) for row in rows)
    assert all(row['reference'] == row['path'] for row in rows)
    assert len({(row['subject'], row['sequence']) for row in rows}) == len(rows)


def test_layout(built):
    assert sorted(os.listdir(built)) == ['account.csv', 'classes.txt', 'fold0']
    assert sorted(os.listdir(built.parent)) == ['webface', 'webface.points.csv']
    assert (built / 'classes.txt').read_text(encoding='utf-8') == 'Zoë B\n9\n10\n'


def test_each_person_is_in_both_parts_with_other_pictures(built):
    train, test = (table(built / 'fold0' / f'{part}.csv') for part in ('train', 'test'))
    assert [row['path'] for row in test] == ['Zoë B/2.jpg', '9/3.PNG', '10/9.png']
    expected = {f'10/{number}.jpg'
                for number in range(1, 13)} | {'9/1.PNG', '9/2.PNG', 'Zoë B/1.jpg'}
    assert {row['path'] for row in train} == expected and len(train) == len(expected)
    label = {'Zoë B': 0, '9': 1, '10': 2}
    assert all(int(row['label']) == label[row['subject']] for row in train + test)


def test_crops_are_those_of_the_drawn_points(built):
    for part in ('train', 'test'):
        rows = table(built / 'fold0' / f'{part}.csv')
        records = list(pair_lmdb.read_pairs(str(built / 'fold0' / f'{part}_lmdb')))
        assert len(records) == len(rows)
        for row, (key, query, reference, label) in zip(rows, records):
            assert key == row['key'] and label == int(row['label']) and np.array_equal(
                query, reference)
            number = 99 if row['path'] == '10/9.png' else int(row['sequence'].split('.')[0])
            person = list(PICTURES).index(row['subject'])
            own, other = (np.abs(query - align.crop(*drawn.face(who, number)).astype(float)).mean()
                          for who in (person, person + 1))
            assert own < 14 and own < other


def test_left_out(raw, tmp_path, monkeypatch, capsys):
    assert program(monkeypatch, '--dataset', 'webface', '--raw', raw, '--out', tmp_path) is None
    out = capsys.readouterr().out
    for line in ['10/13.jpeg: image is damaged or not an image',
                 'faceless/2.jpg: no face found',
                 'single: one usable picture, at least 2 needed',
                 'faceless: one usable picture, at least 2 needed']:
        assert f'left out: {line}\n' in out
    for name, number in [('images found', 22), ('used', 18), ('left out', 4), ('people', 3),
                         ('pairs', 18)]:
        assert f' {name} {number} ' in ' '.join(out.split())
    assert ' 10 ' not in out  # thousands of people are not listed


def test_a_second_build_detects_nothing(raw, built, tmp_path, monkeypatch):
    shutil.copy(str(built.parent / 'webface.points.csv'), str(tmp_path))
    monkeypatch.setattr(detect, 'detector', None)
    build.build(str(tmp_path / 'webface'), 'webface', str(raw))
    assert contents(tmp_path / 'webface') == contents(built)
    # rows corrected by hand: points of the face that was not found, and other points for one that
    # was
    cache = tmp_path / 'webface.points.csv'
    lines = cache.read_text(encoding='utf-8').splitlines()
    points = ','.join(str(number) for number in (align.TARGET + 17).ravel())
    for at, line in enumerate(lines):
        path, length, *_, faces = line.split(',')
        if path in ('faceless/2.jpg', '9/3.PNG'):
            lines[at] = f'{path},{length},{points},{faces}'
    cache.write_text('\n'.join(lines) + '\n', encoding='utf-8')
    build.build(str(tmp_path / 'webface'), 'webface', str(raw))
    assert (tmp_path / 'webface' /
            'classes.txt').read_text(encoding='utf-8') == 'Zoë B\nfaceless\n9\n10\n'
    tested = list(pair_lmdb.read_pairs(str(tmp_path / 'webface' / 'fold0' / 'test_lmdb')))
    (_, faceless, _, _), (_, corrected, _, _) = tested[1:3]
    assert (faceless == 90).all()
    expected = pictures.read_grey(str(raw), '9/3.PNG')[17:17 + 66, 17:17 + 66]
    assert np.abs(corrected.astype(float) - expected).mean() < 3


def test_corrected_points_outside_of_the_picture(raw, built, tmp_path):
    shutil.copy(str(built.parent / 'webface.points.csv'), str(tmp_path))
    cache = tmp_path / 'webface.points.csv'
    with open(str(cache), 'a', encoding='utf-8') as file:
        file.write(f'Zoë B/1.jpg,{pictures.content(str(raw), "Zoë B/1.jpg")},{"-5," * 10}1\n')
    account = build.build(str(tmp_path / 'webface'), 'webface', str(raw))
    assert 'Zoë B/1.jpg: the five points of the face lie outside of the picture\n' in account
    assert 'left out: Zoë B: one usable picture, at least 2 needed\n' in account


def test_names_that_cannot_be_printed(tmp_path):
    for name in (b'two\nlines', b'\xff\xfe', b'fine'):
        folder = os.path.join(os.fsencode(str(tmp_path)), name)
        os.mkdir(folder)
        open(os.path.join(folder, b'1.jpg'), 'w').close()
    rows, _, report = webface.read_set(str(tmp_path))
    assert [row['path'] for row in rows] == ['fine/1.jpg'] and report['found'] == 3
    assert sorted(
        name for name, _ in report['left_out']) == ['\\udcff\\udcfe/1.jpg', 'two\\nlines/1.jpg']


@pytest.mark.parametrize('people, options, sentence', [
    (None, [],
     'is not a folder: RAW must name one that holds a folder of pictures (.jpg, .png, .heic '
     'or another of 20 endings) for each person.'),
    ([], [], 'and this one holds nothing.'),
    (['9', '10'], ['--folds', 'folds.csv'
                   ], 'webface is split within each person: SPLIT is not for it.'),
    (['9', 'single'], [], 'left out: single: one usable picture, at least 2 needed\n'
     'Fewer than two people have two usable pictures each: nobody can be told apart.'),
])
def test_bad_input_and_the_earlier_build_stays(raw, built, tmp_path, monkeypatch, people, options,
                                               sentence):
    shutil.copytree(str(built), str(tmp_path / 'webface'))
    shutil.copy(str(built.parent / 'webface.points.csv'), str(tmp_path))
    if people is not None:
        (tmp_path / 'raw').mkdir()
        for person in people:
            shutil.copytree(str(raw / person), str(tmp_path / 'raw' / person))
    said = program(monkeypatch, '--dataset', 'webface', '--raw', tmp_path / 'raw', '--out',
                   tmp_path, *options)
    assert sentence in said
    assert contents(tmp_path / 'webface') == contents(built)


def test_pictures_without_a_person_say_what_was_expected(raw, tmp_path):
    shutil.copytree(str(raw), str(tmp_path / 'WebFace' / 'inner'))
    (tmp_path / 'WebFace' / 'inner' / 'loose.jpg').unlink()
    with pytest.raises(SystemExit,
                       match="RAW must name a folder .*, and this one holds 'inner'[.]$"):
        webface.read_set(str(tmp_path / 'WebFace'))
