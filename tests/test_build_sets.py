"""`make data` as a whole, for sets of single pictures: their own split, references, a disk that is
full or read-only."""
import os
import subprocess

import cv2
import drawn
import numpy as np
import pytest
from test_build import contents, program, table

from data_prep import align, pair_lmdb, pictures, workers

BLANK = np.full((90, 90), 90, np.uint8)


@pytest.fixture
def raw(tmp_path):
    """12 people with a neutral and a happy picture each, and a manifest.csv that lists them."""
    lines = ['path,subject,expression']
    for person in range(1, 13):
        for number, expression in enumerate(('neutral', 'happy')):
            drawn.write(tmp_path / 'raw' / f'p{person}' / f'{expression}.png',
                        drawn.face(person, number)[0])
            lines.append(f'p{person}/{expression}.png,p{person},{expression}')
    return rewrite(tmp_path / 'raw', lines)


def rewrite(raw, lines):
    (raw / 'manifest.csv').write_text(''.join(f'{line}\n' for line in lines))
    return raw


def lines_of(raw):
    return (raw / 'manifest.csv').read_text().splitlines()


def test_a_set_of_any_name(raw, tmp_path, monkeypatch, capsys):
    assert program(monkeypatch, '--dataset', 'my-set.2', '--raw', raw, '--out',
                   tmp_path / 'out') is None
    assert ' images found 24 used 24 ' in ' '.join(capsys.readouterr().out.split())
    built = tmp_path / 'out' / 'my-set.2'
    assert (built / 'classes.txt').read_text() == 'happy\nneutral\n'
    assert len(table(built / 'folds.csv')) == 12 and (built / 'fold9').is_dir()
    # the reference is the person's neutral picture, cropped by the points in the CSV
    points = {row['path']: row for row in table(tmp_path / 'out' / 'my-set.2.points.csv')}
    (_, query, reference, label), *_ = pair_lmdb.read_pairs(str(built / 'fold2' / 'test_lmdb'))
    for crop, name in ((query, 'p3/happy.png'), (reference, 'p3/neutral.png')):
        five = np.array([float(value) for value in list(points[name].values())[2:12]]).reshape(5, 2)
        assert np.array_equal(crop, align.crop(pictures.read_grey(str(raw), name), five))
    assert label == 0


@pytest.mark.parametrize('name', ['../up', 'a b', '', '.hidden'])
def test_a_name_that_is_none(raw, tmp_path, monkeypatch, name):
    assert f'no data set {name!r}' in program(monkeypatch, '--dataset', name, '--raw', raw, '--out',
                                              tmp_path / 'out')


def test_its_own_split(raw, tmp_path, monkeypatch):
    header, *rows = lines_of(raw)
    rewrite(raw,
            [f'{header},split'] + [f'{row},{"test" if "p7" in row else "train"}' for row in rows])
    out = tmp_path / 'out'
    assert program(monkeypatch, '--dataset', 'own', '--raw', raw, '--out', out) is None
    assert sorted(os.listdir(out / 'own')) == ['account.csv', 'classes.txt', 'fold0']
    assert [row['path'] for row in table(out / 'own' / 'fold0' / 'test.csv')] == [
        'p7/happy.png', 'p7/neutral.png'
    ]
    assert len(table(out / 'own' / 'fold0' / 'train.csv')) == 22
    before = contents(str(out / 'own'))
    said = program(monkeypatch, '--dataset', 'own', '--raw', raw, '--out', out, '--folds',
                   'theirs.csv')
    assert 'has its own split into train and test' in said
    rewrite(raw, [f'{header},split'] + [f'{row},train' for row in rows])
    said = program(monkeypatch, '--dataset', 'own', '--raw', raw, '--out', out)
    assert said == 'The split that the set ships leaves no usable image for test.'
    assert contents(str(out / 'own')) == before


def test_a_reference_without_a_face_gives_way(raw, tmp_path, monkeypatch, capsys):
    for name in ('p2/neutral.png', 'p3/neutral.png'):
        drawn.write(raw / name, BLANK)
    drawn.write(raw / 'p3' / 'second.png', drawn.face(3, 5)[0])
    rewrite(raw, lines_of(raw) + ['p3/second.png,p3,neutral'])
    assert program(monkeypatch, '--dataset', 'own', '--raw', raw, '--out', tmp_path / 'out') is None
    out = ' '.join(capsys.readouterr().out.split())
    assert ' left out 2 no face found 2 ' in out
    assert ' references not usable, another or none 3 ' in out
    reference = {}
    for fold in range(10):
        part = str(tmp_path / 'out' / 'own' / f'fold{fold}' / 'test')
        pairs = pair_lmdb.read_pairs(f'{part}_lmdb')
        for row, (_, query, own, _) in zip(table(f'{part}.csv'), pairs):
            reference[row['path']] = own, query
    assert not reference['p2/happy.png'][0].any()
    assert np.array_equal(reference['p3/happy.png'][0], reference['p3/second.png'][1])
    assert np.array_equal(*reference['p3/second.png']) and np.array_equal(
        *reference['p4/neutral.png'])


def test_pictures_that_are_none(raw, tmp_path, monkeypatch, capsys):
    """Zero bytes, text, cut short, a wrong ending: the rest is built."""
    whole = cv2.imencode('.jpg', drawn.face(1)[0])[1].tobytes()
    (raw / 'p1' / 'happy.png').write_bytes(b'')
    (raw / 'p2' / 'happy.png').write_text('text')
    (raw / 'p3' / 'happy.png').write_bytes(whole[:len(whole) // 2])
    (raw / 'p4' / 'happy.png').write_bytes(whole)
    assert program(monkeypatch, '--dataset', 'own', '--raw', raw, '--out', tmp_path / 'out') is None
    out = ' '.join(capsys.readouterr().out.split())
    assert ' used 21 ' in out and ' image is cut short 1 image is damaged or not an image 2 ' in out


def test_nine_people(raw, tmp_path, monkeypatch):
    rewrite(raw, lines_of(raw)[:19])
    said = program(monkeypatch, '--dataset', 'own', '--raw', raw, '--out', tmp_path / 'out')
    assert said.startswith('9 people are too few for 10 folds')


@pytest.mark.parametrize('options, sentence', [('size=300k', 'No space left on device'),
                                               ('ro,size=9m', 'Read-only file system')])
def test_a_full_or_read_only_disk(raw, tmp_path, options, sentence):
    """On a small file system of its own, where that can be mounted: one sentence, and nothing
    half-written."""
    out = tmp_path / 'out'
    out.mkdir()
    command = (
        f'mount -t tmpfs -o {options} tmpfs {out} && '
        f'python3 -m data_prep.build --dataset own --raw {raw} --out {out}; code=$?; '
        f'ls {out}; exit $code'
    )
    if subprocess.run(['unshare', '--mount', 'mount', '-t', 'tmpfs', 'tmpfs', out],
                      capture_output=True).returncode:
        pytest.skip('file systems cannot be mounted here')
    done = subprocess.run(['unshare', '--mount', 'sh', '-c', command], capture_output=True,
                          text=True)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and last.startswith(
        f'{out}/own was not built: ') and sentence in last
    assert 'Traceback' not in done.stderr and set(done.stdout.split()) <= {'own.points.csv'}


def double(number):
    return 2 * number


def fail(number):
    raise OSError('No space left on device')


def end(number):
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize('count', [1, 2, 3])
def test_workers_keep_the_order(count):
    assert list(workers.run(double, list(range(100)), count, chunk=3)) == list(range(0, 200, 2))
    assert list(workers.run(double, [], count)) == []
    with pytest.raises(OSError, match='No space left'):
        list(workers.run(fail, [1, 2], count))


def test_a_worker_that_is_killed():
    with pytest.raises(SystemExit, match='A worker process was ended from outside'):
        list(workers.run(end, [1, 2], 2))
