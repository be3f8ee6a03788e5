"""From where the Python processes that we start import: never from the folder a person is in.

Data of others lies there, and a ``json.py`` among it must not run. ``-P`` keeps Python from looking
there. What puts its working folder into the path all the same is started in `FOLDER`.
"""

import sysconfig

FOLDER = sysconfig.get_path("stdlib")
"""The folder of the standard library, which stands in front of everybody's path anyway."""
