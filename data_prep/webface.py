"""CASIA-WebFace, and any other folder of faces by person: <person>/<picture>, the layout of its archive
(0000045/001.jpg, ...). It ships no landmarks."""
import os

from data_prep.folds import ascending

ENDINGS = ('.jpg', '.jpeg', '.png')


def read(raw, classes=None, frames=None):
    """A row a picture in folder `raw`: subject = expression = the person, a sequence each, named as the
    picture's file, reference = the picture itself. The arguments classes and frames are not used.

    Returns (rows, None, report) as ckplus.read does; None stands for points yet to be detected. Files with
    another ending, hidden ones, and folders in a person's folder are passed over. Pictures are not opened
    here. Raises SystemExit where raw has no picture in a folder.
    """
    if not os.path.isdir(raw):
        raise SystemExit(f'{raw} is not a folder: RAW must name one that holds a folder of pictures for each '
                         'person.')
    rows, left_out, found = [], [], 0
    for person in sorted(filter(visible, os.listdir(raw)), key=ascending):
        for name in sorted(pictures(os.path.join(raw, person)), key=ascending):
            found += 1
            path = os.path.join(person, name)
            if not path.isprintable():  # such a name breaks a line, or cannot be written as text at all
                left_out.append((ascii(path)[1:-1], 'the name holds characters that cannot be printed'))
                continue
            rows.append({'subject': person, 'sequence': name, 'frame': 1, 'expression': person,
                         'path': path, 'reference': path})
    if not found:
        entries = sorted(os.listdir(raw))
        more = f' and {len(entries) - 8} more' if len(entries) > 8 else ''
        raise SystemExit(f'{raw} has no {", ".join(ENDINGS)} in its folders: RAW must name a folder that '
                         'holds a folder of pictures for each person, and this one holds '
                         f'{", ".join(map(ascii, entries[:8])) or "nothing"}{more}.')
    return rows, None, {'unit': 'pictures', 'found': found, 'unlabelled': 0, 'left_out': left_out}


def visible(name):
    """False for hidden files, such as those that macOS adds beside each file."""
    return not name.startswith('.')


def pictures(folder):
    """Names of the pictures in a folder; none where it is a file."""
    if not os.path.isdir(folder):
        return []
    return [name for name in filter(visible, os.listdir(folder)) if name.lower().endswith(ENDINGS)
            and os.path.isfile(os.path.join(folder, name))]
