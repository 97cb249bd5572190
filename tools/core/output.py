"""Where drawings go: a folder that is kept, and names that take nobody's file."""
import collections
import contextlib
import hashlib
import itertools
import os
import re
import tempfile
from pathlib import Path

from PIL import Image

from data_prep import workers

INPUT = 'Input'  # what a drawing's PNG calls the hash of the path of what it shows


def prepare_folder(out, image):
    """Makes the folder for drawings.

    SystemExit where it cannot be written, would be lost, or the pictures lie there.
    """
    lost = 'it is not in the checkout, and would be lost: make that folder first'
    reason = None if is_kept(out) else lost
    try:
        if not reason:
            out.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        reason = error.strerror
    if reason:
        raise SystemExit(f'{out} cannot be written ({reason}): choose another OUT.')
    if out.samefile(image if image.is_dir() else image.parent):
        raise SystemExit(
            f'{out} holds your own pictures, not to be overwritten: choose another OUT.')


@contextlib.contextmanager
def alone_in(out):
    """Of two commands that draw into one folder the second waits for the first: both would take a
    name that is free now."""
    folder = os.open(out, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # not every network's file system has locks
            workers.take_turn(folder, f'Waiting for another command that draws into {out}.')
        yield
    finally:
        os.close(folder)


def is_kept(path):
    """Whether what is written there outlives the environment: in the working directory, or in a
    folder of the host that was laid in."""
    path = Path(path).resolve()
    if 'GCNET_INSIDE' not in os.environ or Path.cwd() in (path, *path.parents):
        return True

    # The file system that the path is on: of the mounted folders above it the longest.
    point = max(filter((path, *path.parents).__contains__, mount_points()),
                key=lambda point: len(point.parts), default=Path('/'))
    passing = [Path('/'), *map(Path, ('/tmp', '/proc', '/sys', '/dev'))]
    return point not in passing and not set(point.parents) & set(passing[2:])


def mount_points():
    """The folders at which file systems are mounted, as this process sees them."""
    with open('/proc/self/mountinfo', encoding='utf-8', errors='surrogateescape') as file:
        names = [line.split()[4] for line in file]
    return [Path(re.sub(r'\\([0-7]{3})', lambda found: chr(int(found.group(1), 8)), name))
            for name in names]


def name_all(paths, out):
    """{path: where its drawing goes}: named after it, with its ending where two differ by that
    alone, and with a number where that is taken by another's."""
    # Not only files that are there: two of these pictures may want one name, as in a.jpg and a.png.
    count, places = collections.Counter(path.stem for path in paths), {}
    taken = set()
    for path in paths:
        stem = path.stem if count[path.stem] == 1 else path.name
        for number in itertools.count(1):
            place = out / (f'{stem}.png' if number == 1 else f'{stem}-{number}.png')
            if place not in taken and is_free(place, path):
                break
        taken.add(place)
        places[path] = place
    return places


def is_free(place, path):
    """Whether a drawing of `path` may go there: nothing is there, or an older one of it."""
    if not os.path.lexists(place):
        return not os.path.lexists(place.with_suffix('.mp4'))
    try:
        with Image.open(place) as image:
            return image.info.get(INPUT) == hash_of(path)
    except (OSError, ValueError, SyntaxError):
        return False


def hash_of(path):
    """What tells one input from another: a hash of its whole path, which itself stays private."""
    return hashlib.sha256(os.fsencode(Path(path).resolve())).hexdigest()
