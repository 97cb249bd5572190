"""The page of `make serve` in a real browser, Chromium, led by selenium. Neither is in the
environment, so these are for its outside:

    apt-get install chromium chromium-driver python3-selenium python3-pytest
    python3 -m pytest -rs -p no:cacheprovider tests/test_serve_browser.py

With SHOTS=folder it leaves pictures of the page there, 1280 and 400 pixels wide.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip('selenium', reason='selenium is not here')
if not (shutil.which('chromium') and shutil.which('chromedriver')):
    pytest.skip('chromium or chromedriver is not here', allow_module_level=True)

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
LONDON = ROOT.parent / 'shared/data/london/images'
EVIL = '<img src=x onerror="document.title=\'pwned\'"><b>.png'
DRAW = '''
import sys, cv2, numpy as np
sys.path.insert(0, 'tests')
import drawn
faces = [cv2.resize(drawn.face(n)[0], (312, 384)) for n in (1, 2)]
photo = np.full((480, 640), 128, np.uint8)
photo[48:432, 4:316], photo[48:432, 324:636] = faces
'''
PNG = "sys.stdout.buffer.write(cv2.imencode('.png', photo)[1].tobytes())"
# The same as a film of two frames, for Chromium's fake webcam
FILM = ("sys.stdout.buffer.write(b'YUV4MPEG2 W640 H480 F10:1 Ip A1:1 C420mpeg2\\n' + b''.join("
        "b'FRAME\\n' + (photo - n).tobytes() + b'\\x80' * (640 * 480 // 2) for n in (0, 9)))")


def enter(*words):
    """What a command in the environment prints, as bytes."""
    done = subprocess.run([ROOT / 'docker/enter', *words], stdout=subprocess.PIPE, check=True)
    return done.stdout


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder of files to be chosen."""
    place = tmp_path_factory.mktemp('files')
    (place / 'two.png').write_bytes(enter('python3', '-c', DRAW + PNG))
    (place / 'film.y4m').write_bytes(enter('python3', '-c', DRAW + FILM))
    (place / EVIL).write_bytes((place / 'two.png').read_bytes())
    (place / f'no{EVIL}').write_bytes(b'no picture')
    (place / 'text.txt').write_text('just text')
    (place / 'empty.jpg').write_bytes(b'')
    # All grey, 200 x 200
    (place / 'nobody.pgm').write_bytes(b'P5 200 200 255\n' + b'\x80' * 40000)
    with open(place / 'long.jpg', 'wb') as file:
        file.truncate(2 ** 26 + 1)
    return place


@pytest.fixture(scope='module')
def address():
    """The address of a server in the environment."""
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        port = taken.getsockname()[1]
    process = subprocess.Popen(['make', 'serve', f'PORT={port}'], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, start_new_session=True)
    said = [process.stdout.readline() for _ in range(2)]
    assert f'Open http://127.0.0.1:{port} ' in said[1]
    yield f'http://127.0.0.1:{port}/'
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=30)


def start(film):
    options = webdriver.ChromeOptions()
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    for word in ('--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu',
                 '--hide-scrollbars', '--use-fake-ui-for-media-stream',
                 '--use-fake-device-for-media-stream', f'--use-file-for-fake-video-capture={film}'):
        options.add_argument(word)
    return webdriver.Chrome(service=Service(shutil.which('chromedriver')), options=options)


@pytest.fixture(scope='module')
def chromium(place):
    browser = start(place / 'film.y4m')
    yield browser
    browser.quit()


@pytest.fixture
def page(chromium, address):
    """The page, just opened, 1280 pixels wide."""
    resize(chromium, 1280, 900)
    chromium.get(address)
    WebDriverWait(chromium, 10).until(lambda page: text(page, 'model'))
    return chromium


def resize(page, width, height):
    page.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', dict(
        width=width, height=height, deviceScaleFactor=1, mobile=width < 600))


def text(page, name):
    return page.find_element(By.ID, name).text


def choose(page, path):
    page.find_element(By.ID, 'file').send_keys(str(path))
    wait(page, path.name)


def wait(page, name):
    """Until the page says what a picture is."""
    WebDriverWait(page, 60).until(lambda page: text(page, 'error').startswith(name) or
                                  'found: ' in text(page, 'status'))


def probabilities(page):
    """[{class: probability}] of the faces on the page, by their bars."""
    return page.execute_script('''
        return [...document.querySelectorAll('article')].map(face => Object.fromEntries(
            [...face.querySelectorAll('tr')].map(row => [
                row.querySelector('th').textContent,
                parseFloat(row.querySelector('.bar').style.width) / 100])))''')


def check_like_predict(page, path):
    lines = subprocess.run(
        ['make', 'predict', f'IMAGE={path}', 'FORMAT=json'], cwd=ROOT, check=True, text=True,
        stdout=subprocess.PIPE).stdout.splitlines()
    expected = [json.loads(line)['probabilities'] for line in lines]
    found = probabilities(page)
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected):
        assert ours == pytest.approx(theirs, abs=1e-3)
        name = max(theirs, key=theirs.get)
        assert f'{name}, {round(100 * theirs[name])} %' in text(page, 'status')


def shoot(page, name):
    """Pictures of the whole page at two widths, where SHOTS names a folder."""
    for width in (1280, 400):
        resize(page, width, 900)
        assert page.execute_script('return document.documentElement.scrollWidth') <= width
        if os.environ.get('SHOTS'):
            height = page.execute_script('return document.documentElement.scrollHeight')
            resize(page, width, height)
            page.save_screenshot(str(Path(os.environ['SHOTS'], f'{name}_{width}.png')))


def test_drawn_faces(page, place):
    choose(page, place / 'two.png')
    assert text(page, 'status').startswith('2 faces found: 1. ') and not text(page, 'error')
    check_like_predict(page, place / 'two.png')
    shoot(page, 'two')


@pytest.mark.skipif(not LONDON.exists(), reason='no photographs in ../shared/data/london')
def test_a_photograph(page):
    choose(page, LONDON / '001_happy.jpg')
    check_like_predict(page, LONDON / '001_happy.jpg')
    shoot(page, 'london')


@pytest.mark.parametrize('name, expected', [
    ('text.txt', 'text.txt: The image is damaged or not an image.'),
    ('empty.jpg', 'empty.jpg: The file is empty: choose a photograph.'),
    ('nobody.pgm', 'nobody.pgm: No face found (it must be upright'),
    ('long.jpg', 'long.jpg: The file has 65 MB, more than the 64 that are taken: make it smaller.'),
    (f'no{EVIL}', f'no{EVIL}: The image is damaged or not an image.')])
def test_what_is_no_face_is_a_sentence(page, place, name, expected):
    choose(page, place / 'two.png')
    page.find_element(By.ID, 'file').send_keys(str(place / name))
    WebDriverWait(page, 60).until(lambda page: text(page, 'error'))
    assert text(page, 'error').startswith(expected) and not text(page, 'status')
    assert not [face for face in page.find_elements(By.TAG_NAME, 'article') if face.is_displayed()]
    assert page.title.startswith('GCNet')


def test_a_name_is_no_html(page, place):
    choose(page, place / EVIL)
    assert text(page, 'name') == EVIL and page.title.startswith('GCNet')
    assert page.find_element(By.ID, 'photo').get_attribute('alt') == f'{EVIL}, faces marked: 2'
    assert not page.find_elements(By.CSS_SELECTOR, 'img[onerror], b')


def test_a_dropped_file(page, place):
    page.execute_script('''
        const [bytes, name] = arguments;
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name));
        for (const type of ['dragover', 'drop']) document.querySelector('h1').dispatchEvent(
            new DragEvent(type, {dataTransfer: data, bubbles: true, cancelable: true}));
    ''', list((place / 'two.png').read_bytes()), 'dropped.png')
    wait(page, 'dropped.png')
    assert len(probabilities(page)) == 2 and text(page, 'name') == 'dropped.png'


def test_the_slider_fades_from_the_face_to_its_reference(page, place):
    choose(page, place / 'two.png')
    x, over = page.find_elements(By.CSS_SELECTOR, 'article:nth-child(2) .both img')
    reference = page.find_element(By.CSS_SELECTOR, 'article:nth-child(2) figure:nth-child(2) img')
    sources = [image.get_attribute('src') for image in (x, over, reference)]
    assert sources[1] == sources[2] != sources[0]
    assert x.rect == over.rect and x.rect['width'] > 100

    slider = page.find_element(By.ID, 'fade2')
    assert slider.accessible_name == 'Fade to the reference'
    assert over.value_of_css_property('opacity') == '0'
    slider.send_keys(Keys.END)
    assert over.value_of_css_property('opacity') == '1'
    slider.send_keys(Keys.ARROW_LEFT)
    assert over.value_of_css_property('opacity') == '0.99'
    assert slider.get_attribute('aria-valuetext') == '99 % reference'
    # The other face's own stays where it was.
    assert page.find_element(By.ID, 'fade1').get_attribute('value') == '0'


def test_by_keyboard_alone_and_read_aloud(page, place):
    choose(page, place / 'two.png')
    page.execute_script('document.activeElement.blur(); window.scrollTo(0, 0)')
    order = []
    for _ in range(4):
        webdriver.ActionChains(page).send_keys(Keys.TAB).perform()
        order.append(page.switch_to.active_element.get_attribute('id'))
    assert order == ['file', 'webcam', 'fade1', 'fade2']
    outline = page.switch_to.active_element.value_of_css_property('outline-style')
    assert outline == 'solid'

    # What a screen reader is given
    nodes = page.execute_cdp_cmd('Accessibility.getFullAXTree', {})['nodes']
    names = {(node['role']['value'], node.get('name', {}).get('value', '')) for node in nodes
             if not node['ignored']}
    first = text(page, 'faces').splitlines()[0]
    assert first.startswith('Face 1: ')
    assert {('heading', first), ('article', first), ('button', 'Start the webcam'),
            ('slider', 'Fade to the reference'), ('table', 'Probability of each expression'),
            ('rowheader', 'happiness'), ('image', 'two.png, faces marked: 2'),
            ('image', 'Face 1 as the network sees it, X'),
            ('image', 'The neutral face drawn of face 1, X̂r'),
            ('image', 'Where face 1 and its reference differ')} <= names
    assert not {name for role, name in names if role == 'image' and not name}
    assert any(name.startswith('Drop a photo') for _, name in names)
    status = page.find_element(By.ID, 'status')
    assert (status.aria_role, status.get_attribute('aria-live')) == ('status', 'polite')
    assert page.find_element(By.ID, 'error').get_attribute('role') == 'alert'


def test_the_webcam(page, place):
    button = page.find_element(By.ID, 'webcam')
    button.send_keys(Keys.ENTER)
    WebDriverWait(page, 60).until(lambda page: '2 faces found' in text(page, 'status'))
    assert (button.text, button.get_attribute('aria-pressed')) == ('Stop the webcam', 'true')

    # It goes on, and the slider that is moved stays.
    page.find_element(By.ID, 'fade1').send_keys(Keys.END)
    before = page.find_element(By.ID, 'photo').get_attribute('src')
    WebDriverWait(page, 60).until(
        lambda page: page.find_element(By.ID, 'photo').get_attribute('src') != before)
    assert page.find_element(By.ID, 'fade1').get_attribute('value') == '100'
    time.sleep(6)
    print('webcam:', button.get_attribute('title'))
    shoot(page, 'webcam')

    button.send_keys(Keys.SPACE)
    assert (button.text, button.get_attribute('aria-pressed')) == ('Start the webcam', 'false')
    assert text(page, 'status') == 'The webcam is off.'
    time.sleep(1)
    last = page.find_element(By.ID, 'photo').get_attribute('src')
    time.sleep(1)
    assert page.find_element(By.ID, 'photo').get_attribute('src') == last


def test_nothing_leaves_the_machine(page, place, address):
    page.get_log('browser')
    choose(page, place / 'two.png')
    asked = page.execute_script('return performance.getEntriesByType("resource").map(e => e.name)')
    assert address + 'look' in asked and address + 'page.js' in asked
    assert not [name for name in asked if not name.startswith((address, 'data:'))]
    assert 'Nothing leaves this machine' in page.find_element(By.TAG_NAME, 'header').text
    # Where something of another place was to be loaded, the policy of the page forbids it.
    page.execute_script("new Image().src = 'http://127.0.0.2:1/x.png';"
                        "fetch('http://127.0.0.2:1/x').catch(() => 0)")
    time.sleep(0.5)
    refused = ' '.join(line['message'] for line in page.get_log('browser'))
    for name in '127.0.0.2:1/x.png', '127.0.0.2:1/x':
        assert f"'http://{name}' violates the following Content Security Policy" in refused
