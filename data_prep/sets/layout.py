"""What the loaders share: which files of a folder count, and the sentence for a folder that is none
of a set."""
import os

ENDINGS = ('.jpg', '.jpeg', '.png')


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


def visible(name):
    """False for hidden files, such as those that macOS adds beside each file."""
    return not name.startswith('.')


def pictures(folder):
    """Names of the pictures in a folder; none where it is a file."""
    if not os.path.isdir(folder):
        return []
    return [name for name in filter(visible, os.listdir(folder)) if name.lower().endswith(ENDINGS)
            and os.path.isfile(os.path.join(folder, name))]
