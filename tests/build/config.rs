//! The instructions that say how an image runs.

use e2e::World;
use serde_json::{Value, json};

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

fn config(w: &World, text: &str) -> Value {
    w.build_text("c", text).ok();
    w.inspect("c")["Config"].clone()
}

#[test]
fn cmd_and_entrypoint_have_a_shell_and_an_exec_form() {
    let w = world();
    let all = config(&w, "FROM busybox\nENTRYPOINT [\"echo\", \"a b\"]\nCMD [\"c\"]\n");
    assert_eq!(all["Entrypoint"], json!(["echo", "a b"]));
    assert_eq!(all["Cmd"], json!(["c"]));
    w.dhow(["run", "--rm", "c"]).ok().out_is("a b c");
    w.dhow(["run", "--rm", "c", "d", "e"]).ok().out_is("a b d e");
    // The base's CMD goes with a new ENTRYPOINT; one of the stage's own stays.
    let all = config(&w, "FROM busybox\nENTRYPOINT [\"echo\"]\n");
    assert_eq!(all["Cmd"], Value::Null);
    let all = config(&w, "FROM busybox\nCMD [\"x\"]\nENTRYPOINT exec top -b\n");
    assert_eq!(all["Entrypoint"], json!(["/bin/sh", "-c", "exec top -b"]));
    assert_eq!(all["Cmd"], json!(["x"]));
    let all = config(&w, "FROM busybox\nCMD echo one\nCMD echo two\n");
    assert_eq!(all["Cmd"], json!(["/bin/sh", "-c", "echo two"]));
    // What isn't quite JSON is for the shell.
    let all = config(&w, "FROM busybox\nCMD ['single', 'quotes']\n");
    assert_eq!(all["Cmd"], json!(["/bin/sh", "-c", "['single', 'quotes']"]));
}

#[test]
fn a_shell_is_what_the_shell_forms_run_in() {
    let w = world();
    let text = "FROM busybox\nSHELL [\"/bin/busybox\", \"ash\", \"-c\"]\nRUN tr '\\0' ' ' </proc/$$/cmdline > /tmp/a; true\n\
        CMD echo x\nHEALTHCHECK CMD true\n";
    let all = config(&w, text);
    assert_eq!(all["Cmd"], json!(["/bin/busybox", "ash", "-c", "echo x"]));
    assert_eq!(all["Shell"], json!(["/bin/busybox", "ash", "-c"]));
    assert_eq!(all["Healthcheck"]["Test"], json!(["CMD-SHELL", "true"]));
    assert!(w.says("c", "cat /tmp/a").starts_with("/bin/busybox ash -c tr"));
    w.build_text("c", "FROM busybox\nSHELL /bin/sh\n").code(1).err_has("SHELL");
}

#[test]
fn ports_volumes_and_signals_are_noted() {
    let w = world();
    let text = "FROM busybox\nEXPOSE 80 53/udp 443/tcp 7000-7002\nVOLUME /a /b\nVOLUME [\"/d e\", \"/f\"]\n\
        STOPSIGNAL 9\nUSER mate:crew\nWORKDIR /x\nWORKDIR y\nWORKDIR ../z\n";
    let all = config(&w, text);
    let keys = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let ports = ["443/tcp", "53/udp", "7000/tcp", "7001/tcp", "7002/tcp", "80/tcp"];
    assert_eq!(keys(&all["ExposedPorts"]), ports);
    assert_eq!(keys(&all["Volumes"]), ["/a", "/b", "/d e", "/f"]);
    assert_eq!(all["StopSignal"], "9");
    assert_eq!(all["User"], "mate:crew");
    assert_eq!(all["WorkingDir"], "/x/z");
    assert_eq!(w.says("c", "pwd; id -un; id -gn"), "/x/z\nmate\ncrew");
}

#[test]
fn a_health_check_keeps_its_settings() {
    let w = world();
    let text = "FROM busybox\nHEALTHCHECK --interval=5m --timeout=3s --start-period=1m30s --start-interval=2s --retries=4 \\\n\
        CMD curl -f http://localhost/ || exit 1\n";
    let health = config(&w, text)["Healthcheck"].clone();
    let want = json!({
        "Test": ["CMD-SHELL", "curl -f http://localhost/ || exit 1"],
        "Interval": 300_000_000_000_i64, "Timeout": 3_000_000_000_i64,
        "StartPeriod": 90_000_000_000_i64, "StartInterval": 2_000_000_000_i64, "Retries": 4,
    });
    assert_eq!(health, want);
    let health =
        config(&w, "FROM busybox\nHEALTHCHECK CMD [\"true\", \"x\"]\n")["Healthcheck"].clone();
    assert_eq!(health, json!({"Test": ["CMD", "true", "x"]}));
}

#[test]
fn labels_are_added_to_and_flags_win() {
    let w = world();
    let text = "FROM busybox AS base\nLABEL a=1 b=\"two words\" com.example.\"c d\"='x'\nFROM base\nLABEL multi=\"one \\\n  two\" a=2\n";
    let dir = w.context("l", &[("Dockerfile", text)]);
    w.build(&dir, &["-t", "c", "--label", "b=flag", "--label", "empty"]).ok();
    let want =
        json!({"a": "2", "b": "flag", "com.example.c d": "x", "multi": "one   two", "empty": ""});
    assert_eq!(w.inspect("c")["Config"]["Labels"], want);
}

#[test]
fn triggers_run_in_the_build_that_begins_from_the_image() {
    let w = world();
    let base = "FROM busybox\nONBUILD COPY cargo /srv/\nONBUILD RUN echo triggered > /srv/note\nONBUILD ENV fired=yes\n";
    let dir = w.context("base", &[("Dockerfile", base)]);
    w.build(&dir, &["-t", "trigger"]).ok();
    let all = w.inspect("trigger")["Config"].clone();
    let want = ["COPY cargo /srv/", "RUN echo triggered > /srv/note", "ENV fired=yes"];
    assert_eq!(all["OnBuild"], json!(want));
    assert_eq!(w.says("trigger", "ls /srv 2>/dev/null; echo $fired"), "");
    let files = [("Dockerfile", "FROM trigger\nRUN cat /srv/note > /seen\n"), ("cargo", "spice\n")];
    w.build(&w.context("child", &files), &["-t", "child"]).ok();
    assert_eq!(w.says("child", "cat /srv/cargo /seen; echo $fired"), "spice\ntriggered\nyes");
    assert!(w.inspect("child")["Config"]["OnBuild"].is_null());
    // Once: not in the grandchild.
    w.build_text("grand", "FROM child\nRUN rm /srv/note\n").ok();
    assert_eq!(w.says("grand", "ls /srv"), "cargo");
    for bad in ["ONBUILD ONBUILD RUN true", "ONBUILD FROM x", "ONBUILD MAINTAINER x"] {
        w.build_text("bad", &format!("FROM busybox\n{bad}\n")).code(1).err_has("ONBUILD");
    }
}

#[test]
fn the_history_says_what_was_done_as_docker_does() {
    let w = world();
    let text = "FROM busybox\nENV a=1\nWORKDIR /srv\nCOPY . /x\nRUN echo hi\nCMD [\"sh\", \"-c\", \"x\"]\n";
    let dir = w.context("h", &[("Dockerfile", text)]);
    w.build(&dir, &["-t", "h"]).ok();
    let format = "{{.CreatedBy}}|{{.Comment}}";
    let lines = w.dhow(["history", "--no-trunc", "--format", format, "h"]).ok().lines();
    let want = [
        "CMD [\"sh\" \"-c\" \"x\"]|buildkit.dockerfile.v0",
        "RUN /bin/sh -c echo hi # buildkit|buildkit.dockerfile.v0",
        "COPY . /x # buildkit|buildkit.dockerfile.v0",
        "WORKDIR /srv|buildkit.dockerfile.v0",
        "ENV a=1|buildkit.dockerfile.v0",
    ];
    assert_eq!(lines[..5], want);
}
