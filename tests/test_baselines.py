"""The classical baselines: features against scikit-image called by hand, the choice of C against a
loop, a set that any classifier can tell apart."""
import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage.feature import hog, local_binary_pattern
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from data_prep import pair_lmdb
from tests import drawn
from tools import baselines, report
from tools.core import network, predictions

CLASSES = ['anger', 'happy', 'surprise']


def stripes(label, random):
    """A crop with stripes across, down or aslant, and noise."""
    y, x = np.mgrid[:66, :66]
    wave = np.sin([y, x, 0.7 * (x + y)][label] * 0.8 + random.uniform(0, 6))
    return (128 + 60 * wave + random.normal(0, 10, wave.shape)).astype(np.uint8)


def build(people, classes=CLASSES, images=2, seed=0):
    """Writes fold 3 of data/demo: the last two people are its test, their expressions in random
    order."""
    random = np.random.RandomState(seed)
    fold = Path('data/demo/fold3')
    fold.mkdir(parents=True)
    Path('data/demo/classes.txt').write_text(''.join(f'{name}\n' for name in CLASSES))
    rows = [
        dict(subject=f'S{person:03}', sequence=f'{label:03}', frame=str(image),
             expression=classes[label], reference=None)
        for person in range(people)
        for image in range(images)
        for label in random.permutation(len(classes))
    ]
    crops = {i: stripes(CLASSES.index(row['expression']), random) for i, row in enumerate(rows)}
    rows = [{**row, 'path': i} for i, row in enumerate(rows)]
    tested = 2 * len(classes) * images
    pair_lmdb.write_pairs(str(fold / 'train'), rows[:-tested], CLASSES, crops.__getitem__)
    pair_lmdb.write_pairs(str(fold / 'test'), rows[-tested:], CLASSES, crops.__getitem__)
    return fold


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return build(people=6)


@pytest.fixture(scope='module')
def crop():
    return drawn.face(1)[0][90:156, 70:136]


def test_hog_features_are_those_of_skimage(crop):
    features = baselines.hog_features(network.centre(crop[None])[0, 0])
    expected = hog(crop[1:-1, 1:-1] / 255, 9, (8, 8), (2, 2), 'L2-Hys', feature_vector=False)
    assert expected.shape == (7, 7, 2, 2, 9)
    np.testing.assert_allclose(features, expected.ravel(), atol=1e-6)


def test_lbp_features_are_a_histogram_a_cell(crop):
    features = baselines.lbp_features(network.centre(crop[None])[0, 0]).reshape(8, 8, 59)
    codes = local_binary_pattern(crop[1:-1, 1:-1], 8, 2, method='nri_uniform')
    assert len(np.unique(codes)) > 40
    for i, j in np.ndindex(8, 8):
        cell = codes[8 * i:8 * i + 8, 8 * j:8 * j + 8]
        expected, _ = np.histogram(cell, np.arange(60) - 0.5)
        np.testing.assert_allclose(features[i, j], expected / 64)


def test_lbp_of_even_grey_is_that_of_whole_numbers():
    """Divided by 255, equal neighbours are not always equal after interpolation."""
    even = np.zeros((64, 64), np.uint8)
    even[20:32, 20:32] = 97
    expected = baselines.lbp_features((even / 255).astype(np.float32))
    for grey in range(1, 256):
        np.testing.assert_array_equal(baselines.lbp_features((even == 97) * (grey / 255)), expected)


def test_cost_is_chosen_over_people_who_are_left_out_whole():
    """On features that tell people apart better than expressions, against a loop over thirds of
    people."""
    random = np.random.RandomState(0)
    people = np.repeat(np.arange(9), 12)
    labels = random.randint(0, 3, 108)
    habit = random.randint(0, 3, 9)  # what each person shows most, a cue that fails on others
    labels = np.where(random.rand(108) < 0.7, habit[people], labels)
    features = np.hstack(
        [np.eye(9)[people] * 3,
         np.eye(3)[labels] + random.normal(0, 0.8, (108, 3))])
    model = baselines.fit(features, labels, people)
    splits = [set(people[test]) for _, test in model.cv.split(features, labels, people)]
    assert set.union(*splits) == set(people) and sum(map(len, splits)) == 9
    for cost, found in zip(baselines.COSTS, model.cv_results_['mean_test_score']):
        scores = []
        for split in splits:
            test = np.isin(people, list(split))
            scaler = StandardScaler().fit(features[~test])
            svm = LinearSVC(C=cost, random_state=1).fit(scaler.transform(features[~test]),
                                                        labels[~test])
            scores.append(np.mean(svm.predict(scaler.transform(features[test])) == labels[test]))
        assert found == pytest.approx(np.mean(scores))
    best = model.cv_results_['mean_test_score'].argmax()
    assert model.best_params_ == {'linearsvc__C': baselines.COSTS[best]}


def test_probabilities_keep_the_order_of_the_decision_function():
    random = np.random.RandomState(0)
    labels = np.repeat([0, 2, 3], 12)  # class 1 is not in training
    features = np.eye(4)[labels] + random.normal(0, 0.5, (36, 4))
    model = baselines.fit(features, labels, np.tile(np.arange(6), 6))
    found = baselines.probabilities(model, features, 4)
    margins = model.decision_function(features)
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_array_equal(found[:, 1], 0)
    np.testing.assert_allclose(np.log(found[:, 2] / found[:, 0]), margins[:, 1] - margins[:, 0])
    np.testing.assert_array_equal(found.argmax(1), model.predict(features))


def test_probabilities_of_two_classes():
    random = np.random.RandomState(0)
    labels = np.repeat([0, 2], 18)  # class 1 is not in training
    features = np.eye(3)[labels] + random.normal(0, 0.5, (36, 3))
    model = baselines.fit(features, labels, np.tile(np.arange(6), 6))
    found = baselines.probabilities(model, features, 3)
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_array_equal(found[:, 1], 0)
    np.testing.assert_array_equal(found.argmax(1), model.predict(features))


def test_a_separable_set_from_the_data_to_the_results(place, monkeypatch, capsys):
    baselines.main(['--folds', '3'])
    assert 'runs/demo: 2 runs made, 0 were there.' in capsys.readouterr().out
    with open(place / 'test.csv', newline='') as file:
        expected = [(row['subject'], row['sequence'], row['frame'], row['expression'])
                    for row in csv.DictReader(file)]
    assert len(expected) == 12 and len({row[3] for row in expected[:3]}) > 1
    for name in ('hog', 'lbp'):
        folder = Path('runs/demo', name, 'fold3_seed1')
        result = json.loads((folder / 'result.json').read_text())
        assert (result['accuracy'], result['n'], result['iterations'],
                result['variant']) == (1, 12, 0, name)
        assert result['data'] == json.loads((folder / 'run.json').read_text())['data']
        assert result['C'] in baselines.COSTS
        with open(folder / 'predictions.csv', newline='') as file:
            rows = list(csv.DictReader(file))
        assert [(row['subject'], row['sequence'], row['frame'], row['truth'])
                for row in rows] == expected
        assert all(row['predicted'] == row['truth'] for row in rows)
    found = predictions.read_results('runs/demo/results.csv')
    assert sorted(set(found['variant'])) == ['hog', 'lbp'] and len(found['truth']) == 24
    monkeypatch.setattr(sys, 'argv', ['report'])
    report.main()  # takes them too


def test_what_is_done_is_passed_over_until_the_data_change(place, capsys):
    baselines.main(['--folds', '3'])
    folder = Path('runs/demo/hog/fold3_seed1')
    before = (folder / 'result.json').stat().st_mtime_ns
    # a damaged one is made again
    (Path('runs/demo/lbp/fold3_seed1') / 'result.json').write_text('{')
    baselines.main([])
    assert 'runs/demo: 1 runs made, 1 were there.' in capsys.readouterr().out
    assert (folder / 'result.json').stat().st_mtime_ns == before
    place.rename('old')
    build(people=7)
    baselines.main(['--folds', '3'])
    assert 'runs/demo: 2 runs made, 0 were there.' in capsys.readouterr().out


def refusal(*arguments):
    with pytest.raises(SystemExit) as error:
        baselines.main(list(arguments))
    message = str(error.value)
    assert '\n' not in message and message.endswith('.')
    return message


def test_refusals(place):
    assert 'run `make data DATASET=ck`' in refusal('--dataset', 'ck')
    assert 'The classes of demo_people are people' in refusal('--dataset', 'demo_people')
    assert 'data/demo has no fold 4' in refusal('--folds', '4')
    assert 'run `make data DATASET=ckplus7`' in refusal('--dataset', 'ckplus7')
    place.rename('whole')
    build(people=4)
    assert 'fold3/train.csv has 2 people and 3 expressions' in refusal('--folds', '3')
    Path('data/demo/fold3').rename('small')
    build(people=6, classes=CLASSES[:1])
    assert 'has 4 people and 1 expressions' in refusal('--folds', '3')
    text = (place / 'train.csv').read_text().splitlines(keepends=True)
    (place / 'train.csv').write_text(''.join(text[:-1]))
    assert 'train.csv and train_lmdb hold different rows' in refusal('--folds', '3')
    assert not Path('runs/demo/hog').exists()
