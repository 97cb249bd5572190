"""What the loaders share: which files count, and the sentence for a folder that is no set."""
import os

# By which a picture is known in a folder of all sorts
ENDINGS = ('.avif', '.bmp', '.dib', '.gif', '.heic', '.heif', '.hif', '.jfif', '.jp2', '.jpe',
           '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.pnm', '.ppm', '.tif', '.tiff', '.webp')


def wrong_folder(raw, expected):
    """The SystemExit to raise for a folder that is not laid out as a set: it says that RAW must
    name one that holds what is `expected`, and what this one holds."""
    if not os.path.isdir(raw):
        return SystemExit(f'{raw} is not a folder: RAW must name one that holds {expected}.')
    entries = sorted(os.listdir(raw))
    more = f' and {len(entries) - 8} more' if len(entries) > 8 else ''
    return SystemExit(
        f'{raw} is not laid out as expected: RAW must name a folder that holds {expected}, and '
        f'this one holds {", ".join(map(ascii, entries[:8])) or "nothing"}{more}.')


def check_links(raw):
    """SystemExit for the first link anywhere in folder raw whose target cannot be seen: a person or
    a class may lie there, which would be missing without a word."""
    if not os.path.isdir(raw):
        return
    folders = [raw]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_symlink() and visible(entry.name) and not os.path.exists(entry.path):
                    target = os.path.realpath(entry.path)
                    if os.path.islink(target):
                        raise SystemExit(f'{ascii(entry.path)[1:-1]} is a link that leads back to '
                                         'itself: remove it, or put the files themselves there.')
                    raise SystemExit(
                        f'{ascii(entry.path)[1:-1]} is a link to {ascii(target)[1:-1]}, which '
                        'cannot be seen from here: name that target by the variable GCNET_MOUNTS, '
                        'or put the files themselves into RAW.')
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)


def lost_link(path):
    """The target of a link that `path`, or a folder on the way to it, is, where that cannot be
    seen; None where there is no such link."""
    if os.path.exists(path):
        return None
    while path not in ('', '/'):
        if os.path.islink(path) and not os.path.exists(path):
            return os.path.realpath(path)
        path = os.path.dirname(path)
    return None


def first_neutral(rows):
    """{subject: path of the first neutral picture} of rows as in datasets.py, for those that have
    one: the reference of a person's single pictures, where the set names no other."""
    neutral = {}
    for row in rows:
        if row['expression'] == 'neutral':
            neutral.setdefault(row['subject'], row['path'])
    return neutral


def visible(name):
    """False for hidden files, such as those that macOS adds beside each file."""
    return not name.startswith('.')


def pictures(folder):
    """Names of the pictures in a folder; none where it is a file."""
    if not os.path.isdir(folder):
        return []
    return [name for name in filter(visible, os.listdir(folder))
            if name.lower().endswith(ENDINGS) and os.path.isfile(os.path.join(folder, name))]
