"""A job that records when it lives, by the one monotonic clock of the machine.

    life.py <file> [stubborn]

Every 10 milliseconds it appends its process id and the time in seconds to the file. A stubborn one does not end at SIGTERM.
"""
import os
import signal
import sys
import time

record, *how = sys.argv[1:]
if "stubborn" in how:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
# A line is one write, so lines of several jobs do not mix.
out = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
while True:
    os.write(out, f"{os.getpid()} {time.monotonic()}\n".encode())
    time.sleep(0.01)
