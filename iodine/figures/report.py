"""A page of figures: PNG files, and one HTML file that holds them all."""

import base64
import html
import io
import os

from matplotlib import pyplot as plt

from iodine.errors import UserError

PAGE_WIDTH = 7.5  # inches of a figure that fill the page
STYLE = """
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 sans-serif;
  color: #222; background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
figure { margin: 1rem 0 2rem; } img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: 0.9rem; color: #444; margin-top: 0.5rem; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.25rem 1rem 0.25rem 0; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
"""


class Report:
    """Figures with captions, in the order in which they are added.

    Args:
      directory: where to write: a new directory, or an empty one.
      title: of the page.

    Raises:
      UserError: if the directory holds anything or cannot be made.
    """

    def __init__(self, directory, title):
        try:
            os.makedirs(directory, exist_ok=True)
            if os.listdir(directory):
                raise UserError(f"'{directory}' is not empty: remove it, or set out=DIR to another")
        except OSError as error:
            raise UserError(f"cannot write to out={directory}: {error}") from error
        self.directory = directory
        self.title = html.escape(title)
        self.parts = []

    def add_heading(self, text):
        """Begins a section."""
        self.parts.append(f"<h2>{html.escape(text)}</h2>")

    def add_text(self, text):
        """Adds a paragraph."""
        self.parts.append(f"<p>{html.escape(text)}</p>")

    def add_table(self, rows):
        """Adds a table, a list of rows of strings, the head first."""
        lines = []
        for i, row in enumerate(rows):
            tag = "td" if i else "th"
            cells = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
            lines.append(f"<tr>{cells}</tr>")
        self.parts.append("<table>{}</table>".format("\n".join(lines)))

    def add_figure(self, name, figure, caption):
        """Writes a figure as NAME.png, adds it to the page, closes it and prints a line.

        Args:
          name: of the file, without its ending.
          figure: `matplotlib.figure.Figure`.
          caption: text below it.
        """
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        plt.close(figure)
        self.write_file(f"{name}.png", buffer.getvalue())
        encoded = base64.b64encode(buffer.getvalue()).decode()
        # All figures at one scale, so that their texts are of one size.
        width = min(100.0, 100.0 * figure.get_figwidth() / PAGE_WIDTH)
        self.parts.append(
            f'<figure><img src="data:image/png;base64,{encoded}" alt="{html.escape(name)}" '
            f'style="width:{width:.0f}%"><figcaption>{html.escape(caption)}</figcaption></figure>'
        )
        print(f"wrote {os.path.join(self.directory, name)}.png", flush=True)

    def write(self):
        """Writes the page and returns the path of report.html."""
        body = "\n".join(self.parts)
        page = (
            f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{self.title}</title>'
            f"<style>{STYLE}</style></head>\n<body>\n<h1>{self.title}</h1>\n{body}\n</body>\n</html>\n"
        )
        return self.write_file("report.html", page.encode())

    def write_file(self, name, content):
        """Writes a file, bytes, beside the page and returns its path."""
        path = os.path.join(self.directory, name)
        try:
            with open(path, "xb") as file:
                file.write(content)
        except OSError as error:
            raise UserError(f"cannot write '{path}': {error}") from error
        return path
