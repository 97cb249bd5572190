import os
import signal

import cv2
import drawn
import numpy as np
import pytest
from test_build import in_a_child

from data_prep import detect

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LONDON = os.path.join(ROOT, '..', 'shared', 'data', 'london', 'images')


def error(found, points):
    """Distance of each of five points, in parts of the eyes' distance."""
    return np.hypot(*(found - points).T) / np.hypot(*(points[1] - points[0]))


@pytest.mark.parametrize('person', range(1, 9))
def test_points_of_drawn_faces(person):
    image, points = drawn.face(person)
    found, = detect.faces(image)
    assert error(found, points).max() < 0.17
    again, = detect.faces(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR))
    assert np.array_equal(found, again)


def test_a_large_picture_gives_points_of_its_own_pixels():
    image, points = drawn.face(3)
    image = cv2.resize(image, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
    image = cv2.copyMakeBorder(image, 40, 70, 300, 90, cv2.BORDER_REPLICATE)
    found, = detect.faces(image)
    assert error(found, (points + 0.5) * 5 - 0.5 + [300, 40]).max() < 0.17


@pytest.mark.parametrize('side', [48, 100, 160])
def test_a_face_that_fills_a_small_picture(side):
    for person in range(1, 9):
        image, points = drawn.face(person)
        (x, y), half = points[[0, 1, 3, 4]].mean(0).astype(int), int(
            1.15 * (points[1] - points[0])[0])
        image = cv2.resize(image[y - half:y + half, x - half:x + half], (side, side),
                           interpolation=cv2.INTER_AREA)
        found, = detect.faces(image)
        assert error(found,
                     (points - [x - half, y - half] + 0.5) * side / (2 * half) - 0.5).max() < 0.17


@pytest.mark.parametrize('swap', [False, True])
def test_of_two_faces_the_larger_first(swap):
    (large, points), (small, small_points) = drawn.face(2), drawn.face(5)
    small = cv2.copyMakeBorder(
        cv2.resize(small, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), 0, 256 - 154, 0, 0,
        cv2.BORDER_REPLICATE)
    first, second = detect.faces(np.hstack([small, large] if swap else [large, small]))
    assert error(first, points + [small.shape[1] * swap, 0]).max() < 0.17
    assert error(second,
                 (small_points + 0.5) * 0.6 - 0.5 + [large.shape[1] * (not swap), 0]).max() < 0.2


@pytest.mark.parametrize('height, width', [(1, 1), (3, 900), (900, 3), (20, 20), (240, 320)])
def test_no_face(height, width):
    noise = np.random.RandomState(0).randint(0, 256, (height, width)).astype(np.uint8)
    for image in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        assert detect.faces(image) == []


@pytest.mark.skipif(not os.path.isdir(LONDON), reason='the photographs are not here')
def test_photographs():
    for name in sorted(os.listdir(LONDON))[::20]:
        (left, right, nose, mouth_left, mouth_right), = detect.faces(
            cv2.imread(os.path.join(LONDON, name)))
        assert left[0] < nose[0] < right[0] and mouth_left[0] < nose[0] < mouth_right[0]
        assert max(left[1], right[1]) < nose[1] < min(mouth_left[1], mouth_right[1])


# ---------------------------------------------------------------- the CSV

POINTS = np.arange(10.).reshape(5, 2) * 11


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """Pictures whose grey level is what the detector, here replaced, goes by: 0 is no face, 9 two
    faces."""
    def fake(image):
        level = int(image[0, 0])
        called.append(level)
        return [POINTS + level + 0.04] * {0: 0, 9: 2}.get(level, 1)
    called = []
    for level in (0, 7, 8, 9):
        image = np.full((10, 10 + level), level, np.uint8)
        drawn.write(tmp_path / 'raw' / f'p, {level}' / 'ä "1".png', image)
    monkeypatch.setattr(detect, 'faces', fake)
    fake.called = called
    return tmp_path / 'raw'


def paths(raw):
    return sorted(str(path.relative_to(raw)) for path in raw.glob('*/*'))


def points_of(raw):
    """What was found, as lists, and which pictures were searched."""
    detect.faces.called.clear()
    found, failures, several = detect.points_of(str(raw), paths(raw), str(
        raw.parent / 'points.csv'))
    return ({path: points.tolist() for path, points in found.items()}, failures, several,
            list(detect.faces.called))


def test_a_picture_is_searched_once(raw):
    *first, searched = points_of(raw)
    assert searched == [0, 7, 8, 9]
    found, failures, several = first
    assert found == {f'p, {level}/ä "1".png': (POINTS + level).tolist() for level in (7, 8, 9)}
    assert failures == {'p, 0/ä "1".png': 'no face found'} and several == 1
    assert points_of(raw) == (*first, [])


@pytest.mark.parametrize('workers', [2, 3])
def test_the_number_of_workers_changes_nothing(raw, workers):
    expected, cache = points_of(raw)[:3], raw.parent / 'points.csv'
    written = cache.read_bytes()
    cache.unlink()
    assert detect.points_of(str(raw), paths(raw), str(cache), workers=workers)[1:] == expected[1:]
    assert cache.read_bytes() == written


def test_a_row_corrected_by_hand_counts(raw):
    points_of(raw)
    cache = raw.parent / 'points.csv'
    mine = [str(number) for number in range(10, 110, 10)]
    lines = cache.read_text().splitlines()
    for line, level in [(1, 0), (2, 7)]:
        head, faces = lines[line].split('",')[0] + '"', lines[line].split(',')[-1]
        lines[line] = ','.join(
            [head, str(os.path.getsize(raw / f'p, {level}' / 'ä "1".png')), *mine, faces])
    cache.write_text('\ufeff' + '\r\n'.join(lines) + '\r\n')  # as spreadsheets save it
    found, failures, _, searched = points_of(raw)
    mine = np.reshape(mine, (5, 2)).astype(float).tolist()
    assert found['p, 0/ä "1".png'] == found['p, 7/ä "1".png'] == mine
    assert failures == {} and searched == []


def test_cut_off_at_any_byte(raw):
    expected = points_of(raw)[:3]
    cache = raw.parent / 'points.csv'
    whole = cache.read_bytes()
    for length in range(len(whole)):
        cache.write_bytes(whole[:length])
        *found, searched = points_of(raw)
        kept = max(0, whole[:length].count(b'\n') - 1)
        assert tuple(found) == expected and searched == [0, 7, 8, 9
                                                         ][kept:] and cache.read_bytes() == whole


def test_killed(raw, monkeypatch):
    fake = detect.faces
    expected = points_of(raw)[:3]
    os.remove(raw.parent / 'points.csv')

    def until_the_third(image):
        if image[0, 0] == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return fake(image)
    monkeypatch.setattr(detect, 'faces', until_the_third)
    cache = str(raw.parent / 'points.csv')
    code, _ = in_a_child(lambda: detect.points_of(str(raw), paths(raw), cache))
    assert code == -signal.SIGKILL
    monkeypatch.setattr(detect, 'faces', fake)
    *found, searched = points_of(raw)
    assert tuple(found) == expected and searched == [8, 9]


def test_a_changed_picture_is_searched_again(raw):
    points_of(raw)
    drawn.write(raw / 'p, 8' / 'ä "1".png', np.full((30, 31), 3, np.uint8))
    found, _, _, searched = points_of(raw)
    assert searched == [3] and found['p, 8/ä "1".png'] == (POINTS + 3).tolist()
    assert points_of(raw)[3] == []


def test_unreadable_pictures_are_named_and_not_remembered(raw):
    (raw / 'p, 7' / 'ä "1".png').write_bytes(b'')
    (raw / 'p, 8' / 'ä "1".png').write_bytes(b'text')
    assert points_of(raw)[1]['p, 7/ä "1".png'] == 'image is damaged or not an image'
    assert points_of(raw)[1]['p, 8/ä "1".png'] == 'image is damaged or not an image'
    gone = detect.points_of(str(raw), ['p, 9/none.png'], str(raw.parent / 'points.csv'))[1]
    assert gone == {'p, 9/none.png': 'image cannot be read (No such file or directory)'}
    drawn.write(raw / 'p, 7' / 'ä "1".png', np.full((10, 17), 7, np.uint8))
    assert points_of(raw)[0]['p, 7/ä "1".png'] == (POINTS + 7).tolist()


@pytest.mark.parametrize('line, text, sentence', [
    (1, 'path;bytes', 'line 1: expected path,bytes,left_eye_x,'),
    (3, 'a,1,2',
     'line 3: expected path, bytes, ten numbers or none, faces, got a,1,2: correct it, or'),
    (2, 'a,1,1,2,3,4,5,6,7,8,9,nan,1', 'line 2: '),
    (2, 'a,1,1,2,3,4,5,6,7,8,9,,1', 'line 2: '),
    (2, 'a,1,1,2,3,4,5,6,7,8,9,1,1,1', 'line 2: '),
    (2, 'a,x,,,,,,,,,,,0', 'line 2: '),
    (2, 'a,1,,,,,,,,,,,', 'line 2: '),
    (2, 'a,1\0', 'cannot be read (line contains NUL'),
    (2, '"' + 'a' * 200000 + '"', 'cannot be read (field larger'),
])
def test_a_row_that_is_none(raw, line, text, sentence):
    points_of(raw)
    cache = raw.parent / 'points.csv'
    lines = cache.read_text().splitlines()
    lines[line - 1] = text
    cache.write_text('\n'.join(lines) + '\n')
    with pytest.raises(SystemExit) as error:
        points_of(raw)
    assert sentence in str(error.value) and str(cache) in str(error.value) and str(
        error.value).endswith('.')
