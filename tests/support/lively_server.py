"""`millimetric serve` that breaks a follower's silence after a second: `python -m support.lively_server serve`."""

from millimetric_server.cli import main
from millimetric_server.following import follower

SILENCE_S = 1.0

if __name__ == "__main__":
    assert follower.BEAT_AFTER_S > SILENCE_S
    follower.BEAT_AFTER_S = SILENCE_S
    main()
