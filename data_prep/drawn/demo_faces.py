"""The demo data set: drawn faces, on disk as CK+ is, with the known depth of each expression.

    python3 -m data_prep.drawn.demo_faces --out data/raw/demo [--people 100] [--seed 1] [--jobs N]
    [--sheet PNG]

Each person shows seven expressions, one a sequence, from neutral to a peak.
"""
import argparse
import csv
import fcntl
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from data_prep import interrupted, workers
from data_prep.drawn.draw_face import draw_face

# How hard the set is: weak peaks and strong identities make it harder.
PEAK_RANGE = (0.42, 1.0)    # depth of the last frame of a sequence
IDENTITY_STRENGTH = 1.0      # spread of the features that look like an expression at rest

LENGTH_RANGE = (6, 10)       # frames in a sequence, both ends included
DRAWING = 1                  # to be raised when the same parameters give other pictures
SHOWN = 8                    # people on a contact sheet

# Expression: (CK+ code, [(action unit, intensity at full depth, how often it takes part)]), by
# EMFACS.
EXPRESSIONS = {
    'anger': (1, [(4, 1.0, 1), (5, 0.5, 0.7), (7, 0.9, 1), (23, 0.8, 1), (24, 0.8, 0.7)]),
    'contempt': (2, [(12, 0.45, 1), (14, 1.0, 1)]),
    'disgust': (3, [(9, 1.0, 1), (10, 0.6, 0.5), (15, 0.6, 0.8), (16, 0.7, 0.5), (17, 0.6, 0.4)]),
    'fear': (4, [(1, 0.9, 1), (2, 0.6, 1), (4, 0.6, 1), (5, 0.9, 1), (7, 0.4, 0.6), (20, 1.0, 1),
                 (25, 0.7, 1), (26, 0.4, 0.7)]),
    'happy': (5, [(6, 0.9, 1), (12, 1.0, 1), (25, 0.9, 0.7)]),
    'sadness': (6, [(1, 0.9, 1), (4, 0.7, 1), (15, 1.0, 1), (17, 0.7, 0.6)]),
    'surprise': (7, [(1, 1.0, 1), (2, 1.0, 1), (5, 0.8, 1), (25, 0.6, 1), (26, 0.9, 1),
                     (27, 0.8, 0.5)]),
}


def texture(rng, blur_across, blur_down, contrast):
    """A streaky pattern around 1, float32 (240, 240)."""
    noise = rng.standard_normal((240, 240)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), blur_across, sigmaY=blur_down)
    return (1 + contrast * noise / noise.std()).astype(np.float32)


def random_identity(rng):
    """One person: everything about a face that does not move."""
    def around(mean, spread):
        return mean + spread * np.clip(rng.standard_normal(), -2, 2)

    def resting(mean, spread):
        return around(mean, spread * IDENTITY_STRENGTH)

    who = SimpleNamespace()
    who.tone = rng.uniform(95, 215)
    who.age = rng.uniform(0, 1) ** 1.5
    who.face_half, who.chin_y = around(66, 3.5), around(105, 4)
    who.jaw_square, who.chin_point = rng.uniform(0.62, 1.0), rng.uniform(0.85, 1.1)
    who.skull_height = around(92, 4)
    # At rest these look a little like an expression, so that the face alone does not tell it.
    who.brow_height, who.brow_tilt = resting(1, 2.0), resting(1, 2.2)
    who.brow_arch = resting(4, 1.5)
    who.lid_upper, who.lid_lower = resting(6.0, 0.8), resting(4.2, 0.5)
    who.mouth_curve, who.mouth_half = resting(0.5, 1.8), resting(24, 2.2)
    who.lip_upper, who.lip_lower = max(2, resting(5.0, 1.2)), max(3, resting(7.5, 1.5))
    # These do not.
    who.brow_gap, who.brow_length = around(1, 1.5), around(0, 2)
    who.brow_thick, who.brow_alpha = rng.uniform(3.5, 8.5), rng.uniform(0.55, 0.95)
    who.eye_apart, who.eye_width, who.eye_tilt = around(30, 1.2), around(1, 0.06), around(1, 1.3)
    who.iris, who.iris_grey = around(6.3, 0.3), rng.uniform(25, 110)
    who.lash = rng.uniform(1.4, 3.0)
    who.socket = rng.uniform(0.4, 1.6)
    who.nose_y, who.nose_half = around(36, 2.2), around(13, 1.8)
    who.mouth_y = who.nose_y + around(33, 1.5)
    who.lip_tone, who.teeth = rng.uniform(0.5, 0.82), rng.uniform(190, 240)
    who.collar, who.cloth = rng.uniform(-8, 10), rng.uniform(20, 210)
    who.moles = [(rng.uniform(-50, 50), rng.uniform(15, 85), rng.uniform(0.8, 1.6))
                 for _ in range(rng.choice([0, 0, 1, 2, 4]))]
    random_hair(who, rng)
    who.glasses = None
    if rng.random() < 0.18:
        who.glasses = (rng.uniform(19, 23), rng.uniform(13, 18), rng.uniform(15, 90),
                       rng.uniform(1.5, 3.2))
    who.hair_texture = texture(rng, 1.0, 6.0, 0.16)
    broad = texture(rng, 5.0, 5.0, 0.025)
    who.skin_texture = broad * texture(rng, 0.8, 0.8, 0.012 + 0.02 * rng.random())
    return who


def random_hair(who, rng):
    """Sets hair and beard of a person."""
    style = rng.choice(['bald', 'short', 'receding', 'fringe', 'parted', 'long', 'bob', 'curly'],
                       p=[0.06, 0.22, 0.1, 0.12, 0.12, 0.18, 0.1, 0.1])
    dark = who.tone < 140
    who.hair_grey = (rng.uniform(15, 50) if dark else
                     rng.choice([rng.uniform(20, 60), rng.uniform(60, 175)]))
    who.brow_grey = min(who.hair_grey, who.tone * 0.6) * 0.85
    who.hair_length, who.hair_volume, who.sideburn = 0.0, rng.uniform(2, 8), rng.uniform(-12, 8)
    high = rng.uniform(-72, -60)
    across = np.array([-0.75, -0.4, 0, 0.4, 0.75])
    # Heights of the hairline across the forehead; each style draws its numbers, whoever wears it.
    line = {
        'bald': None,
        'short': [high + 16, high + 1, high, high + 1, high + 16],
        'receding': [high + 2, high - 8, high + 2, high - 8, high + 2],
        'fringe': high + 22 + rng.uniform(-3, 3, 5),
        'parted': np.array([high + 24, high + 8, high - 2, high - 8,
                            high + 14])[::rng.choice([-1, 1])],
        'long': [high + 22, high + 4, high - 6, high + 4, high + 22],
        'bob': [high + 28, high + 18, high + 17, high + 18, high + 28],
        'curly': high + np.array([14, 3, 2, 3, 14]) + rng.uniform(-4, 4, 5),
    }[style]
    who.hairline = None if line is None else list(zip(across, line))
    if style in ('long', 'bob', 'curly'):
        who.hair_length = {'long': rng.uniform(110, 160), 'bob': rng.uniform(60, 85),
                           'curly': rng.uniform(15, 40)}[style]
        who.hair_volume, who.sideburn = rng.uniform(6, 12), rng.uniform(5, 25)
    if style == 'curly':
        who.hair_volume = rng.uniform(12, 20)
    bare = style in ('long', 'bob')
    who.beard = rng.choice(['none', 'stubble', 'full', 'goatee', 'moustache'],
                           p=[1, 0, 0, 0, 0] if bare else [0.5, 0.2, 0.12, 0.08, 0.1])


def random_peak(name, rng):
    """Action units (28, 2) of an expression at depth 1, as one person shows it in one sequence."""
    aus = np.zeros((28, 2))
    for number, intensity, chance in EXPRESSIONS[name][1]:
        if rng.random() < chance:
            aus[number] = intensity * rng.uniform(0.7, 1.15) * (1 + rng.uniform(-0.12, 0.12, 2))
    if name == 'contempt':
        aus[:, rng.integers(2)] *= 0.1
    return aus


def random_rest(rng):
    """Action units (28, 2) that play along by chance, whatever the expression; weak."""
    aus = np.zeros((28, 2))
    for number in rng.choice([1, 2, 4, 5, 7, 12, 14, 15, 17, 23, 25], 2, replace=False):
        aus[number] = rng.uniform(0, 0.15)
    return aus


def random_light(rng):
    """Light and camera of one sequence."""
    return SimpleNamespace(side=rng.uniform(-1.3, 1.3), height=rng.uniform(-0.1, 0.9),
                           ambient=rng.uniform(0.35, 0.75), background=rng.uniform(40, 215),
                           gain=rng.uniform(0.88, 1.2), blur=rng.uniform(0.5, 0.95),
                           noise=rng.uniform(1.5, 5))


def random_poses(length, rng):
    """A head that starts somewhere near frontal and drifts a little: one pose a frame."""
    # yaw, pitch, roll (radians), scale, shift (pixels)
    spread = np.array([0.10, 0.07, 0.05, 0.03, 4, 3])
    start = spread * np.clip(rng.standard_normal(6), -2, 2)
    end = start + 0.5 * spread * np.clip(rng.standard_normal(6), -2, 2)
    poses = []
    for way in np.linspace(0, 1, length):
        drift = start + way * (end - start)
        yaw, pitch, roll, scale, x, y = drift + 0.05 * spread * rng.standard_normal(6)
        poses.append(SimpleNamespace(yaw=yaw, pitch=pitch, roll=roll, scale=1 + scale,
                                     shift=(x, y)))
    return poses


def draw_sequence(who, name, rng):
    """A list of (depth, image, landmarks) from neutral to peak; the depth rises from 0."""
    length = rng.integers(LENGTH_RANGE[0], LENGTH_RANGE[1] + 1)
    peak_depth = rng.uniform(*PEAK_RANGE)
    peak, rest, light = random_peak(name, rng), random_rest(rng), random_light(rng)
    gaze = rng.uniform(-1, 1, 2) * [1.5, 0.7]
    rise = rng.uniform(1.0, 1.8)
    frames = []
    for way, pose in zip(np.linspace(0, 1, length), random_poses(length, rng)):
        depth = peak_depth * np.sin(np.pi / 2 * way) ** rise
        image, points = draw_face(who, rest + depth * peak, pose, light, gaze, rng)
        frames.append((depth, image, points))
    return frames


def write_person(task):
    """Writes all sequences of one person; returns its rows of depth.csv."""
    folder, seed, person = task
    rng = np.random.default_rng([seed, person])
    who, subject, rows = random_identity(rng), 'S%03d' % person, []
    for number, name in enumerate(rng.permutation(sorted(EXPRESSIONS)), 1):
        sequence = '%03d' % number
        places = {kind: Path(folder, kind, subject, sequence)
                  for kind in ('cohn-kanade-images', 'Emotion', 'Landmarks')}
        for place in places.values():
            place.mkdir(parents=True)
        for frame, (depth, image, points) in enumerate(draw_sequence(who, name, rng), 1):
            stem = '%s_%s_%08d' % (subject, sequence, frame)
            if not cv2.imwrite(str(places['cohn-kanade-images'] / (stem + '.png')), image):
                raise OSError(f'{places["cohn-kanade-images"]}/{stem}.png cannot be written')
            lines = ['   %.7e   %.7e\n' % tuple(point) for point in points]
            (places['Landmarks'] / (stem + '_landmarks.txt')).write_text(''.join(lines))
            rows.append((subject, sequence, stem[-8:], '%.4f' % depth))
        (places['Emotion'] / (stem + '_emotion.txt')).write_text('   %.7e\n' % EXPRESSIONS[name][0])
    return rows


def write_set(out, people, seed, jobs):
    """Draws the set into `out` (Path): beside it first, renamed when complete.

    A set that was made by the same parameters is left alone; SystemExit where `out` is anything
    else. What a killed drawing of the set left beside `out` is removed.
    """
    made_by = {'people': people, 'seed': seed, 'peak_range': list(PEAK_RANGE),
               'identity_strength': IDENTITY_STRENGTH, 'drawing': DRAWING}
    if out.exists():
        if not made_alike(out, made_by):
            raise SystemExit(
                f'{out} exists and was not made with --people {people} --seed {seed} by this '
                'program: remove it or give another --out.')
        print(f'{out} is there, made by the same parameters.')
        return

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside, lock = make_beside(out)
    except OSError as error:
        raise SystemExit(
            f'--out {out} cannot be written ({error.strerror}): give a folder that can.') from None
    try:
        draw_people(beside, people, seed, jobs)
        (beside / 'demo.json').write_text(json.dumps(made_by, indent=1) + '\n')
        beside.chmod(0o755)
        beside.rename(out)
    except OSError as error:
        raise SystemExit(f'--out {out} cannot be written ({error}): free space there or give '
                         'another.') from None
    except KeyboardInterrupt:
        raise interrupted(f'{out} was not made') from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        os.close(lock)


def made_alike(out, made_by):
    """Whether the folder `out` is a set that was made by these parameters."""
    try:
        return json.loads((out / 'demo.json').read_text()) == made_by
    except (OSError, ValueError):
        return False


def make_beside(out):
    """Makes a folder beside `out`: its Path, and a descriptor to be closed, by whose lock it is
    known that its maker lives. Removes those whose maker was killed."""
    parent = os.open(out.parent, os.O_RDONLY)
    try:
        lock_folder(parent)  # no other drawing may take a folder that is not locked yet for left
        for left in out.parent.iterdir():
            if re.fullmatch(re.escape(out.name) + r'\.part[a-z0-9_]{8}', left.name):
                remove_unowned(left)
        beside = Path(tempfile.mkdtemp(prefix=f'{out.name}.part', dir=out.parent))
        lock = os.open(beside, os.O_RDONLY)
        lock_folder(lock, fcntl.LOCK_NB)
        return beside, lock
    finally:
        os.close(parent)


def remove_unowned(folder):
    """Removes a folder, unless a process holds its lock."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if lock_folder(descriptor, fcntl.LOCK_NB):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def lock_folder(descriptor, wait=0):
    """Locks an open folder; False where that cannot be had, as on some network file systems."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | wait)
    except OSError:
        return False
    return True


def draw_people(folder, people, seed, jobs):
    """Draws everybody into `folder` and writes its depth.csv."""
    tasks = [(folder, seed, person) for person in range(1, people + 1)]
    with open(folder / 'depth.csv', 'w', newline='') as table:
        writer = csv.writer(table, lineterminator='\n')
        writer.writerow(['subject', 'sequence', 'frame', 'depth'])
        for rows in workers.run(write_person, tasks, jobs, chunk=1, desc='drawing', unit='person'):
            writer.writerows(rows)


def write_sheet(folder, file):
    """A contact sheet (PNG) of a set: a row a person, columns neutral and each expression full.

    Shows the SHOWN people whose expressions are deepest on average.
    """
    # Here, since whoever draws people without a sheet needs none of it.
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot

    names = {code: name for name, (code, _) in EXPRESSIONS.items()}
    depths = {}
    with open(str(folder / 'depth.csv'), newline='') as table:
        for row in csv.DictReader(table):
            depths.setdefault(row['subject'], []).append(float(row['depth']))
    subjects = sorted(sorted(depths, key=lambda subject: -np.mean(depths[subject]))[:SHOWN])

    figure, axes = pyplot.subplots(len(subjects), 8, figsize=(8, 1.2 * len(subjects) + 0.2),
                                   squeeze=False)
    for name, axis in zip(['neutral'] + sorted(EXPRESSIONS), axes[0]):
        axis.set_title(name, fontsize=9)

    for row, subject in zip(axes, subjects):
        pictures = {}
        for label in sorted((folder / 'Emotion' / subject).glob('*/*_emotion.txt')):
            name = names[int(float(label.read_text()))]
            frames = sorted(
                (folder / 'cohn-kanade-images' / subject / label.parent.name).glob('*.png'))
            pictures.setdefault('neutral', frames[0])
            pictures[name] = frames[-1]

        for axis, name in zip(row, ['neutral'] + sorted(EXPRESSIONS)):
            axis.imshow(cv2.imread(str(pictures[name]), cv2.IMREAD_GRAYSCALE), cmap='gray', vmin=0,
                        vmax=255)
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(subject, fontsize=8)

    figure.subplots_adjust(0.03, 0.01, 0.99, 1 - 0.25 / figure.get_figheight(), 0.03, 0.03)
    try:
        figure.savefig(str(file), dpi=120, format='png')
    except OSError as error:
        raise SystemExit(f'--sheet {file} cannot be written ({error.strerror}): give another '
                         'file.') from None
    pyplot.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', type=Path, required=True,
                        help='folder to make, e.g. data/raw/demo')
    parser.add_argument('--people', type=int, default=100, help='1..999 (default 100)')
    parser.add_argument('--seed', type=int, default=1, help='0 or more (default 1)')
    parser.add_argument('--jobs', type=int, default=workers.usable(),
                        help='processes (default: one a core)')
    parser.add_argument('--sheet', type=Path,
                        help='also write a contact sheet of the set to this PNG')
    options = parser.parse_args()
    if not 1 <= options.people <= 999:
        raise SystemExit(f'--people {options.people}: give a number from 1 to 999.')
    if options.seed < 0:
        raise SystemExit(f'--seed {options.seed}: give 0 or a larger number.')
    if options.jobs < 1:
        raise SystemExit(f'--jobs {options.jobs}: give 1 or a larger number.')
    write_set(options.out, options.people, options.seed, options.jobs)
    if options.sheet:
        write_sheet(options.out, options.sheet)


if __name__ == '__main__':
    main()
