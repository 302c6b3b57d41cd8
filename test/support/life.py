"""A job that records when it lives, by the one monotonic clock of the machine.

    life.py <file> [stubborn] [alone]

Every 10 milliseconds it appends its process id, the time in seconds and its epoch to the file, and at SIGTERM once more: then
it ends. A stubborn one does not end at SIGTERM. The line of one that should be alone has a fourth word: `alone`, or `beside` if
another job of the folder still exists. The system knows that by a lock, which ends with the process that has it, and not before.
"""
import fcntl
import os
import signal
import sys
import time

record, *how = sys.argv[1:]
# A line is one write, so lines of several jobs do not mix.
out = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
others = ""
if "alone" in how:
    lock = os.open(os.path.join(os.path.dirname(record), "lock"), os.O_WRONLY | os.O_CREAT)


def is_alone():
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def beat():
    os.write(out, f"{os.getpid()} {time.monotonic()} {os.environ.get('RANKD_EPOCH', 0)}{others}\n".encode())


def end(*_):
    beat()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in how else end)
while True:
    if "alone" in how and others != " alone":
        others = " alone" if is_alone() else " beside"
    beat()
    time.sleep(0.01)
