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
    Files with another ending and hidden ones are passed over, and so are folders in a person's
    folder, which report['note'] counts.
    Pictures are not opened here. Raises SystemExit where raw has no picture in a folder.
    """
    expected = (f'a folder of pictures (.jpg, .png, .heic or another of {len(ENDINGS)} endings) '
                'for each person')
    if not os.path.isdir(raw):
        raise wrong_folder(raw, expected)
    rows, left_out, found, nested = [], [], 0, []
    for person in sorted(filter(visible, os.listdir(raw)), key=ascending):
        folder = os.path.join(raw, person)
        if os.path.isdir(folder):
            nested += sorted(os.path.join(person, entry.name) for entry in os.scandir(folder)
                             if visible(entry.name) and entry.is_dir())
        for name in sorted(pictures(folder), key=ascending):
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
    report = {'unit': 'images', 'found': found, 'unlabelled': [], 'left_out': left_out}
    if nested:
        report['note'] = (f'Not looked into: {len(nested)} folder{"s" * (len(nested) > 1)} in '
                          f"persons' folders, the first {ascii(nested[0])[1:-1]}.")
    return rows, None, report
