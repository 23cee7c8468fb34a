"""The two calls of util-linux's libmount that crun's tests use, over the text of a mountinfo."""


class _Mount:
    def __init__(self, fields):
        dash = fields.index("-")
        self.target, self.vfs_options = fields[4], fields[5]
        self.fs_options = fields[dash + 3] if len(fields) > dash + 3 else None


class Table:
    def __init__(self, path):
        with open(path) as lines:
            self._mounts = [_Mount(line.split()) for line in lines if line.strip()]

    def find_target(self, target):
        return next((m for m in reversed(self._mounts) if m.target == target), None)
