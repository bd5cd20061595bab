"""A timer that is a descriptor (timerfd_create(2)), so that waiting for it is one more entry in an epoll set."""

import ctypes
import errno
import os
import time

_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_ABSOLUTE, _CANCEL_ON_SET = 1, 2
_FAR_S = 1 << 32
_SECOND_NS = 1_000_000_000

_C = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("value_s", ctypes.c_long),
        ("value_ns", ctypes.c_long),
    )


class TimerFd:
    """One timer, not armed at first. Raises OSError where the kernel refuses."""

    def __init__(self, clock: int = time.CLOCK_MONOTONIC) -> None:
        self._fd = _checked(_C.timerfd_create(clock, _NONBLOCK_CLOEXEC))

    def fileno(self) -> int:
        """Return the descriptor; it becomes readable when the timer is due."""
        return self._fd

    def arm(self, seconds: float) -> None:
        """Be due once, in `seconds`."""
        whole = int(seconds)
        # A time of exactly zero would disarm the timer.
        self._set(0, _Spec(value_s=whole, value_ns=max(1, int((seconds - whole) * _SECOND_NS))))

    def arm_on_clock_set(self) -> None:
        """Be due when somebody sets the clock, or in 136 years; needs a timer on CLOCK_REALTIME."""
        self._set(_ABSOLUTE | _CANCEL_ON_SET, _Spec(value_s=_FAR_S))

    def due(self) -> bool:
        """Return whether the timer has come due since it was last asked, or its clock was set."""
        try:
            return bool(os.read(self._fd, 8))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            return True

    def close(self) -> None:
        """Remove the timer; may be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _set(self, flags: int, spec: _Spec) -> None:
        _checked(_C.timerfd_settime(self._fd, flags, ctypes.byref(spec), None))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
