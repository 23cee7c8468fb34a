//! What docker's documentation shows of Dockerfiles, page by page, in Dockerfiles of our own: the
//! result is the one that it states.

use e2e::World;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// A Dockerfile, flags, and what a script says in its image.
type Case = (&'static str, &'static [&'static str], &'static str, &'static str);

fn all(w: &World, files: &[(&str, &str)], cases: &[Case]) {
    for (text, flags, script, want) in cases {
        let files: Vec<_> = files.iter().copied().chain([("Dockerfile", *text)]).collect();
        let dir = w.context("page", &files);
        let flags: Vec<&str> = ["-t", "page"].iter().chain(flags.iter()).copied().collect();
        w.build(&dir, &flags).ok();
        assert_eq!(w.says("page", script), *want, "{text}");
    }
}

#[test]
fn values_go_where_the_reference_says() {
    let w = world();
    let env = "env | grep '^[a-d v]=' | sort | xargs";
    let cases: [Case; 7] = [
        // A value before the first FROM is FROM's alone, until a stage asks for it.
        (
            "ARG v=latest\nFROM busybox:$v AS one\nRUN echo \"<$v>\" > /a\nARG v\nRUN echo \"<$v>\" >> /a\n",
            &[],
            "cat /a",
            "<>\n<latest>",
        ),
        // What a stage has, those that begin with it have; the image has none of it.
        (
            "FROM busybox AS one\nARG v=sail\nFROM one\nRUN echo $v > /a\n",
            &["--build-arg", "v=oar"],
            "cat /a; echo ${v-none}",
            "oar\nnone",
        ),
        // ENV wins over an ARG before it; by a default both have their say.
        (
            "FROM busybox\nARG v=1\nENV v=2\nRUN echo $v > /a\n",
            &["--build-arg", "v=4"],
            "cat /a",
            "2",
        ),
        ("FROM busybox\nARG v\nENV v=${v:-2}\n", &["--build-arg", "v=4"], env, "v=4"),
        // All of one instruction sees what was before it.
        ("FROM busybox\nENV a=hi\nENV a=bye b=$a\nENV c=$a\n", &[], env, "a=bye b=hi c=bye"),
        // A stage's name may be made of one that nobody has declared.
        (
            "FROM busybox AS make_amd64\nRUN echo 64 > /a\nFROM busybox AS make_arm64\nRUN false\n\
             FROM make_${TARGETARCH}\nARG TARGETPLATFORM BUILDPLATFORM\nRUN echo $BUILDPLATFORM $TARGETPLATFORM >> /a\n",
            &["--platform", "linux/amd64"],
            "cat /a",
            "64\nlinux/amd64 linux/amd64",
        ),
        // Paths are joined, what nobody has said is empty, and `#` begins no comment in a line.
        (
            "FROM busybox\nENV d=/p\nWORKDIR /a\nWORKDIR b\nRUN pwd > /a/out\nWORKDIR $d/$none\nRUN pwd >> /a/out\n\
             WORKDIR /x # no\nRUN pwd >> /a/out\n",
            &[],
            "cat /a/out",
            "/a/b\n/p\n/x # no",
        ),
    ];
    all(&w, &[], &cases);
}

#[test]
fn a_step_is_run_again_when_the_reference_says_so() {
    let w = world();
    let ran = |text: &str, flags: &[&str]| {
        let dir = w.context("page", &[("Dockerfile", text)]);
        let cmd = w.build_cmd(&dir, flags).env("WORD", flags.concat());
        cmd.run().ok().err().lines().any(|line| line.ends_with(" 42"))
    };
    let proxy = "FROM busybox\nRUN echo $((40+2))\n";
    assert!(ran(proxy, &["--build-arg", "HTTP_PROXY=http://a"]));
    assert!(!ran(proxy, &["--build-arg", "HTTP_PROXY=http://b"]));
    let proxy = "FROM busybox\nARG HTTP_PROXY\nRUN echo $((40+2))\n";
    assert!(ran(proxy, &["--build-arg", "HTTP_PROXY=http://a"]));
    assert!(ran(proxy, &["--build-arg", "HTTP_PROXY=http://b"]));
    // A declared one counts from its line on, used or not; one that ENV covers doesn't.
    let arg = "FROM busybox\nARG v\nRUN echo $((40+2))\n";
    assert!(ran(arg, &["--build-arg", "v=1"]) && ran(arg, &["--build-arg", "v=2"]));
    let covered = "FROM busybox\nARG v\nENV v=0\nRUN echo $((40+2))\n";
    assert!(ran(covered, &["--build-arg", "v=1"]) && !ran(covered, &["--build-arg", "v=2"]));
    // A secret's value doesn't, its name does, and a value beside it makes it.
    let secret = "FROM busybox\nARG v\nRUN --mount=type=secret,id=w,env=w test -n \"$w\" && echo $((40+2))\n";
    let flags = ["--secret", "id=w,env=WORD", "--build-arg", "v=1"];
    assert!(ran(secret, &flags));
    assert!(!ran(secret, &[&flags[..], &["--label", "a=b"]].concat()));
    assert!(ran(secret, &["--secret", "id=w,env=WORD", "--build-arg", "v=2"]));
    assert!(ran(&secret.replace("id=w", "id=other"), &["--secret", "id=other,env=WORD"]));
    // Of one stage alone.
    let two = "FROM busybox AS one\nRUN echo $((40+2))\nFROM one\nRUN echo done\n";
    ran(two, &[]);
    assert!(!ran(two, &[]) && ran(two, &["--no-cache-filter", "one"]));
}

#[test]
fn files_come_as_the_reference_says() {
    let w = world();
    let files = [
        ("x/a.txt", "xa"),
        ("x/y/b.txt", "xyb"),
        ("x/y/c.md", "xyc"),
        ("arr[0].txt", "arr"),
        ("arr0.txt", "no"),
        ("index.js", "js"),
        ("index.ts", "ts"),
        ("index.html", "html"),
        ("config/c", "c"),
    ];
    let find = "cd /d; find . -type f | sort | xargs";
    let cases: [Case; 9] = [
        (
            "FROM busybox\nCOPY arr[[]0].txt index.?s /d/\n",
            &[],
            find,
            "./arr[0].txt ./index.js ./index.ts",
        ),
        (
            "FROM busybox\nCOPY --parents x/a.txt x/y/b.txt /d/\n",
            &[],
            find,
            "./x/a.txt ./x/y/b.txt",
        ),
        ("FROM busybox\nCOPY --parents x/./y/*.txt /d/\n", &[], find, "./y/b.txt"),
        ("FROM busybox\nCOPY --parents x/**/*.txt /d/\n", &[], find, "./x/a.txt ./x/y/b.txt"),
        (
            "FROM busybox\nCOPY --exclude=*.md --exclude=*.txt x/y index* /d/\n",
            &[],
            find,
            "./index.html ./index.js ./index.ts",
        ),
        (
            "FROM busybox\nARG m=440\nCOPY --chmod=g=u config/ /d/\nCOPY --chmod=$m arr0.txt /d/\nCOPY --chmod=+x index.js /d/\n",
            &[],
            "stat -c '%n %a' /d/* | xargs",
            "/d/arr0.txt 440 /d/c 664 /d/index.js 755",
        ),
        // Written where they are used; tabs go, quotes keep variables for later.
        (
            "FROM busybox\nARG v=1\nCOPY <<one <<\"two\" /d/\n$v\none\n$v\ntwo\nRUN <<a cat > /d/a && <<-b cat > /d/b\nA\na\n\tB\nb\n\
             RUN <<e\n#!/bin/cat\nc\ne\n",
            &[],
            "cd /d; cat one two a b",
            "1\n$v\nA\nB",
        ),
        // What is mounted hides what was there, and leaves nothing.
        (
            "FROM busybox\nWORKDIR /d\nRUN touch own\nRUN --mount=target=.,rw ls index.js > /1; ls own || rm -r x\nRUN ls > /2\n",
            &[],
            "cat /1 /2",
            "index.js\nown",
        ),
        // Another image is a stage; a stage has a number.
        (
            "FROM busybox\nRUN mkdir /o && echo 0 > /o/n\nFROM busybox\nCOPY --from=0 /o/n /d/\nCOPY --from=busybox /etc/passwd /d/\n",
            &[],
            find,
            "./n ./passwd",
        ),
    ];
    all(&w, &files, &cases);
    // Without a context there are no files.
    let text = "FROM scratch\nCOPY index.js .\n";
    w.dhow_cmd(["build", "-"]).stdin(text).run().code(1).err_has("index.js");
}

#[test]
fn what_a_container_runs_is_what_the_reference_says() {
    let w = world();
    for (text, args, want) in [
        ("ENTRYPOINT [\"echo\", \"a\"]\nCMD [\"b\"]", &[][..], "a b"),
        ("ENTRYPOINT [\"echo\", \"a\"]\nCMD [\"b\"]", &["c"], "a c"),
        ("ENTRYPOINT [\"echo\", \"a\"]\nENTRYPOINT [\"echo\", \"z\"]", &[], "z"),
        // A shell's entrypoint hears of no CMD.
        ("ENTRYPOINT echo $0-$1\nCMD ignored", &[], "/bin/sh--c"),
        ("CMD [\"echo\", \"b\"]\nENTRYPOINT [\"echo\", \"z\"]", &["q"], "z q"),
        // Whoever says an entrypoint says what follows it: the base's CMD is gone.
        ("ENTRYPOINT [\"echo\", \"z\"]", &[], "z"),
        ("SHELL [\"/bin/sh\", \"-uc\"]\nCMD echo ${none-set}", &[], "set"),
        ("RUN mkdir /v && echo in > /v/f\nVOLUME /v\nCMD cat /v/f", &[], "in"),
        ("from busybox\nrun echo small > /f\ncmd [\"cat\", \"/f\"]", &[], "small"),
    ] {
        w.build_text("page", &format!("FROM busybox\n{text}\n")).ok();
        let run = ["run", "--rm", "page"].iter().chain(args).copied();
        assert_eq!(w.dhow(run).ok().out(), want, "{text}");
    }
}
