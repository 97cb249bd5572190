"""The page of `make serve` over HTTP: its numbers against `make predict`, and what it refuses."""
import base64
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import cv2
import drawn
import numpy as np
import places
import pytest
from PIL import Image
from test_predict import CLASSES, FOLDER, ROOT, make_run

from tools import serve
from tools.core import draw_prediction, predictor

LONDON = ROOT.parent / 'shared/data/london/images'
URL = re.compile(r'data:image/(png|jpeg);base64,(.+)')


def png(image):
    return cv2.imencode('.png', image)[1].tobytes()


def wide_png(side):
    """The head of a PNG of side x side pixels, and its end."""
    def chunk(name, content):
        return (struct.pack('>I', len(content)) + name + content
                + struct.pack('>I', zlib.crc32(name + content)))
    head = struct.pack('>IIBBBBB', side, side, 8, 0, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(b'0'))
            + chunk(b'IEND', b''))


def begin(model):
    """The server of a Predictor, at work in a thread."""
    server = serve.start(model, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def end(server):
    server.shutdown()
    server.server_close()


@pytest.fixture(scope='module')
def server():
    """A server of the model that comes with the project."""
    os.chdir(ROOT)
    server = begin(predictor.Predictor())
    yield server
    end(server)


@pytest.fixture
def ask(server):
    """A function: a path and, for POST, bytes -> (status, JSON or bytes, headers)."""
    def ask(path, data=None, **headers):
        headers = {name.replace('_', '-'): value for name, value in headers.items()}
        request = urllib.request.Request(f'http://127.0.0.1:{server.server_port}{path}', data,
                                         headers)
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        content = answer.read()
        is_json = answer.headers['Content-Type'].startswith('application/json')
        return answer.status, json.loads(content) if is_json else content, answer.headers
    return ask


def predict(path):
    """[{class: probability}] of each face, by the program behind `make predict`."""
    done = subprocess.run([sys.executable, '-m', 'tools.predict', '--format', 'json', path],
                          cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line)['probabilities'] for line in done.stdout.splitlines()]


def picture(url):
    """The picture of a data URL, and its format."""
    kind, data = URL.fullmatch(url).groups()
    return np.array(Image.open(io.BytesIO(base64.b64decode(data)))), kind


def check_like_predict(ask, path, count):
    status, answer, _ = ask('/look', path.read_bytes())
    expected = predict(path)
    assert status == 200 and answer['error'] == '' and len(expected) == count
    assert len(answer['faces']) == count
    for face, probabilities in zip(answer['faces'], expected):
        ours = dict(face['probabilities'])
        assert ours == pytest.approx(probabilities, abs=1e-3)
        assert face['expression'] == max(probabilities, key=probabilities.get)
    return answer


# --- what is seen ---

def test_a_drawn_photo_has_the_probabilities_of_predict(ask, tmp_path):
    faces = [drawn.face(person)[0] for person in (1, 2)]
    drawn.write(tmp_path / 'two.png', np.hstack(faces))
    answer = check_like_predict(ask, tmp_path / 'two.png', 2)
    photo, kind = picture(answer['photo'])
    assert kind == 'jpeg' and photo.shape[:2] == (295, 480)  # of 256 x 416
    orange = (np.abs(photo.astype(int) - (0xE6, 0x9F, 0x00)) < 60).all(2)
    assert orange.sum() > 400 and not orange[:, 235:245].any()  # around both faces


@pytest.mark.skipif(not LONDON.exists(), reason='no photographs in ../shared/data/london')
def test_a_photograph_has_the_probabilities_of_predict(ask):
    check_like_predict(ask, LONDON / '001_happy.jpg', 1)


def test_the_pictures_are_the_face_its_reference_and_their_difference(ask):
    image = drawn.face(1)[0]
    (face,) = ask('/look', png(image))[1]['faces']
    (expected,) = predictor.Predictor(ROOT / predictor.SHIPPED)(image)
    (x, reference, difference), kinds = zip(*map(picture, face['pictures']))
    assert kinds == ('png',) * 3
    assert np.abs(x[..., 0] / 255 - expected.face).max() < 0.01
    assert np.abs(reference[..., 0] / 255 - np.clip(expected.reference, 0, 1)).max() < 0.01
    # From blue to yellow: its brightness goes with the difference
    place = np.abs(expected.face - expected.reference)
    dark, bright = place < 0.05, place > 0.3 * draw_prediction.MOST
    assert difference[bright][:, 0].mean() > difference[dark][:, 0].mean() + 30


def test_several_ask_at_once(ask):
    pictures = [png(drawn.face(person)[0]) for person in (1, 2, 3)] * 3
    alone = [ask('/look', data)[1]['faces'][0]['probabilities'] for data in pictures[:3]] * 3
    found = [None] * len(pictures)

    def put(i):
        found[i] = ask('/look', pictures[i])[1]['faces'][0]['probabilities']
    threads = [threading.Thread(target=put, args=(i,)) for i in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


def test_a_model_that_draws_no_reference(tmp_path):
    make_run(tmp_path / FOLDER, 'cnn')
    server = begin(predictor.Predictor(tmp_path / FOLDER))
    try:
        place = f'http://127.0.0.1:{server.server_port}'
        (face,) = json.load(urllib.request.urlopen(f'{place}/look', png(drawn.face(1)[0])))['faces']
        assert len(face['pictures']) == 1
        assert [name for name, _ in face['probabilities']] == CLASSES
        model = json.load(urllib.request.urlopen(f'{place}/model'))
        assert (model['draws'], model['warning'], model['classes']) == (False, '', CLASSES)
    finally:
        end(server)


def test_the_page_names_the_model_and_what_it_cannot_do(ask):
    model = ask('/model')[1]
    assert model['folder'] == str(predictor.SHIPPED) and model['draws']
    card = ' '.join((ROOT / predictor.SHIPPED / 'README.md').read_text().split())
    assert len(model['warning']) > 40 and model['warning'].rstrip('.') in card


# --- what is refused ---

@pytest.mark.parametrize('data, status, expected', [
    (b'just text, no picture', 422, 'The image is damaged or not an image.'),
    (b'', 422, 'The file is empty: choose a photograph.'),
    (png(drawn.face(1)[0])[:-20], 422, 'The image is cut short.'),
    (wide_png(30000), 422, 'The image is 30000 x 30000 pixels, more than the 200 million that are '
                           'read: make it smaller.'),
    (bytes(serve.MOST_BYTES + 2 ** 21), 413, 'The file has 66 MB, more than the 64 that are taken: '
                                             'make it smaller.')
], ids=['text', 'nothing', 'cut', 'wide', 'long'])
def test_what_is_no_picture_is_a_sentence(ask, data, status, expected):
    assert ask('/look', data)[:2] == (status, {'error': expected})


def test_a_photo_without_a_face_is_a_sentence(ask):
    status, answer, _ = ask('/look', png(np.full((200, 200), 128, np.uint8)))
    assert (status, answer['faces']) == (200, [])
    assert re.fullmatch(r'No face found \(.+\)\.', answer['error'])
    assert picture(answer['photo'])[0].shape[:2] == (480, 480)


@pytest.mark.parametrize('path', [
    '/../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '//etc/passwd', '/page/index.html',
    '/index.html', '/page.js/', '/page.js?x', '/look', '/\0', '/tools/serve.py'])
def test_no_other_file_is_given(server, path):
    with socket.create_connection(('127.0.0.1', server.server_port), 10) as connection:
        connection.sendall(f'GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
                           .encode())
        said = b''.join(iter(lambda: connection.recv(65536), b''))
    assert said.startswith(b'HTTP/1.1 404') and b'root:' not in said
    assert b'{"error": "There is nothing of this name here' in said


@pytest.mark.parametrize('host', ['evil.example', 'evil.example:8000', '192.168.1.1', '',
                                  '127.0.0.1.evil.example', 'localhost@evil.example'])
@pytest.mark.parametrize('data', [None, b'x'])
def test_another_name_reaches_nothing(ask, host, data):
    status, answer, _ = ask('/look' if data else '/', data, Host=host)
    assert status == 403 and 'for this machine alone' in answer['error']


def test_another_page_reaches_nothing(ask, server):
    port = server.server_port
    data = png(np.zeros((9, 9), np.uint8))
    for host in f'127.0.0.1:{port}', f'localhost:{port}', 'LOCALHOST', '[::1]:9':
        assert ask('/look', data, Host=host, Origin=f'http://{host}')[0] == 200
        assert ask('/look', data, Host=host, Origin='http://evil.example')[0] == 403
    assert ask('/look', data, Origin='null')[0] == 403


def test_only_pictures_are_taken(ask, server):
    assert ask('/model', b'x')[0] == 404
    with socket.create_connection(('127.0.0.1', server.server_port), 10) as connection:
        connection.sendall(b'POST /look HTTP/1.1\r\nHost: localhost\r\n'
                           b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n')
        assert b' 411 ' in connection.recv(65536)


def test_nothing_of_another_place_is_loaded_or_run(ask):
    for path, kind in (('/', 'text/html'), ('/page.js', 'text/javascript'),
                       ('/page.css', 'text/css')):
        status, content, headers = ask(path)
        assert status == 200 and headers['Content-Type'] == f'{kind}; charset=utf-8'
        assert headers['Content-Security-Policy'].startswith("default-src 'self';")
        assert headers['X-Content-Type-Options'] == 'nosniff'
        assert not re.search(rb'https?://|//[a-z]+\.|innerHTML|outerHTML|insertAdjacent|eval\(|'
                             rb'document\.write|style="|\son[a-z]+=', content)


# --- the program ---

@pytest.fixture
def program():
    """Starts the program with some arguments and variables; ended after the test."""
    begun = []

    def start(*arguments, **variables):
        begun.append(subprocess.Popen(
            [sys.executable, '-m', 'tools.serve', *arguments], cwd=ROOT, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env={**os.environ, **variables}))
        return begun[-1]
    yield start
    for process in begun:
        process.kill()
        process.communicate()


def free_port():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        return taken.getsockname()[1]


def listening(port):
    """The addresses at which something listens at a port, as the kernel has them."""
    rows = [line.split() for line in Path('/proc/net/tcp').read_text().splitlines()[1:]]
    return [row[1].split(':')[0] for row in rows
            if row[3] == '0A' and row[1].endswith(f':{port:04X}')]


@pytest.mark.parametrize('variables, address', [
    ({}, '0100007F'), ({'GCNET_PUBLISHED': '1'}, '00000000')])
def test_it_says_where_it_is_and_listens_there_alone(program, variables, address):
    port = free_port()
    process = program('--port', str(port), **variables)
    said = [process.stdout.readline() for _ in range(2)]
    assert f'Open http://127.0.0.1:{port} in a browser' in said[1]
    assert listening(port) == [address]

    # Who goes away in the middle leaves no trace, and the next one is answered.
    with socket.create_connection(('127.0.0.1', port), 10) as connection:
        connection.sendall(b'POST /look HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nx')
    image = png(drawn.face(1)[0])
    with socket.create_connection(('127.0.0.1', port), 10) as connection:
        connection.sendall(b'POST /look HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n'
                           % len(image) + image)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    answer = json.load(urllib.request.urlopen(f'http://127.0.0.1:{port}/look', image, timeout=60))
    assert len(answer['faces']) == 1

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, places.own_words(err)) == (0, '', 'Ended.\n')


def test_frequencies_count_as_in_predict(monkeypatch):
    models = []
    monkeypatch.setattr(serve, 'start', lambda model, port: models.append(model))
    monkeypatch.setattr(sys, 'argv', ['serve', '--frequencies'])
    with pytest.raises(AttributeError):  # there is no server to be run
        serve.main()
    assert models[0].frequencies


@pytest.mark.parametrize('arguments, expected', [
    (['--run', 'runs/nothing'], 'runs/nothing is no run folder'),
    (['--port', 'http'], "PORT must be a whole number from 1 to 65535, not 'http'."),
    (['--port', '70000'], 'PORT must be a whole number')])
def test_what_cannot_be_served_is_one_sentence(program, arguments, expected):
    process = program(*arguments)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and out == ''
    assert err.startswith(expected) and err.count('\n') == 1


def test_a_port_that_is_taken(program, server):
    process = program('--port', str(server.server_port))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and out == '' and err == (
        f'Port {server.server_port} cannot be had (another program has it): choose another one, '
        'as in `make serve PORT=8123`.\n')


def test_ctrl_c_while_a_picture_is_looked_at(program):
    """Nobody waits for it, and the network that still runs does not end in an abort."""
    port, image = free_port(), png(drawn.face(1)[0])
    process = program('--port', str(port))
    for _ in range(2):
        process.stdout.readline()
    asked = [socket.create_connection(('127.0.0.1', port), 10) for _ in range(3)]
    for connection in asked:
        connection.sendall(b'POST /look HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n'
                           % len(image) + image)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    for connection in asked:
        connection.close()
    assert (process.returncode, out, places.own_words(err)) == (0, '', 'Ended.\n')
