"""CSV cells that a spreadsheet shows and does not run.

A spreadsheet takes a cell that begins with =, +, - or @ for a formula, which can start programs. In
the CSV files that we write such a text gets an apostrophe in front, and so does one that begins
with an apostrophe: what is read back is exactly what was written. Numbers stay numbers.
"""
import csv

FIRST = tuple("=+-@\t\r'")


def quote(value):
    """A value as the cell of a CSV file: a text that would be run, with an apostrophe in front."""
    if not isinstance(value, str) or not value.startswith(FIRST) or is_number(value):
        return value
    return f"'{value}"


def unquote(cell):
    """The text that `quote` wrote as this cell."""
    return cell[1:] if cell.startswith("'") else cell


def unquote_row(row):
    """A row of a csv.DictReader, each cell as it was before `quote`."""
    return {name: unquote(cell) if isinstance(cell, str) else cell for name, cell in row.items()}


def read_csv(path):
    """The rows of a CSV file of ours as dicts, each cell as it was before it was quoted for
    spreadsheets; SystemExit where it cannot be read."""
    try:
        with open(path, newline='', encoding='utf-8') as file:
            return [unquote_row(row) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(f'{path} cannot be read ({error}): make it again.') from None


def is_number(text):
    """Whether a spreadsheet sees a number in the text, as in -1.5."""
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii()
