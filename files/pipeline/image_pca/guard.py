"""Whatever ends a run becomes one message, one last event and an exit code."""

from __future__ import annotations

import platform
import sys
import traceback
from typing import Any, Callable

from .errors import JobError
from .progress import Progress


def guarded(body: Callable[[], dict[str, Any]], progress: Progress) -> int:
    """Run body; whatever goes wrong becomes one message and the last event. Returns the exit code."""
    try:
        summary = body()
    except JobError as error:
        failure = error
    except KeyboardInterrupt:
        failure = JobError("The run was interrupted", platform.node(), "Someone stopped it.", "Run it again to go on.")
    except MemoryError:
        failure = JobError(
            "The host is out of memory",
            platform.node(),
            "The driver could not get more.",
            "Use a host with more memory, or fewer images a run.",
        )
    except Exception as error:
        traceback.print_exc()
        failure = JobError(
            "The job failed in a way that nobody foresaw",
            platform.node(),
            f"{type(error).__name__}: {error}.",
            "Please report it, with the log.",
        )
    else:
        progress.done(summary)
        return 0
    progress.failed(failure)
    print(f"\nerror: {failure}", file=sys.stderr)
    return 1
