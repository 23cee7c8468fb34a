//! Where a build's files come from, by the program.

use std::fs;
use std::path::Path;
use std::process::Command;

use e2e::World;

const DOCKERFILE: &str = "FROM scratch\nCOPY . /app/\n";

/// The files of the built image, as `MODE OWNER NAME`.
fn files(world: &World, args: &[&str], stdin: Vec<u8>) -> Vec<String> {
    let tar = world.path("out.tar");
    let to = format!("type=tar,dest={}", tar.display());
    let first = ["build", "-o", &to];
    let all = first.iter().chain(args);
    world.image_cmd(all).stdin(stdin).run().ok();
    let listed = Command::new("tar").args(["tvf"]).arg(&tar).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let field = |line: &str| {
        let parts: Vec<&str> = line.split_whitespace().collect();
        format!("{} {} {}", parts[0], parts[1], parts[5..].join(" "))
    };
    text.lines().map(field).collect()
}

fn context(world: &World) -> String {
    let dir = world.path("context");
    fs::create_dir_all(dir.join("d")).unwrap();
    for (name, text) in [
        ("Dockerfile", DOCKERFILE),
        (".dockerignore", "*\n!d\nd/no"),
        ("a", "1"),
        ("d/x", "2"),
        ("d/no", "3"),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
    dir.display().to_string()
}

fn tar(dir: &str) -> Vec<u8> {
    let out = Command::new("tar").args(["czf", "-", "-C", dir, "."]).output().unwrap();
    assert!(out.status.success());
    out.stdout
}

const WANT: [&str; 3] = ["drwxr-xr-x 0/0 app/", "drwxr-xr-x 0/0 app/d/", "-rw-r--r-- 0/0 app/d/x"];

#[test]
fn a_directory_and_a_tar_of_it_are_one_image() {
    let world = World::new();
    let dir = context(&world);
    assert_eq!(files(&world, &[&dir], Vec::new()), WANT);
    assert_eq!(files(&world, &["-"], tar(&dir)), WANT);
    let id =
        |place: &str, stdin| world.image_cmd(["build", "-q", place]).stdin(stdin).run().ok().out();
    let first = id(&dir, Vec::new());
    assert_eq!(id("-", tar(&dir)), first);
    fs::write(Path::new(&dir).join("a"), "ignored").unwrap();
    assert_eq!(id(&dir, Vec::new()), first, "what is ignored is no change");
    fs::write(Path::new(&dir).join("d/x"), "changed").unwrap();
    assert_ne!(id(&dir, Vec::new()), first);
}

#[test]
fn what_is_not_there_is_said() {
    let world = World::new();
    let dir = context(&world);
    let file = |text: &str| fs::write(Path::new(&dir).join("Dockerfile"), text).unwrap();
    for (text, why) in [
        ("FROM scratch\nCOPY gone /\n", "it is not in the build context"),
        ("FROM scratch\nCOPY a /\n", "the .dockerignore of the build context leaves out a"),
        ("FROM scratch\nCOPY ../../etc/passwd /\n", "it is not in the build context"),
        ("FROM scratch\nCOPY https://x.io/y /\n", "ADD fetches"),
    ] {
        file(text);
        world.image(["build", &dir]).refused().err_has(why);
    }
}

#[test]
fn a_named_context_is_a_source() {
    let world = World::new();
    let dir = context(&world);
    let other = world.path("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("y"), "4").unwrap();
    fs::write(Path::new(&dir).join("Dockerfile"), "FROM scratch\nCOPY --from=other y /\n").unwrap();
    let named = format!("other={}", other.display());
    let got = files(&world, &["--build-context", &named, &dir], Vec::new());
    assert_eq!(got, ["-rw-r--r-- 0/0 y"]);
}
