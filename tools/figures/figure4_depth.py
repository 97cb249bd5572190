"""Figure 4 of the paper: error against the depth of the expression, on all frames tested."""
import collections
import csv
import functools
import io
import tempfile
from pathlib import Path

import numpy as np

from data_prep import build, datasets, detect, spreadsheet, workers
from tools.core import intervals, network, plots

EDGES = np.arange(11) / 10  # of the bins of depth; a bin holds its upper edge
RESAMPLES = 2000
COLUMNS = ['variant', 'depth_above', 'depth_to', 'frames', 'people', 'error', 'low', 'high']

# Of N frames: rows with `depth`, crops N x 66 x 66 uint8, the test fold of each; of each variant
# what it says, N labels, and whether that is wrong, N booleans; and whether the depth is known.
Judged = collections.namedtuple('Judged', 'rows crops folds said missed known')


def read_frames(dataset, raw, subjects):
    """Every frame after the first, up to the peak, of some people's labelled sequences in raw.

    Returns (rows, crops, known): the loader's rows with `depth` in [0, 1]; crops N x 66 x 66 uint8;
    whether the depth is known, from raw/depth.csv. Elsewhere it is the frame's position in its
    sequence, from 0, the first, to 1, the labelled one. A neutral face has no expression to miss,
    and is no query here. Frames that cannot be read or show no face are left out, with a printed
    sentence. Raises ValueError where the set has no sequences or no usable frame, SystemExit where
    it is not as it should be.
    """
    if not Path(raw).is_dir():
        raise ValueError(
            f'it needs the frames of {dataset}, and {raw} is not there: give RAW=folder')
    cache = f'data/{datasets.built_from(dataset)}.points.csv'
    detected = functools.partial(detect.points_of, raw, cache=cache, workers=workers.usable())
    rows, points, _ = datasets.load(dataset, raw, None, detected)
    rows = [row for row in rows if row['subject'] in subjects and row['path'] != row['reference']]
    length = collections.Counter(sequence_of(row) for row in rows)
    if max(length.values(), default=1) == 1:
        raise ValueError(f'the people of this fold have no sequences in {raw}')

    table = Path(raw, 'depth.csv')
    rows = with_depth(rows, read_depths(table)) if table.exists() else with_position(rows, length)
    paths = sorted(row['path'] for row in rows)
    if points is None:
        points, _, _ = detected(paths)
    points = {path: points[path] for path in paths if path in points}

    with build.cropped(raw, points, tempfile.gettempdir(), workers.usable()) as (crop_of, failures):
        crops = {path: crop_of(path) for path in points if path not in failures}
    usable = [row for row in rows if row['path'] in crops]
    if len(usable) < len(rows):
        print(f'{len(rows) - len(usable)} of {len(rows)} frames cannot be read or show no face: '
              'left out.')
    if not usable:
        raise ValueError('no frame is left')
    return usable, np.array([crops[row['path']] for row in usable]), table.exists()


def sequence_of(row):
    return row['subject'], row['sequence']


def with_position(rows, length):
    """The rows of a sequence, in the order of their frames, with `depth`: 1/n, 2/n, … 1."""
    seen, placed = collections.Counter(), []
    for row in rows:
        seen[sequence_of(row)] += 1
        placed.append({**row, 'depth': seen[sequence_of(row)] / length[sequence_of(row)]})
    return placed


def with_depth(rows, depths):
    """The rows with `depth`, from what read_depths gives; SystemExit for a frame without one."""
    for row in rows:
        if (*sequence_of(row), row['frame']) not in depths:
            raise SystemExit(f'{row["path"]} has no row in depth.csv: make the set again.')
    return [{**row, 'depth': depths[(*sequence_of(row), row['frame'])]} for row in rows]


def read_depths(path):
    """{(subject, sequence, frame): depth} of a depth.csv.

    SystemExit, with the line, for a bad row.
    """
    depths = {}
    for line, row in enumerate(spreadsheet.read_csv(path), 2):
        try:
            depth = float(row['depth'])
            if not 0 <= depth <= 1:
                raise ValueError
            depths[row['subject'], row['sequence'], int(row['frame'])] = depth
        except (KeyError, TypeError, ValueError):
            raise SystemExit(
                f'{path}, line {line}: expected subject,sequence,frame,depth, depth 0 to 1, got '
                f'{",".join(map(str, row.values()))[:80]}: make the set again.') from None
    return depths


def judge(net, rows, crops, classes):
    """(what the network says of N frames, N labels; which of them are wrong, N booleans)."""
    truth = [classes.index(row['expression']) for row in rows]
    said = network.run(net, network.centre(crops))['prob'].argmax(1)
    return said, said != truth


def bins(depth, missed, people, folds=None, seed=1):
    """A dict a bin of EDGES with frames: depth_above, depth_to, frames, people, error, low, high.

    depth, missed (booleans), people (IDs), folds (None: all of one): of N frames. error: % of the
    bin's frames; low, high: its 95 % interval, by bootstrap over folds and people, since one
    person's frames are alike, and one network's people: N frames tell less than N people would.
    """
    names, first, person = np.unique(people, return_index=True, return_inverse=True)
    place = np.clip(np.digitize(depth, EDGES, right=True) - 1, 0, len(EDGES) - 2)
    frames, misses = np.zeros((2, len(names), len(EDGES) - 1), int)
    np.add.at(frames, (person, place), 1)
    np.add.at(misses, (person, place), np.asarray(missed, int))

    fold_of = np.zeros(len(names), int) if folds is None else np.asarray(folds)[first]
    drawn = intervals.draw_ratios(intervals.People(misses, frames, fold_of), RESAMPLES, seed)
    table = []
    for i in np.flatnonzero(frames.any(0)):
        low, high = 100 * np.nanpercentile(drawn[:, i], (2.5, 97.5))
        table.append(dict(depth_above=EDGES[i], depth_to=EDGES[i + 1], frames=frames[:, i].sum(),
                          people=np.count_nonzero(frames[:, i]),
                          error=100 * misses[:, i].sum() / frames[:, i].sum(), low=low, high=high))
    return table


def text(tables):
    """CSV text of {variant: what bins gives}: the numbers of the figure."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(COLUMNS)
    for variant, table in tables.items():
        for row in table:
            writer.writerow([variant, *(f'{row[column]:.4g}' for column in COLUMNS[1:])])
    return out.getvalue()


def draw(path, tables, known, n_classes):
    """The figure of {variant: what bins gives}, and below it the frames of each bin.

    known: whether the depth is, as read_frames says.
    """
    figure, (above, below) = plots.plt.subplots(2, 1, figsize=(6, 4.8), sharex=True,
                                                constrained_layout=True,
                                                gridspec_kw=dict(height_ratios=(4, 1)))
    chance = 100 * (1 - 1 / n_classes)
    above.axhline(chance, color='0.6', linewidth=0.8)
    above.annotate('chance', (1, chance), xytext=(3, 0), textcoords='offset points', va='center',
                   fontsize=8, annotation_clip=False)
    for i, (variant, table) in enumerate(tables.items()):
        middle, error, low, high = columns(table)
        aside = 0.012 * (i - (len(tables) - 1) / 2)  # so that no interval hides another
        lengths = np.maximum((error - low, high - error), 0)
        above.errorbar(middle + aside, error, lengths, capsize=2, elinewidth=0.8, markersize=4,
                       label=plots.name(variant), **plots.style(variant))
    above.set(ylabel='error, % of frames', ylim=(0, 105), xlim=(0, 1))
    above.legend(title='95 % intervals:\nbootstrap over folds\nand their people', title_fontsize=8,
                 loc='lower left', bbox_to_anchor=(1, 0), frameon=False)
    counts = [row['frames'] for row in table]  # the same for every variant
    below.bar(middle, counts, 0.08, color='0.8', edgecolor='0.3', linewidth=0.6)
    for x, n in zip(middle, counts):
        below.annotate(n, (x, n), xytext=(0, 1), textcoords='offset points', ha='center',
                       fontsize=7)
    below.set(ylabel='frames', ylim=(0, 1.35 * max(counts)), xticks=EDGES,
              xlabel='depth of the expression (0 neutral, 1 full)' if known else
                     'position in the sequence (0 first frame, 1 labelled frame)')
    plots.save(figure, path)


def columns(table):
    """Arrays of what bins gives: the middle of each bin, error, low, high."""
    middle = [(row['depth_above'] + row['depth_to']) / 2 for row in table]
    return np.array([middle, *([row[name] for row in table] for name in ('error', 'low', 'high'))])
