"""CASIA-WebFace, and any other folder of faces by person: <person>/<picture>, the layout of its
archive (0000045/001.jpg, ...). It ships no landmarks."""
import os

from data_prep.folds import ascending
from data_prep.sets.layout import ENDINGS, pictures, visible, wrong_folder


def read_set(raw, classes=None, frames=None):
    """A row a picture in folder `raw`: subject = expression = the person, a sequence each, named as
    the picture's file, reference = the picture itself. The arguments classes and frames are not
    used.

    Returns (rows, None, report) as ckplus.read_set does; None stands for points yet to be detected.
    Files with another ending, hidden ones, and folders in a person's folder are passed over.
    Pictures are not opened here. Raises SystemExit where raw has no picture in a folder.
    """
    expected = (f'a folder of pictures (.jpg, .png, .heic or another of {len(ENDINGS)} endings) '
                'for each person')
    if not os.path.isdir(raw):
        raise wrong_folder(raw, expected)
    rows, left_out, found = [], [], 0
    for person in sorted(filter(visible, os.listdir(raw)), key=ascending):
        for name in sorted(pictures(os.path.join(raw, person)), key=ascending):
            found += 1
            path = os.path.join(person, name)
            # such a name breaks a line, or cannot be written as text at all
            if not path.isprintable():
                left_out.append(
                    (ascii(path)[1:-1], 'the name holds characters that cannot be printed'))
                continue
            rows.append({'subject': person, 'sequence': name, 'frame': 1, 'expression': person,
                         'path': path, 'reference': path})
    if not found:
        raise wrong_folder(raw, expected)
    return rows, None, {'unit': 'images', 'found': found, 'unlabelled': [], 'left_out': left_out}
