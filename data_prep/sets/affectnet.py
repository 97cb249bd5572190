"""AffectNet's manually annotated part, as its makers shipped it in 2017 (archives unpacked side by
side):

    Manually_Annotated_file_lists/training.csv      a row a picture, with COLUMNS; the second may
    Manually_Annotated_file_lists/validation.csv    lack the header, and both may lie beside the
                                                    pictures' folder
    Manually_Annotated_Images/689/<hash>.jpg        the pictures, also in a folder
                                                    Manually_Annotated, or that with _compressed

or as they have shipped it since 2021, faces of 224 x 224 with a few small files each:

    train_set/images/0.jpg             287,651 of them
    train_set/annotations/0_exp.npy    the expression's number, as text or as a number
    train_set/annotations/0_lnd.npy    136 numbers, x and y of 68 landmarks
    val_set/…                          3,999, the same way

The expressions in the order of their numbers are those of the makers' paper (Mollahosseini, Hasani
and Mahoor, "AffectNet", 2017). Columns and folders were read off programs that use the set, such as
sb-ai-lab/EmotiEffLib, and for the newer way off several that open those files.
"""
import csv
import math
import os

import numpy as np
from tqdm import tqdm

from data_prep.align import five_points
from data_prep.sets.layout import pictures, wrong_folder

COLUMNS = [
    'subDirectory_filePath', 'face_x', 'face_y', 'face_width', 'face_height', 'facial_landmarks',
    'expression', 'valence', 'arousal'
]
WANTED = ('subDirectory_filePath', 'facial_landmarks', 'expression')
# By AffectNet's number; the last three (none, uncertain, no face) are no expression.
EXPRESSIONS = {
    '0': 'neutral', '1': 'happy', '2': 'sadness', '3': 'surprise', '4': 'fear', '5': 'disgust',
    '6': 'anger', '7': 'contempt', '8': None, '9': None, '10': None
}
# The test part first: a picture that is in both lists is left out of the training.
LISTS = {'validation.csv': 'test', 'training.csv': 'train'}
IMAGES = 'Manually_Annotated_Images'
PLACES = ('', 'Manually_Annotated', 'Manually_Annotated_compressed')  # where that may lie
# The two parts as shipped since 2021.
PARTS = {'train_set': 'train', 'val_set': 'test'}


def read_set(raw, classes, frames=None):
    """A row a picture with an expression in folder `raw`: subject = sequence = the file's name
    without its ending, reference None, split as the makers have it, their validation part as the
    test. The argument frames is not used.

    Since 2021 pictures have numbers for names, in each part from 0: there subject = sequence = the
    part and the number, as in train_set-0.

    Returns (rows, points, report) as ckplus.read_set does, rows by name; the points (float32) come
    from the set's own 68 landmarks. Pictures are not opened here. Raises SystemExit where raw is
    not AffectNet.
    """
    if all(os.path.isdir(os.path.join(raw, part, 'images')) for part in PARTS):
        return read_parts(raw, classes)
    folders = ('', 'Manually_Annotated_file_lists')
    lists = {name: find_entry(raw, folders, name, os.path.isfile) for name in LISTS}
    images = find_entry(raw, PLACES, IMAGES, os.path.isdir)
    rows, points = {}, {}
    report = {'unit': 'images', 'found': 0, 'unlabelled': [], 'left_out': []}
    for name, split in LISTS.items():
        for line, (path, landmarks, number) in read_list(os.path.join(raw, lists[name])):
            report['found'] += 1
            try:
                if not path:
                    raise ValueError('row is damaged: no path')
                expression = read_expression(number, classes)
                if expression is None:
                    report['unlabelled'].append(path if path.isprintable() else ascii(path)[1:-1])
                    continue
                image, five = read_face(raw, images, path, landmarks)
                subject = os.path.splitext(os.path.basename(path))[0]
                if subject in rows:
                    raise ValueError(f'image is listed before: {rows[subject]["path"]}')
            except ValueError as error:
                shown = path if path.isprintable() else ascii(path)[1:-1]
                report['left_out'].append((shown[:120] or name, f'{error} in {name}, line {line}'))
                continue
            rows[subject] = {'subject': subject, 'sequence': subject, 'frame': 1,
                             'expression': expression, 'path': image, 'reference': None,
                             'split': split}
            points[image] = five
    # The names are hashes: folds.ascending would look for numbers in them, with a gigabyte of sort
    # keys.
    return [rows[subject] for subject in sorted(rows)], points, report


def read_parts(raw, classes):
    """What read_set() gives, of the set as it has been shipped since 2021."""
    rows, points = [], {}
    report = {'unit': 'images', 'found': 0, 'unlabelled': [], 'left_out': []}
    for part, split in PARTS.items():
        names = sorted(pictures(os.path.join(raw, part, 'images')))

        for name in tqdm(names, desc=part, unit='image', ascii=True):
            report['found'] += 1
            path, stem = os.path.join(part, 'images', name), os.path.splitext(name)[0]
            beside = os.path.join(raw, part, 'annotations', stem)
            shown = path if path.isprintable() else ascii(path)[1:-1]

            try:
                if not path.isprintable():
                    raise ValueError('the name holds characters that cannot be printed')
                expression = read_expression(read_number(f'{beside}_exp.npy'), classes)
                if expression is None:
                    report['unlabelled'].append(shown)
                    continue
                points[path] = five_of(read_numbers(f'{beside}_lnd.npy'))
            except ValueError as error:
                report['left_out'].append((shown, str(error)))
                continue

            # Both parts number their pictures from 0: without the part two would have one name.
            subject = f'{part}-{stem}'
            rows.append({'subject': subject, 'sequence': subject, 'frame': 1,
                         'expression': expression, 'path': path, 'reference': None,
                         'split': split})
    return sorted(rows, key=lambda row: row['subject']), points, report


def read_number(path):
    """The whole number that a .npy holds, as text; ValueError where it holds anything else."""
    array, name = read_array(path), os.path.basename(path)
    if array.size != 1:
        raise ValueError(f'annotation damaged: {name} holds {array.size} values')
    try:
        return f'{float(array.item()):g}'
    except (TypeError, ValueError):
        raise ValueError(f'annotation damaged: {name} holds {array.item()!r:.40}') from None


def read_numbers(path):
    """The numbers in a .npy, as a list of float; ValueError where it holds anything else."""
    array = read_array(path)
    try:
        return array.ravel().astype(float).tolist()
    except (TypeError, ValueError) as error:
        raise ValueError(f'landmarks damaged: {error}') from None


def read_array(path):
    """The array in a .npy.

    ValueError where it cannot be read, or holds objects, which could be programs.
    """
    name = os.path.basename(path)
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f'annotation is missing: {name}') from None
    except (OSError, ValueError, EOFError, MemoryError):
        raise ValueError(f'annotation damaged: {name} cannot be read') from None


def five_of(numbers):
    """5 x 2 points as float32 of the 136 numbers of 68 landmarks; ValueError for others."""
    if len(numbers) != 136 or not all(map(math.isfinite, numbers)):
        raise ValueError(f'landmarks damaged: {len(numbers)} numbers, expected 136 finite ones')
    return five_points(np.reshape(numbers, (68, 2))).astype(np.float32)


def find_entry(raw, folders, name, test):
    """Path, relative to raw, of `name` in the first of the `folders` that has it and where `test`
    is true, such as os.path.isfile; SystemExit where none is."""
    for folder in folders:
        if test(os.path.join(raw, folder, name)):
            return os.path.join(folder, name)
    raise wrong_folder(raw, f'{", ".join(LISTS)} and {IMAGES} of AffectNet, or its train_set and '
                            'val_set')


def read_list(path):
    """Yields (line, [text of each column of WANTED]), the text '' where the row has none, of a list
    with a header or without; SystemExit where a column is missing.
    """
    with open(path, newline='', encoding='utf-8-sig', errors='surrogateescape') as file:
        text = file.readline(10000)
        first = [] if '\0' in text else next(csv.reader([text]), [])
        header = bool(set(WANTED) & set(first))
        if set(WANTED) - set(first) if header else len(first) != len(COLUMNS):
            raise SystemExit(f'{path}, line 1: expected the columns {",".join(COLUMNS)}, got '
                             f'{ascii(text[:120])}.')
        file.seek(0)
        table = csv.DictReader(file, None if header else COLUMNS)
        with tqdm(desc=os.path.basename(path), unit='row', ascii=True) as progress:
            while True:
                try:
                    row = next(table)
                except StopIteration:
                    return
                except csv.Error:  # a character 0, or a quote that does not end
                    row = {}
                progress.update()
                yield table.reader.line_num, [row.get(column) or '' for column in WANTED]


def read_expression(number, classes):
    """The name for one of AffectNet's numbers, as text; None where it stands for none.

    ValueError for any other.
    """
    if number not in EXPRESSIONS or EXPRESSIONS[number] not in (None, *classes):
        raise ValueError(f'label outside the set: {number[:40]!r}')
    return EXPRESSIONS[number]


def read_face(raw, images, path, landmarks):
    """(path relative to raw, 5 x 2 points as float32) of a row; ValueError with the reason where
    there is no such picture or not its landmarks."""
    if not path.isprintable():  # such a name breaks a line, or cannot be written as text at all
        raise ValueError(
            f'the name holds characters that cannot be printed: {ascii(path[:80])[1:-1]}')
    if os.path.isabs(path) or '..' in path.split('/'):
        raise ValueError(f'path leaves the folder of the images: {path[:80]}')
    try:
        numbers = [float(number) for number in landmarks.split(';')]
    except ValueError:
        raise ValueError(f'landmarks damaged: {landmarks[:40]!r}') from None
    five = five_of(numbers)
    image = os.path.join(images, path)
    if not os.path.isfile(os.path.join(raw, image)):
        raise ValueError(f'image is missing: {image}')
    return image, five
