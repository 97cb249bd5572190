"""A sheet for looking at what was built: a row a person, a column a class, in each cell the pair X
| Xr as it is in the LMDB.

    python3 -m tools.contact_sheet --dataset demo

writes data/demo/contact_sheet.png. A cell shows the person's last frame of that class; it is white
where there is none, and Xr is black where there is no reference. Where the classes are the people,
or very many, the columns are a person's first pictures.
"""
import argparse
import csv
from pathlib import Path

import lmdb
import matplotlib.pyplot as plt
import numpy as np
from caffe.proto import caffe_pb2
from google.protobuf.message import DecodeError

from data_prep import pair_lmdb, spreadsheet
from data_prep.align import SIZE
from data_prep.folds import ascending
from tools.core import arguments, plots

GAP, LINE = 6, 1   # pixels between two cells, and between X and Xr
PICTURES = 8       # columns where they are a person's first pictures
LONGEST = 16       # letters of a name that are shown
MOST_CLASSES = 20  # beyond, a column a class would be too wide to look at


def main():
    parser = argparse.ArgumentParser(
        description='Draw a sheet of the pairs of a data set that is built.')
    parser.add_argument('--dataset', default='demo', help='what `make data` built (default: demo)')
    parser.add_argument('--people', default=12, help='rows, 1 to 100 (default: 12)')
    args = parser.parse_args()
    most = arguments.whole_number('--people', args.people, 1, 100)
    folder = Path('data', args.dataset)
    if not (folder / 'classes.txt').is_file():
        raise SystemExit(f'{folder} is not built: run `make data DATASET={args.dataset}`.')
    path = folder / 'contact_sheet.png'
    try:
        draw(path, *cells(folder, most), args.dataset)
    except OSError as error:
        raise SystemExit(f'{path} cannot be made ({error}).') from None
    print(path)


def cells(folder, most):
    """(people, columns, {(person, column): pair}) of a built set, for up to `most` people, chosen
    evenly in ascending order: names, and pairs of 2 x 66 x 66 uint8. SystemExit where a file of the
    build is damaged.
    """
    classes = (folder / 'classes.txt').read_text(encoding='utf-8', errors='replace').splitlines()
    fold = folder / 'fold0'
    subjects = sorted({row['subject'] for row in table(fold)}, key=ascending)
    if not subjects:
        raise SystemExit(pair_lmdb.damaged(fold, 'no rows'))
    count = min(most, len(subjects))
    people = [subjects[position * len(subjects) // count] for position in range(count)]
    rows = [row for row in table(fold) if row['subject'] in people]
    rows.sort(key=lambda row: (ascending(row['sequence']), int(row['frame'])))

    # A column a class, unless there are too many, or the classes are the people.
    chosen = {}
    if len(classes) <= MOST_CLASSES and any(row['expression'] != row['subject'] for row in rows):
        columns = classes
        for row in rows:
            chosen[row['subject'], row['expression']] = row  # the last stays, nearest to the peak
    else:
        columns = [str(number) for number in range(1, PICTURES + 1)]
        for person in people:
            own = (row for row in rows if row['subject'] == person)
            chosen.update(((person, column), row) for column, row in zip(columns, own))
    return people, columns, pairs(fold, chosen)


def table(fold):
    """Yields the rows of train.csv and test.csv, each with its part, 'train' or 'test'."""
    for part in ('train', 'test'):
        path = fold / f'{part}.csv'
        try:
            with open(path, newline='', encoding='utf-8') as file:
                reader = csv.DictReader(file)
                if reader.fieldnames != pair_lmdb.COLUMNS:
                    raise SystemExit(pair_lmdb.damaged(path, 'line 1'))
                for row in reader:
                    if None in row or None in row.values() or not row['frame'].isdecimal():
                        raise SystemExit(pair_lmdb.damaged(path, f'line {reader.line_num}'))
                    yield {**spreadsheet.unquote_row(row), 'part': part}
        except (UnicodeDecodeError, csv.Error) as error:
            raise SystemExit(pair_lmdb.damaged(path, error)) from None


def pairs(fold, chosen):
    """{place: 2 x 66 x 66 uint8, X and Xr} for {place: row of table()}.

    By key: nothing else is read.
    """
    found = {}
    for part in ('train', 'test'):
        path = fold / f'{part}_lmdb'
        pair_lmdb.count_pairs(str(path))
        with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as txn:
            for place, row in chosen.items():
                if row['part'] != part:
                    continue
                try:
                    datum = caffe_pb2.Datum.FromString(txn.get(row['key'].encode(), b''))
                    found[place] = np.frombuffer(datum.data, np.uint8).reshape(2, SIZE, SIZE)
                except (lmdb.Error, DecodeError, ValueError):
                    reason = f'no pair under {row["key"]}'
                    raise SystemExit(pair_lmdb.damaged(path, reason)) from None
    return found


def compose(people, columns, found):
    """The sheet as an array, height x width uint8: a row a person, a column a class, X and Xr side
    by side, white around them and where {(person, column): pair} has none."""
    blank = np.full((2, SIZE, SIZE), 255, np.uint8)
    tiles = np.array(
        [[found.get((person, column), blank) for column in columns] for person in people])
    x, xr = np.moveaxis(np.pad(tiles, [(0, 0)] * 4 + [(0, LINE)], constant_values=255), 2, 0)
    tiles = np.concatenate([x, xr], -1)
    tiles = np.pad(tiles, [(0, 0), (0, 0), (0, GAP), (0, GAP - LINE)], constant_values=255)
    return np.vstack([np.hstack(line) for line in tiles])


def draw(path, people, columns, found, dataset):
    """Writes the sheet, with names, to a PNG, in which a pixel is 2 x 2."""
    sheet = compose(people, columns, found)
    names = [shown(name) for name in people]
    (height, width), left, top = 2 * np.array(sheet.shape), 20 + 18 * max(map(len, names)), 100
    size = np.array([left + width, top + height])
    figure = plt.figure(figsize=size / 150)  # plots.save has 150 dots an inch
    axes = figure.add_axes([left / size[0], 0, width / size[0], height / size[1]])
    axes.imshow(sheet, cmap='gray', vmin=0, vmax=255, interpolation='nearest')

    # A name in the middle of its two pictures, and of its row
    axes.set_xticks(sheet.shape[1] / len(columns) * np.arange(len(columns)) + SIZE)
    axes.set_xticklabels([shown(name) for name in columns])
    axes.set_yticks(sheet.shape[0] / len(people) * np.arange(len(people)) + SIZE / 2)
    axes.set_yticklabels(names)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=12)
    axes.set_frame_on(False)
    axes.set_title(f'{plots.literal(dataset)}: X | Xr', fontsize=14, pad=10)
    plots.save(figure, path)


def shown(name):
    """A name as Matplotlib shows it as it is ($ would begin a formula), cut where it is long."""
    return plots.literal(name, LONGEST)


if __name__ == '__main__':
    main()
