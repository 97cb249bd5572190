import contextlib
import csv
import functools
import glob
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import caffe
import ckplus_tree
import cv2
import lmdb
import numpy as np
import pytest
from skimage.transform import estimate_transform, warp

from data_prep import account, align, build, datasets, pair_lmdb, pictures, spreadsheet
from data_prep.folds import FOLDS
from data_prep.sets import ckplus
from tools.core import fold_data

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
    return ckplus_tree.make(tmp_path_factory.mktemp('raw'))


@pytest.fixture(scope='module')
def built(raw, tmp_path_factory):
    final = str(tmp_path_factory.mktemp('out') / 'ckplus8')
    build.build(final, 'ckplus8', raw)
    return final


def program(monkeypatch, *arguments):
    """Runs the program in this process: the sentence that it ends with, None where it ends well."""
    monkeypatch.setattr(sys, 'argv', ['build', *map(str, arguments)])
    try:
        build.main()
    except SystemExit as error:
        return error.code


def in_a_child(function):
    """Runs function in a child process, which may be killed: (exit status as in subprocess, what it
    said)."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if not child:
            try:
                function()
                os._exit(0)
            except BaseException as error:
                os.write(said.fileno(), str(error).encode())
                os._exit(1)
        _, status = os.waitpid(child, 0)
        said.seek(0)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return code, said.read().decode()


def table(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def parts(final):
    return [
        os.path.join(final, f'fold{fold}', part)
        for fold in range(FOLDS)
        for part in ('train', 'test')
    ]


def contents(final):
    """Everything in a build that a reader sees: the text files, and a digest of each LMDB's
    records."""
    found = {}
    for folder, _, names in os.walk(final):
        for name in names:
            path = os.path.join(folder, name)
            if name == 'data.mdb':
                with lmdb.open(folder, readonly=True, lock=False) as env, env.begin() as txn:
                    records = repr(list(txn.cursor()))
                found[os.path.relpath(folder, final)] = hashlib.sha256(records.encode()).hexdigest()
            elif name != 'lock.mdb':
                with open(path, encoding='utf-8') as file:
                    found[os.path.relpath(path, final)] = file.read()
    return found


def test_layout(built):
    with open(os.path.join(built, 'classes.txt')) as file:
        assert file.read() == 'anger\ncontempt\ndisgust\nfear\nhappy\nneutral\nsadness\nsurprise\n'
    assert set(os.listdir(built)) == {'account.csv', 'classes.txt', 'folds.csv'
                                      } | {f'fold{fold}'
                                           for fold in range(10)}
    assert sorted(
        os.listdir(f'{built}/fold3')) == ['test.csv', 'test_lmdb', 'train.csv', 'train_lmdb']
    assert os.listdir(os.path.dirname(built)) == ['ckplus8']


def test_no_person_is_in_train_and_test(built):
    fold_of = {row['subject']: int(row['fold']) for row in table(os.path.join(built, 'folds.csv'))}
    everybody = [f'S{person * 7 + 5:03d}' for person in range(11)]
    assert fold_of == {subject: position % 10 for position, subject in enumerate(everybody)}
    tested = []
    for fold in range(FOLDS):
        train, test = (table(os.path.join(built, f'fold{fold}', part + '.csv'))
                       for part in ('train', 'test'))
        held_out = {subject for subject in everybody if fold_of[subject] == fold}
        assert {row['subject'] for row in test} == held_out
        assert {row['subject'] for row in train} == set(everybody) - held_out
        assert len(train) + len(test) == 11 * 2 * 4
        tested += [row['path'] for row in test]
    assert len(tested) == len(set(tested)) == 11 * 2 * 4


def test_order_of_the_records(built):
    for path in parts(built):
        rows = table(path + '.csv')
        for position, row in enumerate(rows):
            assert row['key'] == f'{position:08d}_{row["subject"]}_{row["sequence"]}_{row["frame"]}'
        order = [(row['subject'], row['sequence'], int(row['frame'])) for row in rows]
        assert (order == sorted(order)) == path.endswith('test')
    first = [table(os.path.join(built, f'fold{fold}', 'train.csv')) for fold in range(FOLDS)]
    assert min(len({row['subject'] for row in rows[:20]}) for rows in first) > 5


def test_caffe_reads_what_was_meant(built, raw, tmp_path):
    """Caffe's own Data layer against the CSV's labels, CK+'s own label files, and crops made by
    skimage."""
    folder = os.path.join(built, 'fold4')
    rows = table(os.path.join(folder, 'train.csv'))
    net = tmp_path / 'net.prototxt'
    net.write_text('layer { name: "data" type: "Data" top: "data" top: "label" data_param { '
                   f'source: "{folder}/train_lmdb" batch_size: {len(rows)} backend: LMDB }} }}')
    net = caffe.Net(str(net), caffe.TEST)
    net.forward()
    data, labels = net.blobs['data'].data, net.blobs['label'].data
    assert data.shape == (len(rows), 2, 66, 66)
    with open(os.path.join(built, 'classes.txt')) as file:
        classes = file.read().split()
    assert labels.tolist() == [int(row['label']) for row in rows]
    assert labels.tolist() == [classes.index(row['expression']) for row in rows]
    made, crops = [
        'neutral', 'anger', 'contempt', 'disgust', 'fear', 'happy', 'sadness', 'surprise'
    ], {}
    for pair, row in zip(data, rows):
        sequence = f'{row["subject"]}/{row["sequence"]}'
        if int(row['frame']) == 1:
            assert row['expression'] == 'neutral' and np.array_equal(pair[0], pair[1])
        else:
            with open(f'{raw}/Emotion/{sequence}/{sequence.replace("/", "_")}_00000005_emotion.txt'
                      ) as file:
                assert made[int(float(file.read()))] == row['expression']
        for picture, frame in zip(pair, (int(row['frame']), 1)):
            name = f'{sequence}/{sequence.replace("/", "_")}_{frame:08d}'
            if name not in crops:
                crops[name] = skimage_crop(raw, name)
            assert np.abs(picture - crops[name]).mean() < 2


def skimage_crop(raw, name):
    """The aligned crop by another library: nearly the same, as these pictures are smooth."""
    points = np.loadtxt(f'{raw}/Landmarks/{name}_landmarks.txt')
    five = np.array(
        [points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])
    transform = estimate_transform('similarity', five, align.TARGET)
    image = cv2.imread(f'{raw}/cohn-kanade-images/{name}.png', cv2.IMREAD_GRAYSCALE)
    return warp(image, transform.inverse, output_shape=(66, 66), mode='edge', preserve_range=True)


def test_read_gives_what_the_csv_says(built):
    for path in parts(built):
        records, rows = list(pair_lmdb.read_pairs(path + '_lmdb')), table(path + '.csv')
        assert [record[0] for record in records] == [row['key'] for row in rows]
        assert [record[3] for record in records] == [int(row['label']) for row in rows]
        assert pair_lmdb.count_pairs(path + '_lmdb') == len(rows)
        assert all(picture.shape == (66, 66) and picture.dtype == np.uint8 and picture.std() > 1
                   for record in records for picture in record[1:3])
        by_frame = {key.split('_', 1)[1]: query for key, query, _, _ in records}
        for key, _, reference, _ in records:
            assert np.array_equal(reference,
                                  by_frame[key.split('_', 1)[1].rsplit('_', 1)[0] + '_1'])


def test_the_same_input_gives_the_same_build(built, raw, tmp_path):
    again, other = str(tmp_path / 'a' / 'ckplus8'), str(tmp_path / 'b' / 'ckplus8')
    os.mkdir(os.path.dirname(again))
    os.mkdir(os.path.dirname(other))
    build.build(again, 'ckplus8', raw)
    build.build(other, 'ckplus8', raw, seed=2)
    assert contents(again) == contents(built)
    name = os.path.join('fold0', 'test_lmdb')
    assert contents(other)[name] == contents(built)[name]
    assert contents(other)['fold0/train.csv'] != contents(built)['fold0/train.csv']


def test_the_number_of_workers_changes_nothing(built, raw, tmp_path):
    for processes in (2, 5):
        build.build(str(tmp_path / 'ckplus8'), 'ckplus8', raw, processes=processes)
        assert contents(str(tmp_path / 'ckplus8')) == contents(built)


def test_killed_with_its_workers_and_started_again(built, raw, tmp_path):
    """kill -9 at several moments of a build with two workers: none of them outlives it, nothing of
    it is taken for a build, and the next run gives what an undisturbed one does."""
    command = [
        sys.executable, '-m', 'data_prep.build', '--dataset', 'ckplus8', '--raw', raw, '--out',
        tmp_path, '--workers', '2'
    ]
    for seconds in (0.5, 0.7, 0.9, 1.1):
        with open(tmp_path / 'marker', 'w') as marker:  # held open by every process of the build
            process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, 'PYTHONPATH': '.'},
                                       stdout=marker, stderr=marker, pass_fds=[marker.fileno()])
        time.sleep(seconds)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 5
        while users(tmp_path / 'marker') and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not users(tmp_path / 'marker')
    assert subprocess.run(command, cwd=ROOT, env={**os.environ, 'PYTHONPATH': '.'}).returncode == 0
    assert contents(str(tmp_path / 'ckplus8')) == contents(built)


def users(path):
    """IDs of the processes that have a file open."""
    found = set()
    for link in glob.glob('/proc/[0-9]*/fd/*'):
        with contextlib.suppress(OSError):
            if os.readlink(link) == str(path):
                found.add(link.split('/')[2])
    return found


def test_many_records_fit(tmp_path):
    """More than one transaction, and more than LMDB's default map size of 10 MB."""
    crops = {'a': np.full((66, 66), 7, np.uint8), 'b': np.full((66, 66), 9, np.uint8)}
    rows = [{'subject': 'S1', 'sequence': '1', 'frame': frame, 'expression': 'happy',
             'path': 'a', 'reference': 'b'} for frame in range(2500)]
    pair_lmdb.write_pairs(str(tmp_path / 'train'), rows, ['fear', 'happy'], crops.__getitem__)
    records = list(pair_lmdb.read_pairs(str(tmp_path / 'train_lmdb')))
    assert [int(key.split('_')[3]) for key, _, _, _ in records] == list(range(2500))
    for _, query, reference, label in records:
        assert (query == 7).all() and (reference == 9).all() and label == 1


def test_the_account(raw, tmp_path, monkeypatch, capsys):
    assert program(monkeypatch, '--dataset', 'ckplus7', '--raw', raw, '--out',
                   tmp_path / 'data') is None
    out = capsys.readouterr().out
    for name, number in [('sequences found', 23), ('used', 22), ('unlabelled', 1), ('left out', 0),
                         ('people', 11), ('images', 88), ('pairs', 66), ('anger', 9), ('fear', 12)]:
        assert f' {name} {number} ' in ' '.join(out.split())
    assert out.endswith(f'Written to {tmp_path}/data/ckplus7\n')


@pytest.mark.parametrize('dataset, code, last', [('demo', 0, ''), ('mni', 1, 'DATASET is one of ')])
def test_from_the_command_line(raw, tmp_path, dataset, code, last):
    done = subprocess.run([
        sys.executable, '-m', 'data_prep.build', '--dataset', dataset, '--raw', raw, '--out',
        str(tmp_path)
    ], cwd=ROOT, env={**os.environ, 'PYTHONPATH': '.'}, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True)
    assert done.returncode == code and last in done.stderr and 'Traceback' not in done.stderr
    assert os.path.isdir(tmp_path / dataset) == (code == 0)


@pytest.fixture
def copy(raw, built, tmp_path):
    """A set to spoil, and an earlier complete build."""
    shutil.copytree(built, tmp_path / 'demo')
    return shutil.copytree(raw, tmp_path / 'set')


def test_unreadable_frames_are_left_out_and_named(copy, tmp_path, monkeypatch, capsys):
    def image(sequence, frame):
        name = f'{sequence.replace("/", "_")}_{frame:08d}.png'
        return copy / 'cohn-kanade-images' / sequence / name
    image('S005/001', 5).write_bytes(b'')
    image('S012/001', 4).write_bytes(image('S012/001', 4).read_bytes()[:5000])
    image('S033/002', 1).write_bytes(b'not a picture')
    image('S019/001', 3).unlink()
    image('S019/002', 2).unlink()  # not one of those used
    np.savetxt(str(copy / 'Landmarks/S026/001/S026_001_00000005_landmarks.txt'),
               np.full((68, 2), 5000.0))
    np.savetxt(str(copy / 'Landmarks/S040/002/S040_002_00000001_landmarks.txt'),
               np.full((68, 2), 50.0))
    assert program(monkeypatch, '--dataset', 'demo', '--raw', copy, '--out', tmp_path) is None
    out = capsys.readouterr().out
    for line in [
            'S005/001: image is damaged or not an image: '
            'cohn-kanade-images/S005/001/S005_001_00000005.png',
            'S012/001: image is cut short: cohn-kanade-images/S012/001/S012_001_00000004.png',
            'S033/002: image is damaged or not an image: '
            'cohn-kanade-images/S033/002/S033_002_00000001.png',
            'S019/001: image is missing: frame 3',
            'S026/001: the five points of the face lie outside of the picture: '
            'cohn-kanade-images/S026/001/S026_001_00000005.png',
            'S040/002: the five points of the face coincide: '
            'cohn-kanade-images/S040/002/S040_002_00000001.png'
    ]:
        assert f'left out: {line}\n' in out
    used = {(row['subject'], row['sequence']) for part in ('train', 'test')
            for row in table(tmp_path / 'demo' / 'fold0' / f'{part}.csv')}
    assert len(used) == 16
    assert used.isdisjoint({('S005', '001'), ('S012', '001'), ('S019', '001'), ('S040', '002')})
    assert (
        ' left out 6 image is cut short 1 image is damaged or not an image 2 image is missing 1 '
        'the five points of the face coincide 1 the five points of the face lie outside of the '
        'picture 1 people 11 '
    ) in ' '.join(out.split())
    outcome = {row['sequences']: row for row in table(tmp_path / 'demo' / 'account.csv')}
    assert len(outcome) == 23 and outcome['S005/003']['outcome'] == 'unlabelled'
    assert outcome['S019/001'] == {
        'sequences': 'S019/001', 'outcome': 'left out', 'reason': 'image is missing: frame 3'
    }
    assert sum(row['outcome'] == 'used'
               for row in outcome.values()) == 16 and outcome['S019/002']['outcome'] == 'used'


def test_many_left_out_are_counted():
    text = account.tell_left_out([(f'S{n:03d}/001', 'no images') for n in range(50)])
    assert text.count('\n') == 21 and text.endswith('left out: 30 more, all in account.csv\n')


def spoil_nothing_labelled(copy):
    shutil.rmtree(copy / 'Emotion')
    os.mkdir(copy / 'Emotion')


def spoil_all_images(copy):
    for path in (copy / 'cohn-kanade-images').glob('*/*/*.png'):
        path.write_bytes(b'')


def spoil_layout(copy):
    os.rename(copy / 'Landmarks', copy / 'marks')


def spoil_people(copy):
    for person in range(9, 11):
        shutil.rmtree(copy / 'Emotion' / f'S{person * 7 + 5:03d}')


def spoil_frames(copy):
    for path in [*copy.glob('*images/S068/*/*5.png'), *copy.glob('*images/S075/*/*5.png')]:
        path.unlink()


@pytest.mark.parametrize('spoil, options, sentence', [
    (spoil_nothing_labelled, [], 'can be used: 23 sequences, 23 unlabelled, 0 left out.'),
    (spoil_all_images, [], 'can be used: 23 sequences, 1 unlabelled, 22 left out.'),
    (spoil_layout, [],
     'that holds the folders cohn-kanade-images, Landmarks and Emotion of CK+, and this one holds'),
    (spoil_people, [], '9 people are too few for 10 folds'),
    (spoil_frames, [],
     'left out: S075/002: image is missing: frame 5\n9 people are too few for 10 folds'),
    (None, ['--raw', '/none'], '/none is not a folder: RAW must name one'),
    (None, ['--folds', '/none.csv'], '/none.csv cannot be read as folds'),
    (None, ['--dataset', 'mni'],
     "no data set 'mni': DATASET is one of affectnet, ckplus7, ckplus8, demo, demo_people, "),
    (None, ['--frames', '0'], 'at least 1 frame, a seed'),
    (None, ['--seed', '-1'], 'a seed of 0 or more and'),
    (None, ['--workers', '0'], '1 worker are needed.'),
    (None, ['--frames', '5'], 'left out: S005/001: too few frames: 5, at least 6 needed\n'),
    (None, ['--out', '/proc/none'], '/proc/none/demo was not built: '),
    (None, ['--out', '/dev/null'], '/dev/null/demo was not built: '),
])
def test_bad_input_and_the_earlier_build_stays(copy, tmp_path, monkeypatch, spoil, options,
                                               sentence):
    before = contents(tmp_path / 'demo')
    if spoil:
        spoil(copy)
    said = program(monkeypatch, '--dataset', 'demo', '--raw', copy, '--out', tmp_path, *options)
    assert sentence in said
    assert contents(tmp_path / 'demo') == before
    assert sorted(
        path for path in os.listdir(tmp_path) if not path.startswith('.')) == ['demo', 'set']


def test_a_given_folds_file(raw, tmp_path):
    given = tmp_path / 'theirs.csv'
    lines = [f'S{person * 7 + 5:03d},{9 - person % 10}\n' for person in range(11)]
    given.write_text('subject,fold\n' + ''.join(lines))
    build.build(str(tmp_path / 'demo'), 'demo', raw, folds_file=str(given))
    assert (tmp_path / 'demo' / 'folds.csv').read_text() == given.read_text()
    assert {row['subject']
            for row in table(tmp_path / 'demo' / 'fold9' / 'test.csv')} == {'S005', 'S075'}


def test_raw_data_is_never_replaced(copy, tmp_path, monkeypatch):
    """data/demo given as RAW, or anything that is not a build, stays."""
    os.rename(copy, tmp_path / 'ckplus7')
    for raw in (tmp_path / 'none', tmp_path / 'ckplus7'):
        said = program(monkeypatch, '--dataset', 'ckplus7', '--raw', raw, '--out', tmp_path)
        assert 'holds something else than a build' in said
        (tmp_path / 'ckplus7' / 'fold0').mkdir(exist_ok=True)  # from now on it looks like a build
        (tmp_path / 'ckplus7' / 'fold0' / 'train.csv').write_text('')
    assert len(list((tmp_path / 'ckplus7').glob('cohn-kanade-images/*/*/*.png'))) == 115


def test_a_failure_while_writing_keeps_the_earlier_build(raw, tmp_path, monkeypatch):
    final = str(tmp_path / 'demo')
    build.build(final, 'demo', raw)
    before, write, calls = contents(final), pair_lmdb.write_pairs, []

    def full_disk(*arguments):
        calls.append(1)
        if len(calls) == 7:
            raise lmdb.DiskError('No space left on device')
        write(*arguments)
    monkeypatch.setattr(pair_lmdb, 'write_pairs', full_disk)
    said = program(monkeypatch, '--dataset', 'demo', '--raw', raw, '--out', tmp_path, '--seed', 9,
                   '--workers', 1)
    assert said.endswith('demo was not built: No space left on device.')
    assert contents(final) == before and sorted(os.listdir(tmp_path)) == ['.demo.lock', 'demo']


def test_killed_at_any_moment(raw, tmp_path, monkeypatch):
    """Killed before each of its changes to the disk in turn: what is there is the old or the new
    build, and whole; between the two renames the next run has to put it back first."""
    points = ckplus.read_set(raw, datasets.SEVEN)[1]
    crops = {path: align.crop(pictures.read_grey(raw, path), points[path]) for path in points}
    monkeypatch.setattr(build, 'cropped', lambda *arguments: contextlib.nullcontext(
        (crops.__getitem__, {})))
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)
    final, kept = tmp_path / 'demo', tmp_path / 'kept'
    build.build(str(final), 'demo', raw, seed=2)
    new = contents(final)
    build.build(str(final), 'demo', raw, seed=1)
    old = contents(final)
    shutil.copytree(final, kept)
    outcomes, moment = [], 0
    while not outcomes or outcomes[-1][0]:
        moment += 17 if moment == 6 else 1  # 5 to 24 are the LMDBs, one like the other
        shutil.rmtree(final)
        shutil.copytree(kept, final)
        code, said = in_a_child(functools.partial(deadly_build, str(final), raw, moment))
        assert code in (0, -signal.SIGKILL), said
        if not final.exists():
            build.recover(str(final), *(build.beside(str(final), ending)
                                        for ending in ('partial', 'earlier')))
        found = contents(final)
        assert found in (old, new)
        outcomes.append((code, found == new))
    assert old != new and len(outcomes) > 10 and outcomes[-1] == (0, True)
    assert outcomes == sorted(outcomes, key=lambda outcome: outcome[1])
    assert (-9, False) in outcomes and (-9, True) in outcomes
    assert sorted(os.listdir(tmp_path)) == ['demo', 'kept']


def deadly_build(final, raw, moment):
    """A build that kills itself before its change number `moment` to the disk; removing a folder is
    two."""
    count, rmtree = [], shutil.rmtree

    def deadly(function):
        def call(*arguments, **options):
            count.append(1)
            if len(count) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return call

    def remove(path, **options):
        deadly(rmtree)(os.path.join(path, 'fold0'), ignore_errors=True)
        deadly(rmtree)(path, **options)
    shutil.rmtree, os.rename = remove, deadly(os.rename)
    pair_lmdb.write_pairs = deadly(pair_lmdb.write_pairs)
    build.build(final, 'demo', raw, seed=2)


def test_two_builds_at_once(raw, tmp_path):
    command = [
        sys.executable, '-m', 'data_prep.build', '--dataset', 'demo', '--raw', raw, '--out',
        tmp_path
    ]
    builds = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, 'PYTHONPATH': '.'}) for _ in range(2)
    ]
    assert [process.wait() for process in builds] == [0, 0]
    assert len(table(tmp_path / 'demo' / 'fold0' / 'test.csv')) == 12


def test_interrupt(raw, tmp_path, monkeypatch, capsys):
    """Ctrl-C ends in a sentence, not in a traceback, and leaves nothing half-written."""
    monkeypatch.setattr(pair_lmdb, 'write_pairs',
                        lambda *arguments: os.kill(os.getpid(), signal.SIGINT))
    code = program(monkeypatch, '--dataset', 'demo', '--raw', raw, '--out', tmp_path, '--workers',
                   1)
    said = capsys.readouterr().err.splitlines()[-1]
    assert code == 130 and said.startswith('Interrupted: ')
    assert os.listdir(tmp_path) == ['.demo.lock']


def test_a_missing_lmdb(tmp_path):
    with pytest.raises(SystemExit, match='demo is missing: run `make data` first'):
        pair_lmdb.count_pairs(str(tmp_path / 'demo'))


def test_a_truncated_lmdb(built, tmp_path):
    """In a child process each, as LMDB would be killed by touching a page that is not there."""
    with open(os.path.join(built, 'fold0', 'test_lmdb', 'data.mdb'), 'rb') as file:
        whole = file.read()
    folder = tmp_path / 'test_lmdb'
    folder.mkdir()
    for length in [
            0, 1, 100, 4095, 4096, 4200, 8191, *range(8192, len(whole), 5 * 4096),
            len(whole) - 1
    ]:
        (folder / 'data.mdb').write_bytes(whole[:length])
        for function in (pair_lmdb.count_pairs, lambda path: list(pair_lmdb.read_pairs(path))):
            code, said = in_a_child(functools.partial(function, str(folder)))
            assert (code, length, said[:len(str(folder)) + 13]) == (1, length,
                                                                    f'{folder} is damaged (')
            assert said.endswith('): run `make data` again.')
    (folder / 'data.mdb').write_bytes(whole)
    assert len(list(pair_lmdb.read_pairs(str(folder)))) == pair_lmdb.count_pairs(str(folder)) == 16


@pytest.mark.parametrize('value', [b'', b'\xff\xff\xff', b'\x08\x03'])
def test_a_record_that_is_no_pair(tmp_path, value):
    with lmdb.open(str(tmp_path / 'test_lmdb')) as env, env.begin(write=True) as txn:
        txn.put(b'00000000_S1_1_1', value)
    with pytest.raises(SystemExit, match='is damaged .*run `make data` again'):
        list(pair_lmdb.read_pairs(str(tmp_path / 'test_lmdb')))


def test_every_bit_that_flips_is_told(built, tmp_path):
    """Of each LMDB a checksum is kept, as sha256sum reads it; a bit that LMDB itself would give
    without a word is refused."""
    folder = tmp_path / 'test_lmdb'
    shutil.copytree(os.path.join(built, 'fold0', 'test_lmdb'), folder)
    assert subprocess.run(['sha256sum', '--check', 'data.sha256'], cwd=folder).returncode == 0
    pair_lmdb.verify(str(folder))
    whole = (folder / 'data.mdb').read_bytes()
    silent = 0
    for place in np.random.RandomState(0).randint(0, len(whole), 20):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        (folder / 'data.mdb').write_bytes(flipped)
        with pytest.raises(SystemExit, match='is damaged .its content is not what was built.*make'):
            pair_lmdb.verify(str(folder))
        silent += in_a_child(lambda: list(pair_lmdb.read_pairs(str(folder))))[0] == 0
    assert silent > 0  # these would have given other pictures
    (folder / 'data.mdb').write_bytes(whole[:-4096])
    with pytest.raises(SystemExit, match='is damaged'):
        pair_lmdb.verify(str(folder))
    (folder / 'data.mdb').write_bytes(whole)
    (folder / 'data.sha256').unlink()
    pair_lmdb.verify(str(folder))  # of a build that wrote none
    with pytest.raises(SystemExit, match='is missing: run `make data` first'):
        pair_lmdb.verify(str(tmp_path / 'none'))


def test_cells_of_the_csvs_run_in_no_spreadsheet(tmp_path):
    rows = [{'subject': '=1+1', 'sequence': '@a', 'frame': 1, 'expression': '-', 'path': '+b.png',
             'reference': None}]
    pair_lmdb.write_pairs(str(tmp_path / 'test'), rows, ['-'], lambda _: np.ones((66, 66), 'uint8'))
    (row, ), = [table(tmp_path / 'test.csv')]
    assert [row[name] for name in ('subject', 'sequence', 'expression', 'path')] == [
        "'=1+1", "'@a", "'-", "'+b.png"]
    assert spreadsheet.unquote_row(row)['subject'] == '=1+1'
    splits = [(rows, rows)]
    report = {'unit': 'images', 'unlabelled': ['=x'], 'left_out': [('@y', '-z')]}
    account.write(str(tmp_path / 'account.csv'), rows, splits, report)
    assert [list(row.values()) for row in table(tmp_path / 'account.csv')] == [
        ["'=1+1/@a", 'used', ''], ["'=x", 'unlabelled', ''], ["'@y", 'left out', "'-z"]]


def test_a_bit_that_flipped_is_told_where_a_fold_is_read(built, tmp_path, monkeypatch):
    shutil.copytree(built, tmp_path / 'data' / 'ckplus8')
    monkeypatch.chdir(tmp_path)
    assert fold_data.fingerprint('ckplus8', 3)['n_test'] > 0
    data = tmp_path / 'data' / 'ckplus8' / 'fold3' / 'test_lmdb' / 'data.mdb'
    whole = bytearray(data.read_bytes())
    whole[-3000] ^= 4  # a grey value, which LMDB gives out without a word
    data.write_bytes(whole)
    with pytest.raises(SystemExit, match='fold3/test_lmdb is damaged .* by its checksum'):
        fold_data.fingerprint('ckplus8', 3)
