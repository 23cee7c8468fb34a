use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Dockerfile {
    parse(text.as_bytes(), "Dockerfile").unwrap_or_else(|e| panic!("{text}\n{e}"))
}

/// The steps' instructions of a Dockerfile that begins with `FROM x`.
fn steps(text: &str) -> Vec<Instruction> {
    read(&format!("FROM x\n{text}")).stages.remove(0).steps.into_iter().map(|s| s.what).collect()
}

#[track_caller]
fn one(text: &str) -> Instruction {
    let mut all = steps(text);
    assert_eq!(all.len(), 1, "{text}");
    all.remove(0)
}

fn shell(text: &str) -> Command {
    Command::Shell(text.into())
}

fn exec(words: &[&str]) -> Command {
    Command::Exec(words.iter().map(ToString::to_string).collect())
}

fn run(text: &str) -> Run {
    match one(text) {
        Instruction::Run(run) => *run,
        other => panic!("{other:?}"),
    }
}

fn copy(text: &str) -> Copy {
    match one(text) {
        Instruction::Copy(copy) | Instruction::Add(copy) => *copy,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(text: &str) -> String {
    parse(text.as_bytes(), "Dockerfile").expect_err(text).to_string()
}

#[test]
fn stages_and_global_arguments() {
    let d = read(
        "# builder makes it\nARG A=1 B\nFROM --platform=$P golang:$A AS Builder\nRUN a\n\
         from builder as two\nFROM scratch\n",
    );
    let args: Vec<_> = d.args.iter().map(|a| (a.name.as_str(), a.value.as_deref())).collect();
    assert_eq!(args, [("A", Some("1")), ("B", None)]);
    let stages: Vec<_> = d.stages.iter().map(|s| (s.from.as_str(), s.name.as_str())).collect();
    assert_eq!(stages, [("golang:$A", "builder"), ("builder", "two"), ("scratch", "")]);
    assert_eq!(d.stages[0].platform.as_deref(), Some("$P"));
    assert_eq!((d.stages[0].lines.clone(), d.stages[0].steps.len()), (3..=3, 1));
    assert_eq!(d.stages[0].text, "FROM --platform=$P golang:$A AS Builder");
}

#[test]
fn directives_at_the_top() {
    let d = read(
        "\u{feff}# syntax = docker/dockerfile:1\n#escape=`\n# check=skip=all\nFROM x\nRUN a `\n b\\",
    );
    assert_eq!((d.escape, d.syntax.as_deref()), ('`', Some("docker/dockerfile:1")));
    assert_eq!(d.check.skip, ["all"]);
    assert_eq!(d.stages[0].steps[0].text, "RUN a  b\\");
    let d = read("#!/usr/bin/env docker\n# check=error=true\n# escape=`\nFROM x\n");
    assert_eq!((d.check.error, d.escape), (true, '\\'));
    let d = read("# a note\n# escape=`\nFROM x");
    assert_eq!(d.escape, '\\');
    let d = read("FROM x\n# escape=`\nRUN a");
    assert_eq!(d.escape, '\\');
    assert!(refused("#escape=`\n#escape=`\nFROM x").starts_with("Dockerfile:2:1: only one escape"));
    assert!(refused("#escape=x\nFROM x").contains("invalid escape token 'x'"));
}

#[test]
fn lines_are_joined_and_comments_go() {
    let d = read("FROM x\nRUN a \\\n  # note\n\n  b \\ \n\t&& c\n\n  # end\nCMD d");
    let s = &d.stages[0].steps;
    assert_eq!(s[0].text, "RUN a   b \t&& c");
    assert_eq!((s[0].lines.clone(), s[1].lines.clone()), (2..=6, 9..=9));
    assert_eq!(read("FROM x\r\nRUN a \\\r\n b\r\n").stages[0].steps[0].text, "RUN a  b");
}

#[test]
fn an_escaped_escape_does_not_continue() {
    let s = steps("RUN a \\\\\nRUN b \\");
    assert_eq!(s.len(), 2);
    let s = steps("RUN a\\\n\\\nb");
    assert_eq!(s[0], Instruction::Run(Box::new(plain_run("ab"))));
}

fn plain_run(text: &str) -> Run {
    Run {
        command: shell(text),
        heredocs: vec![],
        program: None,
        mounts: vec![],
        network: None,
        insecure: false,
        devices: vec![],
    }
}

#[test]
fn commands_are_lists_or_text() {
    assert_eq!(run("RUN [\"a\", \"b c\"]").command, exec(&["a", "b c"]));
    assert_eq!(run("run   a  b ").command, shell("a  b"));
    assert_eq!(run("RUN ['a']").command, shell("['a']"));
    assert_eq!(run("RUN [ -f x ] && y").command, shell("[ -f x ] && y"));
    assert_eq!(run("RUN").command, shell(""));
    assert_eq!(one("CMD [ ]"), Instruction::Cmd(exec(&[])));
    assert_eq!(one("CMD"), Instruction::Cmd(shell("")));
    assert_eq!(one("ENTRYPOINT [\"\\u0041\"]"), Instruction::Entrypoint(exec(&["A"])));
    assert_eq!(one("SHELL [\"a\", \"-c\"]"), Instruction::Shell(vec!["a".into(), "-c".into()]));
}

#[test]
fn runs_flags() {
    let r = run(
        "RUN --mount=type=cache,target=/c --mount=from=a,target=/b --network=none --security=insecure --device=x make",
    );
    assert_eq!(r.command, shell("make"));
    assert_eq!((r.mounts.len(), r.mounts[1].from.as_deref()), (2, Some("a")));
    assert_eq!(
        (r.network.as_deref(), r.insecure, r.devices[0].name.as_str()),
        (Some("none"), true, "x")
    );
}

#[test]
fn copies() {
    let c = copy(
        "COPY --from=a --chown=1:2 --chmod=u+x --link --parents --exclude=*.o --exclude=b a b /c/",
    );
    assert_eq!((c.sources, c.dest.as_str()), (vec!["a".into(), "b".into()], "/c/"));
    assert_eq!(
        (c.from.as_deref(), c.chown.as_deref(), c.chmod.as_deref()),
        (Some("a"), Some("1:2"), Some("u+x"))
    );
    assert_eq!((c.link, c.parents, c.exclude), (true, true, vec!["*.o".into(), "b".into()]));
    let c = copy("ADD --checksum=sha256:x --keep-git-dir=false --unpack=true [\"a b\", \"c\"]");
    assert_eq!((c.sources, c.dest.as_str()), (vec!["a b".into()], "c"));
    assert_eq!(
        (c.checksum.as_deref(), c.keep_git_dir, c.unpack),
        (Some("sha256:x"), Some(false), Some(true))
    );
    assert_eq!(copy("COPY [a] b").sources, ["[a]"]);
}

#[test]
fn pairs_and_words() {
    let env = |text| match one(text) {
        Instruction::Env(pairs) | Instruction::Label(pairs) => pairs,
        other => panic!("{other:?}"),
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        env("ENV a=1 b=\"2 3\" c=x\\ y d="),
        [pair("a", "1"), pair("b", "\"2 3\""), pair("c", "x\\ y"), pair("d", "")]
    );
    assert_eq!(env("ENV a  1 \"2\"  3 "), [pair("a", "1 \"2\"  3")]);
    assert_eq!(env("LABEL \"a b\"=c d=e=f"), [pair("\"a b\"", "c"), pair("d", "e=f")]);
    assert_eq!(
        one("EXPOSE 9 80/tcp $X"),
        Instruction::Expose(vec!["$X".into(), "80/tcp".into(), "9".into()])
    );
    assert_eq!(one("VOLUME /a b"), Instruction::Volume(vec!["/a".into(), "b".into()]));
    assert_eq!(one("VOLUME [\" /a \"]"), Instruction::Volume(vec!["/a".into()]));
    assert_eq!(one("WORKDIR /a b "), Instruction::Workdir("/a b".into()));
    assert_eq!(one("USER a:b"), Instruction::User("a:b".into()));
    assert_eq!(one("STOPSIGNAL --x 9"), Instruction::Stopsignal("9".into()));
    assert_eq!(one("MAINTAINER Me <me@x>"), Instruction::Maintainer("Me <me@x>".into()));
}

#[test]
fn healthchecks() {
    let health = |text| match one(text) {
        Instruction::Healthcheck(h) => *h,
        other => panic!("{other:?}"),
    };
    let h = health(
        "HEALTHCHECK --interval=5s --timeout=1m30s --start-period=2s --start-interval=1s --retries=3 CMD curl -f x",
    );
    assert_eq!(h.test, ["CMD-SHELL", "curl -f x"]);
    assert_eq!(
        (h.interval, h.timeout, h.start_period, h.start_interval, h.retries),
        (5_000_000_000, 90_000_000_000, 2_000_000_000, 1_000_000_000, 3)
    );
    assert_eq!(health("HEALTHCHECK cmd [\"a\", \"b\"]").test, ["CMD", "a", "b"]);
    assert_eq!(health("HEALTHCHECK --interval=x NONE").test, ["NONE"]);
}

#[test]
fn a_runs_heredocs() {
    let r = run("RUN <<EOF\na\n  b $c\nEOF\n");
    assert_eq!(r.command, shell("a\n  b $c\n"));
    let r = run("RUN <<-EOF\n\ta\n\t\tb\n\tEOF\n");
    assert_eq!(r.command, shell("a\nb\n"));
    let r = run("RUN <<'A B'\n#!/bin/x\ny\nA B\n");
    assert_eq!(r.command, shell("/dev/pipes/A B"));
    assert_eq!(r.program.unwrap().content, "#!/bin/x\ny\n");
    let r = run("RUN cat <<A - <<-B | sort\n1\nA\n\t2\n\tB\n");
    assert_eq!(r.command, shell("cat <<A - <<-B | sort\n1\nA\n\t2\nB"));
    assert_eq!(r.heredocs.len(), 2);
    let s = steps("RUN <<EOF\nRUN x\n# kept\n\nEOF\nRUN y");
    assert_eq!(s.len(), 2);
    let s = steps("RUN [\"a\", \"<<EOF\"]\nCMD b");
    assert_eq!(s.len(), 2, "a list has none");
    let s = steps("CMD a <<EOF\nCMD b");
    assert_eq!(s.len(), 2, "nor has another instruction");
}

#[test]
fn a_copys_heredocs() {
    let c = copy("COPY --chmod=755 <<a.sh <<-'b' c /x/\n$y\na.sh\n\tz\n\tb\n");
    assert_eq!(c.sources, ["c"]);
    let of = |d: &Heredoc| (d.name.clone(), d.content.clone(), d.expand);
    assert_eq!(of(&c.heredocs[0]), ("a.sh".into(), "$y\n".into(), true));
    assert_eq!(of(&c.heredocs[1]), ("b".into(), "z\n".into(), false));
    let get = |name: &str| (name == "y").then(|| "v".to_owned());
    let Instruction::Copy(c) = Instruction::Copy(Box::new(c)).expanded('\\', &get).unwrap() else {
        panic!()
    };
    assert_eq!(c.heredocs[0].content, "v\n");
}

#[test]
fn triggers() {
    let on = |text| match one(text) {
        Instruction::Onbuild(text) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(on("onbuild   RUN a \\\n  b"), "RUN a   b");
    assert_eq!(on("ONBUILD WHAT ever"), "WHAT ever", "it is known when it is triggered");
    let text = on("ONBUILD COPY <<-A <<B /x\n\ta\n\tA\nb\nB\n");
    assert_eq!(text, "COPY <<-A <<B /x\n\ta\nA\nb\nB");
    let step = parse_one(&text, "ONBUILD").unwrap();
    let Instruction::Copy(c) = step.what else { panic!() };
    assert_eq!((c.heredocs[0].content.as_str(), c.heredocs[1].content.as_str()), ("a\n", "b\n"));
    assert!(parse_one("RUN a\nRUN b", "x").is_err());
    assert!(parse_one("", "x").is_err());
    assert!(parse_one("WHAT", "x").is_err());
}

#[test]
fn an_error_has_place_line_and_caret() {
    assert_eq!(
        refused("FROM x\n\nRUNN make\n"),
        "Dockerfile:3:1: unknown instruction: RUNN (did you mean RUN?)\n   3 | RUNN make\n     | ^"
    );
    assert_eq!(
        refused("FROM x\nCOPY a \\\n\t--x b\nRUN --mout=a \\\n b"),
        "Dockerfile:4:5: unknown flag: --mout (did you mean --mount?)\n   4 | RUN --mout=a \\\n     |     ^"
    );
    assert_eq!(
        refused("FROM x\nENV a=1 \\\n    b\n"),
        "Dockerfile:3:5: Syntax error - can't find = in \"b\". Must be of the form: name=value\n   3 |     b\n     |     ^"
    );
    let long = refused(&format!("FROM x\nENV a=1 {} b\n", "c=d ".repeat(200)));
    assert!(long.lines().all(|line| line.chars().count() < 120), "{long}");
    assert!(!refused("FROM x\nRU\u{1b}[31mN x").contains('\u{1b}'));
    assert_eq!(refused(""), "Dockerfile: the Dockerfile cannot be empty");
}

#[test]
fn what_is_refused() {
    for (text, why) in [
        ("# only\n\n", "file with no instructions"),
        ("ARG a\n", "dockerfile contains no stages to build"),
        ("RUN a\nFROM x", "no build stage in current context"),
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a is b", "FROM requires either one or three arguments"),
        ("FROM a AS 1b", "invalid name for build stage: \"1b\""),
        ("FROM a AS b$c", "invalid name for build stage"),
        ("FROM --platfrom=x a", "unknown flag: --platfrom (did you mean --platform?)"),
        ("FROM x\nFORM y", "unknown instruction: FORM (did you mean FROM?)"),
        ("FROM x\nENV a", "ENV must have two arguments"),
        ("FROM x\nENV", "ENV requires at least one argument"),
        ("FROM x\nENV =b", "ENV names can not be blank"),
        ("FROM x\nLABEL a=b c", "can't find = in \"c\""),
        ("FROM x\nARG", "ARG requires at least one argument"),
        ("FROM x\nARG =b", "ARG names can not be blank"),
        ("FROM x\nCOPY a", "COPY requires at least two arguments"),
        ("FROM x\nADD", "ADD requires at least two arguments"),
        ("FROM x\nADD --from=a b c", "unknown flag: --from"),
        ("FROM x\nCOPY --checksum=a b c", "unknown flag: --checksum"),
        ("FROM x\nCOPY --from=$a b c", "variable expansion is not supported for --from"),
        ("FROM x\nCOPY --chown= --chown=1 b c", "duplicate flag specified: --chown"),
        ("FROM x\nCOPY a <<EOF\nEOF", "COPY cannot accept a heredoc as a destination"),
        ("FROM x\nRUN <<EOF\nEOF2\n", "unterminated heredoc"),
        ("FROM x\nRUN --network=bridge a", "invalid network mode \"bridge\""),
        ("FROM x\nRUN --security=no a", "security \"no\" is not valid"),
        ("FROM x\nRUN --mount=from=$a,target=/x a", "'from' doesn't support variable expansion"),
        ("FROM x\nRUN [1]", "arrays must be comprised of strings only"),
        ("FROM x\nCMD --x a", "unknown flag: --x"),
        (
            "FROM x\nSHELL sh -c",
            "SHELL requires the arguments to be in JSON form: SHELL [\"sh\", \"-c\"]",
        ),
        ("FROM x\nSHELL []", "SHELL requires at least one argument"),
        ("FROM x\nVOLUME", "VOLUME requires at least one argument"),
        ("FROM x\nVOLUME [\"\"]", "VOLUME specified can not be an empty string"),
        ("FROM x\nEXPOSE", "EXPOSE requires at least one argument"),
        ("FROM x\nUSER", "USER requires exactly one argument"),
        ("FROM x\nWORKDIR", "WORKDIR requires exactly one argument"),
        ("FROM x\nMAINTAINER", "MAINTAINER requires exactly one argument"),
        ("FROM x\nONBUILD", "ONBUILD requires at least one argument"),
        ("FROM x\nONBUILD ONBUILD RUN a", "Chaining ONBUILD"),
        ("FROM x\nONBUILD from a", "FROM isn't allowed as an ONBUILD trigger"),
        ("FROM x\nONBUILD ENV a", "ENV must have two arguments"),
        ("FROM x\nHEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("FROM x\nHEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("FROM x\nHEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("FROM x\nHEALTHCHECK CMD []", "Missing command after HEALTHCHECK CMD"),
        ("FROM x\nHEALTHCHECK curl", "Unknown type \"CURL\" in HEALTHCHECK (try CMD)"),
        ("FROM x\nHEALTHCHECK --interval=5 CMD a", "invalid duration"),
        ("FROM x\nHEALTHCHECK --interval=1us CMD a", "cannot be less than 1ms"),
        ("FROM x\nHEALTHCHECK --retries=-1 CMD a", "cannot be negative"),
        ("FROM x\nHEALTHCHECK --retries=x CMD a", "--retries is a number"),
    ] {
        let said = refused(text);
        assert!(said.contains(why), "{text}: {said}");
    }
    let long = format!("FROM x\nRUN {}\n", "a".repeat(65532));
    assert!(refused(&long).contains("greater than max allowed size"));
    assert!(parse(&long.as_bytes()[1..long.len() - 2], "x").is_err());
}

#[test]
fn bytes_that_are_no_text() {
    let d = parse(b"FROM x\n# \xff\nMAINTAINER Jos\xe9\n", "x").unwrap();
    assert_eq!(d.stages[0].steps[0].what, Instruction::Maintainer("Jos\u{fffd}".into()));
    assert!(parse(b"FROM x\nCOPY <<A /x\n\xff\nA\n", "x").is_err());
}

proptest! {
    #[test]
    fn never_a_panic(text in "([A-Z]{3,6} |[#\\\\\n\t \"'<>$={}\\[\\],:a-z0-9-]{0,12}|RUN |COPY |FROM x\n|ENV |HEALTHCHECK |ONBUILD |<<EOF|\nEOF\n){0,12}") {
        let _ = parse(text.as_bytes(), "Dockerfile");
    }

    #[test]
    fn nor_by_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = parse(&bytes, "Dockerfile");
        let _ = parse(&[b"FROM x\nRUN ", bytes.as_slice()].concat(), "Dockerfile");
    }

    #[test]
    fn a_list_is_what_json_says(words in proptest::collection::vec("\\PC{0,10}", 0..4)) {
        let text = format!("CMD {}", serde_json::to_string(&words).unwrap());
        prop_assert_eq!(one(&text), Instruction::Cmd(Command::Exec(words)));
    }

    #[test]
    fn a_copys_heredoc_is_its_lines(lines in proptest::collection::vec("[ -~]{0,20}", 0..5)) {
        let content = lines.iter().fold(String::new(), |all, line| all + line + "\n");
        let c = copy(&format!("COPY <<'E.O.F' /x\n{content}E.O.F\n"));
        prop_assert_eq!(&c.heredocs[0].content, &content);
    }
}
