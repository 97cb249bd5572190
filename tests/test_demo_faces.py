"""The demo data set: CK+'s layout on disk, the same bytes whatever the jobs, faces that obey
FACS."""
import csv
import fcntl
import filecmp
import os
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from data_prep.drawn import demo_faces
from data_prep.drawn.draw_face import HEIGHT, WIDTH, draw_face, geometry, landmarks

FRONTAL = SimpleNamespace(yaw=0, pitch=0, roll=0, scale=1, shift=(0, 0))
LIGHT = SimpleNamespace(side=0.4, height=0.4, ambient=0.6, background=120, gain=1, blur=0.7,
                        noise=2)


def run(*arguments):
    command = [sys.executable, '-m', 'data_prep.drawn.demo_faces', *map(str, arguments)]
    return subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
                          universal_newlines=True)


def files_in(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob('*') if path.is_file())


def points(person, **aus):
    """Landmarks of a frontal face; au12=1 is action unit 12 on both sides, au12=(1, 0) left in the
    image."""
    who = demo_faces.random_identity(np.random.default_rng(person))
    array = np.zeros((28, 2))
    for name, intensity in aus.items():
        array[int(name[2:])] = intensity
    return landmarks(geometry(who, array), FRONTAL)


def drawn(person, aus):
    """A frontal face under a fixed light: the same crop of the face for everybody, float (n, m)."""
    rng = np.random.default_rng(person)
    who = demo_faces.random_identity(rng)
    image, marks = draw_face(who, aus, FRONTAL, LIGHT, np.zeros(2), rng)
    middle = marks[36:48].mean(0).astype(int)
    return image[middle[1] - 40:middle[1] + 100, middle[0] - 65:middle[0] + 65].astype(float)


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp('one') / 'demo'
    done = run('--out', out, '--people', 2, '--jobs', 1)
    assert done.returncode == 0, done.stderr
    return out


def test_layout_and_formats_are_those_of_ckplus(demo):
    assert sorted(path.name for path in demo.iterdir()) == [
        'Emotion', 'Landmarks', 'cohn-kanade-images', 'demo.json', 'depth.csv']
    for subject in ('S001', 'S002'):
        codes = []
        for number in range(1, 8):
            sequence = '%03d' % number
            frames = sorted((demo / 'cohn-kanade-images' / subject / sequence).iterdir())
            stems = [f'{subject}_{sequence}_{frame:08d}' for frame in range(1, len(frames) + 1)]
            assert [path.name for path in frames] == [stem + '.png' for stem in stems]
            assert 6 <= len(frames) <= 12
            label, = (demo / 'Emotion' / subject / sequence).iterdir()
            assert label.name == stems[-1] + '_emotion.txt'
            assert re.fullmatch(r'   [1-7]\.0000000e\+00\n', label.read_text())
            codes.append(int(float(label.read_text())))
            for stem, frame in zip(stems, frames):
                image = cv2.imread(str(frame), cv2.IMREAD_UNCHANGED)
                assert image.dtype == np.uint8 and image.ndim == 2
                place = demo / 'Landmarks' / subject / sequence
                text = (place / f'{stem}_landmarks.txt').read_text()
                assert re.fullmatch(r'(   -?\d\.\d{7}e[+-]\d\d   -?\d\.\d{7}e[+-]\d\d\n){68}', text)
                marks = np.loadtxt(text.splitlines())
                assert (marks >= 0).all() and (marks < [image.shape[1], image.shape[0]]).all()
        assert sorted(codes) == [1, 2, 3, 4, 5, 6, 7]


def test_a_label_is_of_what_was_drawn(tmp_path, monkeypatch):
    """With CK+'s codes, whatever the program's own table says."""
    names, draw = [], demo_faces.draw_sequence
    monkeypatch.setattr(demo_faces, 'draw_sequence',
                        lambda who, name, rng: names.append(name) or draw(who, name, rng))
    rows = demo_faces.write_person((str(tmp_path), 1, 1))
    codes = {int(path.parent.name): int(float(path.read_text()))
             for path in (tmp_path / 'Emotion').rglob('*.txt')}
    ckplus = ['neutral', 'anger', 'contempt', 'disgust', 'fear', 'happy', 'sadness', 'surprise']
    assert {number: ckplus[code] for number, code in codes.items()} == dict(enumerate(names, 1))
    peaks = [max(float(depth) for _, sequence, _, depth in rows if int(sequence) == number)
             for number in codes]
    assert max(peaks) - min(peaks) > 0.2 and len(set(peaks)) == 7  # not each of its own scale


def test_depth_rises_from_zero_to_the_peak(demo):
    sequences = {}
    with open(str(demo / 'depth.csv'), newline='') as table:
        for row in csv.DictReader(table):
            stem = '%(subject)s_%(sequence)s_%(frame)s.png' % row
            assert (demo / 'cohn-kanade-images' / row['subject'] / row['sequence'] / stem).is_file()
            sequences.setdefault((row['subject'], row['sequence']), []).append(float(row['depth']))
    assert len(sequences) == 14
    assert sum(map(len, sequences.values())) == len(list(demo.rglob('*.png')))
    low, high = demo_faces.PEAK_RANGE
    for depths in sequences.values():
        assert depths[0] == 0 and low - 1e-4 <= depths[-1] <= high
        assert (np.diff(depths) > 0).all()


def test_same_seed_same_bytes_whatever_the_jobs(demo, tmp_path):
    for name, people, seed in (('same', 2, 1), ('other', 1, 2)):
        done = run('--out', tmp_path / name, '--people', people, '--jobs', 2, '--seed', seed)
        assert done.returncode == 0, done.stderr
    names = files_in(demo)
    assert files_in(tmp_path / 'same') == names
    assert filecmp.cmpfiles(demo, tmp_path / 'same', names, shallow=False)[0] == names
    picture = 'cohn-kanade-images/S001/001/S001_001_00000001.png'
    assert not filecmp.cmp(demo / picture, tmp_path / 'other' / picture, shallow=False)
    # nothing unfinished
    assert sorted(path.name for path in tmp_path.iterdir()) == ['other', 'same']


def test_a_complete_set_is_left_alone(demo):
    before = os.stat(str(demo / 'depth.csv')).st_mtime_ns
    done = run('--out', demo, '--people', 2)
    assert done.returncode == 0 and os.stat(str(demo / 'depth.csv')).st_mtime_ns == before


@pytest.mark.parametrize('arguments, words', [
    (['--people', 0], '--people 0'),
    (['--people', 1000], '--people 1000'),
    (['--jobs', 0], '--jobs 0'),
    (['--seed', -1], '--seed -1'),
])
def test_refuses_numbers_out_of_range(tmp_path, arguments, words):
    done = run('--out', tmp_path / 'demo', *arguments)
    assert done.returncode != 0 and words in done.stderr
    assert done.stderr.count('\n') == 1 and not list(tmp_path.iterdir())


def test_refuses_a_set_of_other_parameters_and_keeps_it(demo):
    names = files_in(demo)
    done = run('--out', demo, '--people', 3)
    assert done.returncode != 0 and done.stderr.count('\n') == 1 and str(demo) in done.stderr
    assert files_in(demo) == names


def test_what_a_killed_drawing_left_is_removed_by_the_next(tmp_path):
    """And neither what a living one owns, nor what only looks alike."""
    out = tmp_path / 'demo'
    command = [sys.executable, '-m', 'data_prep.drawn.demo_faces', '--out', out, '--people', '99']
    with subprocess.Popen([*map(str, command), '--jobs', '2'], stderr=subprocess.PIPE) as drawing:
        while not list(tmp_path.glob('demo.part*/Emotion/S002')):
            assert drawing.poll() is None
            time.sleep(0.1)
        drawing.kill()
        drawing.stderr.read()  # its processes end with it, or this waits for them
    left, = tmp_path.iterdir()
    for name in ('demo.partabcd_123', 'demo.part of mine', 'other.partabcd_123'):
        (tmp_path / name).mkdir()
    owned = os.open(tmp_path / 'demo.partabcd_123', os.O_RDONLY)
    fcntl.flock(owned, fcntl.LOCK_EX)

    done = run('--out', out, '--people', 1, '--jobs', 1)
    os.close(owned)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'demo', 'demo.part of mine', 'demo.partabcd_123', 'other.partabcd_123']
    assert (out / 'demo.json').is_file()


def test_refuses_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('not a folder')
    done = run('--out', tmp_path / 'file' / 'demo', '--people', 1)
    assert done.returncode != 0 and done.stderr.count('\n') == 1
    assert 'cannot be written' in done.stderr


def test_contact_sheet_shows_every_person_of_a_small_set(demo, tmp_path):
    done = run('--out', demo, '--people', 2, '--sheet', tmp_path / 'sheet.png')
    assert done.returncode == 0, done.stderr
    sheet = cv2.imread(str(tmp_path / 'sheet.png'), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape[1] > 3 * sheet.shape[0] and sheet.std() > 20
    bad = run('--out', demo, '--people', 2, '--sheet', tmp_path / 'none' / 'sheet.png')
    assert bad.returncode != 0 and bad.stderr.count('\n') == 1 and '--sheet' in bad.stderr


@pytest.mark.parametrize('person', [1, 2, 3])
def test_landmarks_move_as_the_action_units_say(person):
    rest = points(person)
    width = rest[54, 0] - rest[48, 0]

    smile = points(person, au12=1) - rest
    assert smile[48, 1] < -4 and smile[54, 1] < -4        # corners up (y points down) ...
    assert smile[54, 0] - smile[48, 0] > 0.15 * width     # ... and apart
    assert (points(person, au15=1) - rest)[[48, 54], 1].min() > 4
    stretch = points(person, au20=1) - rest
    assert stretch[54, 0] - stretch[48, 0] > 0.15 * width and abs(stretch[48, 1]) < 4
    one_side = points(person, au14=(0, 1)) - rest
    assert one_side[54, 1] < -2 and abs(one_side[48, 1]) < 0.01

    inner, outer = points(person, au1=1) - rest, points(person, au2=1) - rest
    assert inner[[21, 22], 1].max() < -5 and abs(inner[17, 1]) < 1
    assert outer[[18, 25], 1].max() < -4 and abs(outer[21, 1]) < 2.5
    frown = points(person, au4=1) - rest
    assert frown[[21, 22], 1].min() > 4 and frown[22, 0] - frown[21, 0] < -4

    def opening(marks):
        return marks[[66, 40, 46], 1] - marks[[62, 38, 44], 1]               # mouth, eye, eye
    lips, jaw, wide = (opening(points(person, **{au: 1}))[0] for au in ('au25', 'au26', 'au27'))
    assert opening(rest)[0] < 0.5 < lips < jaw < wide
    assert points(person, au27=1)[8, 1] - rest[8, 1] > 12                   # the chin drops
    assert (opening(points(person, au5=1))[1:] > opening(rest)[1:] + 2).all()
    assert (opening(points(person, au7=1))[1:] < opening(rest)[1:] - 2).all()
    assert (opening(points(person, au6=1))[1:] < opening(rest)[1:] - 2).all()
    assert (points(person, au9=1) - rest)[[31, 35], 1].max() < -2           # wings of the nose rise
    press = points(person, au24=1)
    assert press[57, 1] - press[51, 1] < 0.75 * (rest[57, 1] - rest[51, 1])


def test_landmarks_lie_on_what_is_drawn():
    """Iris, open mouth and chin are found in the pixels at the landmarks, under a turned and
    shifted head."""
    pose = SimpleNamespace(yaw=0.1, pitch=-0.05, roll=0.1, scale=1.03, shift=(5, -4))
    aus = np.zeros((28, 2))
    aus[[5, 25, 27]] = 1
    for person in range(5):
        rng = np.random.default_rng(person)
        who = demo_faces.random_identity(rng)
        who.beard, who.glasses, who.hair_length, who.tone = 'none', None, 0, 180
        image, marks = draw_face(who, aus, pose, LIGHT, np.zeros(2), rng)
        assert image.shape == (HEIGHT, WIDTH) and image.dtype == np.uint8

        def grey(place, image=image):
            x, y = np.round(place).astype(int)
            return image[y - 1:y + 2, x - 1:x + 2].mean()

        skin = grey(marks[30])
        assert grey(marks[60:68].mean(0)) < 0.5 * skin                      # mouth: dark
        for eye in (slice(36, 42), slice(42, 48)):
            assert grey(marks[eye].mean(0)) < 0.6 * skin                    # iris: dark
        over, under = grey(marks[8] - [0, 8]), grey(marks[8] + [0, 6])
        assert over > 1.15 * under                                          # chin, neck's shadow


def test_people_differ_more_than_expressions():
    neutral = [drawn(person, np.zeros((28, 2))) for person in range(12)]
    between = np.mean(
        [np.sqrt(((a - b)**2).mean()) for i, a in enumerate(neutral) for b in neutral[:i]])
    within = []
    for person, calm in enumerate(neutral):
        for name in demo_faces.EXPRESSIONS:
            peak = drawn(person, demo_faces.random_peak(name, np.random.default_rng(person)))
            within.append(np.sqrt(((peak - calm) ** 2).mean()))
    assert between > 1.5 * np.mean(within)
    assert min(within) > 1.5  # and yet each expression is seen


def test_contempt_has_one_side_and_the_others_two():
    for seed in range(10):
        for name in demo_faces.EXPRESSIONS:
            aus = demo_faces.random_peak(name, np.random.default_rng(seed))
            aus = aus[aus.max(1) > 0]
            ratio = aus.min(1) / aus.max(1)
            assert (ratio < 0.2).all() if name == 'contempt' else (ratio > 0.7).all()


def test_the_face_moves_in_proportion_to_the_depth(monkeypatch):
    monkeypatch.setattr(demo_faces, 'random_poses', lambda length, rng: [FRONTAL] * length)
    rng = np.random.default_rng(1)
    frames = demo_faces.draw_sequence(demo_faces.random_identity(rng), 'happy', rng)
    depths = np.array([depth for depth, _, _ in frames])
    corners = np.array([marks[[48, 54], 1].mean() for _, _, marks in frames])
    assert corners[0] - corners[-1] > 2
    assert np.corrcoef(depths, -corners)[0, 1] > 0.99
