"""Runs a command of `sh` with some of its standard descriptors on a pseudo-terminal that is stopped, as by Ctrl-S.

    stopped.py <descriptors, such as 2 or 012> <command>

With `pipe2` they are on a pipe that nobody reads, and that another process keeps blocking.

Lines on standard input: `go` is Ctrl-Q, `read` copies the terminal to standard error from now on, `hangup` closes the
terminal. Signals pass to the command, and this process ends as the command does.
"""
import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time

descriptors, command = sys.argv[1:]
is_pipe = descriptors.startswith("pipe")
master, slave = os.pipe() if is_pipe else pty.openpty()
if not is_pipe:
    os.write(master, b"\x13")


def on(descriptor, otherwise):
    return slave if str(descriptor) in descriptors else otherwise


def take_terminal():
    os.setsid()
    if "0" in descriptors:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


child = subprocess.Popen(
    ["sh", "-c", command],
    stdin=on(0, subprocess.DEVNULL),
    stdout=on(1, None),
    stderr=on(2, None),
    preexec_fn=take_terminal,
)


def keep_blocking():
    while True:
        os.set_blocking(slave, True)
        time.sleep(0.001)


if is_pipe:
    threading.Thread(target=keep_blocking, daemon=True).start()
else:
    os.close(slave)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, lambda number, _: child.poll() is None and child.send_signal(number))


def copy():
    try:
        while data := os.read(master, 65536):
            os.write(2, data)
    except OSError:
        pass


reader = threading.Thread(target=copy, daemon=True)


def obey():
    for line in sys.stdin:
        match line.strip():
            case "go":
                os.write(master, b"\x11")
            case "read":
                reader.start()
            case "hangup":
                os.close(master)


threading.Thread(target=obey, daemon=True).start()
status = child.wait()
if reader.is_alive():
    reader.join(1)
if status < 0:
    signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
