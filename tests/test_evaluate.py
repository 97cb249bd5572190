"""From `caffe train` on S1R1 to scores, pictures and report: scores against those that Caffe's own
test prints."""
import csv
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import caffe
import cv2
import numpy as np
import places
import pytest

from data_prep import pair_lmdb
from tools import evaluate, report
from tools.core import network

CLASSES = ['anger', 'happy', 'surprise']
ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path('runs/demo/s1r1/fold3_seed1')


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder with a data set of soft noise and a run of S1R1 on it, three iterations long."""
    place = tmp_path_factory.mktemp('trained')
    fold = place / 'data/demo/fold3'
    fold.mkdir(parents=True)
    (place / 'data/demo/classes.txt').write_text(''.join(f'{name}\n' for name in CLASSES))
    random = np.random.RandomState(0)
    crops = [
        cv2.GaussianBlur(random.randint(0, 256, (66, 66)).astype(np.uint8), (0, 0), 3)
        for _ in range(14)
    ]
    for part, n in (('train', 12), ('test', 14)):
        rows = [
            dict(subject=f'S{i:03}', sequence='001', frame='7', expression=CLASSES[i % 2], path=i,
                 reference=0) for i in range(n)
        ]
        pair_lmdb.write_pairs(str(fold / part), rows, CLASSES, crops.__getitem__)
    subprocess.run(
        [sys.executable, '-m', 'tools.train', '--fold', '3', '--batch', '6', '--iters', '3'],
        cwd=place, check=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    return place


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """A copy of it as working directory."""
    places.enter_copy(trained, tmp_path, monkeypatch)


def table(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def test_scores_are_those_of_caffes_own_layers(place):
    """Against the training net in its test phase: Caffe's Data, Accuracy and SoftmaxWithLoss.

    Not against the last test in metrics.csv: `caffe train` does one more forward pass between the
    snapshot and that test, which moves batch norm's averages.
    """
    result = evaluate.evaluate(FOLDER)
    net = caffe.Net(str(FOLDER / 'net.prototxt'), str(FOLDER / 'snapshots/s1r1_iter_3.caffemodel'),
                    caffe.TEST)
    # an image each
    passes = [{name: float(value) for name, value in net.forward().items()} for _ in range(14)]
    expected = {name: np.mean([one[name] for one in passes]) for name in ('accuracy', 'loss_cls')}
    rows = table(FOLDER / 'predictions.csv')
    assert result['iterations'] == 3 and result['n'] == 14 and len(net.blobs['label'].data) == 1
    assert result['accuracy'] == pytest.approx(expected['accuracy'], abs=1e-5)
    loss = -np.mean([np.log(float(row[row['truth']])) for row in rows])
    assert loss == pytest.approx(expected['loss_cls'], abs=1e-4)
    assert json.loads((FOLDER / 'result.json').read_text()) == result
    assert [row['subject'] for row in rows] == [f'S{i:03}' for i in range(14)]
    for name in ('faces.png', 'confusion.png', 'curves.png'):
        picture = cv2.imread(str(FOLDER / name))
        assert min(picture.shape[:2]) > 300 and picture.std() > 10


def test_score_of_a_hand_computed_table():
    probabilities = np.eye(3)[[0, 0, 1, 1, 0]]  # predictions
    result = evaluate.score(np.array([0, 0, 0, 1, 1]), probabilities, CLASSES)
    assert result['accuracy'] == pytest.approx(3 / 5)
    assert result['recall'] == {
        'anger': pytest.approx(2 / 3), 'happy': pytest.approx(1 / 2), 'surprise': None
    }
    # over the classes that have images
    assert result['balanced_accuracy'] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_centre_is_a_pixel_in_from_each_side():
    crops = np.random.RandomState(0).randint(0, 256, (2, 66, 66)).astype(np.uint8)
    np.testing.assert_allclose(network.centre(crops)[:, 0] * 255, crops[:, 1:-1, 1:-1], rtol=1e-6)


def test_report_has_the_table_and_every_picture(place, monkeypatch, capsys):
    evaluate.evaluate(FOLDER)
    monkeypatch.setattr(sys, 'argv', ['report'])
    report.main()
    path = Path(re.search(r'report: (.*)', capsys.readouterr().out)[1])
    text = path.read_text()
    accuracy = json.loads((FOLDER / 'result.json').read_text())['accuracy']
    assert f'<td>{100 * accuracy:.1f} %</td>' in text and text.count('data:image/png;base64,') == 3
    assert not re.search(r'(src|href)="(?!data:)', text)  # self-contained


def test_report_has_tables_and_figures_and_of_many_runs_no_pictures(place):
    evaluate.evaluate(FOLDER)
    base = FOLDER.parent.parent
    (base / 'figures').mkdir()
    shutil.copy(FOLDER / 'faces.png', base / 'figures' / 'figure7_faces.png')
    (base / 'tables.md').write_text('| a<b |')
    few, many = report.page([FOLDER]), report.page([FOLDER] * (report.SHOWN + 1))
    for text, pictures in ((few, 4), (many, 1)):
        assert text.count(
            'data:image/png;base64,') == pictures and '| a&lt;b |' in text and 'Figure 7: X' in text
        assert html.escape(json.loads(
            (FOLDER / 'run.json').read_text())['versions']['caffe']) in text
    shutil.rmtree(base / 'figures')
    (base / 'tables.md').unlink()


def refusal(function, *arguments):
    with pytest.raises(SystemExit) as error:
        function(*arguments)
    message = str(error.value)
    assert '\n' not in message
    return message


def test_refusals(place, monkeypatch):
    assert 'data/demo/fold3/test_lmdb is damaged' in refusal_with_damage(
        Path('data/demo/fold3/test_lmdb/data.mdb'))
    assert 'run.json is missing' in refusal(evaluate.evaluate, Path('runs/demo/s1r1/fold4_seed1'))
    for path in (FOLDER / 'snapshots').glob('*_3.*'):
        path.rename(path.with_name('kept' + path.suffix))
    assert 'has no snapshot' in refusal(evaluate.evaluate, FOLDER)
    monkeypatch.setattr(sys, 'argv', ['report', '--dataset', 'ckplus7'])
    assert 'no tested run in runs/ckplus7' in refusal(report.main)


def refusal_with_damage(path):
    """The refusal while half of the file is missing; a result of before stays."""
    evaluate.evaluate(FOLDER)
    before, whole = (FOLDER / 'result.json').read_text(), path.read_bytes()
    path.write_bytes(whole[:len(whole) // 2])
    message = refusal(evaluate.evaluate, FOLDER)
    path.write_bytes(whole)
    assert (FOLDER / 'result.json').read_text() == before
    return message


def rewrite_pairs(part, change, change_reference=lambda picture: picture):
    """Writes a part of the fold again, its pictures and references as the functions give them
    back."""
    path = Path('data/demo/fold3', part)
    records = list(pair_lmdb.read_pairs(f'{path}_lmdb'))
    rows = [{**row, 'path': i, 'reference': -i - 1} for i, row in enumerate(table(f'{path}.csv'))]
    crops = {}
    for i, (_, query, reference, _) in enumerate(records):
        crops[i], crops[-i - 1] = change(query), change_reference(reference)
    shutil.rmtree(f'{path}_lmdb')
    text = Path(f'{path}.csv').read_text()
    pair_lmdb.write_pairs(str(path), rows, CLASSES, crops.__getitem__)
    Path(f'{path}.csv').write_text(text)  # the rows are as they were


@pytest.mark.parametrize('change, names', [
    # a class more, first in the alphabet: every label now means another class
    (lambda: Path('data/demo/classes.txt').write_text('afraid\nanger\nhappy\nsurprise\n'),
     'classes'),
    # somebody else's folds: the people of the test were trained on
    (lambda: [shutil.move(f'data/demo/fold3/{a}', f'data/demo/fold3/{b}') for a, b in (
        ('test.csv', 'x.csv'), ('train.csv', 'test.csv'), ('x.csv', 'train.csv'),
        ('test_lmdb', 'x_lmdb'), ('train_lmdb', 'test_lmdb'), ('x_lmdb', 'train_lmdb'))],
     'n_train, n_test, data, pictures'),
    # the same rows, other pictures
    (lambda: rewrite_pairs('test', lambda picture: picture[::-1].copy()), 'pictures'),
    # the same, other references
    (lambda: rewrite_pairs('train', lambda picture: picture,
                           lambda picture: picture[:, ::-1].copy()), 'pictures'),
])
def test_data_that_are_not_those_of_the_training_are_refused(place, change, names):
    evaluate.evaluate(FOLDER)
    before = (FOLDER / 'result.json').read_bytes()
    change()
    assert ('runs/demo/s1r1/fold3_seed1 was trained on other data than data/demo/fold3 holds now '
            f'({names} changed): ') in refusal(evaluate.evaluate, FOLDER)
    assert (FOLDER / 'result.json').read_bytes() == before


def test_the_same_data_built_again_are_taken(place):
    rewrite_pairs('test', lambda picture: picture)
    assert evaluate.evaluate(FOLDER)['n'] == 14


def test_losses_that_cannot_be_read_are_no_reason_against_a_test(place, capsys):
    (FOLDER / 'metrics.csv').write_text('iteration;loss\n0;1\n')  # saved by a spreadsheet
    (FOLDER / 'curves.png').unlink(missing_ok=True)
    assert evaluate.evaluate(FOLDER)['n'] == 14 and (FOLDER / 'result.json').exists()
    assert 'Without curves.png: ' in capsys.readouterr().err
    assert not (FOLDER / 'curves.png').exists()


def test_an_unfinished_run_is_not_scored(place):
    run = json.loads((FOLDER / 'run.json').read_text())
    (FOLDER / 'run.json').write_text(json.dumps({**run, 'iterations': 10}))
    assert 'stopped at iteration 3 of 10' in refusal(evaluate.evaluate, FOLDER)


def test_a_snapshot_of_another_net_is_refused(place):
    text = (FOLDER / 'deploy.prototxt').read_text()
    (FOLDER / 'deploy.prototxt').write_text(text.replace('num_output: 384', 'num_output: 100'))
    said = refusal(evaluate.evaluate, FOLDER)
    assert 'is of another net: layer fc1_delta is [[384, 6144], [384]], here [[100, 6144]' in said
