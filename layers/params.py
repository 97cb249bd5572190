"""Reading a Python layer's `param_str`."""
import json


def read_params(layer, **defaults):
    """The settings in `layer.param_str`, a JSON object, on top of `defaults` (name=value).

    A number may be given where the default is a number, else the type must be the default's; a
    default of None takes an integer or null. Raises ValueError, naming the layer, for text that is
    not a JSON object, an unknown name or a wrong type.
    """
    # JSON, never eval: a prototxt may come from anybody.
    where = f'param_str of {type(layer).__name__}'
    try:
        given = json.loads(layer.param_str or '{}')
    except ValueError as error:
        raise ValueError(f'{where} is not JSON ({error}): {layer.param_str!r}') from None
    if not isinstance(given, dict):
        raise ValueError(f'{where} must be a JSON object, not {layer.param_str!r}')
    for name, value in given.items():
        if name not in defaults:
            raise ValueError(
                f'{where}: unknown name {name!r}; known are {", ".join(sorted(defaults))}')
        if not _fits(value, defaults[name]):
            raise ValueError(f'{where}: {name} cannot be {value!r}')
    return {**defaults, **given}


def _fits(value, default):
    # True is an int in Python, and 1 no bool in JSON.
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if default is None:
        return value is None or isinstance(value, int)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, type(default))
