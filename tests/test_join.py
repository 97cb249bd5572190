"""Two built sets joined into one, against what each holds by itself."""
import runpy
import sys

import drawn
import numpy as np
import pytest

from data_prep import build, pair_lmdb, spreadsheet


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Builds a manifest set of these (class, split) pictures; gives nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').mkdir()

    def make(name, pictures):
        folder = tmp_path / 'raw' / name
        lines = ['path,subject,expression,split']
        for number, (expression, split) in enumerate(pictures):
            image, _ = drawn.face(10 * ord(name) + number)
            drawn.write(folder / f'{number}.png', image)
            lines.append(f'{number}.png,{"=" if number else ""}s{number},{expression},{split}')
        (folder / 'manifest.csv').write_text('\n'.join(lines) + '\n')
        monkeypatch.setattr(build.detect, 'points_of', lambda raw, paths, **options: (
            {path: drawn.face(0)[1] for path in paths}, {}, 0))
        build.build(f'data/{name}', name, str(folder))
    return make


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, 'argv', ['join', *words])
    runpy.run_module('data_prep.join', run_name='__main__')


def content(dataset, part):
    """{(path, expression): (X, Xr)} of a part as the LMDB and the CSV have it."""
    root = f'data/{dataset}/fold0/{part}'
    classes = open(f'data/{dataset}/classes.txt').read().split()
    rows = spreadsheet.read_csv(f'{root}.csv')
    pairs = list(pair_lmdb.read_pairs(f'{root}_lmdb'))
    assert [row['key'] for row in rows] == [key for key, *_ in pairs]
    assert [row['expression'] for row in rows] == [classes[label] for *_, label in pairs]
    return {(row['path'], row['expression']): (query, reference)
            for row, (_, query, reference, _) in zip(rows, pairs)}


def test_a_set_twice_or_in_the_place_of_a_build(built, monkeypatch):
    both = [(name, split) for split in ('train', 'test') for name in ('happy', 'neutral')]
    built('a', both * 2), built('b', both)
    with pytest.raises(SystemExit, match='JOIN names a in two forms: its test people would be'):
        run(monkeypatch, '--dataset', 'ab', 'a', 'a_validation')
    built('c', both)
    with pytest.raises(SystemExit, match='data/c is a build of its own, which would be replaced'):
        run(monkeypatch, '--dataset', 'c', 'a', 'b')
    for _ in range(2):  # again, over itself
        run(monkeypatch, '--dataset', 'ab', 'a', 'b')


def test_two_sets(built, monkeypatch, capsys):
    both = [(name, split) for split in ('train', 'test') for name in ('happy', 'neutral', 'sad')]
    built('a', both * 2)
    built('b', both[:2] + both[3:5])
    run(monkeypatch, '--dataset', 'ab', 'a', 'b')
    assert 'train: 6 pairs of data/a\ntrain: 2 pairs of data/b\n' in capsys.readouterr().out
    for part in 'train', 'test':
        expected = {(f'{name}/{path}', expression): pair for name in 'ab'
                    for (path, expression), pair in content(name, part).items()}
        found = content('ab', part)
        assert found.keys() == expected.keys()
        for key, pair in expected.items():
            assert np.array_equal(found[key], pair)
    subjects = [row['subject'] for row in spreadsheet.read_csv('data/ab/fold0/train.csv')]
    assert {'a-s0', 'b-=s1'} <= set(subjects) and subjects != sorted(subjects)
    pair_lmdb.verify('data/ab/fold0/train_lmdb')


def test_classes_are_as_frequent_as_in_the_first_set(built, monkeypatch):
    """A set of 2 happy and 1 sad to each neutral; of the other, with 9 happy and 1 neutral, 10
    pairs too: 7 different happy ones, and the neutral one three times."""
    test = [('sad', 'test')]
    built('a', 3 * [('happy', 'train'), ('happy', 'train'), ('neutral', 'train'),
                    ('sad', 'train')] + test)
    built('b', 9 * [('happy', 'train')] + [('neutral', 'train')] + test)
    run(monkeypatch, '--dataset', 'ab', 'a', 'b')
    rows = [row for row in spreadsheet.read_csv('data/ab/fold0/train.csv')
            if row['subject'].startswith('b-')]
    happy = [row['path'] for row in rows if row['expression'] == 'happy']
    neutral = [row['path'] for row in rows if row['expression'] == 'neutral']
    assert len(happy) == len(set(happy)) == 7
    assert neutral == 3 * ['b/9.png'] and len(rows) == 10


@pytest.mark.parametrize('change', [
    lambda lines: lines[:1] + lines[:0:-1], lambda lines: lines[:-1],
    lambda lines: lines + lines[1:]])
def test_a_list_that_is_not_that_of_the_pairs(built, monkeypatch, change):
    for name in 'ab':
        built(name, [('happy', 'train'), ('sad', 'train'), ('sad', 'test')])
    path = 'data/b/fold0/train.csv'
    with open(path) as file:
        lines = file.readlines()
    with open(path, 'w') as file:
        file.writelines(change(lines))
    with pytest.raises(SystemExit, match='train.csv and train_lmdb hold different rows'):
        run(monkeypatch, '--dataset', 'ab', 'a', 'b')


@pytest.mark.parametrize('words, sentence', [
    (('--dataset', 'ab', 'b', 'a'), 'data/a has the class sadness, and data/b has not'),
    (('--dataset', 'ab', 'a', 'c'), 'data/c is not built: run `make data`'),
    (('--dataset', 'ab', 'a'), 'two different data sets are needed'),
    (('--dataset', 'ab', 'a', 'a'), 'two different data sets are needed'),
    (('--dataset', 'a', 'a', 'b'), 'another name for both'),
    (('--dataset', 'demo', 'a', 'd'), 'DATASET demo is a data set of its own'),
    (('--dataset', 'other', 'a', 'd'), 'data/other holds something else than a build'),
])
def test_what_cannot_be_joined(built, monkeypatch, words, sentence, tmp_path):
    built('a', [('happy', 'train'), ('sad', 'test'), ('sad', 'train')])
    built('b', [('happy', 'train'), ('neutral', 'test')])
    built('d', [('happy', 'train'), ('sad', 'test')])
    (tmp_path / 'data' / 'other').mkdir()
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, *words)
    assert sentence in str(error.value)
    assert not (tmp_path / 'data' / 'ab').exists()
