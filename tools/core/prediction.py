"""What `make predict` does: pictures in, lines and drawings out (see tools/predict.py)."""
import collections
import contextlib
import itertools
import os
import re
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
from tqdm import tqdm

from data_prep import pictures, video, workers
from data_prep.sets import layout
from tools.core import (
    arguments,
    draw_prediction,
    draw_video,
    face_lines,
    network,
    output,
    predictor,
)

BEGUN = 16  # pictures that are searched ahead of the network: a video's frames do not fit at once
NO_FACE = ('no face found (it must be upright, all in the picture, and fill a twelfth of the '
           'longer side)')

# frame: its number in a video, else None; found: as predictor.find_faces gives it; reason: why it
# cannot be read
Picture = collections.namedtuple('Picture', 'name frame found reason')


def run(options):
    """Does what the command line asks and returns the exit code.

    SystemExit, in a sentence, where it cannot.
    """
    options.every = arguments.whole_number('EVERY', options.every, 1, 10 ** 9)
    asked = workers.usable() if options.workers is None else options.workers
    options.workers = arguments.whole_number('WORKERS', asked, 1, 1024)
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


def open_model(options):
    """The Predictor of the options `run` and `frequencies` of a command line."""
    folder = options.run and seen_inside(Path(options.run))
    with quiet():
        return predictor.Predictor(folder, options.frequencies)


def load_model(options):
    """The Predictor of the options; says on standard error which model that is, and why."""
    model = open_model(options)
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
    """Predicts every picture or frame of options.image and returns 0.

    SystemExit where there is no face.
    """
    image = seen_inside(options.image)
    paths, others = list_pictures(image)
    if options.draw == 'video' and paths:
        name = face_lines.shown(image)
        raise SystemExit(f'{name} is no video, for DRAW=video: leave DRAW out.')

    # The model first: what is wrong with it is said before a folder is made.
    model = load_model(options)
    if not (options.format == 'text' or options.out or options.draw):
        return predict_into(None, options, image, paths, others, model)
    out = options.out or Path('predictions')
    output.prepare_folder(out, image)
    with output.alone_in(out):
        return predict_into(out, options, image, paths, others, model)


def predict_into(out, options, image, paths, others, model):
    """The same, with drawings in the folder `out`, or without any for None; paths, others: as
    list_pictures gives them."""
    places = output.name_all(paths or [image], out) if out else {}
    lines = face_lines.Lines(options.format, model.classes)
    count, curve = recognise_all(options, image, paths, model, lines, places)

    if others:
        print(f'Passed over in {face_lines.shown(image)}: {name_some(others)}.', file=sys.stderr)
    if not count['faces']:
        what = f'{len(paths)} pictures' if paths else f'{len(curve)} frames'
        if count['unreadable']:
            what += f', {count["unreadable"]} of them unreadable'
        raise SystemExit(f'{face_lines.shown(image)}, {what}: {NO_FACE}.')

    if curve and out:
        draw_prediction.draw_curve(
            places[image], image, {number: faces[0].probabilities if faces else {}
                                   for number, faces in curve.items()}, model.classes)
        if options.draw:
            with quiet():
                draw_video.draw(places[image].with_suffix('.mp4'), image, curve)

    if options.format == 'text':
        made = [out] if len(places) > 1 else list(places.values())
        made += [place.with_suffix('.mp4') for place in made if options.draw]
        print(f'drawn: {", ".join(map(face_lines.shown, made))}')
    if len(paths) != 1 or image.is_dir():
        unit = 'frame' if curve else 'picture'
        print(face_lines.summary(unit, count, len(others)),
              file=sys.stdout if options.format == 'text' else sys.stderr)
    return 0


def recognise_all(options, image, paths, model, lines, places):
    """Finds and recognises the faces of all pictures, or of the video `image` where `paths` is [],
    prints and draws them as they come.

    Returns the count of pictures, faces, faceless and unreadable pictures, and of a video {number
    of a frame: its Faces, without the two images}. places: {path: where its drawing goes}, {} where
    none is drawn.
    """
    jobs = [(str(path), None, None) for path in paths] or frames(image, options.every)
    count, curve, drawn = collections.Counter(), {}, []

    # A bar where a terminal shows it, and there is something to wait for
    bar = dict(total=len(paths) or None, disable=True if len(paths) == 1 else None, ascii=True,
               unit='picture' if paths else 'frame')

    with quiet(), workers.pool(options.workers) as pool:
        try:
            for picture, faces in tqdm(recognised(model, ahead(pool, jobs)), **bar):
                if not faces and len(paths) == 1 and not image.is_dir():
                    name = face_lines.shown(picture.name)
                    raise SystemExit(f'{name}: {picture.reason or NO_FACE}.')

                lines.print_picture(picture, faces)
                count['pictures'] += 1
                count['faces'] += len(faces)
                count['unreadable'] += bool(picture.reason)
                count['faceless'] += not faces and not picture.reason
                # Of a video without the images: thousands of frames would fill the memory.
                if picture.frame is not None:
                    curve[picture.frame] = [face._replace(face=None, reference=None)
                                            for face in faces]
                elif faces and places:
                    drawn.append(pool.submit(draw_prediction.draw, places[Path(picture.name)],
                                             picture.name, faces))
            for done in drawn:
                done.result()  # raises what went wrong there
        finally:
            pool.shutdown(cancel_futures=True)
    return count, curve


def watch(options):
    """Predicts what a webcam sees, a line a face, until Ctrl-C."""
    number = arguments.whole_number('WEBCAM', options.webcam, 0, 1023)
    with quiet():
        camera = cv2.VideoCapture(number)
    if not camera.isOpened():
        raise SystemExit(
            f'There is no webcam {number} here: plug one in, and where this runs in a container '
            f'give it /dev/video{number}.')
    model = load_model(options)
    lines = face_lines.Lines(options.format, model.classes)
    try:
        for frame in itertools.count():
            read, image = camera.read()
            if not read:
                raise SystemExit(f'Webcam {number} gives no pictures any more: plug it in again.')
            lines.print_picture(Picture(f'webcam {number}', frame, None, None), model(image))
            sys.stdout.flush()  # who reads a pipe is to have it now
    except KeyboardInterrupt:
        return 0


def seen_inside(path):
    """The path under which the environment shows it: it lays a folder in under its plain name, so
    that there `..` after a folder that is not laid in leads nowhere."""
    return path if path.exists() or '..' not in path.parts else Path(os.path.normpath(path))


def list_pictures(image):
    """Paths of the pictures that IMAGE names, [] for a video, and the names of what else lies in
    that folder; SystemExit where there is neither."""
    name, wanted = face_lines.shown(image), 'name a picture, a folder of pictures or a video'
    if image.is_dir():
        inside = sorted((path for path in image.iterdir() if path.name[0] != '.'), key=natural)
        paths = [path for path in inside
                 if path.suffix.lower() in layout.ENDINGS and not path.is_dir()]
        others = [path.name + '/' * path.is_dir() for path in inside if path not in set(paths)]
        if not paths:
            what = f', but {name_some(others)}' if others else ''
            raise SystemExit(f'{name} holds no picture (.jpg, .png, .heic or another of '
                             f'{len(layout.ENDINGS)} endings){what}.')
        return paths, others
    if not image.exists():
        raise SystemExit(f'{name} is not there: {wanted}.')
    if not image.is_file():
        raise SystemExit(f'{name} is no file: {wanted}.')
    return [] if pictures.is_video(image) else [image], []


def natural(path):
    """What a path is sorted by, so that frame2 comes before frame10."""
    parts = re.split(r'([0-9]+)', path.name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name


def name_some(names, most=5):
    """The first few of some names, and how many there are."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(map(face_lines.shown, names[:most])) + more


def frames(path, every):
    """Yields a job for search() for every Nth frame of a video; SystemExit where it has none."""
    name, number = face_lines.shown(path), -1  # of the last frame that there is
    try:
        capture = video.capture_of(path)
    except ValueError as error:
        raise SystemExit(f'{name}: {error}.') from None
    for number in itertools.takewhile(lambda number: capture.grab(), itertools.count()):
        read, image = capture.retrieve() if number % every == 0 else (False, None)
        if read:
            yield str(path), number, predictor.grey(image)
    if number < 0:
        raise SystemExit(f'{name}: video has no frame.')


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
        image = predictor.read_grey(name) if image is None else image
        return Picture(name, frame, predictor.find_faces(image), None)
    except ValueError as error:
        return Picture(name, frame, [], str(error))
    except cv2.error as error:
        return Picture(name, frame, [], f'image is too large, or cannot be decoded ({error.err})')


@contextlib.contextmanager
def quiet():
    """Keeps off standard error what C libraries print about a damaged file, but not sys.stderr."""
    # The descriptor, not sys.stderr: FFmpeg and libjpeg write past Python.
    own = os.fdopen(os.dup(2), 'w', buffering=1, errors='backslashreplace')
    with own, open(os.devnull, 'w') as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            with contextlib.redirect_stderr(own):
                yield
        finally:
            os.dup2(own.fileno(), 2)


def recognised(model, searched):
    """Yields (Picture, its Faces) in order.

    The network takes the faces of several pictures at once.
    """
    waiting, count = [], 0
    for picture in searched:
        waiting.append(picture)
        count += len(picture.found)
        if count >= network.BATCH:
            yield from zip(waiting, model.recognise([picture.found for picture in waiting]))
            waiting, count = [], 0
    yield from zip(waiting, model.recognise([picture.found for picture in waiting]))
