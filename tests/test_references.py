"""What is measured of generated references, against loops over hand-made faces and Caffe, face by
face."""
import csv
import json
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import test_figures

from data_prep import pair_lmdb
from tools import references, report
from tools.core import network, run_folder

CLASSES = ['anger', 'happy', 'neutral']
PIXELS = (1, 64, 64)


def pictures(n, seed=0):
    """n pictures of soft noise, N x 1 x 64 x 64 in [0, 1]: each is somebody's neutral face."""
    noise = np.random.RandomState(seed).rand(n, 64, 64).astype(np.float32)
    return np.array([cv2.GaussianBlur(picture, (0, 0), 2) for picture in noise])[:, None]


def samples(true, subjects, more=()):
    """Samples whose queries are their references, brighter; `more` are true references of a person
    Z."""
    faces, people = references.gallery([*true, *more], [*subjects, *'Z' * len(more)])
    return references.Samples(np.array(subjects), np.arange(len(true)), np.clip(true + 0.3, 0, 1),
                              true, np.zeros(len(true), int), faces, people)


def measure(monkeypatch, of, generated, neutral=None):
    """What is measured where the network draws `generated`, and says neutral with the mean of its
    query."""
    def run(net, queries, blobs):
        brightness = queries.mean((1, 2, 3))
        return {'generated': generated, 'prob': np.stack([1 - brightness, brightness], 1)}

    monkeypatch.setattr(network, 'run', run)
    return references.measure(None, of, neutral)


def test_a_perfect_reference(monkeypatch):
    true = pictures(4)
    found = measure(monkeypatch, samples(true, list('ABCD'), pictures(2, 1)), true)
    assert found['distance_generated'].tolist() == [0] * 4
    for i, face in enumerate(true):
        squares = [(min(float(p) + 0.3, 1) - float(p)) ** 2 for p in face.ravel()]
        assert found['distance_query'][i] == pytest.approx(sum(squares) ** 0.5, rel=1e-5)
    for name in ('generated_nearer', 'same_person_generated'):
        assert found[name].tolist() == [1] * 4
    assert found['same_person_chance'].tolist() == [pytest.approx(1 / 6)] * 4
    assert np.isnan(found['neutral_generated']).all()  # a set without that class


def test_another_persons_face_and_a_copy_of_the_query(monkeypatch):
    true = pictures(3)
    of = samples(true, list('ABC'))
    drawn = np.stack([true[1], of.queries[1], true[2]])  # B's face for A, the query itself for B
    found = measure(monkeypatch, of, drawn)
    assert found['same_person_generated'].tolist()[::2] == [0, 1]
    assert found['generated_nearer'].tolist()[1:] == [0, 1]  # a copy is not nearer
    assert found['distance_generated'][0] == pytest.approx(((true[0] - true[1])**2).sum()**0.5,
                                                           rel=1e-5)


def test_neighbours_are_those_of_a_slow_loop():
    faces, people = pictures(20, 1).reshape(20, -1), np.array(list('ABCDE') * 4)
    drawn = pictures(30, 2) + 0.3 * faces[np.arange(30) % 20].reshape(30, *PIXELS)
    subjects = np.array(list('AABCE') * 6)
    expected = []
    for picture, subject in zip(drawn, subjects):
        squares = [sum((picture.ravel().astype(float) - face.astype(float)) ** 2) for face in faces]
        expected.append(people[squares.index(min(squares))] == subject)
    assert references.same_person(drawn, subjects, faces, people).tolist() == expected
    assert 0 < sum(expected) < 30


def test_gallery_and_chance_are_of_different_faces():
    true = pictures(3)
    faces, people = references.gallery(np.stack([*true, true[0], true[0], 0 * true[0]]),
                                       list('ABBACZ'))
    assert people.tolist() == list('ABBC')  # A's twice the same; C has A's picture; Z has none
    np.testing.assert_array_equal(faces, true[[0, 1, 2, 0]].reshape(4, -1))
    assert references.chance(np.array(list('BAB')), people).tolist() == [0.5, 0.25, 0.5]


def test_without_a_reference_or_with_the_query_as_reference_there_is_nothing_to_compare():
    query, reference = pictures(4), pictures(4, 1)
    reference[1], reference[2] = 0, query[2]
    reference[3] = 0
    reference[3, 0, 5, 5] = 0.1  # dark, but a picture
    assert references.comparable(query, reference).tolist() == [True, False, False, True]


def test_probability_of_neutral_is_over_the_other_classes(monkeypatch):
    true = pictures(3) / 2
    of = samples(true, list('ABC'))._replace(labels=np.array([0, 1, 0]))
    found = measure(monkeypatch, of, true / 2, neutral=1)
    for name, shown in (('generated', true / 2), ('query', of.queries), ('reference', true)):
        values = found[f'neutral_{name}']
        assert np.isnan(values).tolist() == [False, True, False]
        assert values[::2] == pytest.approx(shown.mean((1, 2, 3))[::2])


def test_estimates_are_over_images_of_which_each_counts_by_its_mean_over_seeds():
    # Fold 0 ran with two seeds, fold 1 with one; person C has one value of two.
    rows = dict(fold=[0, 0, 0, 0, 1, 1], seed=[1, 1, 2, 2, 1, 1], subject=list('ABABCC'),
                value=[1, 5, 3, 5, 2, np.nan])
    found = references.estimate({name: np.array(values) for name, values in rows.items()}, 'value')
    assert found['value'] == pytest.approx((2 + 5 + 2) / 3)
    assert 2 <= found['value_low'] < found['value'] < found['value_high'] <= 5
    alone = {name: np.array(values[:1]) for name, values in rows.items()}
    assert references.estimate(alone,
                               'value') == {'value': 1, 'value_low': None, 'value_high': None}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with a data set of six people, three of them in test fold 0: each has two
    sequences of a neutral and an expressive face, A one whose reference is missing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(test_figures, 'CLASSES', CLASSES)
    fold = Path('data/demo/fold0')
    fold.mkdir(parents=True)
    Path('data/demo/classes.txt').write_text(''.join(f'{name}\n' for name in CLASSES))
    random = np.random.RandomState(0)
    faces = {}
    for part, people in (('test', 'ABC'), ('train', 'DEF')):
        rows = []
        for person in people:
            base = cv2.GaussianBlur(random.randint(0, 256, (66, 66)).astype(float), (0, 0), 2)
            for sequence in '12':
                paths = [f'{person}{sequence}{frame}' for frame in '14']
                for path, noise in zip(paths, (5, 40)):
                    faces[path] = np.clip(base + noise * random.randn(66, 66), 1, 255).astype(
                        np.uint8)
                for path, expression in zip(paths, ('neutral', CLASSES[int(sequence) - 1])):
                    rows.append(
                        dict(subject=person, sequence=sequence, frame=path[-1],
                             expression=expression, path=path,
                             reference=None if path == 'A14' else paths[0]))
        pair_lmdb.write_pairs(str(fold / part), rows, CLASSES, faces.__getitem__)
    return faces


def run_program(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['references'])
    references.main()
    return capsys.readouterr()


def one_by_one(folder, faces):
    """The measures of a run, computed for a face at a time from its pictures: {name: values}."""
    net, _ = network.load(folder)

    def through(face):
        net.blobs['query'].reshape(1, *PIXELS)
        net.blobs['query'].data[0, 0] = face
        net.forward()
        return net.blobs['generated'].data[0, 0].astype(float), float(net.blobs['prob'].data[0, 2])

    cut = {path: face[1:-1, 1:-1] / 255 for path, face in faces.items()}
    neutral = {path: face for path, face in cut.items() if path[-1] == '1'}
    found = {name: [] for name in references.MEASURES}
    for path in ('A24', 'B14', 'B24', 'C14', 'C24'):  # A14 has no reference
        true = cut[path[:2] + '1']
        drawn, probability = through(cut[path])
        for name, shown, p in (('generated', drawn, through(drawn)[1]), ('query', cut[path],
                                                                         probability)):
            found[f'distance_{name}'].append(((shown - true) ** 2).sum() ** 0.5)
            found[f'neutral_{name}'].append(p)
            nearest = min(neutral, key=lambda other: ((shown - neutral[other]) ** 2).sum())
            found[f'same_person_{name}'].append(nearest[0] == path[0])
        found['generated_nearer'].append(
            found['distance_generated'][-1] < found['distance_query'][-1])
        found['neutral_reference'].append(through(true)[1])
        found['same_person_chance'].append(2 / 12)
    return found


def test_from_runs_to_table_and_report(place, monkeypatch, capsys):
    folder = test_figures.add_run('s1r0')
    bad = test_figures.add_run('s0r0')
    test_figures.add_run('s1r1', tested=False)
    shutil.rmtree(bad / 'snapshots')
    printed = run_program(monkeypatch, capsys)
    line, = csv.DictReader(Path('runs/demo/references.csv').read_text().splitlines())
    assert [line[name] for name in ('variant', 'people', 'images', 'folds', 'seeds', 'iterations')
            ] == ['s1r0', '3', '5', '0', '1', '5']
    for name, values in one_by_one(folder, place).items():
        assert float(line[name]) == pytest.approx(np.mean(values), rel=1e-4), name
        low, high = (float(line[f'{name}_{end}']) for end in ('low', 'high'))
        assert low - 1e-6 <= np.mean(values) <= high + 1e-6, name
    text = Path('runs/demo/references.md').read_text()
    assert text in printed.out and f'{float(line["distance_generated"]):.2f} (' in text
    assert f'{100 * float(line["neutral_query"]):.1f} (' in text and ' 16.7 |' in text
    sentence, = (line for line in printed.err.splitlines() if 'left out' in line)
    assert f'{bad} has no snapshot' in sentence
    assert not [path for path in Path('runs/demo').iterdir() if 'partial' in path.name]
    settings = {**run_folder.read_settings(folder), 'command': 'python3'}
    (folder / 'run.json').write_text(json.dumps(settings))
    result = dict(dataset='demo', variant='s1r0', fold=0, seed=1, iterations=5, n=11, accuracy=0.5,
                  balanced_accuracy=0.5, recall={}, classes=CLASSES)
    (folder / 'result.json').write_text(json.dumps(result))
    os.utime(folder / 'result.json', (0, 0))  # tested before that
    assert 'Distance from the true reference' in report.page([folder])


def test_without_a_gcnet_that_can_be_measured_there_is_a_sentence_and_no_file(
        place, monkeypatch, capsys):
    test_figures.add_run('cnn')
    out, err = run_program(monkeypatch, capsys)
    assert out == 'No references: runs/demo has no tested GCNet.\n' and not err
    folder = test_figures.add_run('s0r0')
    settings = run_folder.read_settings(folder)
    (folder / 'run.json').write_text(json.dumps({**settings, 'data': 'other'}))
    out, err = run_program(monkeypatch, capsys)
    assert out == 'No references: no tested GCNet in runs/demo can be measured.\n'
    assert f'{folder} was trained on other data' in err
    (folder / 'run.json').write_text(json.dumps(settings))
    shutil.rmtree('data/demo')
    out, err = run_program(monkeypatch, capsys)
    assert 'no tested GCNet in runs/demo can be measured' in out and 'cannot be read' in err
    assert not list(Path('runs/demo').glob('references*'))


def test_what_is_not_finite_and_what_has_no_reference_is_refused(place, monkeypatch):
    with pytest.raises(SystemExit, match='not finite'):
        measure(monkeypatch, samples(pictures(2), list('AB')), np.full((2, *PIXELS), np.inf))
    os.rename('data/demo/fold0', 'data/demo/fold1')
    rows = [dict(subject=person, sequence='1', frame='1', expression='neutral', path=f'{person}11',
                 reference=None) for person in 'AB']
    Path('data/demo/fold0').mkdir()
    for part in ('train', 'test'):
        pair_lmdb.write_pairs(f'data/demo/fold0/{part}', rows, CLASSES, place.__getitem__)
    with pytest.raises(SystemExit, match='fold0/test_lmdb has no sample with a reference'):
        references.read_samples('demo', 0)
