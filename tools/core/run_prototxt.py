"""The prototxt files of a run: what tools.train writes, and whether a folder holds that."""
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from prototxt import neighbours, net
from tools.core import class_balance, fold_data, people, request, run_folder

# What Gen,r of a copy of X weighs by pixel_scale=relative, in the mean over images whose Xr is
# another picture: 1 is the demo set's scale.
COPIED = 10
# What Caffe counts by and where it runs: may change when a run goes on.
LENGTH = ('max_iter', 'test_iter', 'test_interval', 'display', 'snapshot', 'solver_mode')


def texts(folder, run):
    """{name: text} of the three prototxt files of a run that begins at iteration run['begun']."""
    solver = {name: value for name, value in run['settings'].items()
              if name in request.SOLVER_SETTINGS}
    network = {name: value for name, value in run['settings'].items()
               if name not in (*solver, 'balance')}

    # What depends on the data: these go into the prototxt as numbers, which a resume compares.
    if run['settings'].get('balance', 0) != 0:
        network['score_offsets'] = class_balance.offsets(run)
    if network.get('pixel_scale') == 'relative':
        network['pixel_scale'] = round(COPIED / run['change'], 4) if run['change'] else 1.0
    if 'neutral' in run['classes']:
        network['neutral'] = run['classes'].index('neutral')
    if neighbours.asks_for_people(run['variant'], network):
        network['people'] = people.write_people(run['dataset'], run['fold'])

    root = fold_data.fold_path(run['dataset'], run['fold'])
    classes = len(run['classes'])
    seed = run['seed'] + run['begun']  # or a run that resumes would draw the same transforms again
    try:
        written = {
            'net.prototxt': net.train_val(
                run['variant'], classes, root / 'train_lmdb', root / 'test_lmdb',
                batch_size=run['batch'], test_batch_size=1,  # every test image once
                seed=seed, **network),
            'deploy.prototxt': net.deploy(run['variant'], classes, **network),
            'solver.prototxt': net.solver(
                folder / 'net.prototxt', folder / 'snapshots' / run['variant'],
                max_iter=run['iterations'], base_lr=run['base_lr'], test_iter=run['n_test'],
                seed=seed, mode=run['device'], **intervals(run['iterations']), **solver)
        }
        # the solver is a template: what --set put there may be no number
        text_format.Parse(written['solver.prototxt'], caffe_pb2.SolverParameter())
    except (TypeError, ValueError, text_format.ParseError) as error:
        raise SystemExit(f'These settings make no network: {run["settings"]} ({error}).') from None
    return written


def intervals(iterations):
    """After how many iterations the solver tests, shows its losses and writes a snapshot."""
    # Ten tests; fewer in a short run, which they would make a third longer.
    tests = min(10, max(1, iterations // 100))
    test = max(1, iterations // tests)
    # About 200 rows in metrics.csv, of which every test is one.
    most = min(100, max(1, iterations // 200))
    display = max(step for step in range(1, most + 1) if test % step == 0)
    return dict(test_interval=test, display=display, snapshot=max(50, iterations // 10))


def written_otherwise(folder, run, begins):
    """Whether a run's network or solver are others than are written for it now; begins: the
    iterations of which one is where it began or went on the last time."""
    expected = [texts(folder, {**run, 'begun': begun}) for begun in begins]
    network, solver = (run_folder.read_text(folder / f'{name}.prototxt')
                       for name in ('net', 'solver'))
    return (network not in [own['net.prototxt'] for own in expected] or
            course(solver) not in [course(own['solver.prototxt']) for own in expected])


def course(text):
    """A solver's parameters without those of LENGTH, with the length where the rate follows it;
    None for what is no solver."""
    try:
        solver = text_format.Parse(text, caffe_pb2.SolverParameter())
    except text_format.ParseError:
        return None
    for name in LENGTH:
        # under 'poly' the rate falls to 0 at max_iter, so another length is another training
        if name != 'max_iter' or solver.lr_policy != 'poly':
            solver.ClearField(name)
    return solver
