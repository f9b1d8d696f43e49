"""The last resort of a shutdown that hangs: end the process as in a crash, which loses nothing."""

import logging
import os
import threading
import time

log = logging.getLogger(__name__)

_LAST_LINE_S = 0.5  # for the log's writer


def end_process_after(seconds: float, code: int) -> None:
    """End this process after so long, unless it has ended by itself."""

    def end() -> None:
        log.critical("the shutdown takes too long: ending the process; waiting events are loaded at the next start")
        time.sleep(_LAST_LINE_S)
        os._exit(code)

    ending = threading.Timer(seconds, end)
    ending.daemon = True
    ending.start()
