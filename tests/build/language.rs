//! The language: directives, lines, variables, here-documents.

use e2e::World;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

fn env(w: &World, image: &str) -> Vec<String> {
    let all = w.inspect(image)["Config"]["Env"].clone();
    let all = all.as_array().unwrap().iter().map(|e| e.as_str().unwrap().to_owned());
    all.filter(|e| !e.starts_with("PATH=")).collect()
}

#[test]
fn variables_are_expanded_with_every_modifier() {
    let w = world();
    let text = r#"FROM busybox
ENV abc=hello word="one  two" path=/a/b/c.tar.gz empty=
ENV abc=bye def=$abc
ENV ghi=$abc \
    esc=\$abc lit='$abc' both="${abc}s" sp=a\ b
ENV d1=${none:-word} d2=${abc:-word} d3=${empty:-word} d4=${empty-word}
ENV p1=${abc:+word} p2=${none:+word} p3=${empty+word} p4=${empty:+word}
ENV s1=${path##*/} s2=${path#*/} s3=${path%.*} s4=${path%%.*} s5=${path/b/X} s6=${path//a/X}
ENV n1=${none:-${abc:-x}} n2="${word}" n3=$word-$none-
"#;
    w.build_text("v", text).ok();
    let want = [
        "abc=bye",
        "word=one  two",
        "path=/a/b/c.tar.gz",
        "empty=",
        "def=hello",
        "ghi=bye",
        "esc=$abc",
        "lit=$abc",
        "both=byes",
        "sp=a b",
        "d1=word",
        "d2=bye",
        "d3=word",
        "d4=",
        "p1=word",
        "p2=",
        "p3=word",
        "p4=",
        "s1=c.tar.gz",
        "s2=a/b/c.tar.gz",
        "s3=/a/b/c.tar",
        "s4=/a/b/c",
        "s5=/a/X/c.tar.gz",
        "s6=/X/b/c.tXr.gz",
        "n1=bye",
        "n2=one  two",
        "n3=one  two--",
    ];
    assert_eq!(env(&w, "v"), want);
}

#[test]
fn a_variable_that_must_be_there_ends_the_build() {
    let w = world();
    let done = w.build_text("v", "FROM busybox\nENV a=\"${none:?is needed}\"\n").code(1);
    assert!(done.err().contains("is needed"), "{done}");
    w.build_text("v", "FROM busybox\nENV x=1\nENV a=\"${x:?is needed}\"\n").ok();
}

#[test]
fn variables_work_in_the_instructions_that_take_them_and_in_no_others() {
    let w = world();
    let text = "FROM busybox
ENV d=/data f=cargo u=1000 p=8080 s=SIGINT
WORKDIR $d
ADD $f ./added
COPY ${f} $d/copied
LABEL where=\"$d\" $f=x
EXPOSE $p
USER $u
VOLUME $d
STOPSIGNAL $s
CMD [\"echo\", \"$d\"]
ENTRYPOINT echo $d
RUN f=shell && echo $f-${d#/} > /tmp/run
";
    let dir = w.context("c", &[("Dockerfile", text), ("cargo", "spice\n")]);
    w.build(&dir, &["-t", "v"]).ok();
    let all = w.inspect("v")["Config"].clone();
    assert_eq!(all["WorkingDir"], "/data");
    assert_eq!(all["Labels"]["where"], "/data");
    assert_eq!(all["Labels"]["cargo"], "x");
    assert!(all["ExposedPorts"]["8080/tcp"].is_object(), "{all}");
    assert_eq!(all["User"], "1000");
    assert!(all["Volumes"]["/data"].is_object(), "{all}");
    assert_eq!(all["StopSignal"], "SIGINT");
    assert_eq!(all["Cmd"], serde_json::json!(["echo", "$d"]));
    assert_eq!(all["Entrypoint"], serde_json::json!(["/bin/sh", "-c", "echo $d"]));
    assert_eq!(w.says("v", "cat /tmp/run /data/added /data/copied"), "shell-data\nspice\nspice");
}

#[test]
fn lines_are_continued_and_comments_and_directives_are_read_as_buildkit_does() {
    let w = world();
    let text = "# escape=`\n# syntax=docker/dockerfile:1\n\n# a comment\n   # an indented one\nfrom busybox as One\n\
        RUN echo one `\n   # a comment within\n\n   two `\n   && echo '# not a comment' `\n   > /tmp/x\n\
        run echo C:\\\\dir > /tmp/y\n  LABEL   a=1   \t b=2  \n";
    w.build_text("v", text).ok();
    assert_eq!(w.says("v", "cat /tmp/x /tmp/y"), "# not a comment\nC:\\dir");
    assert_eq!(w.inspect("v")["Config"]["Labels"], serde_json::json!({"a": "1", "b": "2"}));
    // A byte order mark, carriage returns, no newline at the end.
    let text =
        "\u{feff}FROM busybox\r\nRUN echo a > /tmp/x && \\\r\n  echo b >> /tmp/x\r\nLABEL z=9";
    w.build_text("v", text).ok();
    assert_eq!(w.says("v", "cat /tmp/x"), "a\nb");
    assert_eq!(w.inspect("v")["Config"]["Labels"]["z"], "9");
    // A directive that follows a comment is a comment.
    w.build_text("v", "# a comment\n# escape=`\nFROM busybox\nRUN echo a \\\n  b > /tmp/x\n").ok();
    assert_eq!(w.says("v", "cat /tmp/x"), "a b");
}

#[test]
fn here_documents_are_scripts_and_files() {
    let w = world();
    let text = r#"FROM busybox
ARG who=mate
RUN <<EOF
echo "ahoy $who" > /tmp/a
cat <<'IN' >> /tmp/a
inner
IN
EOF
RUN <<-ONE cat > /tmp/b && cat <<TWO >> /tmp/b
	tabs go
ONE
second
TWO
RUN <<EOF
#!/bin/awk -f
BEGIN { print "by awk" > "/tmp/c" }
EOF
COPY <<plain.txt <<'quoted.txt' /tmp/
who: $who
plain.txt
who: $who
quoted.txt
COPY --chmod=755 <<-"EOF" /tmp/script
	#!/bin/sh
	echo $1
EOF
ADD <<EOF /tmp/added
${who:+yes} \$who
EOF
RUN sh <<EOF
echo by sh > /tmp/d
EOF
"#;
    w.build_text("h", text).ok();
    assert_eq!(w.says("h", "cat /tmp/a"), "ahoy mate\ninner");
    assert_eq!(w.says("h", "cat /tmp/b"), "tabs go\nsecond");
    assert_eq!(w.says("h", "cat /tmp/c /tmp/d"), "by awk\nby sh");
    assert_eq!(w.says("h", "cat /tmp/plain.txt /tmp/quoted.txt"), "who: mate\nwho: $who");
    assert_eq!(w.says("h", "/tmp/script works; cat /tmp/added"), "works\nyes $who");
}

#[test]
fn old_forms_and_words_are_still_read() {
    let w = world();
    let text = "FROM busybox\nMAINTAINER Mate <mate@example.com>\nENV key many words here\n\
        LABEL old style\nENV dir /tmp\nCMD echo plain\nHEALTHCHECK NONE\n";
    w.build_text("o", text).ok();
    let all = w.inspect("o");
    assert_eq!(all["Author"], "Mate <mate@example.com>");
    assert_eq!(env(&w, "o"), ["key=many words here", "dir=/tmp"]);
    assert_eq!(all["Config"]["Labels"]["old"], "style");
    assert_eq!(all["Config"]["Healthcheck"]["Test"], serde_json::json!(["NONE"]));
    assert_eq!(all["Config"]["Cmd"], serde_json::json!(["/bin/sh", "-c", "echo plain"]));
}

#[test]
fn arguments_have_their_scopes() {
    let w = world();
    let text = "ARG base=busybox\nARG version=1\nFROM $base AS one\nRUN echo \"[$version]\" > /tmp/a\n\
        ARG version\nRUN echo \"[$version]\" > /tmp/b\nARG version=2 other=o\nRUN echo \"[$version$other]\" > /tmp/c\n\
        ENV version=3\nRUN echo \"[$version]\" > /tmp/d\nFROM one\nRUN echo \"[$version$other]\" > /tmp/e\n";
    w.build_text("s", text).ok();
    // A stage upon another one has its arguments, too.
    let said = || w.says("s", "cat /tmp/a /tmp/b /tmp/c /tmp/d /tmp/e");
    assert_eq!(said(), "[]\n[1]\n[2o]\n[3]\n[3o]");
    // An argument is in no image; what is given wins over the default, not over ENV.
    assert_eq!(env(&w, "s"), ["version=3"]);
    let dir = w.path("alone");
    w.build(&dir, &["-t", "s", "--build-arg", "version=9", "--build-arg", "other=p"]).ok();
    assert_eq!(said(), "[]\n[9]\n[9p]\n[3]\n[3p]");
    // Its value out of the environment.
    let flags = ["-t", "s", "--build-arg", "version"];
    w.build_cmd(&dir, &flags).env("version", "from-env").run().ok();
    assert_eq!(w.says("s", "cat /tmp/b"), "[from-env]");
}

#[test]
fn predefined_arguments_are_there() {
    let w = world();
    let text = "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETPLATFORM TARGETOS TARGETARCH BUILDARCH\n\
        RUN echo $TARGETPLATFORM $TARGETOS/$TARGETARCH $BUILDARCH $HTTP_PROXY > /tmp/a\n";
    let dir = w.context("c", &[("Dockerfile", text)]);
    w.build(&dir, &["-t", "p", "--build-arg", "HTTP_PROXY=http://proxy.test:3128"]).ok();
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let want = format!("linux/{arch} linux/{arch} {arch} http://proxy.test:3128");
    assert_eq!(w.says("p", "cat /tmp/a"), want);
    // A proxy is neither in the image nor in its history.
    assert!(!w.dhow(["image", "inspect", "p"]).ok().out().contains("proxy.test"));
    assert!(!w.dhow(["history", "--no-trunc", "p"]).ok().out().contains("proxy.test"));
}
