"""metrics.csv of a run: a row an iteration that Caffe showed."""
import csv
import io

import numpy as np

from tools.core import files


def read_metrics(path):
    """The rows of a metrics.csv as dicts, without empty cells: iteration (int), all else float.
    SystemExit where it is missing or damaged."""
    rows = []
    try:
        with open(path, newline='', encoding='utf-8') as file:
            for row in csv.DictReader(file):
                iteration = int(row.pop('iteration'))
                values = {name: float(text) for name, text in row.items() if text}
                rows.append({'iteration': iteration, **values})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(f'{path} cannot be read ({error}): move it away, or remove '
                         f'{path.parent} and train again.') from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise SystemExit(f'{path} is damaged: move it away, or remove {path.parent} and train '
                         'again.') from None
    return rows


def read_columns(path):
    """{name: (iterations, values)} of each column of a metrics.csv, where it has a value.

    SystemExit as read_metrics.
    """
    columns = {}
    for row in read_metrics(path):
        iteration = row.pop('iteration')
        for name, value in row.items():
            columns.setdefault(name, []).append((iteration, value))
    return {name: tuple(np.transpose(pairs)) for name, pairs in columns.items()}


def write_metrics(path, rows):
    """Writes metrics.csv: iteration, seconds, lr, loss, each output so far.

    seconds: of training, starts included.
    """
    names = dict.fromkeys(['iteration', 'seconds', 'lr', 'loss'])
    for row in rows:
        names.update(dict.fromkeys(row))
    text = io.StringIO()
    table = csv.DictWriter(text, names, lineterminator='\n')
    table.writeheader()
    table.writerows(rows)
    files.write(path, text.getvalue())
