import os
import signal

import cv2
import drawn
import numpy as np
import places
import pytest
from test_build import in_a_child

from data_prep import detect, pictures

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
        x, y = points[[0, 1, 3, 4]].mean(0).astype(int)
        half = int(1.15 * (points[1] - points[0])[0])
        image = cv2.resize(image[y - half:y + half, x - half:x + half], (side, side),
                           interpolation=cv2.INTER_AREA)
        found, = detect.faces(image)
        expected = (points - [x - half, y - half] + 0.5) * side / (2 * half) - 0.5
        assert error(found, expected).max() < 0.17


@pytest.mark.parametrize('swap', [False, True])
def test_of_two_faces_the_larger_first(swap):
    (large, points), (small, small_points) = drawn.face(2), drawn.face(5)
    small = cv2.copyMakeBorder(
        cv2.resize(small, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), 0, 256 - 154, 0, 0,
        cv2.BORDER_REPLICATE)
    first, second = detect.faces(np.hstack([small, large] if swap else [large, small]))
    assert error(first, points + [small.shape[1] * swap, 0]).max() < 0.17
    expected = (small_points + 0.5) * 0.6 - 0.5 + [large.shape[1] * (not swap), 0]
    assert error(second, expected).max() < 0.2


@pytest.mark.parametrize('height, width', [(1, 1), (3, 900), (900, 3), (20, 20), (240, 320)])
def test_no_face(height, width):
    noise = np.random.RandomState(0).randint(0, 256, (height, width)).astype(np.uint8)
    for image in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        assert detect.faces(image) == []


@pytest.mark.skipif(not os.path.isdir(LONDON), reason='the photographs are not here')
def test_photographs():
    for name in sorted(os.listdir(LONDON))[::20]:
        found, = detect.faces(cv2.imread(os.path.join(LONDON, name)))
        left, right, nose, mouth_left, mouth_right = found
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
    cache = str(raw.parent / 'points.csv')
    found, failures, several = detect.points_of(str(raw), paths(raw), cache)
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
        content = pictures.content(str(raw), f'p, {level}/ä "1".png')
        lines[line] = ','.join([head, content, *mine, faces])
    cache.write_text('\ufeff' + '\r\n'.join(lines) + '\r\n')  # as spreadsheets save it
    found, failures, _, searched = points_of(raw)
    mine = np.reshape(mine, (5, 2)).astype(float).tolist()
    assert found['p, 0/ä "1".png'] == found['p, 7/ä "1".png'] == mine
    assert failures == {} and searched == []


@pytest.mark.parametrize('path', ['=HYPERLINK("x")/1.png', '@a.png', "'b.png", 'c.png'])
def test_a_path_is_no_formula_and_comes_back(path):
    points = np.arange(10.).reshape(5, 2)
    row = detect.row_of(path, 'h0123456789abcdef', points, 1)
    assert not row[0].startswith(('=', '@'))
    found = detect.parse_row(list(map(str, row)))
    assert found[0] == path and np.array_equal(found[2], points)


def test_cut_off_at_any_byte(raw):
    expected = points_of(raw)[:3]
    cache = raw.parent / 'points.csv'
    whole = cache.read_bytes()
    for length in range(len(whole)):
        cache.write_bytes(whole[:length])
        *found, searched = points_of(raw)
        kept = max(0, (whole[:length] + whole[length:length + 1]).count(b'\n') - 1)
        assert tuple(found) == expected and searched == [0, 7, 8, 9][kept:]
        assert cache.read_bytes() == whole


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


def test_pictures_of_the_same_length_that_show_something_else(raw):
    """Two BMP files, whose length says nothing, are exchanged; then one is overwritten."""
    for level, name in ((20, 'a.bmp'), (30, 'b.bmp')):
        drawn.write(raw / 'bmp' / name, np.full((10, 12), level, np.uint8))
    a, b = raw / 'bmp' / 'a.bmp', raw / 'bmp' / 'b.bmp'
    first = points_of(raw)[0]
    assert first['bmp/a.bmp'] == (POINTS + 20).tolist()

    a.rename(raw / 'c'), b.rename(a), (raw / 'c').rename(b)
    found, _, _, searched = points_of(raw)
    assert found['bmp/a.bmp'] == (POINTS + 30).tolist() and searched == []
    assert found['bmp/b.bmp'] == (POINTS + 20).tolist()

    time = os.stat(b).st_mtime_ns
    drawn.write(b, np.full((10, 12), 40, np.uint8))
    os.utime(b, ns=(time, time))
    found, _, _, searched = points_of(raw)
    assert found['bmp/b.bmp'] == (POINTS + 40).tolist() and searched == [40]
    assert points_of(raw)[3] == []


def test_rows_of_fer2013_in_another_order(raw):
    def write(*levels):
        lines = [f'0,{" ".join([str(level)] * 48 ** 2)},Training\n' for level in levels]
        (raw / 'fer2013.csv').write_text('emotion,pixels,Usage\n' + ''.join(lines))
        os.utime(raw / 'fer2013.csv', ns=(levels[0] * 10 ** 9,) * 2)
        detect.faces.called.clear()
        names = [f'fer2013.csv#{line}' for line in range(2, 2 + len(levels))]
        found = detect.points_of(str(raw), names, str(raw.parent / 'points.csv'))[0]
        return [found[name][0, 0] for name in names]
    assert write(21, 22, 23) == [21, 22, 23] and detect.faces.called == [21, 22, 23]
    assert write(23, 21, 22) == [23, 21, 22] and detect.faces.called == []
    assert write(22, 24, 21) == [22, 24, 21] and detect.faces.called == [24]


@pytest.mark.parametrize('end', ['', '\n', '\r\n'])
def test_a_correction_in_the_last_row_counts(raw, end):
    """Whether or not the editor ends the last line."""
    points_of(raw)
    cache = raw.parent / 'points.csv'
    *lines, last = cache.read_text().splitlines()
    head, tail = last.rsplit(',', 11)[0], last.rsplit(',', 1)[1]
    mine = ','.join(map(str, range(10, 110, 10)))
    cache.write_text('\n'.join([*lines, f'{head},{mine},{tail}']) + end)
    found, _, _, searched = points_of(raw)
    assert found['p, 9/ä "1".png'] == np.arange(10., 110, 10).reshape(5, 2).tolist()
    assert searched == [] and points_of(raw)[0] == found


@pytest.mark.parametrize('ends, last', [('\r', None), ('\n', '2o.0'), ('\r', '"10,0"')])
def test_what_somebody_wrote_is_never_dropped(raw, ends, last):
    """With a Macintosh's line ends, or a typing error in a last row that has no end."""
    expected = points_of(raw)[0]
    cache = raw.parent / 'points.csv'
    lines = cache.read_text().splitlines()
    if last:
        cells = lines[-1].rsplit(',', 11)
        lines[-1] = ','.join([cells[0], last, *cells[2:]])
    text = ends.join(lines) + (ends if last is None else '')
    cache.write_bytes(text.encode())
    if last is None:
        assert points_of(raw)[0] == expected and points_of(raw)[3] == []
    else:
        with pytest.raises(SystemExit, match=r'points.csv, line 5: expected path, content, ten'):
            points_of(raw)
    assert cache.read_bytes() == text.encode()


def test_zero_bytes_at_the_end_are_removed(raw):
    expected = points_of(raw)[:3]
    cache = raw.parent / 'points.csv'
    whole = cache.read_bytes()
    cache.write_bytes(whole + bytes(4096))
    assert points_of(raw)[:3] == expected and cache.read_bytes() == whole


def test_points_of_an_earlier_version_are_set_aside_and_compared(raw, capsys):
    """They told a picture by its length alone: one corrected by hand is named, none is trusted."""
    expected = points_of(raw)[:3]
    cache = raw.parent / 'points.csv'
    earlier = cache.read_text().replace(',content,', ',bytes,').splitlines()
    for line, level in enumerate((0, 7, 8, 9), 1):
        content = pictures.content(str(raw), f'p, {level}/ä "1".png')
        length = os.path.getsize(raw / f'p, {level}' / 'ä "1".png')
        earlier[line] = earlier[line].replace(content, str(length))
    earlier[3] = earlier[3].replace(',8.0,', ',7.5,')
    cache.write_text('\n'.join(earlier))
    capsys.readouterr()

    *found, searched = points_of(raw)
    assert tuple(found) == expected and searched == [0, 7, 8, 9]
    said = capsys.readouterr().err
    assert f'{cache}.old, which told pictures by their length alone, has other points for ' \
        'p, 8/ä "1".png: copy' in said
    assert (raw.parent / 'points.csv.old').read_text() == '\n'.join(earlier) + '\n'

    cache.write_text(cache.read_text().replace(',8.0,', ',7.5,'))
    assert points_of(raw)[0]['p, 8/ä "1".png'][0] == [7.5, 19.0]
    assert 'has other points' not in capsys.readouterr().err


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
    (1, 'path;bytes', 'line 1: expected path,content,left_eye_x,'),
    (3, 'a,1,2',
     'line 3: expected path, content, ten numbers or none, faces, got a,1,2: correct it, or'),
    (2, 'a,h0123456789abcdef,1,2,3,4,5,6,7,8,9,nan,1', 'line 2: '),
    (2, 'a,h0123456789abcdef,1,2,3,4,5,6,7,8,9,,1', 'line 2: '),
    (2, 'a,h0123456789abcdef,1,2,3,4,5,6,7,8,9,1,1,1', 'line 2: '),
    (2, 'a,x,,,,,,,,,,,0', 'line 2: '),
    (2, 'a,3012,,,,,,,,,,,0', 'line 2: '),  # a length, of an earlier version
    (2, 'a,h0123456789abcdef,,,,,,,,,,,', 'line 2: '),
    (2, 'a,1\0', 'line 2: ' if places.NUL_IN_CSV else 'cannot be read (line contains NUL'),
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
    said = str(error.value)
    assert sentence in said and str(cache) in said and said.endswith('.')
