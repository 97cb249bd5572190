"""The lines of `make predict` on standard output: text, JSON or CSV."""
import csv
import functools
import io
import json
import sys

from tqdm import tqdm

from data_prep import detect, spreadsheet

# Only the main thread prints; and Ctrl-C while tqdm takes its lock would end in a RuntimeError of
# tqdm's.
write = functools.partial(tqdm.write, nolock=True)


class Lines:
    """Prints a line a face, in one style: text, json or csv."""

    def __init__(self, style, classes):
        self.style = style
        if style == 'csv':
            points = [f'{part}_{axis}' for part in detect.PARTS for axis in 'xy']
            write_row(['image', 'frame', 'face', 'expression',
                       *(f'probability_{name}' for name in classes), *points])

    def print_picture(self, picture, faces):
        """The Faces of a Picture; what is wrong with it, on standard error."""
        print_line = dict(text=text_line, json=json_line, csv=csv_line)[self.style]
        for number, face in enumerate(faces, 1):
            print_line(picture, number, face)

        # That there is no face is a result where people read; JSON and CSV hold faces alone, and of
        # a video's frames most may have none.
        if picture.reason or not faces and (self.style == 'text' or picture.frame is None):
            write(f'{where(picture)}: {picture.reason or "no face found"}',
                  file=sys.stdout if self.style == 'text' and not picture.reason else sys.stderr)


def text_line(picture, number, face):
    first, *others = sorted(face.probabilities.items(), key=lambda pair: -pair[1])[:3]
    write(f'{where(picture)}, face {number}: {first[0]} {first[1]:.0%} '
          f'({", ".join(f"{name} {value:.0%}" for name, value in others)})')


def json_line(picture, number, face):
    frame = {} if picture.frame is None else {'frame': picture.frame}
    probabilities = {name: round(value, 6) for name, value in face.probabilities.items()}
    write(json.dumps({'image': picture.name, **frame, 'face': number,
                      'points': face.points.round(1).tolist(), 'expression': face.expression,
                      'probabilities': probabilities}))


def csv_line(picture, number, face):
    write_row([picture.name, '' if picture.frame is None else picture.frame, number,
               face.expression, *(f'{value:.6f}' for value in face.probabilities.values()),
               *(f'{value:.1f}' for value in face.points.ravel())])


def write_row(cells):
    line = io.StringIO()
    writer = csv.writer(line)  # its line's end is also what it knows of ends within a cell
    writer.writerow(map(spreadsheet.quote, cells))
    write(line.getvalue()[:-len(writer.dialect.lineterminator)])


def where(picture):
    """The name of a Picture, with its frame in a video."""
    frame = '' if picture.frame is None else f', frame {picture.frame}'
    return shown(picture.name) + frame


def shown(name):
    """A file's name in one line, without what would steer a terminal."""
    name = str(name)
    return name if name.isprintable() else repr(name)[1:-1]


def summary(unit, count, others):
    """One line on all pictures or frames; count: of pictures, faces, faceless, unreadable."""
    def of(number, what):
        return f'{number} {what}' if number == 1 else f'{number} {what}s'
    return (f'summary: {of(count["pictures"], unit)}, {of(count["faces"], "face")}, '
            f'{count["faceless"]} without a face, {count["unreadable"]} unreadable, '
            f'{others} passed over')
