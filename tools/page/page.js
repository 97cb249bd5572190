'use strict';

// The page of `make serve`: it sends a picture to this machine's own program and shows the answer.
// Whatever was not written here (names of files, of classes, sentences) is set as text, never as
// HTML.

const byId = id => document.getElementById(id);
const FRAME = 640;  // pixels: the longer side of a webcam's picture that is sent
const PAUSE = 2000;  // milliseconds between two things that a screen reader is told of the webcam

let asked = 0;  // the number of the last picture sent: an answer to an earlier one is passed over
let stream = null;  // the webcam's, while it looks
let limit = Infinity;

function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
}

const percent = value => `${Math.round(100 * value)} %`;

function tell(status, error = '') {
    for (const [id, text] of [['status', status], ['error', error]]) {
        if (byId(id).textContent !== text) byId(id).textContent = text;
    }
}

// What the program here says of a picture (a File or Blob); throws an Error with a sentence.
async function look(picture) {
    if (picture.size > limit) {
        throw new Error(`The file has ${Math.ceil(picture.size / 2 ** 20)} MB, more than the ` +
            `${limit / 2 ** 20} that are taken: make it smaller.`);
    }
    let answer;
    try {
        answer = await (await fetch('look', {
            method: 'POST', body: picture, headers: {'Content-Type': 'application/octet-stream'},
        })).json();
    } catch {
        throw new Error('The program does not answer: start `make serve` again.');
    }
    if (!answer.faces) throw new Error(answer.error);
    return answer;
}

// --- a photograph ---

async function lookAt(file) {
    stop();
    const number = ++asked;
    tell(`Looking at ${file.name} …`);
    try {
        const answer = await look(file);
        if (number !== asked) return;
        show(answer, file.name);
        tell(summary(answer), answer.error && `${file.name}: ${answer.error}`);
    } catch (error) {
        if (number !== asked) return;
        byId('results').hidden = true;
        tell('', `${file.name}: ${error.message}`);
    }
}

function summary({faces}) {
    if (!faces.length) return '';
    const each = faces.map(face => `${face.expression}, ${percent(most(face))}`);
    if (each.length === 1) return `1 face found: ${each[0]}.`;
    return `${each.length} faces found: ${each.map((text, i) => `${i + 1}. ${text}`).join('; ')}.`;
}

const most = face => Math.max(...face.probabilities.map(([, value]) => value));

// --- what was found ---

function show(answer, name) {
    byId('results').hidden = false;
    byId('photo').src = answer.photo;
    byId('photo').alt = `${name}, faces marked: ${answer.faces.length}`;
    byId('name').textContent = name;

    // Cards stay where they are, so that with the webcam the slider in hand is not lost.
    const cards = byId('faces');
    const wanted = answer.faces.map(shape).join();
    if (cards.dataset.shape !== wanted) cards.replaceChildren(...answer.faces.map(card));
    cards.dataset.shape = wanted;
    answer.faces.forEach((face, i) => fill(cards.children[i], face, i + 1));
}

const shape = face => `${face.pictures.length} ${face.probabilities.map(([name]) => name)}`;

function card(face, i) {
    const number = i + 1;
    const draws = face.pictures.length > 1;
    const pictures = make('div', {className: 'pictures'});
    const x = make('img', {alt: `Face ${number} as the network sees it, X`});
    if (draws) {
        const over = make('img', {alt: ''});
        const slider = make('input', {
            type: 'range', min: 0, max: 100, value: 0, id: `fade${number}`, className: 'slider'});
        slider.addEventListener('input', () => fade(over, slider));
        fade(over, slider);
        pictures.append(
            make('figure', {className: 'fade'},
                make('div', {className: 'both'}, x, over),
                make('label', {htmlFor: slider.id}, 'Fade to the reference'), slider,
                ends('face X', 'reference X̂r')),
            make('figure', {}, make('img', {alt: `The neutral face drawn of face ${number}, X̂r`}),
                make('figcaption', {}, 'Neutral reference X̂r, drawn')),
            make('figure', {}, make('img', {alt: `Where face ${number} and its reference differ`}),
                make('div', {className: 'scale'}), ends('0', '0.5 or more'),
                make('figcaption', {}, 'Difference |X − X̂r|')));
    } else {
        pictures.append(make('figure', {}, x, make('figcaption', {}, 'Face X')));
    }
    const rows = face.probabilities.map(([name]) => make('tr', {},
        make('th', {scope: 'row', title: name}, name),
        make('td', {ariaHidden: 'true'}, make('div', {className: 'bar'})), make('td')));
    const title = make('h2', {id: `face${number}`});
    const whole = make('article', {}, title, make('div', {className: 'parts'}, pictures,
        make('table', {}, make('caption', {}, 'Probability of each expression'),
            make('tbody', {}, ...rows))));
    whole.setAttribute('aria-labelledby', title.id);
    return whole;
}

function ends(left, right) {
    return make('div', {className: 'ends'}, make('span', {}, left), make('span', {}, right));
}

function fade(over, slider) {
    over.style.opacity = slider.value / 100;
    slider.setAttribute('aria-valuetext', `${slider.value} % reference`);
}

function fill(whole, face, number) {
    whole.querySelector('h2').textContent = `Face ${number}: ${face.expression}`;
    const [x, reference, difference] = face.pictures;
    const sources = reference ? [x, reference, reference, difference] : [x];
    whole.querySelectorAll('img').forEach((image, i) => { image.src = sources[i]; });
    whole.querySelectorAll('tr').forEach((row, i) => {
        const [name, value] = face.probabilities[i];
        row.className = name === face.expression ? 'most' : '';
        row.querySelector('.bar').style.width = `${100 * value}%`;
        row.lastChild.textContent = percent(value);
    });
}

// --- the webcam ---

async function watch() {
    stop();
    tell('Waiting for the webcam …');
    let own;
    try {
        own = await navigator.mediaDevices.getUserMedia({video: {width: FRAME}, audio: false});
    } catch (error) {
        tell('', error.name === 'NotAllowedError' ?
            'The browser does not let this page see the webcam: allow it beside the address.' :
            `There is no webcam to be had (${error.message}).`);
        return;
    }
    stop();  // another one that was started meanwhile
    stream = own;
    press(true);
    const video = make('video', {srcObject: own, muted: true, playsInline: true});
    const canvas = make('canvas');
    let told = 0, seen = 0, begun = performance.now();
    try {
        await video.play();
        while (stream === own) {
            await new Promise(requestAnimationFrame);  // none while the page is hidden
            const scale = FRAME / Math.max(FRAME, video.videoWidth, video.videoHeight);
            canvas.width = scale * video.videoWidth;
            canvas.height = scale * video.videoHeight;
            canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
            const frame = await new Promise(done => canvas.toBlob(done, 'image/jpeg', 0.9));
            const answer = await look(frame);
            if (stream !== own) return;
            show(answer, 'The webcam');
            seen += 1;
            if (performance.now() - told > PAUSE) {
                told = performance.now();
                const rate = 1000 * seen / (told - begun);
                tell(summary(answer) || 'No face in sight.');
                byId('webcam').title = `${rate.toFixed(1)} pictures a second`;
            }
        }
    } catch (error) {
        if (stream === own) {
            stop();
            tell('', error.message);
        }
    }
}

function stop() {
    if (stream) for (const track of stream.getTracks()) track.stop();
    stream = null;
    press(false);
}

function press(on) {
    byId('webcam').setAttribute('aria-pressed', on);
    byId('webcam').textContent = on ? 'Stop the webcam' : 'Start the webcam';
}

// --- how pictures come ---

byId('file').addEventListener('change', event => {
    if (event.target.files.length) lookAt(event.target.files[0]);
});
byId('file').addEventListener('click', event => { event.target.value = ''; });  // the same again

byId('webcam').addEventListener('click', () => {
    asked += 1;
    if (stream) {
        stop();
        tell('The webcam is off.');
    } else {
        watch();
    }
});

for (const name of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(name, event => {
        event.preventDefault();
        byId('drop').classList.toggle('over', name === 'dragover');
        if (name !== 'drop') return;
        const [file] = event.dataTransfer.files;
        byId('file').value = '';
        if (file) lookAt(file);
        else tell('', 'That was no file: drop a photo.');
    });
}

document.addEventListener('paste', event => {
    const [file] = event.clipboardData.files;
    if (file) lookAt(file);
});

fetch('model').then(answer => answer.json()).then(model => {
    limit = model.limit;
    byId('warning').textContent = model.warning;
    byId('warning').hidden = !model.warning;
    byId('model').textContent = `Model: ${model.folder}, iteration ${model.iteration}, for ` +
        `${model.classes.join(', ')}.` + (model.draws ? '' : ' It draws no reference.');
});
