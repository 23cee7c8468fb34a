#!/usr/bin/python3
"""seccompagent -socketfile=SOCKET -pid-file FILE: answers what filters notify, as runc's tests want it.

mkdir makes a directory with the listener's metadata behind its name; chmod, fchmod and fchmodat
fail with ENOMEDIUM; all else goes on.
"""

import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import sys
import threading

# linux/seccomp.h: SECCOMP_IOCTL_NOTIF_RECV, _SEND; struct seccomp_notif, _resp (x86-64).
RECEIVE, SEND = 0xC0502100, 0xC0182101
MKDIR, MODES = 83, (90, 91, 268)
CONTINUE = 1


def text(pid, address):
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(address)
        return memory.read(4096).split(b"\0")[0].decode()


def make_directory(pid, arguments, metadata):
    name = text(pid, arguments[0])
    base = "root" if name.startswith("/") else "cwd"
    os.mkdir(f"/proc/{pid}/{base}/{name.lstrip('/')}-{metadata}", arguments[1])


def answer(pid, number, arguments, metadata):
    """Answers value, error, flags."""
    if number == MKDIR:
        try:
            make_directory(pid, arguments, metadata)
        except OSError:
            return -1, -errno.ENOSYS, 0
        return 0, 0, 0
    if number in MODES:
        return -1, -errno.ENOMEDIUM, 0
    return 0, 0, CONTINUE


def serve(fd, metadata):
    while True:
        request = ctypes.create_string_buffer(80)
        try:
            fcntl.ioctl(fd, RECEIVE, request)
        except OSError as fault:
            if fault.errno in (errno.EINTR, errno.ENOENT):
                continue
            break
        identity, pid, _, number, _, _, *arguments = struct.unpack("QIIiIQ6Q", request.raw)
        value, error, flags = answer(pid, number, arguments, metadata)
        try:
            fcntl.ioctl(fd, SEND, struct.pack("QqiI", identity, value, error, flags))
        except OSError:
            pass  # it was killed meanwhile
    os.close(fd)


def main():
    path = next(word.split("=", 1)[1] for word in sys.argv if word.startswith("-socketfile="))
    with open(sys.argv[sys.argv.index("-pid-file") + 1], "w") as file:
        print(os.getpid(), file=file)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        state, fds, _, _ = socket.recv_fds(connection, 65536, 4)
        connection.close()
        metadata = os.path.basename(json.loads(state).get("metadata", ""))
        threading.Thread(target=serve, args=(fds[0], metadata), daemon=True).start()


main()
