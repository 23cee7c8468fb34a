//! RUN: its forms, its mounts, its surroundings.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use e2e::World;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

#[test]
fn forms_surroundings_and_failures() {
    let w = world();
    let text = "FROM busybox
ENV who=mate
RUN [\"sh\", \"-c\", \"echo exec $who > /tmp/exec\"]
RUN [\"touch\", \"/tmp/$who\"]
RUN --network=none ip link | grep -c '^[0-9]' > /tmp/links
WORKDIR /made/by/workdir
USER mate
RUN id -un > /tmp/user; pwd >> /tmp/user; echo $HOME >> /tmp/user
USER 4321:8765
RUN id -u > /tmp/ids; id -g >> /tmp/ids
USER root
RUN hostname > /tmp/name
RUN grep CapEff /proc/self/status > /tmp/caps; grep NoNewPrivs /proc/self/status >> /tmp/caps; ulimit -n >> /tmp/caps
RUN echo out; echo err >&2
";
    let done = w.build_text("r", text).ok();
    assert!(done.err().contains(" out\n") && done.err().contains(" err\n"), "{done}");
    let look =
        "cd /tmp; ls -d '$who'; cat exec links user ids name; stat -c '%u %a' /made/by/workdir";
    let want = "$who\nexec mate\n1\nmate\n/made/by/workdir\n/home/mate\n4321\n8765\nbuildkitsandbox\n0 755";
    assert_eq!(w.says("r", look), want);
    // Docker's default capabilities.
    assert!(
        w.says("r", "cat /tmp/caps").starts_with("CapEff:\t00000000a80425fb\nNoNewPrivs:\t0\n")
    );
    let done = w
        .build_text(
            "bad",
            "FROM busybox\nRUN echo before\nRUN echo why >&2; exit 7\nRUN echo after\n",
        )
        .code(1);
    for part in ["why", "exit code: 7", "Dockerfile:3", "RUN echo why"] {
        assert!(done.err().contains(part), "no {part:?}: {done}");
    }
    assert!(!done.err().contains("echo after\n#"), "{done}");
    w.dhow(["image", "inspect", "bad"]).code(1);
    let done = w.build_text("bad", "FROM busybox\nRUN [\"/not/there\"]\n").code(1);
    assert!(done.err().contains("/not/there"), "{done}");
}

#[test]
fn only_what_a_step_changed_is_in_its_layer() {
    let w = world();
    let text = "FROM busybox
RUN --mount=type=tmpfs,target=/mnt/tmp --mount=type=cache,target=/mnt/cache --mount=type=bind,target=/mnt/bind echo x > /mnt/tmp/x
RUN rm -r /home/mate && mkdir /home/mate && echo new > /home/mate/new && rm /etc/hostname
RUN cat /etc/resolv.conf /etc/hosts > /dev/null || true
RUN true
";
    let dir = w.context("c", &[("Dockerfile", text)]);
    w.build(&dir, &["-t", "r"]).ok();
    // Neither mount points nor what is mounted over, nor the runtime's own files.
    let said = w.image(["diff", "busybox", "r"]).lines();
    let said: Vec<_> = said.into_iter().filter(|line| !line.starts_with("config")).collect();
    let said = said.join("\n");
    for part in ["/mnt", "resolv.conf", "/etc/hosts\n", "/dev/", "/proc/", "/sys/"] {
        assert!(!said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("home/mate/new") && said.contains("etc/hostname"), "{said}");
}

#[test]
fn mounts_show_what_they_are_asked_to() {
    let w = world();
    let text = "FROM busybox AS other
RUN mkdir /srv && echo from stage > /srv/file
FROM busybox
RUN --mount=target=/ctx cat /ctx/a.txt > /tmp/a; echo no > /ctx/x || echo read-only >> /tmp/a
RUN --mount=type=bind,source=sub,target=/ctx,rw echo w > /ctx/written && ls /ctx > /tmp/b
RUN --mount=type=bind,from=other,source=/srv/file,target=/one/file cat /one/file > /tmp/c
RUN --mount=type=bind,from=busybox,source=/etc,dst=/etc2,readonly cat /etc2/hostname > /tmp/d
RUN --mount=type=tmpfs,target=/t,size=1m dd if=/dev/zero of=/t/f bs=1M count=2 2>/dev/null || stat -fc %T /t > /tmp/e
RUN --mount=type=cache,target=/cache,id=owned,uid=1000,gid=2000,mode=0750 stat -c '%u %g %a' /cache > /tmp/f
RUN --mount=type=cache,target=/cache,id=c echo kept >> /cache/notes
RUN --mount=type=cache,target=/other,id=c cat /other/notes > /tmp/g
RUN --mount=type=cache,target=/srv2,from=other,source=/srv cat /srv2/file > /tmp/h
";
    let files = [("Dockerfile", text), ("a.txt", "a\n"), ("sub/inner", "inner\n")];
    let dir = w.context("c", &files);
    w.build(&dir, &["-t", "m"]).ok();
    let want =
        "a\nread-only\ninner\nwritten\nfrom stage\nbusybox\ntmpfs\n1000 2000 750\nkept\nfrom stage";
    assert_eq!(
        w.says("m", "cd /tmp; cat a b c d e f g h; ls -d /ctx /cache /one 2>/dev/null; true"),
        want
    );
    assert!(!dir.join("sub/written").exists());
    // A cache outlives the build, and is no part of what decides about a step.
    fs::write(
        dir.join("Dockerfile"),
        "FROM busybox\nRUN --mount=type=cache,target=/x,id=c cp /x/notes /\n",
    )
    .unwrap();
    w.build(&dir, &["-t", "m"]).ok();
    assert_eq!(w.says("m", "cat /notes"), "kept");
}

#[test]
fn a_contexts_files_are_roots_where_they_are_mounted() {
    let w = world();
    let list = "find . ! -name '.' | sort | xargs stat -c '%n %u:%g'";
    let text = format!(
        "FROM busybox\nWORKDIR /c\n\
         RUN --mount=target=. stat -c %u:%g . > /tmp/a; {list} >> /tmp/a; cat sub/private >> /tmp/a\n\
         RUN --mount=target=.,rw {list} > /tmp/b; echo new > sub/private; cat sub/private >> /tmp/b\n\
         RUN --mount=source=sub,target=. {list} > /tmp/c\n\
         RUN --mount=source=a,target=/f stat -c %u:%g /f > /tmp/d\n\
         USER 4321\nRUN --mount=target=. cat a > /tmp/e; cat sub/private || echo kept >> /tmp/e\n"
    );
    let files =
        [("Dockerfile", text.as_str()), ("a", "a\n"), ("sub/private", "secret\n"), ("sub/x", "")];
    let dir = w.context("c", &files);
    fs::write(dir.join(".dockerignore"), "Dockerfile\n.dockerignore\nsub/x\n").unwrap();
    for path in ["", "a", "sub", "sub/private"] {
        std::os::unix::fs::chown(dir.join(path), Some(1234), Some(5678)).unwrap();
    }
    fs::set_permissions(dir.join("sub/private"), fs::Permissions::from_mode(0o600)).unwrap();
    w.build(&dir, &["-t", "m"]).ok();
    let all = "./a 0:0\n./sub 0:0\n./sub/private 0:0";
    let look = |file: &str| w.says("m", &format!("cat /tmp/{file}"));
    assert_eq!(look("a"), format!("0:0\n{all}\nsecret"));
    assert_eq!(look("b"), format!("{all}\nnew"));
    assert_eq!(look("c"), "./private 0:0");
    assert_eq!(look("d"), "0:0");
    assert_eq!(look("e"), "a\nkept");
    // Of several owners the directory's is meant; all can be read.
    std::os::unix::fs::chown(dir.join("a"), Some(7), Some(0)).unwrap();
    fs::set_permissions(dir.join("a"), fs::Permissions::from_mode(0o400)).unwrap();
    let text = "FROM busybox\nRUN --mount=target=/c cd /c; stat -c '%n %u:%g' . a sub/x > /tmp/a; cat a >> /tmp/a\n";
    fs::write(dir.join("Dockerfile"), text).unwrap();
    fs::write(dir.join(".dockerignore"), "").unwrap();
    w.build(&dir, &["-t", "m"]).ok();
    assert_eq!(look("a"), ". 0:0\na 7:5678\nsub/x 1234:5678\na");
    let stat = dir.join("sub/private").metadata().unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&stat), 1234);
}

#[test]
fn secrets_are_seen_by_the_step_that_asks_and_stay_nowhere() {
    let w = world();
    let text = "FROM busybox
RUN --mount=type=secret,id=key cat /run/secrets/key | tr a-z A-Z > /tmp/a; stat -c '%a %u' /run/secrets/key >> /tmp/a
RUN --mount=type=secret,id=word,target=/root/.word,mode=0444,uid=1000 cut -c1-2 /root/.word > /tmp/b; stat -c '%a %u' /root/.word >> /tmp/b
RUN --mount=type=secret,id=key,env=TOKEN echo ${#TOKEN} > /tmp/c
RUN --mount=type=secret,id=none test ! -e /run/secrets/none
RUN ls /run/secrets /root/.word 2>/dev/null | wc -l > /tmp/d
";
    let dir = w.context("c", &[("Dockerfile", text)]);
    let secret = w.path("secret");
    fs::write(&secret, "topsecretvalue").unwrap();
    let id = format!("id=key,src={}", secret.display());
    let flags = ["-t", "s", "--secret", &id, "--secret", "id=word,env=WORD"];
    w.build_cmd(&dir, &flags).env("WORD", "hushhush").run().ok();
    assert_eq!(
        w.says("s", "cat /tmp/a /tmp/b /tmp/c /tmp/d"),
        "TOPSECRETVALUE400 0\nhu\n444 1000\n14\n0"
    );
    for word in ["topsecretvalue", "hushhush"] {
        let found = w.cmd("grep").args(["-rlF", word]).arg(w.root()).run();
        assert_eq!(found.code, 1, "{found}");
    }
    // Another value doesn't run the step again; one that is required must be there.
    fs::write(&secret, "another").unwrap();
    w.build_cmd(&dir, &flags).env("WORD", "hushhush").run().ok();
    assert!(w.says("s", "cat /tmp/a").starts_with("TOPSECRET"));
    let text = "FROM busybox\nRUN --mount=type=secret,id=gone,required=true true\n";
    w.build_text("x", text).code(1).err_has("gone");
}

#[test]
fn an_agent_is_lent_to_the_step_that_asks() {
    let w = world();
    let text = "FROM busybox\nRUN --mount=type=ssh echo hello | timeout 2 nc local:$SSH_AUTH_SOCK || test -S $SSH_AUTH_SOCK\n\
        RUN test -z \"$SSH_AUTH_SOCK\"\nRUN --mount=type=ssh,target=/agent test -S /agent\n";
    let dir = w.context("c", &[("Dockerfile", text)]);
    let socket = w.path("agent.sock");
    let _server = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let flag = format!("default={}", socket.display());
    w.build(&dir, &["--ssh", &flag]).ok();
    w.build_cmd(&dir, &["--ssh", "default", "--no-cache"]).env("SSH_AUTH_SOCK", &socket).run().ok();
    let text = "FROM busybox\nRUN --mount=type=ssh,required=true true\n";
    w.build_text("x", text).code(1).err_has("ssh");
}

#[test]
fn what_is_privileged_has_to_be_allowed() {
    let w = world();
    let insecure =
        "FROM busybox\nRUN --security=insecure grep CapEff /proc/self/status > /tmp/caps\n";
    let dir = w.context("c", &[("Dockerfile", insecure)]);
    w.build(&dir, &["-t", "i"]).code(1).err_has("security.insecure");
    w.build(&dir, &["-t", "i", "--allow", "security.insecure"]).ok();
    assert!(!w.says("i", "cat /tmp/caps").contains("a80425fb"));
    let host = "FROM busybox\nRUN --network=host true\n";
    let dir = w.context("h", &[("Dockerfile", host)]);
    w.build(&dir, &[]).code(1).err_has("network.host");
    w.build(&dir, &["--allow", "network.host"]).ok();
}

#[test]
fn limits_and_hosts_hold_in_runs() {
    let w = world();
    let text = "FROM busybox\nRUN ulimit -n > /tmp/a; df -k /dev/shm | tail -1 | awk '{print $2}' >> /tmp/a; grep sea /etc/hosts >> /tmp/a\n\
        RUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null > /tmp/b || true\n";
    let dir = w.context("c", &[("Dockerfile", text)]);
    let flags = [
        "-t",
        "l",
        "--ulimit",
        "nofile=100:200",
        "--shm-size",
        "8m",
        "--add-host",
        "sea:10.1.2.3",
        "-m",
        "64m",
    ];
    w.build(&dir, &flags).ok();
    let said = w.says("l", "cat /tmp/a /tmp/b");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], ["100", "8192"], "{said}");
    assert!(lines[2].starts_with("10.1.2.3") && lines[2].ends_with("sea"), "{said}");
    assert_eq!(lines[3], "67108864", "{said}");
    assert!(!w.says("l", "cat /etc/hosts").contains("10.1.2.3"));
}
