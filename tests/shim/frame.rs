//! The frame of every verb: flags as Go spells them, help, hints, exit codes, completion.

use e2e::World;

#[test]
fn flags_are_spelled_as_go_spells_them() {
    let w = World::new();
    w.pull("busybox");
    w.dhow([
        "run",
        "--rm",
        "-it=false",
        "-e=A=1",
        "--name",
        "xx",
        "busybox",
        "sh",
        "-c",
        "echo $A",
    ])
    .ok()
    .out_is("1");
    w.dhow(["create", "--name=one", "busybox", "ls", "--rm"]).ok();
    w.dhow(["ps", "--all=true", "--quiet=false", "--format", "{{.Names}}"]).ok().out_is("one");
    w.dhow(["container", "rm", "one", "--force", "-v=true"]).ok().out_is("one"); // after the name
    w.dhow(["ps", "--all=x"]).code(125).err_has("strconv.ParseBool: parsing \"x\": invalid syntax");
}

#[test]
fn slips_are_told_in_dockers_words_with_its_hint_and_exit_code() {
    let w = World::new();
    for (line, code, words, hint) in [
        ("run --nope", 125, "unknown flag: --nope", "See 'dhow run --help'."),
        ("ps -axz", 125, "unknown shorthand flag: 'x' in -xz", "See 'dhow ps --help'."),
        ("ps x", 1, "'dhow ps' accepts no arguments", "See 'dhow ps --help'."),
        ("run", 1, "'dhow run' requires at least 1 argument", "See 'dhow run --help'."),
        ("tag a", 1, "'dhow tag' requires 2 arguments", "See 'dhow tag --help'."),
        ("volume create a b", 1, "requires at most 1 argument", "See 'dhow volume create --help'."),
        (
            "ps -n x",
            125,
            "invalid argument \"x\" for \"-n, --last\" flag: strconv.ParseInt",
            "ps --help",
        ),
        ("ps -n", 125, "flag needs an argument: 'n' in -n", "See 'dhow ps --help'."),
        ("ps --last", 125, "flag needs an argument: --last", "See 'dhow ps --help'."),
        ("strat x", 1, "unknown command: dhow strat; did you mean 'start'?", "See 'dhow --help'."),
        ("container lss", 1, "did you mean 'ls'?", "See 'dhow container --help'."),
        ("ps --fromat x", 125, "unknown flag: --fromat; did you mean --format?", "ps --help"),
        ("--nope ps", 125, "unknown flag: --nope", "See 'dhow --help'."),
    ] {
        w.dhow(line.split(' ')).code(code).err_has(words).err_has(hint);
    }
}

#[test]
fn an_image_that_was_probably_meant_is_named() {
    let w = World::new();
    w.pull("busybox");
    for verb in [&["rmi"][..], &["image", "inspect"], &["image", "rm"]] {
        w.dhow([verb, &["bussybox"]].concat())
            .code(1)
            .err_has("No such image: bussybox:latest; did you mean \"busybox:latest\"?");
    }
    assert!(!w.dhow(["rmi", "nginx"]).code(1).err().contains("did you mean"));
}

#[test]
fn what_cannot_be_without_a_daemon_is_refused_in_one_line() {
    let w = World::new();
    for (line, code, why) in [
        ("swarm init", 1, "Swarm"),
        ("service ls", 1, "Swarm"),
        ("plugin ls", 1, "plugins are services"),
        ("context use x", 1, "a context points at a daemon"),
        ("buildx ls", 1, "builders are services"),
        ("checkpoint ls x", 1, "dhow-runtime checkpoint"),
        ("volume ls --cluster", 125, "cluster volumes"),
        ("--tlsverify ps", 125, "secures the way to a daemon"),
        ("-H tcp://10.0.0.1:2375 ps", 1, "names another machine"),
        ("--host ssh://x run busybox", 125, "names another machine"),
        ("--context other ps", 1, "a context points at a daemon"),
        ("-l loud ps", 1, "unable to parse logging level: loud"),
    ] {
        let told = w.dhow(line.split(' ')).code(code).err_has(why).err();
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    let remote = |name: &str, value: &str| w.dhow_cmd(["ps"]).env(name, value).run();
    remote("DOCKER_HOST", "tcp://x").code(1).err_has("names another machine");
    remote("DOCKER_CONTEXT", "x").code(1).err_has("a context points at a daemon");
    remote("DOCKER_HOST", "unix:///var/run/docker.sock").ok();
    w.dhow(["-c", "default", "-H", "unix:///run/docker.sock", "-l", "info", "ps"]).ok();
    w.dhow(["-D", "ps", "-q"]).ok().out_is("").err_has("level=debug");
}

#[test]
fn help_is_laid_out_as_dockers() {
    let w = World::new();
    let page = w.dhow(["rm", "--help"]).ok().out();
    assert!(page.starts_with("Usage:  dhow rm [OPTIONS] CONTAINER [CONTAINER...]\n\n"), "{page}");
    assert!(page.contains("\nAliases:\n  dhow container rm, dhow container remove, dhow rm\n"));
    assert!(page.contains("\nOptions:\n  -f, --force"), "{page}");
    w.dhow(["help", "rm"]).ok().out_is(&page);
    let run = w.dhow(["container", "run", "--help"]).ok().out();
    assert!(run.starts_with("Usage:  dhow container run [OPTIONS] IMAGE [COMMAND] [ARG...]"));
    assert!(run.contains("  -m, --memory bytes  ") && run.contains("\"missing\")"), "{run}");
    let fits = |line: &str| line.chars().count() <= 80 || line.contains("--mount mount"); // one long word
    assert!(run.lines().all(fits), "{run}");
    let whole = w.dhow(["--help"]).ok().out();
    assert!(
        whole.contains("\nManagement Commands:\n  builder     Builds\n  container "),
        "{whole}"
    );
    assert_eq!(w.dhow([""; 0]).ok().err(), whole, "nobody asked for it");
    let group = w.dhow(["volume"]).ok().err();
    assert!(group.ends_with("Run 'dhow volume COMMAND --help' for more information on a command."));
    w.dhow(["help", "nope"]).code(1).err_has("unknown help topic: nope");
    w.dhow(["help", "swarm"]).code(1).err_has("Swarm");
    w.dhow(["--version"]).ok().out_has("dhow ");
}

#[test]
fn a_shell_is_told_commands_flags_and_names() {
    let w = World::new();
    w.pull("busybox");
    w.dhow(["create", "--name", "harbour", "busybox"]).ok();
    w.dhow(["volume", "create", "hold"]).ok();
    let ask = |line: &str| {
        let words = ["__complete", "--"].into_iter().chain(line.split(' '));
        w.dhow(words)
            .ok()
            .lines()
            .iter()
            .map(|l| l.split('\t').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ask("rm har"), ["harbour"]);
    assert_eq!(ask("run --rm busy"), ["busybox", "busybox:latest"]);
    assert_eq!(ask("volume rm "), ["hold"]);
    assert_eq!(ask("container restart --sig"), ["--signal"]);
    assert_eq!(ask("ren"), ["rename"]);
    for shell in ["bash", "zsh", "fish", "powershell"] {
        w.dhow(["completion", shell]).ok().out_has("__complete");
    }
    w.dhow(["completion", "tcsh"]).code(125).err_has("use bash, zsh, fish, powershell");
    // bash itself: the script, and a half-typed line.
    let script = w.dhow(["completion", "bash"]).ok().out();
    let dhow = e2e::program("dhow");
    let line = format!("{} rm har", dhow.display());
    let ask = format!(
        "{script}\nCOMP_LINE='{line}' COMP_POINT={}; _dhow; echo \"${{COMPREPLY[@]}}\"",
        line.len()
    );
    w.cmd("bash").args(["-c", &ask]).run().ok().out_is("harbour");
    let line = format!("{} run busybox:l", dhow.display());
    let ask = format!(
        "{script}\nCOMP_LINE='{line}' COMP_POINT={}; _dhow; echo \"${{COMPREPLY[@]}}\"",
        line.len()
    );
    w.cmd("bash").args(["-c", &ask]).run().ok().out_is("latest");
    w.dhow(["rm", "harbour"]).ok();
    w.dhow(["volume", "rm", "hold"]).ok();
}

#[test]
fn flags_that_docker_takes_and_drops_are_taken_and_told() {
    let w = World::new();
    w.pull("busybox");
    w.dhow([
        "run",
        "--rm",
        "--disable-content-trust=false",
        "--kernel-memory",
        "1g",
        "busybox",
        "echo",
        "up",
    ])
    .ok()
    .out_is("up")
    .err_has("Flag --disable-content-trust has been deprecated, support for")
    .err_has("Flag --kernel-memory has been deprecated, and no longer supported by the kernel");
    let run = ["run", "--rm", "busybox", "echo", "--kernel-memory"];
    let quiet = w.dhow(run).ok().out_is("--kernel-memory").err();
    assert!(quiet.is_empty(), "the container's own words: {quiet}");
    w.dhow(["create", "--name", "one", "busybox"]).ok();
    w.dhow(["stop", "--time=1", "one"])
        .ok()
        .err_has("Flag --time has been deprecated, use --timeout instead");
    w.dhow(["rm", "one"]).ok();
}

#[test]
fn help_fits_the_terminal_and_has_no_colour_of_its_own() {
    let w = World::new();
    let mut t = w.dhow_pty(["run", "--help"]);
    t.expect("Usage:  dhow run [OPTIONS] IMAGE [COMMAND] [ARG...]");
    t.expect("--workdir string");
    assert_eq!(t.wait(), 0);
    let mut t = w.dhow_pty(["--nope"]);
    t.expect("dhow: unknown flag: --nope");
    t.expect("See 'dhow --help'.");
    assert_eq!(t.wait(), 125);
}
