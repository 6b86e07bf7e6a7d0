"""A network as processes of Lava: `processes.py` says what each does, `worker.py` builds, runs and reads them.

Lava looks for the models of a process in every file of its folder, so these have one of their own. Where there is no
Lava the folder shows no modules, so that whatever walks over the package can import all that it finds.
"""

from importlib.util import find_spec

if find_spec("lava") is None:
    __path__.clear()
