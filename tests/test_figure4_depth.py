"""Figure 4: which frames, how deep, how wrong, and how sure."""
import csv

import ckplus_tree
import numpy as np
import pytest
from scipy import stats

from data_prep import align, build, datasets, pair_lmdb, pictures
from data_prep.sets import ckplus
from tools.core import network, plots
from tools.figures import figure4_depth

SEVEN, EIGHT = datasets.SEVEN, datasets.EIGHT


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A small set: S005 with 5 and 3 frames, S012 with 5; working directory beside it."""
    root = tmp_path / 'raw'
    ckplus_tree.add_sequence(str(root), 'S005', '001', 1, length=5)
    ckplus_tree.add_sequence(str(root), 'S005', '002', 3, length=3)
    ckplus_tree.add_sequence(str(root), 'S012', '001', 7, length=5)
    monkeypatch.chdir(tmp_path)
    return root


def write_depths(raw, depths):
    with open(raw / 'depth.csv', 'w', newline='') as file:
        csv.writer(file).writerows([['subject', 'sequence', 'frame', 'depth'], *depths])


def test_frames_none_is_every_frame_after_the_first_up_to_the_peak(raw):
    (raw / 'Emotion/S012/001/S012_001_00000005_emotion.txt').rename(
        raw / 'Emotion/S012/001/S012_001_00000004_emotion.txt')  # the peak is before the end
    rows, points, report = ckplus.read_set(str(raw), SEVEN, None)
    assert [(row['subject'], row['sequence'], row['frame']) for row in rows] == [
        *(('S005', '001', n) for n in (2, 3, 4, 5)), *(('S005', '002', n) for n in (2, 3)),
        *(('S012', '001', n) for n in (2, 3, 4))]
    assert all(row['reference'].endswith('_00000001.png') for row in rows)
    assert set(points) == {row[key] for row in rows for key in ('path', 'reference')}
    assert report['left_out'] == []


def test_frames_none_needs_two_frames(raw):
    ckplus_tree.add_sequence(str(raw), 'S020', '001', 2, length=1)
    rows, _, report = ckplus.read_set(str(raw), SEVEN, None)
    assert 'S020' not in {row['subject'] for row in rows}
    (sequence, reason), = report['left_out']
    assert sequence == 'S020/001' and 'at least 2 needed' in reason


def test_position_where_the_depth_is_not_known(raw):
    rows, crops, known = figure4_depth.read_frames('ckplus7', str(raw), {'S005'})
    assert not known and {row['subject'] for row in rows} == {'S005'}
    assert [row['depth'] for row in rows] == [1 / 4, 2 / 4, 3 / 4, 1, 1 / 2, 1]
    assert crops.shape == (6, 66, 66) and crops.dtype == np.uint8


def test_depth_is_looked_up_frame_by_frame(raw):
    table = {('S005', '001', n): n / 16 for n in range(1, 6)}
    table.update({('S005', '002', n): n / 7 for n in range(1, 4)})
    write_depths(raw, reversed(
        [(*key[:2], f'{key[2]:08d}', value) for key, value in table.items()]))
    rows, _, known = figure4_depth.read_frames('demo', str(raw), {'S005'})
    assert known and len(rows) == 6
    for row in rows:
        assert row['depth'] == table[row['subject'], row['sequence'], row['frame']]


def test_a_neutral_face_is_no_query(raw):
    assert any(row['expression'] == 'neutral' for row in ckplus.read_set(str(raw), EIGHT, None)[0])
    rows, _, _ = figure4_depth.read_frames('ckplus8', str(raw), {'S005', 'S012'})
    assert [row['depth']
            for row in rows] == [1 / 4, 2 / 4, 3 / 4, 1, 1 / 2, 1, 1 / 4, 2 / 4, 3 / 4, 1]


def test_crops_are_those_that_the_networks_are_tested_on(tmp_path, monkeypatch):
    raw = ckplus_tree.make(tmp_path / 'raw')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').mkdir()
    build.build('data/ckplus7', 'ckplus7', raw)
    rows, crops, _ = figure4_depth.read_frames('ckplus7', raw, {'S005'})
    own = {(row['subject'], row['sequence'], str(row['frame'])): crop
           for row, crop in zip(rows, crops)}
    tested = 0
    for key, query, _, _ in pair_lmdb.read_pairs('data/ckplus7/fold0/test_lmdb'):
        if '_S005_' in key:
            np.testing.assert_array_equal(own[tuple(key.split('_')[1:])], query)
            tested += 1
    assert tested == 6 and len(rows) == 8


def test_points_are_detected_where_the_loader_has_none(raw, monkeypatch):
    rows, points, report = ckplus.read_set(str(raw), SEVEN, None)
    monkeypatch.setitem(datasets.DATASETS, 'bare', (SEVEN, lambda *_: (rows, None, report)))
    asked = {}

    def points_of(raw, paths, cache, workers):
        asked.update(raw=raw, paths=paths, cache=cache)
        return {path: points[path] for path in paths[1:]}, {paths[0]: 'no face found'}, 0

    monkeypatch.setattr(figure4_depth.detect, 'points_of', points_of)
    found, crops, _ = figure4_depth.read_frames('bare', str(raw), {'S012'})
    assert asked['cache'] == 'data/bare.points.csv' and asked['raw'] == str(raw)
    assert asked['paths'] == sorted(row['path'] for row in rows if row['subject'] == 'S012')
    # the place of the frame left out is kept
    assert [row['depth'] for row in found] == [2 / 4, 3 / 4, 1]
    image = pictures.read_grey(str(raw), found[0]['path'])
    np.testing.assert_array_equal(crops[0], align.crop(image, points[found[0]['path']]))


def test_no_folder_of_frames_is_said(tmp_path):
    with pytest.raises(ValueError,
                       match='needs the frames of mine, and .*none is not there: give RAW='):
        figure4_depth.read_frames('mine', str(tmp_path / 'none'), {'S012'})


def test_what_cannot_be_used_is_said(raw, capsys):
    (raw / 'cohn-kanade-images/S012/001/S012_001_00000003.png').write_bytes(b'no picture')
    rows, _, _ = figure4_depth.read_frames('ckplus7', str(raw), {'S012'})
    assert [row['frame'] for row in rows] == [2, 4, 5]
    assert '1 of 4 frames cannot be read' in capsys.readouterr().out
    with pytest.raises(ValueError, match='no sequences'):
        figure4_depth.read_frames('ckplus7', str(raw), {'S999'})
    for path in (raw / 'cohn-kanade-images/S012/001').glob('*.png'):
        path.write_bytes(b'no picture')
    with pytest.raises(ValueError, match='no frame is left'):
        figure4_depth.read_frames('ckplus7', str(raw), {'S012'})


@pytest.mark.parametrize('rows, sentence', [
    ([('S005', '001', '00000002', 'deep')], 'depth.csv, line 2: expected'),
    ([('S005', '001', '2', '0.5'), ('S005', '001', '3', '1.5')], 'depth.csv, line 3: expected'),
    ([('S005', '001', '2', 'nan')], 'depth.csv, line 2: expected'),
    ([('S005', '001')], 'depth.csv, line 2: expected'),
    ([('S005', '001', '2', '0.5')], '00000003.png has no row in depth.csv'),
])
def test_a_bad_depth_csv(raw, rows, sentence):
    write_depths(raw, rows)
    with pytest.raises(SystemExit, match=sentence) as error:
        figure4_depth.read_frames('demo', str(raw), {'S005'})
    assert '\n' not in str(error.value)


def test_wrong_is_against_the_expression_of_the_row(monkeypatch):
    said = ['anger', 'happy', 'happy', 'surprise']
    monkeypatch.setattr(network, 'run', lambda net, queries: {
        'prob': np.eye(7)[[SEVEN.index(name) for name in said]]})
    rows = [dict(expression=name) for name in ('anger', 'fear', 'happy', 'sadness')]
    found, wrong = figure4_depth.judge(None, rows, np.zeros((4, 66, 66), np.uint8), SEVEN)
    assert [SEVEN[label] for label in found] == said
    assert wrong.tolist() == [False, True, False, True]


def test_bins_by_hand():
    depths = [0.02, 0.1, 0.1001, 0.2, 0.3, 0.95, 1.0, 0.0]
    missed = [True, False, True, True, False, False, True, True]
    people = ['a', 'b', 'a', 'a', 'b', 'a', 'c', 'c']
    table = figure4_depth.bins(depths, missed, people)
    names = ('depth_above', 'depth_to', 'frames', 'people', 'error')
    found = [tuple(row[name] for name in names) for row in table]
    assert found == [(0, 0.1, 3, 3, pytest.approx(200 / 3)), (0.1, 0.2, 2, 1, 100),
                     (0.2, 0.3, 1, 1, 0), (0.9, 1.0, 2, 2, 50)]
    assert all(row['low'] <= row['error'] <= row['high'] for row in table)
    assert (table[1]['low'], table[1]['high']) == (100, 100)


@pytest.mark.parametrize('frames', [1, 10])
def test_the_interval_is_that_of_people_not_of_frames(frames):
    """Where all frames of a person are alike, the bootstrap is a draw from the binomial of
    people."""
    n, share = 100, 0.3
    missed = np.repeat(np.arange(n) < share * n, frames)
    row, = figure4_depth.bins(np.full(n * frames, 0.55), missed, np.repeat(np.arange(n), frames))
    expected = 100 * stats.binom.ppf([0.025, 0.975], n, share) / n
    assert row['error'] == pytest.approx(30) and (row['frames'], row['people']) == (n * frames, n)
    assert [row['low'], row['high']] == pytest.approx(expected, abs=1.01)
    assert figure4_depth.bins([0.5] * 3, [0, 1, 0], list('abc')) == figure4_depth.bins([0.5] * 3,
                                                                                       [0, 1, 0],
                                                                                       list('abc'))


def test_the_interval_is_wider_where_folds_differ():
    """Of ten people in five folds each network misses all or nothing: ten people tell as little as
    five networks, a draw from the binomial of folds."""
    missed, people = np.repeat([1, 1, 0, 0, 0], 2), np.arange(10)
    alone, = figure4_depth.bins(np.full(10, 0.55), missed, people)
    row, = figure4_depth.bins(np.full(10, 0.55), missed, people, np.repeat(np.arange(5), 2))
    expected = 100 * stats.binom.ppf([0.025, 0.975], 5, 0.4) / 5
    assert [row['low'], row['high']] == pytest.approx(expected)
    assert row['high'] - row['low'] > alone['high'] - alone['low']


def test_the_numbers_and_the_figure(tmp_path, monkeypatch):
    depths, people = np.repeat([0.05, 0.55, 0.85], 4), list('abcd') * 3
    tables = {'cnn': figure4_depth.bins(depths, [1] * 4 + [1, 1, 0, 1] + [0] * 4, people),
              's1r1': figure4_depth.bins(depths, [1, 1, 0, 0] + [0] * 8, people)}
    lines = figure4_depth.text(tables).splitlines()
    assert lines[0] == 'variant,depth_above,depth_to,frames,people,error,low,high'
    assert lines[2].startswith('cnn,0.5,0.6,4,4,75,') and lines[4].startswith('s1r1,0,0.1,4,4,50,')
    drawn = []
    monkeypatch.setattr(plots, 'save', lambda figure, path: drawn.append(figure))
    figure4_depth.draw(tmp_path / 'x', tables, True, 7)
    figure4_depth.draw(tmp_path / 'x', tables, False, 7)
    above, below = drawn[0].axes
    cnn, s1r1 = (container.lines[0] for container in above.containers)
    assert cnn.get_ydata().tolist() == [100, 75, 0] and s1r1.get_ydata().tolist() == [50, 0, 0]
    np.testing.assert_allclose(cnn.get_xdata(), [0.05, 0.55, 0.85], atol=0.02)
    assert cnn.get_linestyle() != s1r1.get_linestyle() and cnn.get_marker() != s1r1.get_marker()
    top = [segment[1, 1] for segment in above.containers[0].lines[2][0].get_segments()]
    assert top == pytest.approx([row['high'] for row in tables['cnn']])
    assert [bar.get_height() for bar in below.patches] == [4, 4, 4]
    assert 'depth' in below.get_xlabel() and 'position' in drawn[1].axes[1].get_xlabel()
