"""Works the window of the published `mvsep-gui` as its README says: token, file, algorithm, options, start.

Usage: python gui_driver.py BASE_URL TOKEN SONG SEP_TYPE ADD_OPT1 FOLDER
"""

import sys

from mvsep_cli.config import Config

base_url, token, song, sep_type, add_opt1, folder = sys.argv[1:]
Config.MIRRORS["main"] = base_url

from mvsep_gui import __main__ as gui  # noqa: E402 - the address must be there first
from PyQt6.QtWidgets import QApplication, QMessageBox  # noqa: E402


def show(level: str) -> object:
    """Replace a message box, which would wait for a click, by a printed line."""
    return lambda parent, title, text: print(level, title, text, flush=True)  # noqa: T201


QMessageBox.information = show("information")
QMessageBox.warning = show("warning")
QMessageBox.critical = show("critical")

app = QApplication(sys.argv[:1])
window = gui.MainWindow()
window.show()
window.token_input.setText(token)
window.save_token()
window.on_file_selected(song)
window.algo_combo.setCurrentIndex(window.algo_combo.findData(int(sep_type)))
window.opt1_combo.setCurrentIndex(window.opt1_combo.findData(add_opt1))
window.format_combo.setCurrentIndex(1)
window.output_dir_input.setText(folder)
window.start_separation()
window.separation_thread.finished.connect(lambda *_: app.quit())
app.exec()
window.separation_thread.wait()
print(window.algo_combo.count(), "algorithms")  # noqa: T201
