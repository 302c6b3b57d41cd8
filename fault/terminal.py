"""A pseudo-terminal for another process: prints its path, then everything that is written to it.

Lines on standard input: `stop` is Ctrl-S, `go` is Ctrl-Q.
"""
import os
import pty
import sys
import threading

master, slave = pty.openpty()
print(os.ttyname(slave), flush=True)


def obey():
    for line in sys.stdin:
        os.write(master, {"stop": b"\x13", "go": b"\x11"}[line.strip()])
    os._exit(0)


threading.Thread(target=obey, daemon=True).start()
while data := os.read(master, 65536):
    os.write(1, data)
