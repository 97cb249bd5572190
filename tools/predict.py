"""The expression of every face in pictures, a video or a webcam's, by a trained run: `make
predict`.

    python3 -m tools.predict photo.jpg [--run runs/demo/s1r1/fold3_seed1] [--format json] [--out
    FOLDER]

IMAGE is a picture, a folder of pictures, or a video. A line a face goes to standard output, with
--format json an object: image, frame (of a video, from 0), face (1 is the largest), points (left
and right eye as seen, nose, corners of the mouth: x, y in pixels), expression, probabilities. A
picture of the result goes to predictions/<name>.png: each face X, the reference X̂r that the
network drew of it, where the two differ, and the probabilities; for a video the probabilities by
frame. With --format json pictures are drawn only where --out names a folder.

The exit code is 0 where at least one face was found. A picture in a folder that cannot be read is
named on standard error and passed over.
"""
import argparse
import collections
import contextlib
import functools
import itertools
import json
import os
import sys
import tempfile
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
from tqdm import tqdm

from data_prep import workers
from tools import predictor
from tools.core import arguments, draw_prediction, network
from tools.predictor import read_grey

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
VIDEOS = ('.avi', '.gif', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')
BEGUN = 16  # pictures that are searched ahead of the network
NO_FACE = 'no face found (it must be upright, all in the picture, and fill a twelfth of the longer side)'

# frame: its number in a video, else None; found: as predictor.find_faces gives it; reason: why it cannot
# be read
Picture = collections.namedtuple('Picture', 'name frame found reason')


def main():
    parser = argparse.ArgumentParser(description='The expression of every face in pictures.')
    parser.add_argument('image', nargs='?', type=Path,
                        help='a picture, a folder of pictures, or a video')
    parser.add_argument(
        '--run',
        help='folder of a trained run (default: the model that comes with the project)')
    parser.add_argument(
        '--frequencies', action='store_true', help=
        'multiply the probabilities with how frequent each class was in training, for a run trained with '
        '`balance`, which takes all for equally probable')
    parser.add_argument('--format', choices=('text', 'json'), default='text',
                        help='of standard output (default: text)')
    parser.add_argument('--out', type=Path,
                        help='folder of the pictures drawn (default: predictions)')
    parser.add_argument('--every', default=1, metavar='N',
                        help='of a video, every Nth frame (default: 1)')
    parser.add_argument('--webcam', metavar='N',
                        help='take the pictures of webcam N instead, until Ctrl-C')
    parser.add_argument('--workers', default=workers.usable(), metavar='N',
                        help='processes that look for faces (default: one a core, %(default)s)')
    options = parser.parse_args()
    options.every = arguments.whole_number('EVERY', options.every, 1, 10 ** 9)
    options.workers = arguments.whole_number('WORKERS', options.workers, 1, 1024)
    cv2.setNumThreads(1)  # one core a process
    sys.stdout.reconfigure(errors='backslashreplace')  # a file's name need not be text
    try:
        if options.webcam is not None:
            return watch(options)
        if options.image is None:
            raise SystemExit('Name a picture, a folder of pictures or a video: '
                             '`make predict IMAGE=photo.jpg`.')
        return predict(options)
    except KeyboardInterrupt:
        print('Interrupted.', file=sys.stderr)
        return 130
    except BrokenPipeError:  # who read our lines has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BrokenProcessPool:
        raise SystemExit('A process was ended from outside (memory full?): start again, with fewer '
                         'WORKERS.') from None
    except OSError as error:
        raise SystemExit(f'Nothing more can be read or written here: {error}.') from None


def load(options):
    """The Predictor of the options; says on standard error which model that is, and why."""
    model = predictor.Predictor(options.run, options.frequencies)
    goal = '' if model.iterations in (None, model.iteration) else f' of {model.iterations}'
    why = ''
    if not options.run and model.folder == predictor.SHIPPED:
        why = (f', which comes with the project ({model.folder}/README.md says what it can do; '
               'RUN= takes another)')
    if options.frequencies and not model.run.get('settings', {}).get('balance', 0):
        why += ', trained without `balance`: its probabilities have the frequencies in them already'
    print(f'Model: {model.folder}, iteration {model.iteration}{goal}{why}.', file=sys.stderr)
    return model


def predict(options):
    """Predicts every picture or frame of options.image and returns 0; SystemExit where there is no
    face."""
    paths = pictures(options.image)
    model = load(options)
    out = None
    if options.format == 'text' or options.out:
        out = options.out or Path('predictions')
        prepare(out, options.image)
    places = {str(path): place for path, place in zip(paths, name_all(paths, out))} if out else {}
    jobs = [(str(path), None, None) for path in paths] or frames(options.image, options.every)
    count, curve, drawn = 0, {}, []
    # A bar where a terminal shows it, and there is something to wait for
    bar = dict(total=len(paths) or None, disable=True if len(paths) == 1 else None, ascii=True,
               unit='picture' if paths else 'frame')
    with quiet(), workers.pool(options.workers) as pool:
        try:
            for picture, faces in tqdm(recognised(model, ahead(pool, jobs)), **bar):
                if not faces and len(paths) == 1:
                    raise SystemExit(f'{picture.name}: {picture.reason or NO_FACE}.')
                tell(picture, faces, options.format)
                count += len(faces)
                if picture.frame is not None:
                    curve[picture.frame] = faces[0].probabilities if faces else {}
                elif faces and out:
                    drawn.append(
                        pool.submit(draw_prediction.draw, places[picture.name], picture.name,
                                    faces))
            for done in drawn:
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)
    if not count:
        what = f'{len(paths)} pictures' if paths else f'{len(curve)} frames'
        raise SystemExit(f'{options.image}, {what}: {NO_FACE}.')
    if curve and out:
        places[options.image] = out / f'{options.image.stem}.png'
        draw_prediction.draw_curve(places[options.image], curve, model.classes)
    if options.format == 'text':
        print(f'drawn: {out if len(places) > 1 else places.popitem()[1]}')
    return 0


def watch(options):
    """Predicts what a webcam sees, a line a face, until Ctrl-C."""
    number = arguments.whole_number('WEBCAM', options.webcam, 0, 1023)
    with quiet():
        camera = cv2.VideoCapture(number)
    if not camera.isOpened():
        raise SystemExit(
            f'There is no webcam {number} here: plug one in, and where this runs in a container '
            f'give it /dev/video{number}.')
    model = load(options)
    try:
        for frame in itertools.count():
            read, image = camera.read()
            if not read:
                raise SystemExit(f'Webcam {number} gives no pictures any more: plug it in again.')
            tell(Picture(f'webcam {number}', frame, None, None), model(image), options.format)
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 0


def pictures(image):
    """Paths of the pictures that IMAGE names, [] for a video; SystemExit where there is neither."""
    if image.is_dir():
        paths = sorted(path for path in image.iterdir()
                       if path.suffix.lower() in PICTURES and path.name[0] != '.')
        if not paths:
            raise SystemExit(f'{image} holds no picture ({", ".join(PICTURES)}).')
        return paths
    if not image.exists():
        raise SystemExit(f'{image} is not there: name a picture, a folder of pictures or a video.')
    return [] if image.suffix.lower() in VIDEOS else [image]


def prepare(out, image):
    """Makes the folder for drawings; SystemExit where it cannot be written, or the pictures lie
    there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise SystemExit(
            f'{out} cannot be written ({error.strerror}): choose another OUT.') from None
    if out.samefile(image if image.is_dir() else image.parent):
        raise SystemExit(
            f'{out} holds your own pictures, not to be overwritten: choose another OUT.')


def name_all(paths, out):
    """Where each picture's drawing goes: named after it, with its ending where two differ by that
    alone."""
    count = collections.Counter(path.stem for path in paths)
    return [out / f'{path.stem if count[path.stem] == 1 else path.name}.png' for path in paths]


def frames(path, every):
    """Yields a job for search() for every Nth frame of a video; SystemExit where it has none."""
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    number = -1
    for number in itertools.takewhile(lambda number: video.grab(), itertools.count()):
        read, image = video.retrieve() if number % every == 0 else (False, None)
        if read:
            yield str(path), number, predictor.grey(image)
    if number < 0:
        raise SystemExit(f'{path} is damaged or no video.')


def ahead(pool, jobs):
    """Yields search(job) of each job, in order, while the pool is at work on the next ones."""
    begun = collections.deque()
    for job in jobs:
        begun.append(pool.submit(search, job))
        if len(begun) > BEGUN:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def search(job):
    """The Picture of a job (name, frame, grey image, or None to read the file of that name)."""
    name, frame, image = job
    try:
        return Picture(name, frame, predictor.find_faces(read_grey(name) if image is None else image),
                       None)
    except ValueError as error:
        return Picture(name, frame, [], str(error))
    except cv2.error as error:
        return Picture(name, frame, [], f'image is too large, or cannot be decoded ({error.err})')


@contextlib.contextmanager
def quiet():
    """Keeps off standard error what C libraries print about a damaged file; sys.stderr still goes
    there."""
    own = os.fdopen(os.dup(2), 'w', buffering=1, errors='backslashreplace')
    with own, open(os.devnull, 'w') as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            with contextlib.redirect_stderr(own):
                yield
        finally:
            os.dup2(own.fileno(), 2)


def recognised(model, searched):
    """Yields (Picture, its Faces) in order; the network takes the faces of several pictures at
    once."""
    waiting, count = [], 0
    for picture in searched:
        waiting.append(picture)
        count += len(picture.found)
        if count >= network.BATCH:
            yield from zip(waiting, model.recognise([picture.found for picture in waiting]))
            waiting, count = [], 0
    yield from zip(waiting, model.recognise([picture.found for picture in waiting]))


def tell(picture, faces, style):
    """Prints a line a face; what is wrong with a picture, on stderr."""
    # Only the main thread prints; and Ctrl-C while tqdm takes its lock would end in a RuntimeError
    # of tqdm's.
    write = functools.partial(tqdm.write, nolock=True)
    where = picture.name if picture.frame is None else f'{picture.name}, frame {picture.frame}'
    for number, face in enumerate(faces, 1):
        if style == 'json':
            frame = {} if picture.frame is None else {'frame': picture.frame}
            write(
                json.dumps({
                    'image': picture.name, **frame, 'face': number,
                    'points': face.points.round(1).tolist(), 'expression': face.expression,
                    'probabilities': {
                        name: round(value, 6)
                        for name, value in face.probabilities.items()
                    }
                }))
        else:
            first, *others = sorted(face.probabilities.items(), key=lambda pair: -pair[1])[:3]
            write(f'{where}, face {number}: {first[0]} {first[1]:.0%} '
                  f'({", ".join(f"{name} {value:.0%}" for name, value in others)})')
    if picture.reason or not faces and (style == 'text' or picture.frame is None):
        write(f'{where}: {picture.reason or "no face found"}',
              file=sys.stdout if style == 'text' and not picture.reason else sys.stderr)


if __name__ == '__main__':
    sys.exit(main())
