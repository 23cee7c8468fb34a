//! Logs: docker's json-file lines, whole and in order.

use std::fs;

use e2e::{World, needs};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

#[test]
fn logs_keep_the_streams_apart() {
    let w = world();
    let name = w.id("c");
    let id = w
        .dhow([
            "run",
            "-d",
            "--name",
            &name,
            "busybox",
            "sh",
            "-c",
            "echo one; echo two >&2; printf 'no end'",
        ])
        .ok()
        .out();
    w.dhow(["wait", &name]).ok();
    let done = w.dhow(["logs", &name]).ok();
    assert_eq!((done.out().as_str(), done.err().as_str()), ("one\nno end", "two"));
    let file =
        fs::read_to_string(w.root().join("containers").join(&id).join("container.log")).unwrap();
    for line in file.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["log"].is_string() && line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(["stdout", "stderr"].contains(&line["stream"].as_str().unwrap()), "{line}");
    }
    w.dhow(["rm", &name]).ok();
}

#[test]
fn tail_and_timestamps() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "busybox", "seq", "100"]).ok();
    w.dhow(["wait", &name]).ok();
    w.dhow(["logs", "--tail", "3", &name]).ok().out_is("98\n99\n100");
    w.dhow(["logs", "-n", "0", &name]).ok().out_is("");
    let line = w.dhow(["logs", "-t", "--tail", "1", &name]).ok().out();
    let (time, text) = line.split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z') && text == "100", "{line}");
    w.dhow(["rm", &name]).ok();
}

#[test]
fn follow_ends_with_the_container() {
    let w = world();
    let name = w.id("c");
    let script = "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done";
    w.dhow(["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
    w.dhow_cmd(["logs", "-f", &name]).limit(30).run().ok().out_is("1\n2\n3\n4\n5");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn much_output_arrives_whole_in_both_places() {
    needs!(Speed);
    let w = world();
    let name = w.id("c");
    let done = w.dhow(["run", "--name", &name, "busybox", "seq", "200000"]).ok();
    let whole = w.cmd("seq").arg("200000").run().ok().stdout;
    assert!(done.stdout == whole, "{} bytes of {}", done.stdout.len(), whole.len());
    let logged = w.dhow(["logs", &name]).ok().stdout;
    assert!(logged == whole, "{} bytes of {}", logged.len(), whole.len());
    w.dhow(["rm", &name]).ok();
}
