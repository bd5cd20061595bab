"""A timer that is a descriptor, so that one poll waits for it and for events alike: timerfd_create(2)."""

import ctypes
import os
import time

_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """struct itimerspec: the interval, here none, and the time until the timer ends."""

    _fields_ = (
        ("every_s", ctypes.c_long),
        ("every_ns", ctypes.c_long),
        ("after_s", ctypes.c_long),
        ("after_ns", ctypes.c_long),
    )


class Timer:
    """Becomes readable once the time it was set to has passed. Raises OSError where the kernel gives no descriptor."""

    def __init__(self) -> None:
        self.fd = _libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def set(self, seconds: float) -> None:
        """End in that many seconds, whatever it was set to before; 0 or less is at once."""
        whole = int(max(seconds, 0.0))
        rest = max(1, int((max(seconds, 0.0) - whole) * 1e9))  # 0 and 0 would switch it off
        _libc.timerfd_settime(self.fd, 0, ctypes.byref(_Spec(0, 0, whole, rest)), None)

    def close(self) -> None:
        """Free the descriptor. May be called twice."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
