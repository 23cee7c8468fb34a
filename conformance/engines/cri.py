"""cri.py ADDRESS HANDLER SCRATCH: pods and containers as a kubelet makes them, over the CRI.

Prints a line a check: name, wanted pattern, what was seen, with tabs between them.
"""
import os
import sys
import time

import grpc

import api_pb2 as cri

address, handler, scratch = sys.argv[1:4]
channel = grpc.insecure_channel(address)
BOX = cri.ImageSpec(image="docker.io/library/box:latest")


def call(name, **fields):
    """A call of the runtime service; a refusal comes back as its text."""
    method = cri.DESCRIPTOR.services_by_name["RuntimeService"].methods_by_name[name]
    kind = lambda d: getattr(cri, d.name)
    do = channel.unary_unary(
        f"/runtime.v1.RuntimeService/{name}",
        request_serializer=kind(method.input_type).SerializeToString,
        response_deserializer=kind(method.output_type).FromString,
    )
    return do(kind(method.input_type)(**fields), timeout=60)


def check(name, want, got):
    """Prints one line; `got` is called, so that a failure of it is what was seen."""
    try:
        got = got()
    except grpc.RpcError as e:
        got = f"refused: {e.details()}"
    print(name, want, " ".join(str(got).split()), sep="\t", flush=True)


def until(seconds, true):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)


NODE, POD, CONTAINER = cri.NODE, cri.POD, cri.CONTAINER


class Pod:
    count = 0

    def __init__(self, name, pid=CONTAINER, network=POD, **linux):
        security = linux.pop("security", {})
        options = cri.NamespaceOption(network=network, pid=pid, ipc=POD)
        self.config = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name=name, uid=name, namespace="default"),
            hostname=f"{name}-host" if network == POD else "",
            log_directory=f"{scratch}/logs/{name}",
            linux=cri.LinuxPodSandboxConfig(
                cgroup_parent=f"/kube/{name}",
                security_context=cri.LinuxSandboxSecurityContext(namespace_options=options, **security),
                **linux,
            ),
        )
        self.options = options
        os.makedirs(self.config.log_directory, exist_ok=True)
        self.id = call("RunPodSandbox", config=self.config, runtime_handler=handler).pod_sandbox_id

    def start(self, command, resources=None, security=None, **fields):
        Pod.count += 1
        name = f"c{Pod.count}"
        security = cri.LinuxContainerSecurityContext(namespace_options=self.options, **(security or {}))
        config = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name=name),
            image=BOX,
            command=command,
            log_path=f"{name}.log",
            linux=cri.LinuxContainerConfig(resources=resources, security_context=security),
            **fields,
        )
        made = call("CreateContainer", pod_sandbox_id=self.id, config=config, sandbox_config=self.config)
        container = Container(made.container_id, f"{self.config.log_directory}/{name}.log")
        call("StartContainer", container_id=container.id)
        return container

    def output(self, command, **fields):
        """Runs it to its end: what it wrote, and [code] if that is not 0."""
        container = self.start(command, **fields)
        code = container.wait()
        text = container.log()
        call("RemoveContainer", container_id=container.id)
        return text + (f" [{code}]" if code else "")

    def remove(self):
        call("StopPodSandbox", pod_sandbox_id=self.id)
        call("RemovePodSandbox", pod_sandbox_id=self.id)


class Container:
    def __init__(self, id, path):
        self.id, self.path = id, path

    def status(self):
        return call("ContainerStatus", container_id=self.id).status

    def state(self):
        return cri.ContainerState.Name(self.status().state)

    def wait(self):
        until(20, lambda: self.state() == "CONTAINER_EXITED")
        return self.status().exit_code

    def log(self):
        """The log without the time, stream and tag that begin each line."""
        with open(self.path, encoding="utf-8") as file:
            return " ".join(line.rstrip("\n").split(" ", 3)[3] for line in file)

    def run(self, *command):
        done = call("ExecSync", container_id=self.id, cmd=command, timeout=10)
        text = (done.stdout + done.stderr).decode().strip()
        return text + (f" [{done.exit_code}]" if done.exit_code else "")


def life(pod):
    check("version", "containerd", lambda: call("Version").runtime_name)
    check("pod is ready", "SANDBOX_READY", lambda: cri.PodSandboxState.Name(
        call("PodSandboxStatus", pod_sandbox_id=pod.id).status.state))
    check("its handler", handler, lambda: call("PodSandboxStatus", pod_sandbox_id=pod.id).status.runtime_handler)
    check("its address", "10.77.*", lambda: call("PodSandboxStatus", pod_sandbox_id=pod.id).status.network.ip)
    check("output, exit code", "hello err [[]7]",
          lambda: pod.output(["sh", "-c", "echo hello; sleep 0.2; echo err >&2; exit 7"]))
    check("program is missing", "*no-such-program*", lambda: pod.output(["no-such-program"]))
    limits = cri.LinuxContainerResources(
        memory_limit_in_bytes=67108864, cpu_quota=40000, cpu_period=100000, cpu_shares=512, oom_score_adj=200)
    a = pod.start(["sh", "-c", "trap 'echo got term; exit 9' TERM; echo begins; while :; do sleep 0.1; done"],
                  resources=limits)
    check("running", "CONTAINER_RUNNING", a.state)
    check("limits read back", "67108864 40000 512 200",
          lambda: a.run("sh", "-c", "limit memory; limit quota; limit shares; cat /proc/1/oom_score_adj"))
    check("exec: exit code", "in [[]4]", lambda: a.run("sh", "-c", "echo in; exit 4"))
    check("exec: program is missing", "*no-such-program*", lambda: a.run("no-such-program"))
    check("exec: timeout", "*imeout*", lambda: call(
        "ExecSync", container_id=a.id, cmd=["sleep", "30"], timeout=1))
    call("UpdateContainerResources", container_id=a.id, linux=cri.LinuxContainerResources(
        memory_limit_in_bytes=100663296, cpu_quota=50000, cpu_shares=256, cpuset_cpus="0"))
    check("update", "100663296 50000 256 0",
          lambda: a.run("sh", "-c", "limit memory; limit quota; limit shares; limit cpus"))
    check("stats: memory", "yes", lambda: "yes" if call(
        "ContainerStats", container_id=a.id).stats.memory.working_set_bytes.value > 0 else "no")
    check("log", "begins", a.log)
    call("ReopenContainerLog", container_id=a.id)
    check("stop", "CONTAINER_EXITED 9", lambda: (
        call("StopContainer", container_id=a.id, timeout=10), f"{a.state()} {a.status().exit_code}")[1])
    check("log to the end", "begins got term", a.log)
    check("stop again", "*", lambda: call("StopContainer", container_id=a.id, timeout=1))
    check("start of a stopped one", "refused: *", lambda: call("StartContainer", container_id=a.id))
    b = pod.start(["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
    check("stop by force", "137", lambda: (
        call("StopContainer", container_id=b.id, timeout=1), b.status().exit_code)[1])
    check("out of memory", "OOMKilled 137", lambda: out_of_memory(pod))
    check("five at once", "5", lambda: five(pod))


def out_of_memory(pod):
    hog = pod.start(["sh", "-c", "tail /dev/zero & wait $!; exit $?"],
                    resources=cri.LinuxContainerResources(memory_limit_in_bytes=16 << 20))
    hog.wait()
    return f"{hog.status().reason} {hog.status().exit_code}"


def five(pod):
    made = [pod.start(["echo", f"out{i}"]) for i in range(5)]
    return sum(c.wait() == 0 and c.log() == f"out{i}" for i, c in enumerate(made))


def security(pod):
    look = ["sh", "-c", "id; grep -E 'Cap|NoNew|Seccomp:' /proc/self/status"]
    check("default", "=", lambda: pod.output(look))
    check("run as user", "=", lambda: pod.output(look, security=dict(
        run_as_user=cri.Int64Value(value=1000), run_as_group=cri.Int64Value(value=1000), supplemental_groups=[4444])))
    check("run as username", "=", lambda: pod.output(look, security=dict(run_as_username="user")))
    check("capabilities", "=", lambda: pod.output(look, security=dict(capabilities=cri.Capability(
        add_capabilities=["SYS_ADMIN"], drop_capabilities=["CHOWN"]))))
    check("no new privileges", "*NoNewPrivs: 1*", lambda: pod.output(look, security=dict(no_new_privs=True)))
    profile = cri.SecurityProfile(profile_type=cri.SecurityProfile.RuntimeDefault)
    check("seccomp: default", "*Seccomp: 2*", lambda: pod.output(look, security=dict(seccomp=profile)))
    with open(f"{scratch}/own.json", "w", encoding="utf-8") as file:
        file.write('{"defaultAction":"SCMP_ACT_ALLOW","syscalls":'
                   '[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}')
    own = cri.SecurityProfile(profile_type=cri.SecurityProfile.Localhost, localhost_ref=f"{scratch}/own.json")
    check("seccomp: own", "*Operation not permitted*",
          lambda: pod.output(["mkdir", "/x"], security=dict(seccomp=own)))
    check("read-only root", "*Read-only*", lambda: pod.output(["touch", "/x"], security=dict(readonly_rootfs=True)))
    check("masked, read-only paths", "=", lambda: pod.output(
        ["sh", "-c", "wc -c </proc/uptime; touch /proc/sys/kernel/x; ls /sys/firmware"],
        security=dict(masked_paths=["/proc/uptime", "/sys/firmware"], readonly_paths=["/proc/sys"])))
    check("devices", "c", lambda: pod.output(["sh", "-c", "ls -l /dev/other | cut -c1"], devices=[
        cri.Device(container_path="/dev/other", host_path="/dev/null", permissions="rwm")]))


def mounts(pod):
    os.makedirs(f"{scratch}/cv", exist_ok=True)
    with open(f"{scratch}/cv/f", "w", encoding="utf-8") as file:
        file.write("outside\n")
    os.system(f"mount --bind {scratch}/cv {scratch}/cv; mount --make-rshared {scratch}/cv")
    look = ["sh", "-c", "cat /v/f; grep ' /v ' /proc/self/mountinfo | grep -oE 'shared|master'; touch /v/x"]
    for name, kind in (("private", cri.PROPAGATION_PRIVATE), ("to container", cri.PROPAGATION_HOST_TO_CONTAINER),
                       ("bidirectional", cri.PROPAGATION_BIDIRECTIONAL)):
        check(f"mount: {name}", "=", lambda kind=kind: pod.output(look, mounts=[cri.Mount(
            container_path="/v", host_path=f"{scratch}/cv", propagation=kind)]))
    check("mount: read-only", "*Read-only*", lambda: pod.output(look, mounts=[cri.Mount(
        container_path="/v", host_path=f"{scratch}/cv", readonly=True)]))
    check("hugepages", "=", lambda: pod.output(["echo", "there"], resources=cri.LinuxContainerResources(
        hugepage_limits=[cri.HugepageLimit(page_size="2MB", limit=2 << 20)])))


def namespaces():
    link = lambda c, kind: c.run("readlink", f"/proc/self/ns/{kind}")
    for name, pid in (("own", CONTAINER), ("the pod's", POD), ("the node's", NODE)):
        pod = Pod(f"pid{pid}", pid=pid)
        one, two = pod.start(["sleep", "1000"]), pod.start(["sleep", "1000"])
        check(f"pids: {name}", "=", lambda: " ".join(
            "same" if link(one, k) == link(two, k) else "other" for k in ("net", "ipc", "uts", "pid", "mnt")))
        check(f"pids: {name}: 1 is", "=", lambda: one.run("cat", "/proc/1/comm"))
        check(f"pids: {name}: host name", f"pid{pid}-host", lambda: one.run("hostname"))
        check(f"pids: {name}: removed", "None", pod.remove)
    pod = Pod("hostnet", network=NODE)
    check("network: the node's", "*cni0*", lambda: pod.output(["ls", "/sys/class/net"]))
    pod.remove()
    pod = Pod("sysctl", sysctls={"kernel.shmmax": "70000", "net.ipv4.ip_forward": "1"})
    check("sysctls", "70000 1", lambda: pod.output(
        ["cat", "/proc/sys/kernel/shmmax", "/proc/sys/net/ipv4/ip_forward"]))
    pod.remove()


def privileged():
    # No caller here has every capability: what matters is that both answer in the same way.
    try:
        pod = Pod("privileged", security=dict(privileged=True))
    except grpc.RpcError:
        print("privileged pod", "*", "refused", sep="\t")
        return
    check("privileged", "*CapEff:*", lambda: pod.output(
        ["sh", "-c", "grep CapEff /proc/self/status; ls /dev | grep -c ."], security=dict(privileged=True)))
    pod.remove()


def main():
    pod = Pod("main")
    life(pod)
    security(pod)
    mounts(pod)
    check("pod removed", "None", pod.remove)
    namespaces()
    privileged()
    check("cgroups removed", "0", lambda: sum(
        len(dirs) for at, dirs, _ in os.walk("/sys/fs/cgroup") if os.path.basename(os.path.dirname(at)) == "kube"))
    check("no pod left", "0", lambda: len(call("ListPodSandbox").items))
    check("no container left", "0", lambda: len(call("ListContainers").containers))


main()
