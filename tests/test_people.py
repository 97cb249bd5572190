import shutil

import ckplus_tree
import numpy as np
import pytest
from test_build import program, table

from data_prep import build, folds, pair_lmdb
from data_prep.sets import people


@pytest.fixture(scope='module')
def raw(tmp_path_factory):
    return ckplus_tree.make(tmp_path_factory.mktemp('raw'), people=13)


def test_every_second_frame_of_each_labelled_sequence(raw):
    rows, points, report = people.read_set(raw)
    assert [row['frame'] for row in rows] == [1, 3, 5] * 26
    assert all(row['expression'] == row['subject'] for row in rows)
    # the first frame
    assert [row['reference'] for row in rows] == [rows[i - i % 3]['path'] for i in range(len(rows))]
    assert rows[2]['path'] == 'cohn-kanade-images/S005/001/S005_001_00000005.png'
    assert set(points) == {row['path'] for row in rows}
    assert report == {'unit': 'sequences', 'found': 27, 'unlabelled': ['S005/003'], 'left_out': []}


@pytest.mark.parametrize('part', ['cohn-kanade-images', 'Landmarks'])
def test_a_sequence_with_a_frame_lost_is_named(raw, tmp_path, part):
    spoilt = shutil.copytree(raw, tmp_path / 'raw')
    ckplus_tree.add_sequence(str(spoilt), 'S012', '004', 3, length=9)
    frames = [row['frame'] for row in people.read_set(str(spoilt))[0] if row['sequence'] == '004']
    assert frames == [1, 3, 5, 7, 9]
    lost, = (spoilt / part / 'S012' / '004').glob('*_00000003*')
    lost.unlink()
    rows, _, report = people.read_set(str(spoilt))
    assert report['left_out'] == [('S012/004', 'image or landmarks are missing: frame 3')]
    assert len(rows) == 3 * 26


def test_everybody_is_a_class(raw, tmp_path):
    build.build(str(tmp_path / 'demo_people'), 'demo_people', raw)
    everybody = [f'S{person * 7 + 5:03d}' for person in range(13)]
    assert (tmp_path / 'demo_people' / 'classes.txt').read_text().split() == everybody
    assert not (tmp_path / 'demo_people' / 'folds.csv').exists()
    train, test = (table(tmp_path / 'demo_people' / 'fold0' / f'{part}.csv')
                   for part in ('train', 'test'))
    assert {row['subject'] for row in train} == {row['subject'] for row in test} == set(everybody)
    assert not {row['path'] for row in train} & {row['path'] for row in test}
    assert (len(train), len(test)) == (5 * 13, 13)
    pairs = [(query, reference, label) for _, query, reference, label in pair_lmdb.read_pairs(
        str(tmp_path / 'demo_people/fold0/test_lmdb'))]
    assert [label for *_, label in pairs] == list(range(13))
    # its sequence's first frame
    assert any(not np.array_equal(query, reference) for query, reference, _ in pairs)


def test_a_folder_that_is_not_ckplus(tmp_path, monkeypatch):
    said = program(monkeypatch, '--dataset', 'demo_people', '--raw', tmp_path, '--out', tmp_path)
    assert 'RAW must name a folder that holds the folders cohn-kanade-images' in said


def test_one_in_ten_of_each_person_is_tested():
    rows = [{'subject': who, 'path': f'{who}{n}'}
            for who, count in [('a', 2), ('b', 9), ('c', 10), ('d', 25)]
            for n in range(1, count + 1)]
    (train, test), = folds.split_within_person(rows)
    assert [row['path'] for row in test] == ['a2', 'b9', 'c10', 'd10', 'd20']
    assert [row for row in rows if row not in test] == train


def test_ids_that_are_the_same_number():
    ids = ['01', '1', '001', '²', '٣', 'S2', 'S10']
    assert sorted(ids, key=folds.ascending) == sorted(reversed(ids), key=folds.ascending)
