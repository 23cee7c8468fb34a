//! Health checks: counted as docker counts, bounded in time and output, at nobody's cost.

use std::fs;
use std::time::{Duration, Instant};

use e2e::{World, needs};
use serde_json::Value;

use super::lifecycle::field;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

/// `run -d` of a container that sleeps, with these flags; its name.
fn running(w: &World, flags: &[&str]) -> String {
    let name = w.id("c");
    let start = ["run", "-d", "--name", &name, "--health-interval", "100ms"];
    let end = ["busybox", "sleep", "1000"];
    w.dhow(start.iter().chain(flags).chain(&end)).ok();
    name
}

fn health(w: &World, name: &str) -> Value {
    field(w, name, "/State/Health")
}

#[track_caller]
fn becomes(w: &World, name: &str, status: &str) -> Value {
    e2e::until(&format!("it is {status}"), || health(w, name)["Status"] == status);
    health(w, name)
}

#[test]
fn a_check_that_succeeds_makes_it_healthy_and_one_that_fails_three_times_unhealthy() {
    let w = world();
    let young = w.id("young");
    let check = ["--health-cmd", "true", "--health-interval", "1h"];
    let run = ["run", "-d", "--name", &young];
    w.dhow(run.iter().chain(&check).chain(&["busybox", "sleep", "1000"])).ok();
    assert_eq!(health(&w, &young)["Status"], "starting");
    w.dhow(["ps"]).ok().out_has("(health: starting)");
    w.dhow(["rm", "-f", &young]).ok();
    let name = running(&w, &["--health-cmd", "echo looking; test -e /well"]);
    w.dhow(["exec", &name, "touch", "/well"]).ok();
    let well = becomes(&w, &name, "healthy");
    assert_eq!(well["FailingStreak"], 0);
    assert_eq!(well["Log"].as_array().unwrap().last().unwrap()["Output"], "looking\n");
    w.dhow(["ps"]).ok().out_has("(healthy)");
    w.dhow(["exec", &name, "rm", "/well"]).ok();
    let ill = becomes(&w, &name, "unhealthy");
    assert!(ill["FailingStreak"].as_i64().unwrap() >= 3, "{ill}");
    w.dhow(["ps"]).ok().out_has("(unhealthy)");
    e2e::until("five are remembered", || health(&w, &name)["Log"].as_array().unwrap().len() == 5);
    // Nobody checks what has ended, and a new life starts anew.
    w.dhow(["stop", "-t", "0", &name]).ok();
    assert_eq!(health(&w, &name)["Status"], "unhealthy");
    w.dhow(["start", &name]).ok();
    let (anew, began) = (health(&w, &name), field(&w, &name, "/State/StartedAt"));
    let of_this_life = |check: &&Value| check["Start"].as_str() > began.as_str();
    let checks = anew["Log"].as_array().unwrap().iter().filter(of_this_life).count();
    assert!(anew["FailingStreak"] == checks || checks == 5, "{anew} {began}");
    let events = fs::read_to_string(w.root().join("events")).unwrap();
    assert!(
        events.contains("health_status: healthy") && events.contains("health_status: unhealthy"),
        "{events}"
    );
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn the_start_period_forgives() {
    let w = world();
    let forgiving = ["--health-cmd", "false", "--health-start-period", "60s"];
    let name = running(&w, &[&forgiving[..], &["--health-start-interval", "100ms"]].concat());
    e2e::until("three have failed", || health(&w, &name)["Log"].as_array().unwrap().len() > 3);
    assert_eq!(health(&w, &name)["Status"], "starting");
    assert_eq!(health(&w, &name)["FailingStreak"], 0);
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn a_check_that_blocks_is_ended_and_what_it_printed_is_kept() {
    let w = world();
    let line = "echo waiting; sleep 1000; echo over";
    let name =
        running(&w, &["--health-cmd", line, "--health-timeout", "300ms", "--health-retries", "1"]);
    let ill = becomes(&w, &name, "unhealthy");
    let probe = &ill["Log"][0];
    assert_eq!(probe["ExitCode"], -1);
    assert_eq!(probe["Output"], "Health check exceeded timeout (300ms): waiting\n");
    e2e::until("a second one was made", || health(&w, &name)["Log"].as_array().unwrap().len() > 1);
    let left = w.dhow(["exec", &name, "ps"]).ok().out().matches("sleep 1000").count();
    assert!(left <= 3, "{left} processes of checks that were ended");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn output_of_a_check_is_bounded_and_what_it_leaves_behind_holds_nobody_up() {
    let w = world();
    let line = "sleep 500 & yes | head -c 100000; exit 0";
    let name = running(&w, &["--health-cmd", line]);
    let well = becomes(&w, &name, "healthy");
    let output = well["Log"][0]["Output"].as_str().unwrap();
    assert_eq!(output.len(), 4096 + "...".len());
    assert!(output.ends_with("y\n..."), "{}", &output[4080..]);
    let began = Instant::now();
    w.dhow(["stop", "-t", "0", &name]).ok();
    assert!(began.elapsed() < Duration::from_secs(20));
    w.dhow(["rm", &name]).ok();
}

#[test]
fn many_checks_leave_no_descriptor_and_no_memory_with_the_monitor() {
    needs!(Speed);
    let w = world();
    let line = "sleep 500 & exit 1";
    let name = w.id("c");
    let flags = ["--health-cmd", line, "--health-interval", "10ms", "--pids-limit", "-1"];
    let run = ["run", "-d", "--name", &name]
        .iter()
        .chain(&flags)
        .chain(&["busybox", "sleep", "1000"])
        .copied()
        .collect::<Vec<_>>();
    let id = w.dhow(run).ok().out();
    let monitor = super::streams::monitor(&w, &id);
    let descriptors = || fs::read_dir(format!("/proc/{monitor}/fd")).unwrap().count();
    becomes(&w, &name, "unhealthy");
    let before = descriptors();
    let checks = || health(&w, &name)["FailingStreak"].as_i64().unwrap();
    let first = checks();
    e2e::until("fifty more were made", || checks() > first + 50);
    // One that is being made has some for itself.
    e2e::until("no more are open than before", || descriptors() <= before);
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn a_command_that_is_not_there_is_told_in_the_log() {
    let w = world();
    let name = w.id("c");
    w.dhow([
        "run",
        "-d",
        "--name",
        &name,
        "--health-cmd",
        "x",
        "--health-interval",
        "100ms",
        "--entrypoint",
        "sleep",
        "busybox",
        "1000",
    ])
    .ok();
    e2e::until("one was made", || !health(&w, &name)["Log"].as_array().unwrap().is_empty());
    let probe = health(&w, &name)["Log"][0].clone();
    assert_eq!(probe["ExitCode"], 127, "{probe}");
    assert!(probe["Output"].as_str().unwrap().contains("not found"), "{probe}");
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn without_a_check_there_is_no_health() {
    let w = world();
    let name = w.id("c");
    w.dhow(["run", "-d", "--name", &name, "--no-healthcheck", "busybox", "sleep", "1000"]).ok();
    let state = field(&w, &name, "/State");
    assert!(state.get("Health").is_none(), "{state}");
    assert_eq!(field(&w, &name, "/Config/Healthcheck/Test"), serde_json::json!(["NONE"]));
    w.dhow(["rm", "-f", &name]).ok();
    let both = ["run", "--no-healthcheck", "--health-cmd", "true", "busybox"];
    w.dhow(both).code(125).err_has("--no-healthcheck conflicts with --health-* options");
    w.dhow(["run", "--health-retries", "-1", "busybox"])
        .code(125)
        .err_has("--health-retries cannot be negative");
}

#[test]
fn checks_go_on_when_the_monitor_is_killed() {
    let w = world();
    let name = running(&w, &["--health-cmd", "true"]);
    becomes(&w, &name, "healthy");
    let id = field(&w, &name, "/Id").as_str().unwrap().to_owned();
    nix::sys::signal::kill(super::streams::monitor(&w, &id), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    let last = || health(&w, &name)["Log"].as_array().unwrap().last().unwrap()["Start"].clone();
    let before = last();
    e2e::until("another is made", || last() != before);
    w.dhow(["rm", "-f", &name]).ok();
}

#[test]
fn checks_rest_while_the_container_is_paused() {
    let w = world();
    let name = running(&w, &["--health-cmd", "true"]);
    becomes(&w, &name, "healthy");
    w.dhow(["pause", &name]).ok();
    // DOCKER: nobody checks, so nobody says that it is well.
    assert_eq!(health(&w, &name)["Status"], "unhealthy");
    let last = || health(&w, &name)["Log"].as_array().unwrap().last().unwrap()["End"].clone();
    let before = last();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(last(), before);
    w.dhow(["unpause", &name]).ok();
    becomes(&w, &name, "healthy");
    w.dhow(["pause", &name]).ok();
    w.dhow_cmd(["stop", "-t", "1", &name]).limit(30).run().ok();
    assert_eq!(field(&w, &name, "/State/Status"), "exited");
    w.dhow(["rm", &name]).ok();
}
