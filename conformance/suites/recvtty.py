#!/usr/bin/python3
"""recvtty --pid-file FILE --mode null SOCKET: takes terminals sent to a socket, and reads them empty."""

import os
import socket
import sys
import threading


def drain(connection):
    _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
    try:
        while fds and os.read(fds[0], 4096):
            pass
    except OSError:
        pass  # nobody has the other end open any more
    for fd in fds:
        os.close(fd)
    connection.close()


def main():
    arguments = sys.argv[1:]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(arguments[-1])
    listener.listen()
    with open(arguments[arguments.index("--pid-file") + 1], "w") as file:
        print(os.getpid(), file=file)
    while True:
        threading.Thread(target=drain, args=(listener.accept()[0],), daemon=True).start()


main()
