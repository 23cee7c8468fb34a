//! Restart policies: how often, how soon, and who ends it.

use std::time::{Duration, Instant};

use e2e::{World, needs};

use super::lifecycle::field;

fn world() -> World {
    let w = World::new();
    w.pull("busybox");
    w
}

fn begin(w: &World, policy: &str, script: &str) -> String {
    let name = w.id("c");
    let run = ["run", "-d", "--restart", policy, "--name", &name, "busybox", "sh", "-c", script];
    w.dhow(run).ok();
    name
}

#[test]
fn pauses_double_from_a_tenth_of_a_second() {
    let w = world();
    let name = begin(&w, "always", "cat /proc/uptime; exit 1");
    e2e::until("it has had five lives", || field(&w, &name, "/RestartCount").as_i64() >= Some(4));
    w.dhow(["stop", &name]).ok();
    let lives = w.dhow(["logs", &name]).ok().out();
    let at: Vec<f64> =
        lives.lines().map(|l| l.split(' ').next().unwrap().parse().unwrap()).collect();
    let pauses: Vec<f64> = at.windows(2).map(|two| two[1] - two[0]).collect();
    for (pause, least) in pauses.iter().zip([0.1, 0.2, 0.4, 0.8]) {
        assert!(*pause >= least - 0.02, "{pauses:?}");
    }
    w.dhow(["rm", &name]).ok();
}

#[test]
fn stop_and_kill_and_rm_end_it_between_two_lives() {
    needs!(EvenTime);
    let w = world();
    for end in [&["stop"][..], &["kill"], &["rm", "-f"]] {
        let name = begin(&w, "always", "exit 3");
        // The sixth pause is 3.2 s: long enough to be in it.
        e2e::until("it waits", || {
            field(&w, &name, "/RestartCount").as_i64() >= Some(6)
                && field(&w, &name, "/State/Status") == "restarting"
        });
        assert_eq!(field(&w, &name, "/State/Restarting"), true);
        w.dhow(["ps"]).ok().out_has("Restarting (3)");
        w.dhow(["exec", &name, "true"])
            .code(1)
            .err_has("is restarting, wait until the container is running");
        let began = Instant::now();
        w.dhow(end.iter().chain(&[&*name])).ok();
        assert!(began.elapsed() < Duration::from_secs(3), "{end:?}");
        if end[0] != "rm" {
            w.dhow(["wait", &name]).ok().out_is("3");
            assert_eq!(field(&w, &name, "/State/Status"), "exited");
            w.dhow(["rm", &name]).ok();
        }
    }
}

#[test]
fn on_failure_counts_and_success_is_no_failure() {
    let w = world();
    let name = begin(&w, "on-failure:2", "exit 4");
    e2e::until("it has given up", || field(&w, &name, "/State/Status") == "exited");
    assert_eq!(field(&w, &name, "/RestartCount"), 2);
    assert_eq!(field(&w, &name, "/State/ExitCode"), 4);
    // Started by hand it counts anew.
    w.dhow(["start", &name]).ok();
    e2e::until("it has given up", || field(&w, &name, "/State/Status") == "exited");
    assert_eq!(field(&w, &name, "/RestartCount"), 2);
    w.dhow(["rm", &name]).ok();
    let name = begin(&w, "on-failure", "exit 0");
    w.dhow(["wait", &name]).ok().out_is("0");
    assert_eq!(field(&w, &name, "/RestartCount"), 0);
    w.dhow(["rm", &name]).ok();
}

#[test]
fn rm_and_restart_exclude_each_other() {
    let w = world();
    w.dhow(["run", "--rm", "--restart", "always", "busybox"])
        .code(125)
        .err_has("--restart and --rm");
}

#[test]
fn a_life_begun_by_the_policy_can_be_stopped_and_started() {
    let w = world();
    let name = begin(&w, "always", "test -e /second || { touch /second; exit 1; }; sleep 1000");
    e2e::until("it lives again", || {
        field(&w, &name, "/RestartCount") == 1 && field(&w, &name, "/State/Running") == true
    });
    w.dhow(["restart", "-t", "0", &name]).ok();
    assert_eq!(field(&w, &name, "/RestartCount"), 0);
    w.dhow(["stop", "-t", "0", &name]).ok();
    assert_eq!(field(&w, &name, "/State/Status"), "exited");
    w.dhow(["rm", &name]).ok();
}

#[test]
fn killed_together_with_its_monitor_it_lives_again_when_somebody_looks() {
    let w = world();
    let name = begin(&w, "always", "sleep 1000");
    let id = field(&w, &name, "/Id").as_str().unwrap().to_owned();
    let kill_both = || {
        let pid = field(&w, &name, "/State/Pid").as_i64().unwrap() as i32;
        for pid in [super::streams::monitor(&w, &id), nix::unistd::Pid::from_raw(pid)] {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    };
    for lives in 1..4 {
        kill_both();
        e2e::until("it lives again", || {
            field(&w, &name, "/State/Running") == true && field(&w, &name, "/RestartCount") == lives
        });
        e2e::until("it is worked in", || w.dhow(["exec", &name, "true"]).code == 0);
    }
    w.dhow(["stop", "-t", "0", &name]).ok();
    assert_eq!(field(&w, &name, "/State/Status"), "exited");
    w.dhow(["rm", &name]).ok();
}
