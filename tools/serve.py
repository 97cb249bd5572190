"""A page that shows what the network makes of a photograph, or of what the webcam sees: `make
serve`.

    python3 -m tools.serve [--port 8000] [--run RUN] [--frequencies]

It listens at 127.0.0.1, where this machine alone reaches it; in a container whose port docker/enter
has published at the host's 127.0.0.1, at the container's own address. The page (tools/page) asks
nothing of any other machine, and no picture is written to the disk.

GET gives the page's three files and /model; POST /look takes the bytes of a picture and answers in
JSON: `photo` with its faces marked, and of each face `expression`, `probabilities` ([name, value]
by class) and `pictures` (X, X̂r, their difference; X alone of a model that draws no reference), as
data URLs; or `error`, a sentence.
"""
import argparse
import base64
import errno
import functools
import http.server
import io
import json
import os
import re
import sys
import threading
from pathlib import Path

from data_prep import ended_by_ctrl_c

MOST_BYTES = 64 * 2 ** 20  # of a picture; what is longer is refused
IGNORED = 2 ** 30  # bytes of such a one that are still read, so that the answer arrives
ROOM = (480, 480)  # pixels: the photograph on the page fits in

# Nothing else is ever opened for a client.
PAGE = Path(__file__).with_name('page')
FILES = {'/': ('index.html', 'text/html'), '/page.js': ('page.js', 'text/javascript'),
         '/page.css': ('page.css', 'text/css')}
HEADERS = {
    'Content-Security-Policy': "default-src 'self'; img-src 'self' data:; base-uri 'none'; "
                               "form-action 'none'; frame-ancestors 'none'",
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Permissions-Policy': 'camera=(self)',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
}
HERE = re.compile(r'(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]+)?', re.IGNORECASE)


def main():
    parser = argparse.ArgumentParser(description='A page for photographs and the webcam.')
    parser.add_argument('--port', default='8000', help='default: %(default)s')
    parser.add_argument('--run', help='folder of a trained run (default: the model that comes with '
                        'the project)')
    parser.add_argument('--frequencies', action='store_true', help='as in tools.predict')
    options = parser.parse_args()

    with ended_by_ctrl_c():
        from tools.core import arguments, prediction
        port = arguments.whole_number('PORT', options.port, 1, 65535)
        model = prediction.open_model(options)
        server = start(model, port)

    print(f'Model: {model.folder}, iteration {model.iteration}.\n'
          f'Open http://127.0.0.1:{port} in a browser on this machine; Ctrl-C ends it. '
          'Nothing leaves this machine.', flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print('Ended.', file=sys.stderr, flush=True)
    # At once: Python's own way ends the threads that still look at a picture in the middle of Caffe
    # or OpenCV, which may abort at that.
    os._exit(0)


def start(model, port):
    """The server of a Predictor, listening at a port (0: any that is free), still to be run by
    serve_forever(). SystemExit where the port cannot be had."""
    # docker/enter sets this for a container alone, which has an address of its own.
    address = '0.0.0.0' if os.environ.get('GCNET_PUBLISHED') else '127.0.0.1'
    try:
        server = http.server.ThreadingHTTPServer((address, port), Handler)
    except OSError as error:
        reason = 'another program has it' if error.errno == errno.EADDRINUSE else error.strerror
        raise SystemExit(f'Port {port} cannot be had ({reason}): choose another one, as in '
                         '`make serve PORT=8123`.') from None
    server.files = {path: ((PAGE / name).read_bytes(), kind)
                    for path, (name, kind) in FILES.items()}
    server.files['/model'] = json.dumps(describe(model)).encode(), 'application/json'
    server.look = functools.partial(look, model, threading.Lock())
    return server


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection, which may ask several times, as a webcam does."""
    protocol_version = 'HTTP/1.1'
    server_version, sys_version = 'GCNet-Caffe', ''
    timeout = 60  # seconds, for one who says nothing

    def handle(self):
        try:
            super().handle()
        except ConnectionError:  # who asked has gone
            pass

    def do_GET(self):
        if not self.is_from_here():
            return
        content, kind = self.server.files.get(self.path, (None, None))
        if content is None:
            return self.refuse(404, 'There is nothing of this name here: the page is at /.')
        self.answer(200, content, kind)

    def do_POST(self):
        length = self.headers.get('Content-Length', '')
        if not re.fullmatch('[0-9]{1,15}', length):
            self.close_connection = True
            return self.refuse(411, 'The length of the picture is not told.')
        length = int(length)
        data = self.read(length)
        if not self.is_from_here():
            return
        if self.path != '/look':
            return self.refuse(404, 'There is nothing of this name here: pictures go to /look.')
        if data is None:
            return self.refuse(413, f'The file has {length / 2 ** 20:.0f} MB, more than the '
                                    f'{MOST_BYTES >> 20} that are taken: make it smaller.')
        try:
            seen = self.server.look(data)
        except ValueError as error:
            return self.refuse(422, str(error))
        except SystemExit as error:  # the model is no good
            return self.refuse(500, str(error))
        self.answer(200, json.dumps(seen).encode(), 'application/json')

    def read(self, length):
        """The picture that was sent; None, and most of it is passed over, where it is too long."""
        if length <= MOST_BYTES:
            data = self.rfile.read(length)
            if len(data) < length:
                raise ConnectionAbortedError
            return data
        self.close_connection = length > IGNORED
        left = min(length, IGNORED)
        while left:
            part = len(self.rfile.read(min(left, 2 ** 20)))
            if not part:
                raise ConnectionAbortedError
            left -= part
        return None

    def is_from_here(self):
        """Whether the request is one of this machine's own page. Refuses it where it came by
        another name, which anybody can have pointed here, or from another page."""
        host, origin = self.headers.get('Host', ''), self.headers.get('Origin')
        if HERE.fullmatch(host) and origin in (None, f'http://{host}'):
            return True
        self.refuse(403, 'This page is for this machine alone: open it as '
                         f'http://127.0.0.1:{self.server.server_port}.')
        return False

    def refuse(self, status, sentence):
        self.answer(status, json.dumps({'error': sentence}).encode(), 'application/json')

    def answer(self, status, content, kind):
        self.send_response(status)
        self.send_header('Content-Type', f'{kind}; charset=utf-8')
        self.send_header('Content-Length', str(len(content)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header('Connection', 'close')
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Whoever looked at what is nobody's business."""


def describe(model):
    """What the page says of a Predictor, for JSON."""
    from tools.core import predictor
    warning = ''
    if model.folder == predictor.SHIPPED:  # the card's own first words
        card = (model.folder / 'README.md').read_text(encoding='utf-8')
        bold = re.search(r'\*\*(.+?)\*\*', card, re.DOTALL)
        warning = bold and ' '.join(bold.group(1).split()) + '.'
    return dict(folder=str(model.folder), iteration=model.iteration, classes=model.classes,
                draws='generated' in model.net.blobs, warning=warning, limit=MOST_BYTES)


def look(model, lock, data):
    """What the page shows of a picture, for JSON; data: the bytes of its file. ValueError, in a
    sentence, where they are no picture that can be read."""
    import cv2

    from data_prep import pictures
    from tools.core import draw_prediction, prediction
    if not data:
        raise ValueError('The file is empty: choose a photograph.')
    try:
        with lock:  # a network runs once at a time, and one large photograph is in memory
            photo = pictures.decode(data)
            faces = model(photo)
            marked = draw_prediction.mark(photo, faces, ROOM)
    except (cv2.error, MemoryError):
        raise ValueError('The image is too large, or cannot be decoded: make it smaller.') from None
    except ValueError as error:
        raise ValueError(f'The {error}.') from None
    return dict(
        photo=data_url(marked, 'JPEG', quality=85),
        error='' if faces else f'{prediction.NO_FACE[0].upper()}{prediction.NO_FACE[1:]}.',
        faces=[dict(expression=face.expression, probabilities=list(face.probabilities.items()),
                    pictures=[data_url(draw_prediction.to_image(colours), 'PNG')
                              for colours in draw_prediction.colour(face)])
               for face in faces])


def data_url(image, kind, **options):
    """A Pillow image as a data URL in the format `kind`."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f'data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}'


if __name__ == '__main__':
    sys.exit(main())
