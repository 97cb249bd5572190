"""What tools.references and tools.probe share, which measure tested networks on unseen people:
finding the runs (tools.make_figures does, too), a mean with its interval, the page and the CSV."""
import contextlib
import csv
import io
from pathlib import Path

import numpy as np

from data_prep import interrupted
from tools.core import files, intervals, predictions
from tools.core.markdown import escape, markdown


def find_tested(dataset, variants=('*',)):
    """[(folder, run.json)] of the tested runs, by default of every variant there is, by fold: so
    one fold in memory is enough."""
    folders = [folder for variant in variants
               for folder in sorted(Path('runs', dataset).glob(f'{variant}/fold*_seed*'))]
    settings = [predictions.complete(folder) for folder in folders]
    tested = [(folder, run) for folder, run in zip(folders, settings) if run]
    return sorted(tested, key=lambda pair: pair[1]['fold'])


def images_of(rows):
    """(subject, name of the image) of each row of fold_data.read_part, two arrays."""
    return (np.array([row['subject'] for row in rows]),
            np.array([f'{row["subject"]}/{row["sequence"]}/{row["frame"]}' for row in rows]))


def joined(parts):
    """The rows of several runs, {name: array} each, as one such dict."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def estimate(rows, name, scale=1):
    """{name: mean over the samples with a value, name_low and name_high: its interval}, or None;
    each times `scale`."""
    line = dict.fromkeys([name, f'{name}_low', f'{name}_high'])
    own = intervals.take(rows, ~np.isnan(rows[name]))
    if len(own[name]):
        people = intervals.by_person({**own, 'value': own[name]})
        line[name] = scale * people.gain.sum() / people.total.sum()
        if len(people.total) > 1:  # of one person there is no spread
            line[f'{name}_low'], line[f'{name}_high'] = scale * intervals.bootstrap(people)
    return line


def cell(line, name, scale=100, form='.1f'):
    """What estimate() gives as text; None where there is none."""
    mean, low, high = (line[key] for key in (name, f'{name}_low', f'{name}_high'))
    if mean is None:
        return None
    interval = '' if low is None else f' ({scale * low:{form}} to {scale * high:{form}})'
    return f'{scale * mean:{form}}{interval}'


@contextlib.contextmanager
def ending_well(what):
    """A full disk or Ctrl-C in it ends in a sentence; what: as in write()."""
    try:
        yield
    except OSError as error:
        raise SystemExit(f'The {what} cannot be written: {error}.') from None
    except KeyboardInterrupt:
        raise interrupted('what was written before is kept') from None


def write(dataset, program, what, heading, lines, tables):
    """Writes runs/<dataset>/<what>.csv, of dicts, and <what>.md, of Tables, and prints the latter.

    program: the module of tools that does it; heading: the page's, on the data set.
    """
    made = (f'Made by `python3 -m tools.{program} --dataset {dataset}` from the networks in '
            f'runs/{dataset}.')
    text = '\n'.join([f'# {heading} on {escape(dataset)}', '', made, '', *map(markdown, tables)])

    table, page = (Path('runs', dataset, f'{what}.{ending}') for ending in ('csv', 'md'))
    files.write(table, as_csv(lines))
    files.write(page, text)
    print(text)
    print(f'{what}: {page}, {table}')


def as_csv(lines):
    """Dicts with the same names as the text of a CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, lines[0], lineterminator='\n')
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
